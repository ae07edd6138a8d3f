# SPDX-License-Identifier: Apache-2.0
"""Heat and charge of a simulated unit: a box that heats and cools, a battery with its panel, a cable that drops volts.

    box        C dT/dt = P + sun - (T - ambient) / R      with tau = R C, solved exactly for each short step
    ambient    mean + swing cos(2 pi (hour - 15) / 24)    warmest at 15:00
    sun        max(0, sin(pi (hour - 6) / 12))            from 6:00 to 18:00
    battery    dQ/dt = panel sun yield - P                the surplus stored with an efficiency
    volts      open circuit (charge) + current x inner resistance
    supply     regulator - P / regulator x cable

It gives up: clouds and seasons, ageing, temperature of the battery, the charger's stages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

STEP_S: Final = 60.0  # the sun moves little in it
REGULATOR_V: Final = 5.1  # what the converter gives before the cable
UNDER_V: Final = 4.63  # a Raspberry Pi calls it undervoltage
DEAD_V: Final = 10.5  # a converter of 12 V gives up
THROTTLED_WORK: Final = 0.6  # share of its work that a hot board still does
HYSTERESIS_C: Final = 2.0  # a board that throttles goes on to do so until it is this much cooler
PANEL_YIELD: Final = 0.75  # heat, dust, angle, charger
CHARGE_YIELD: Final = 0.85  # stored of what is charged (lead)
INNER_OHM: Final = 0.03
CHARGE, OPEN_V = (
    (0.0, 0.25, 0.5, 0.75, 1.0),
    (11.5, 11.95, 12.25, 12.5, 12.85),
)  # a lead battery of 12 V at rest


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit and its place: watts, degrees Celsius, seconds, ohms; `battery_wh` 0 has none."""

    ambient_c: float = 25.0
    swing_c: float = 0.0
    sun_heat_w: float = 0.0
    cooling_c_per_w: float = 2.6
    cooling_s: float = 300.0
    idle_w: float = 4.0
    work_w: float = 6.0
    lamp_w: float = 0.0
    throttle_c: float = 85.0
    cable_ohm: float = 0.05
    battery_wh: float = 0.0
    panel_w: float = 0.0
    start_hour: float = 12.0


class Energy:
    """The state of a unit; `load` and `lamp` (0..1) are set from outside and count from the next step on."""

    def __init__(self, unit: Unit, temperature_c: float | None, battery_v: float | None) -> None:
        self.unit = unit
        self.load, self.lamp = 1.0, 0.0
        self.elapsed_s = 0.0
        self.throttled = False
        self.temperature_c = self._settled_c() if temperature_c is None else temperature_c
        self.charge = 1.0
        if battery_v is not None:
            self.charge = float(np.interp(battery_v - self.battery_a(battery_v) * INNER_OHM, OPEN_V, CHARGE))

    @property
    def _hour(self) -> float:
        return (self.unit.start_hour + self.elapsed_s / 3600.0) % 24.0

    @property
    def _sun(self) -> float:
        return max(0.0, math.sin(math.pi * (self._hour - 6.0) / 12.0))

    @property
    def board_w(self) -> float:
        """What the board turns into heat."""
        return self.unit.idle_w + self.unit.work_w * self.load * (THROTTLED_WORK if self.throttled else 1.0)

    @property
    def draw_w(self) -> float:
        """What board and lamp take from the supply."""
        return self.board_w + self.unit.lamp_w * self.lamp

    @property
    def _surplus_w(self) -> float:
        return self.unit.panel_w * self._sun * PANEL_YIELD - self.draw_w

    def _settled_c(self) -> float:
        """Where the temperature would end with everything as it is now."""
        ambient = self.unit.ambient_c + self.unit.swing_c * math.cos(math.pi * (self._hour - 15.0) / 12.0)
        return ambient + self.unit.cooling_c_per_w * (self.board_w + self.unit.sun_heat_w * self._sun)

    def advance(self, seconds: float) -> None:
        """Lets time pass; nothing happens for a negative time."""
        while seconds > 0.0:
            step = min(seconds, STEP_S)
            seconds -= step
            self._step(step)

    def _step(self, step: float) -> None:
        settled = self._settled_c()
        share = math.exp(-step / self.unit.cooling_s)
        self.temperature_c = settled + (self.temperature_c - settled) * share
        limit = self.unit.throttle_c - (HYSTERESIS_C if self.throttled else 0.0)
        self.throttled = self.temperature_c >= limit
        if self.unit.battery_wh:
            stored = self._surplus_w * (CHARGE_YIELD if self._surplus_w > 0.0 else 1.0)
            self.charge = min(1.0, max(0.0, self.charge + stored * step / 3600.0 / self.unit.battery_wh))
        self.elapsed_s += step

    def battery_a(self, volts: float | None = None) -> float:
        """Amperes into the battery; a full one takes none."""
        amperes = self._surplus_w / (volts or float(np.interp(self.charge, CHARGE, OPEN_V)))
        return min(0.0, amperes) if volts is None and self.charge >= 1.0 else amperes

    def battery_v(self) -> float:
        """Volts at its terminals under load; an empty one breaks down."""
        rest = float(np.interp(self.charge, CHARGE, OPEN_V)) + self.battery_a() * INNER_OHM
        return rest if self.charge > 0.0 else min(rest, DEAD_V)

    def supply_v(self) -> float:
        """Volts at the board, after the cable."""
        dead = bool(self.unit.battery_wh) and self.charge <= 0.0
        return (0.8 if dead else 1.0) * REGULATOR_V - self.unit.cable_ohm * self.draw_w / REGULATOR_V
