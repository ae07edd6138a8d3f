# SPDX-License-Identifier: Apache-2.0
"""A clock that only moves when it is told, in the place of the `time` module's: a day passes in minutes."""

from __future__ import annotations

import time


class SoakClock:
    """`install` before anything of ours is imported; CPU and performance counters stay real."""

    def __init__(self) -> None:
        self._wall_ns, self._monotonic_ns = time.time_ns(), time.monotonic_ns()
        self._passed_ns = 0

    @property
    def hours(self) -> float:
        """How long it has run."""
        return self._passed_ns / 3.6e12

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self._passed_ns += max(0, round(seconds * 1e9))

    def wall_ns(self) -> int:
        """Unix nanoseconds."""
        return self._wall_ns + self._passed_ns

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back."""
        return self._monotonic_ns + self._passed_ns

    def install(self) -> None:
        """From now on this process lives by this clock."""
        time.time_ns = self.wall_ns
        time.time = lambda: self.wall_ns() / 1e9
        time.monotonic_ns = self.monotonic_ns
        time.monotonic = lambda: self.monotonic_ns() / 1e9
        time.sleep = self.advance
        real = time.clock_gettime_ns
        time.clock_gettime_ns = lambda which: (
            self.monotonic_ns() if which == time.CLOCK_BOOTTIME else real(which)
        )
