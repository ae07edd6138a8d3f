# SPDX-License-Identifier: Apache-2.0
"""The simulated photodiode: it sees the sky of the simulated road."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from drivers.errors import DaylightUnreadable
from drivers.options import Options
from drivers.sim.faults import FaultScript
from drivers.sim.lines import DEFAULT_WORLD, PhotoLine, photo_line

FAULTS: Final = {"x": "unreadable", "d": "covered with mud"}


class SimDaylight:
    """What the world wrote with its last frame; None before the first. Each letter of `faults` is one look."""

    def __init__(self, line: PhotoLine, faults: FaultScript) -> None:
        self._line, self._faults = line, faults
        self._looks = 0

    def lux(self) -> float | None:
        """Illuminance; raises DaylightUnreadable as scripted."""
        fault = self._faults.at(self._looks)
        self._looks += 1
        if fault == "x":
            raise DaylightUnreadable("the simulated photodiode gives no value")
        return 0.0 if fault == "d" and self._line.lux is not None else self._line.lux

    def close(self) -> None:
        """Nothing to release."""


def open_sim(options: Mapping[str, object]) -> SimDaylight:
    """Options: world (the name the camera has), faults (a letter a look)."""
    read = Options("daylight sim", options)
    line = photo_line(read.text("world", DEFAULT_WORLD))
    faults = FaultScript("daylight sim", read.text("faults", ""), FAULTS)
    read.finish()
    return SimDaylight(line, faults)
