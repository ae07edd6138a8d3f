# SPDX-License-Identifier: Apache-2.0
"""Simulated pins: the gpiod driver over a chip in memory, with scripted faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from drivers.errors import PinBusy
from drivers.gpio_gpiod import GpiodGpio
from drivers.options import Options
from drivers.sim.faults import FaultScript
from drivers.sim.gpiochip import SimGpioChip

FAULTS: Final = {"b": "pin busy"}


class SimGpio(GpiodGpio):
    """`chip` shows and drives the levels from outside; each letter of `faults` is one write."""

    def __init__(self, chip: SimGpioChip, faults: FaultScript, *, pull_up: bool) -> None:
        super().__init__(chip, chip.path, pull_up=pull_up)
        self.chip, self._faults = chip, faults
        self._writes = 0

    def write(self, pin: int, value: bool) -> None:  # noqa: FBT001 - a pin's level
        """Drives an output; raises PinBusy, also as scripted."""
        fault = self._faults.at(self._writes)
        self._writes += 1
        if fault == "b":
            raise PinBusy(f"the simulated pin {pin} is busy")
        super().write(pin, value)


def open_sim(options: Mapping[str, object]) -> SimGpio:
    """Options: pull_up (inputs), faults (a letter a write)."""
    read = Options("gpio sim", options)
    pull_up, faults = (
        read.flag("pull_up", default=True),
        FaultScript("gpio sim", read.text("faults", ""), FAULTS),
    )
    read.finish()
    return SimGpio(SimGpioChip(), faults, pull_up=pull_up)
