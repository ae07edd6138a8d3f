# SPDX-License-Identifier: Apache-2.0
"""The battery of a trailer as Linux shows it: a fuel gauge, an INA219/INA226 on hwmon, or an ADC on hwmon or IIO."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drivers.errors import BadOption
from drivers.options import Options
from drivers.sysfs import Sensors

INPUT: Final = re.compile(r"in(_voltage)?[0-9]{1,2}")
NONE, AUTO = "none", "auto"
WHAT: Final = "battery"


@dataclass(frozen=True, slots=True)
class Battery:
    """Where it is measured: `chip` by name or by place on its bus; `scale` is the voltage divider before the input."""

    chip: str = AUTO
    input: str = "in1"
    scale: float = 1.0

    def measure(self, sensors: Sensors) -> tuple[float | None, float | None]:
        """Volts, and amperes into the battery where the chip has a shunt; notes what was promised and is not there."""
        if self.chip == NONE:
            return None, None
        if self.chip == AUTO:
            return _gauge(sensors)
        chips = [*sensors.chips(self.chip), *sensors.chips(self.chip, "bus/iio/devices")]
        if len(chips) != 1:
            sensors.fail(f"{WHAT} ({len(chips)} chips are called {self.chip})")
            return None, None
        volts = self._volts(sensors, chips[0])
        if volts is None:
            sensors.fail(WHAT)
        milliamperes = sensors.number(chips[0] / "curr1_input", "battery current")
        return volts, None if milliamperes is None else milliamperes / 1000

    def _volts(self, sensors: Sensors, chip: Path) -> float | None:
        millivolts = sensors.number(
            chip / f"{self.input}_input"
        )  # hwmon: Documentation/hwmon/sysfs-interface.rst
        if millivolts is not None:
            return millivolts * self.scale / 1000
        raw = sensors.number(chip / f"{self.input}_raw")  # IIO: Documentation/ABI/testing/sysfs-bus-iio
        steps = sensors.text(chip / f"{self.input}_scale") or sensors.text(chip / "in_voltage_scale")
        try:
            millivolts_a_step = float(steps)
        except ValueError:
            return None
        return (
            None
            if raw is None or not math.isfinite(millivolts_a_step)
            else raw * millivolts_a_step * self.scale / 1000
        )


def _gauge(sensors: Sensors) -> tuple[float | None, float | None]:
    """A battery of the class power_supply, but not one of a mouse or keyboard; there need not be any."""
    for supply in sorted((sensors.root / "class/power_supply").glob("*")):
        if sensors.text(supply / "type") != "Battery" or sensors.text(supply / "scope") == "Device":
            continue
        microvolts = sensors.number(supply / "voltage_now", WHAT)
        microamperes = sensors.number(supply / "current_now")
        if microvolts is not None:
            return microvolts / 1e6, None if microamperes is None else microamperes / 1e6
    return None, None


def read_battery(read: Options) -> Battery:
    """The options battery, battery_input, battery_scale; raises BadOption."""
    battery = Battery(
        read.text("battery", AUTO),
        read.text("battery_input", "in1"),
        read.number("battery_scale", 1.0, 0.01, 100.0),
    )
    if not INPUT.fullmatch(battery.input):
        raise BadOption(
            "power: 'battery_input' is a channel of the chip, e.g. in1 (hwmon) or in_voltage0 (IIO)"
        )
    return battery
