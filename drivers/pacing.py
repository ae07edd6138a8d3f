# SPDX-License-Identifier: Apache-2.0
"""When a frame of a played or simulated source is due, and which times a frame carries."""

from __future__ import annotations

import time
from typing import Final

OLDEST_NS: Final = 10_000_000_000  # ns; a driver's timestamp further away is not believed


def moment(told_ns: int | None) -> tuple[int, int]:
    """Unix microseconds and monotonic nanoseconds of a frame whose driver told a monotonic time, or none."""
    now_ns = time.monotonic_ns()
    at_ns = now_ns if told_ns is None or not 0 <= now_ns - told_ns < OLDEST_NS else told_ns
    return (time.time_ns() - (now_ns - at_ns)) // 1000, at_ns


class Pacer:
    """Real time from the first question on, or as fast as the caller asks; `fps` spaces frames that are counted."""

    def __init__(self, fps: float, *, real_time: bool, start_us: int | None) -> None:
        self._fps, self._real_time = fps, real_time
        self._start_us = start_us
        self._start_ns: int | None = None

    def _begin(self) -> int:
        if self._start_ns is None:
            self._start_ns = time.monotonic_ns()
            if self._start_us is None:
                self._start_us = time.time_ns() // 1000
        return self._start_ns

    def wait_s(self, offset_s: float) -> float:
        """Seconds until what lies `offset_s` after the start is due; 0.0 when it is late or there is no pace."""
        begun = self._begin()
        if not self._real_time:
            return 0.0
        return max(0.0, offset_s - (time.monotonic_ns() - begun) / 1e9)

    def at(self, offset_s: float) -> tuple[int, int]:
        """Unix microseconds and monotonic nanoseconds of what lies `offset_s` after the start."""
        begun = self._begin()
        return (self._start_us or 0) + int(offset_s * 1e6), begun + int(offset_s * 1e9)

    def due_in_s(self, index: int) -> float:
        """Seconds until frame `index` is due; 0.0 when it is late or there is no pace."""
        return self.wait_s(index / self._fps)

    def latest(self) -> int:
        """The index of the newest frame that is due; 0 without a pace, when every frame is taken in turn."""
        if not self._real_time:
            return 0
        return int((time.monotonic_ns() - self._begin()) / 1e9 * self._fps)

    def stamp(self, index: int) -> tuple[int, int]:
        """Unix microseconds and monotonic nanoseconds at which frame `index` was exposed."""
        return self.at(index / self._fps)
