# SPDX-License-Identifier: Apache-2.0
"""The machine's own clocks, and what the kernel says of them."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from drivers.options import Options

EARLIEST_US: Final = (
    1_767_225_600_000_000  # 2026-01-01: no device of ours is older; a time before it was never set
)
STA_UNSYNC: Final = 0x40  # <sys/timex.h>: nothing steers the system clock
TIMEX_REST_BYTES: Final = 256  # more than what follows `status` in any kernel's struct timex


@dataclass(frozen=True, slots=True)
class KernelTime:
    """What the kernel says of the system clock: whether NTP or PPS steers it, and how far off it may be at most."""

    synchronised: bool
    max_error_us: int


class _Timex(ctypes.Structure):
    """The head of `struct timex` on 64-bit Linux; modes 0 only asks."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * TIMEX_REST_BYTES),
    )


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def kernel_time() -> KernelTime | None:
    """Asks `ntp_adjtime(3)`; None where there is no such call."""
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    timex = _Timex()
    if _libc().ntp_adjtime(ctypes.byref(timex)) < 0:
        return None
    return KernelTime(not timex.status & STA_UNSYNC, int(timex.maxerror))


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
