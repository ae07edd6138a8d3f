# SPDX-License-Identifier: Apache-2.0
"""A simulated clock: moved by hand, or running with an offset."""

from __future__ import annotations

import time
from collections.abc import Mapping

from drivers.options import Options


class SimClock:
    """Wall and monotonic time that only move when told, or run when `running`."""

    def __init__(self, start_us: int, *, running: bool) -> None:
        self._running = running
        self._base_us, self._base_ns = start_us, time.monotonic_ns()
        self._advanced_us = 0

    def _elapsed_us(self) -> int:
        ran = (time.monotonic_ns() - self._base_ns) // 1000 if self._running else 0
        return ran + self._advanced_us

    def now_us(self) -> int:
        """Unix microseconds UTC."""
        return self._base_us + self._elapsed_us()

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back, whatever the wall clock does."""
        return self._base_ns + self._elapsed_us() * 1000

    def advance(self, seconds: float) -> None:
        """Time passes; raises ValueError backwards."""
        if seconds < 0.0:
            raise ValueError("time passes forwards; use jump() for the wall clock")
        self._advanced_us += round(seconds * 1e6)

    def jump(self, seconds: float) -> None:
        """The wall clock is set to another time, forwards or back."""
        self._base_us += round(seconds * 1e6)


def open_sim(options: Mapping[str, object]) -> SimClock:
    """Options: start_us (default now), running."""
    read = Options("clock sim", options)
    start_us, running = read.optional("start_us", 0, 4e15), read.flag("running", default=True)
    read.finish()
    return SimClock(time.time_ns() // 1000 if start_us is None else int(start_us), running=running)
