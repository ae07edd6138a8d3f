# SPDX-License-Identifier: Apache-2.0
"""The simulated infrared-cut filter: before the simulated camera, or out of its way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from drivers.errors import PinBusy
from drivers.options import Options
from drivers.sim.faults import FaultScript
from drivers.sim.lines import DEFAULT_WORLD, FilterLine, filter_line

FAULTS: Final = {"j": "jammed", "b": "pins busy"}


class SimIrFilter:
    """Each letter of `faults` is one move; a jammed one stays where it was and nobody is told."""

    def __init__(self, line: FilterLine, faults: FaultScript) -> None:
        self._line, self._faults = line, faults
        self._moves = 0

    def place(self, *, inside: bool) -> None:
        """Moves it; raises PinBusy as scripted."""
        fault = self._faults.at(self._moves)
        self._moves += 1
        if fault == "b":
            raise PinBusy("the simulated filter's pins are busy")
        if fault != "j":
            self._line.filter_in = inside

    def close(self) -> None:
        """It stays where it is."""


def open_sim(options: Mapping[str, object]) -> SimIrFilter:
    """Options: world (the name the camera has), faults (a letter a move)."""
    read = Options("ir_filter sim", options)
    line = filter_line(read.text("world", DEFAULT_WORLD))
    faults = FaultScript("ir_filter sim", read.text("faults", ""), FAULTS)
    read.finish()
    return SimIrFilter(line, faults)
