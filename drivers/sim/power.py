# SPDX-License-Identifier: Apache-2.0
"""Simulated supply and heat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from drivers.errors import PowerUnreadable
from drivers.options import Options
from drivers.sim.faults import FaultScript
from drivers.types import PowerReading

FAULTS: Final = {"h": "hot and throttled", "u": "undervoltage", "l": "battery low", "x": "sensor unreadable"}


class SimPower:
    """Each letter of `faults` is one reading."""

    def __init__(self, temperature_c: float, battery_v: float | None, faults: FaultScript) -> None:
        self._temperature_c, self._battery_v, self._faults = temperature_c, battery_v, faults
        self._count = 0

    def reading(self) -> PowerReading:
        """The next reading as scripted; raises PowerUnreadable."""
        fault = self._faults.at(self._count)
        self._count += 1
        if fault == "x":
            raise PowerUnreadable("the simulated sensor cannot be read")
        hot, low = fault == "h", fault == "l"
        battery_v = 10.9 if low else self._battery_v
        return PowerReading(88.0 if hot else self._temperature_c, fault == "u", hot, battery_v)


def open_sim(options: Mapping[str, object]) -> SimPower:
    """Options: temperature_c, battery_v, faults (a letter a reading)."""
    read = Options("power sim", options)
    temperature_c, battery_v = (
        read.number("temperature_c", 51.0, -40.0, 125.0),
        read.optional("battery_v", 0.0, 60.0),
    )
    faults = FaultScript("power sim", read.text("faults", ""), FAULTS)
    read.finish()
    return SimPower(temperature_c, battery_v, faults)
