# SPDX-License-Identifier: Apache-2.0
"""Heat and supply of the board, as Linux shows them under /sys: a Raspberry Pi, a Jetson, or any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from drivers.errors import PowerUnreadable
from drivers.options import Options
from drivers.power_battery import Battery, read_battery
from drivers.sysfs import Sensors
from drivers.types import PowerReading

# The Raspberry Pi firmware's get_throttled: bits 0-3 now, 16-19 since the start.
UNDERVOLTAGE_BIT: Final = 0x1
THROTTLED_BITS: Final = 0xE  # frequency capped, throttled, soft temperature limit
SINCE_BOOT: Final = 16
THROTTLE_WORDS: Final = (
    "bus/platform/drivers/raspberrypi-firmware/*/get_throttled",
    "devices/platform/soc*/soc*:firmware/get_throttled",
)
# Tegra's over-current events (soctherm_oc): OC1 is the supply's voltage, OC2 its average current. OC3 counts single
# moments, which a loaded board has all the time.
UNDERVOLTAGE_EVENTS, THROTTLE_EVENTS = "oc1_event_cnt", "oc2_event_cnt"
CONSTANT_ZONES: Final = frozenset({"PMIC-Die"})  # a Jetson's stand-in that says 100 degrees for ever
NOTHING: Final = PowerReading(None, None, None)


class SysfsPower:
    """Every sensor that the board has. The since-boot flags also remember what was read before: kernels clear bits."""

    def __init__(self, root: Path, battery: Battery, supply_min_v: float) -> None:
        self._root, self._battery, self._supply_min_v = root, battery, supply_min_v
        self._events: dict[str, int] = {}
        self._seen = {"under": False, "throttled": False}

    def reading(self) -> PowerReading:
        """What the sensors say; raises PowerUnreadable when none gave a value."""
        sensors = Sensors(self._root)
        supply_v, supply_w = _supply(sensors)
        battery_v, battery_a = self._battery.measure(sensors)
        under, under_ever = self._undervoltage(sensors, supply_v)
        throttled, throttled_ever = self._throttled(sensors)
        reading = PowerReading(
            _temperature_c(sensors),
            under,
            throttled,
            battery_v,
            under_ever,
            throttled_ever,
            battery_a,
            supply_v,
            supply_w,
        )
        if reading == NOTHING:
            why = (
                f"no value of: {', '.join(sensors.failed)}"
                if sensors.failed
                else "no sensor; use the driver 'none'"
            )
            raise PowerUnreadable(f"{self._root} gives {why}")
        return replace(reading, unreadable=tuple(sensors.failed))

    def _undervoltage(self, sensors: Sensors, supply_v: float | None) -> tuple[bool | None, bool | None]:
        """Now, and since the start: the Pi's flags and alarm, a Jetson's events, the configured least voltage."""
        word, alarm = _throttle_word(sensors), _low_voltage_alarm(sensors)
        now = [bool(word & UNDERVOLTAGE_BIT)] if word is not None else []
        now += [bool(alarm)] if alarm is not None else []
        now += [supply_v < self._supply_min_v] if supply_v is not None and self._supply_min_v else []
        ever = [bool(word >> SINCE_BOOT & UNDERVOLTAGE_BIT)] if word is not None else []
        return self._settle("under", now, ever, self._event(sensors, UNDERVOLTAGE_EVENTS))

    def _throttled(self, sensors: Sensors) -> tuple[bool | None, bool | None]:
        word = _throttle_word(sensors)
        now = [bool(word & THROTTLED_BITS)] if word is not None else []
        ever = [bool(word >> SINCE_BOOT & THROTTLED_BITS)] if word is not None else []
        return self._settle("throttled", now, ever, self._event(sensors, THROTTLE_EVENTS))

    def _settle(
        self, what: str, now: list[bool], ever: list[bool], events: tuple[bool, bool] | None
    ) -> tuple[bool | None, bool | None]:
        if events is not None:
            now, ever = [*now, events[0]], [*ever, events[1]]
        if not now:
            return None, None
        self._seen[what] = self._seen[what] or any(now) or any(ever)
        return any(now), self._seen[what]

    def _event(self, sensors: Sensors, name: str) -> tuple[bool, bool] | None:
        """Whether a counter of events rose since the last reading, and whether it ever did."""
        for chip in sensors.chips("soctherm_oc"):
            if (count := sensors.number(chip / name, "over-current events")) is not None:
                rose = count > self._events.get(name, count)
                self._events[name] = count
                return rose, count > 0
        return None

    def close(self) -> None:
        """Nothing to release."""


def _temperature_c(sensors: Sensors) -> float | None:
    """The hottest zone. A zone that is switched off gives no value; that is a fault only where none gives one."""
    zones = [
        zone
        for zone in sorted((sensors.root / "class/thermal").glob("thermal_zone*"))
        if sensors.text(zone / "type") not in CONSTANT_ZONES
    ]
    values = [value for zone in zones if (value := sensors.number(zone / "temp")) is not None]
    if zones and not values:
        sensors.fail("temperature")
    return max(values) / 1000.0 if values else None  # sysfs has millidegrees


def _throttle_word(sensors: Sensors) -> int | None:
    for pattern in THROTTLE_WORDS:
        for path in sorted(sensors.root.glob(pattern)):
            if (word := sensors.number(path, "throttle flags", 16)) is not None:
                return word
    return None


def _low_voltage_alarm(sensors: Sensors) -> int | None:
    """The Pi's: whether the 5 V rail sagged in the last two seconds."""
    for chip in sensors.chips("rpi_volt"):
        if (alarm := sensors.number(chip / "in0_lcrit_alarm", "low-voltage alarm")) is not None:
            return alarm
    return None


def _supply(sensors: Sensors) -> tuple[float | None, float | None]:
    """Volts and watts that the board takes in: the channel of an INA3221 whose label ends in IN (VDD_IN, POM_5V_IN)."""
    for chip in sensors.chips("ina3221"):
        for channel in (1, 2, 3):
            if not sensors.text(chip / f"in{channel}_label").endswith("IN"):
                continue
            millivolts = sensors.number(chip / f"in{channel}_input", "supply")
            milliamperes = sensors.number(chip / f"curr{channel}_input", "supply")
            if millivolts is None:
                return None, None
            return millivolts / 1e3, None if milliamperes is None else millivolts * milliamperes / 1e6
    return None, None


def read_board(read: Options) -> SysfsPower:
    """The board's options root, supply_min_v, battery, battery_input, battery_scale."""
    return SysfsPower(
        read.path("root", Path("/sys")), read_battery(read), read.number("supply_min_v", 0.0, 0.0, 60.0)
    )


def open_sysfs(options: Mapping[str, object]) -> SysfsPower:
    """Options: root, supply_min_v (0: not judged), battery (auto, none or a chip), battery_input, battery_scale."""
    read = Options("power sysfs", options)
    power = read_board(read)
    read.finish()
    return power
