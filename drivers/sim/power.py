# SPDX-License-Identifier: Apache-2.0
"""Simulated supply, heat and battery: a small model (drivers/sim/energy.py) with scripted faults on top."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from drivers.errors import PowerUnreadable
from drivers.options import Options
from drivers.sim.energy import UNDER_V, Energy, Unit
from drivers.sim.faults import FaultScript
from drivers.sim.lines import lamp_line
from drivers.types import PowerReading

FAULTS: Final = {
    "h": "hot and throttled",
    "t": "throttled",
    "u": "undervoltage",
    "l": "battery low",
    "x": "sensor unreadable",
}
FLASHES_HZ: Final = 15.0  # of a lamp in step with a camera, whose pace is not known here
SCRIPTED: Final[Mapping[str, Mapping[str, object]]] = {
    "h": {"temperature_c": 88.0, "throttled": True},
    "t": {"throttled": True},
    "u": {"undervoltage": True},
    "l": {"battery_v": 10.9},
}


class SimPower:
    """Each letter of `faults` is one reading; the model goes on under them. The lamp's power comes from its world."""

    def __init__(
        self,
        energy: Energy,
        faults: FaultScript,
        now_s: Callable[[], float],
        speed: float,
        lamp: Callable[[], float],
    ) -> None:
        self._energy, self._faults, self._now_s, self._speed, self._lamp = energy, faults, now_s, speed, lamp
        self._at_s = now_s()
        self._count = 0
        self._under_ever = self._throttled_ever = False

    @property
    def load(self) -> float:
        """How much the board works, 0..1 of its full load; set it to what the unit still does."""
        return self._energy.load

    @load.setter
    def load(self, share: float) -> None:
        self._energy.load = min(1.0, max(0.0, share))

    @property
    def charge(self) -> float:
        """The battery's charge, 0..1."""
        return self._energy.charge

    def reading(self) -> PowerReading:
        """What the model says after the time that has passed, or as scripted; raises PowerUnreadable."""
        now_s = self._now_s()
        self._energy.advance((now_s - self._at_s) * self._speed)
        self._at_s = max(now_s, self._at_s)
        self._energy.lamp = self._lamp()
        fault = self._faults.at(self._count)
        self._count += 1
        if fault == "x":
            raise PowerUnreadable("the simulated sensor cannot be read")
        reading = replace(self._sound(), **SCRIPTED.get(fault, {}))  # type: ignore[arg-type]
        self._under_ever |= bool(reading.undervoltage)
        self._throttled_ever |= bool(reading.throttled)
        return replace(
            reading, undervoltage_since_boot=self._under_ever, throttled_since_boot=self._throttled_ever
        )

    def _sound(self) -> PowerReading:
        energy, has_battery = self._energy, bool(self._energy.unit.battery_wh)
        supply_v = energy.supply_v()
        return PowerReading(
            round(energy.temperature_c, 2),
            supply_v < UNDER_V,
            energy.throttled,
            round(energy.battery_v(), 3) if has_battery else None,
            battery_a=round(energy.battery_a(), 3) if has_battery else None,
            supply_v=round(supply_v, 3),
            supply_w=round(energy.draw_w, 2),
        )

    def close(self) -> None:
        """Nothing to release."""


def _read_unit(read: Options) -> Unit:
    """The unit's options, in their bounds."""
    return Unit(
        ambient_c=read.number("ambient_c", 25.0, -50.0, 70.0),
        swing_c=read.number("swing_c", 0.0, 0.0, 30.0),
        sun_heat_w=read.number("sun_heat_w", 0.0, 0.0, 200.0),
        cooling_c_per_w=read.number("cooling_c_per_w", 2.6, 0.1, 20.0),
        cooling_s=read.number("cooling_s", 300.0, 1.0, 36_000.0),
        idle_w=read.number("idle_w", 4.0, 0.0, 100.0),
        work_w=read.number("work_w", 6.0, 0.0, 100.0),
        lamp_w=read.number("lamp_w", 0.0, 0.0, 500.0),
        throttle_c=read.number("throttle_c", 85.0, 40.0, 120.0),
        cable_ohm=read.number("cable_ohm", 0.05, 0.0, 5.0),
        battery_wh=read.number("battery_wh", 960.0, 1.0, 100_000.0),
        panel_w=read.number("panel_w", 0.0, 0.0, 5_000.0),
        start_hour=read.number("start_hour", 12.0, 0.0, 24.0),
    )


def _lamp_of(world: str) -> Callable[[], float]:
    """The mean power of the lamp of this world, 0..1; without a world it is dark."""
    if not world:
        return lambda: 0.0
    line = lamp_line(world)

    def mean() -> float:
        lit = 1.0 if line.pulse_us is None else min(1.0, line.pulse_us / 1e6 * (line.rate_hz or FLASHES_HZ))
        return (line.power or 0.0) * lit

    return mean


def open_sim(options: Mapping[str, object]) -> SimPower:
    """Options: temperature_c, battery_v (none: no battery), load, speed, world, faults, the unit's (docs/hardware).

    In process only: now_s, a clock.
    """
    read = Options("power sim", options)
    unit = _read_unit(read)
    temperature_c, battery_v = (
        read.optional("temperature_c", -40.0, 125.0),
        read.optional("battery_v", 10.5, 14.0),
    )
    load, speed = read.number("load", 1.0, 0.0, 1.0), read.number("speed", 1.0, 0.0, 1e6)
    lamp, clock = _lamp_of(read.text("world", "")), read.thing("now_s")
    faults = FaultScript("power sim", read.text("faults", ""), FAULTS)
    read.finish()
    energy = Energy(
        unit if battery_v is not None else replace(unit, battery_wh=0.0), temperature_c, battery_v
    )
    power = SimPower(energy, faults, clock if callable(clock) else time.monotonic, speed, lamp)
    power.load = load
    return power
