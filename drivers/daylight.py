# SPDX-License-Identifier: Apache-2.0
"""A photodiode behind an analogue converter that Linux shows as an industrial-IO device, and the pole without one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from drivers.errors import DaylightUnreadable
from drivers.options import Options

MAX_VALUE_BYTES: Final = 64  # bytes read of the converter's file
FRESH_S: Final = 1.0  # dusk takes minutes: the converter is asked once a second at most


class IioDaylight:
    """Reads one channel's file: illuminance = (value - dark) * lux_per_unit, never below 0."""

    def __init__(
        self, path: Path, lux_per_unit: float, dark: float, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._path, self._lux_per_unit, self._dark = path, lux_per_unit, dark
        self._monotonic_s = monotonic_s
        self._read: tuple[float, float] | None = None

    def lux(self) -> float:
        """Illuminance, at most FRESH_S old; raises DaylightUnreadable."""
        now_s = self._monotonic_s()
        if self._read is None or now_s - self._read[0] >= FRESH_S:
            self._read = (now_s, max(0.0, (self._value() - self._dark) * self._lux_per_unit))
        return self._read[1]

    def _value(self) -> float:
        try:
            with self._path.open("rb") as file:
                value = float(file.read(MAX_VALUE_BYTES).decode("ascii").strip())
        except (OSError, ValueError) as error:
            raise DaylightUnreadable(f"{self._path} gives no number ({type(error).__name__})") from error
        if not math.isfinite(value):
            raise DaylightUnreadable(f"{self._path} gives no number")
        return value

    def close(self) -> None:
        """Nothing to release."""


class NoDaylight:
    """No photodiode: day and night are told from the picture."""

    def lux(self) -> None:
        """Nothing is known."""

    def close(self) -> None:
        """Nothing to release."""


def open_iio(options: Mapping[str, object]) -> IioDaylight:
    """Options: path (e.g. /sys/bus/iio/devices/iio:device0/in_illuminance_input), lux_per_unit, dark (value at 0 lux).

    Raises DaylightUnreadable when the file is not there.
    """
    read = Options("daylight iio", options)
    device = IioDaylight(
        read.path("path"),
        read.number("lux_per_unit", 1.0, 1e-6, 1e6),
        read.number("dark", 0.0, -1e9, 1e9),
    )
    read.finish()
    device.lux()
    return device


def open_none(options: Mapping[str, object]) -> NoDaylight:
    """No photodiode; it has no options."""
    Options("daylight none", options).finish()
    return NoDaylight()
