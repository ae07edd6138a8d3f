# SPDX-License-Identifier: Apache-2.0
"""A thermometer under /sys that may be slow, hang or be broken: whoever asks gets the newest value and never waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from drivers.sysfs import Sensors

EVERY_S: Final = 1.0  # a DS18B20 takes 0.75 s for one value
FIRST_S: Final = 1.5  # how long the first value is waited for, when the lamp is opened
STALE_S: Final = 5.0  # an older value is none: the sensor hangs


class SlowThermometer:
    """Call it for degrees Celsius, None while there is no fresh value. A thread of its own does each reading."""

    def __init__(
        self, read: Callable[[], float | None], monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._read, self._monotonic_s = read, monotonic_s
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None
        self._begun_s = 0.0
        self._value: tuple[float, float | None] | None = None  # since when it holds, and what was read

    def __call__(self) -> float | None:
        """The newest value, if it is fresh; has a new one read when it is time."""
        now_s = self._monotonic_s()
        with self._lock:
            self._begin(now_s)
            value = self._value
        return None if value is None or now_s - value[0] > STALE_S else value[1]

    def _begin(self, now_s: float) -> None:
        first, alive = self._reader is None, self._reader is not None and self._reader.is_alive()
        if alive or (not first and now_s - self._begun_s < EVERY_S):
            return
        reader = threading.Thread(target=self._look, args=(now_s,), name="thermometer", daemon=True)
        try:
            reader.start()
        except RuntimeError:  # no thread to be had: the value gets old
            return
        self._reader, self._begun_s = reader, now_s
        if first:
            reader.join(FIRST_S)

    def _look(self, begun_s: float) -> None:
        self._value = (begun_s, self._read())


def millidegrees(path: Path) -> Callable[[], float | None]:
    """Reads a file of sysfs that holds thousandths of a degree Celsius."""

    def read() -> float | None:
        value = Sensors(path.parent).number(path)
        return None if value is None else value / 1000.0

    return read
