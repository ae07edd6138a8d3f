# SPDX-License-Identifier: Apache-2.0
"""Simulated buzzer, lamp and button: what was switched, and when."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from drivers.errors import PinBusy
from drivers.options import Options
from drivers.sim.faults import FaultScript

FAULTS: Final = {"b": "pins busy"}
KEPT: Final = 10_000  # changes remembered


@dataclass(frozen=True, slots=True)
class Switched:
    """One change of the outputs; `at_s` monotonic seconds."""

    at_s: float
    buzzer: bool
    lamp: bool


class SimAlertOutput:
    """`changes` are those of the levels only; `button` is what `pressed` says. Each letter of `faults` is one drive."""

    def __init__(self, faults: FaultScript, monotonic_s: Callable[[], float]) -> None:
        self._faults, self._monotonic_s = faults, monotonic_s
        self._drives = 0
        self._closed = False
        self.changes: deque[Switched] = deque([Switched(monotonic_s(), buzzer=False, lamp=False)], KEPT)
        self.button = False

    @property
    def buzzer(self) -> bool:
        """Whether it sounds."""
        return self.changes[-1].buzzer

    @property
    def lamp(self) -> bool:
        """Whether it shines."""
        return self.changes[-1].lamp

    def _set(self, *, buzzer: bool, lamp: bool) -> None:
        if (buzzer, lamp) != (self.buzzer, self.lamp):
            self.changes.append(Switched(self._monotonic_s(), buzzer, lamp))

    def drive(self, *, buzzer: bool, lamp: bool) -> None:
        """Switches both; raises PinBusy as scripted or after close."""
        fault = self._faults.at(self._drives)
        self._drives += 1
        if self._closed or fault == "b":
            raise PinBusy("the simulated pins are busy")
        self._set(buzzer=buzzer, lamp=lamp)

    def pressed(self) -> bool:
        """The simulated button; raises PinBusy after close."""
        if self._closed:
            raise PinBusy("the simulated pins are busy")
        return self.button

    def close(self) -> None:
        """Both off."""
        self._closed = True
        self._set(buzzer=False, lamp=False)


def open_sim(options: Mapping[str, object]) -> SimAlertOutput:
    """Options: faults (a letter a drive), monotonic_s (in process only: a clock)."""
    read = Options("alert sim", options)
    faults, clock = FaultScript("alert sim", read.text("faults", ""), FAULTS), read.thing("monotonic_s")
    read.finish()
    return SimAlertOutput(faults, clock if callable(clock) else time.monotonic)
