# SPDX-License-Identifier: Apache-2.0
"""Heat and supply of the board, as Linux shows them under /sys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from drivers.errors import PowerUnreadable
from drivers.options import Options
from drivers.types import PowerReading

MAX_SENSOR_BYTES: Final = 64  # bytes read of one sysfs value
UNDERVOLTAGE_BIT: Final = 0x1  # the Raspberry Pi firmware's get_throttled: now under-voltage
THROTTLED_BITS: Final = 0xE  # frequency capped, throttled, soft temperature limit: now


def _integer(path: Path, base: int = 10) -> int | None:
    try:
        with path.open("rb") as file:
            return int(file.read(MAX_SENSOR_BYTES).decode("ascii").strip(), base)
    except (OSError, ValueError):
        return None


class SysfsPower:
    """Reads thermal zones, the Pi's throttle word and the supply's low-voltage alarm."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _temperature_c(self) -> float | None:
        zones = (self._root / "class/thermal").glob("thermal_zone*/temp")
        values = [value for zone in zones if (value := _integer(zone)) is not None]
        return max(values) / 1000.0 if values else None  # sysfs has millidegrees

    def _throttle_word(self) -> int | None:
        for path in sorted(self._root.glob("devices/platform/soc*/soc*:firmware/get_throttled")):
            if (word := _integer(path, 16)) is not None:
                return word
        return None

    def _low_voltage_alarm(self) -> int | None:
        for path in sorted((self._root / "class/hwmon").glob("hwmon*/in0_lcrit_alarm")):
            if (alarm := _integer(path)) is not None:
                return alarm
        return None

    def _battery_v(self) -> float | None:
        for path in sorted((self._root / "class/power_supply").glob("*/voltage_now")):
            if (microvolts := _integer(path)) is not None:
                return microvolts / 1e6
        return None

    def reading(self) -> PowerReading:
        """All sensors that the board has; raises PowerUnreadable when it has none."""
        word, alarm = self._throttle_word(), self._low_voltage_alarm()
        under = bool(alarm) if alarm is not None else None
        if word is not None:
            under = bool(word & UNDERVOLTAGE_BIT) or bool(under)
        throttled = None if word is None else bool(word & THROTTLED_BITS)
        reading = PowerReading(self._temperature_c(), under, throttled, self._battery_v())
        if reading == PowerReading(None, None, None, None):
            raise PowerUnreadable(f"{self._root} has no temperature or supply sensor; use the driver 'none'")
        return reading


class NoPower:
    """A board without sensors."""

    def reading(self) -> PowerReading:
        """Nothing is known."""
        return PowerReading(None, None, None, None)


def open_sysfs(options: Mapping[str, object]) -> SysfsPower:
    """Options: root (default /sys)."""
    read = Options("power sysfs", options)
    root = read.path("root", Path("/sys"))
    read.finish()
    return SysfsPower(root)


def open_none(options: Mapping[str, object]) -> NoPower:
    """No sensors; it has no options."""
    Options("power none", options).finish()
    return NoPower()
