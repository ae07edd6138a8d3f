# SPDX-License-Identifier: Apache-2.0
"""The machine's own clocks."""

from __future__ import annotations

import time
from collections.abc import Mapping

from drivers.options import Options


class SystemClock:
    """Wall time as the system has it; whether to believe it is decided elsewhere."""

    def now_us(self) -> int:
        """Unix microseconds UTC."""
        return time.time_ns() // 1000

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back."""
        return time.monotonic_ns()


def open_system(options: Mapping[str, object]) -> SystemClock:
    """The system clock; it has no options."""
    Options("clock system", options).finish()
    return SystemClock()
