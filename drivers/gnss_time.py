# SPDX-License-Identifier: Apache-2.0
"""Dates of receivers that have lost count of the weeks, and when a fix was true on our own clock. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from drivers.clock import EARLIEST_US

WEEK_ROLLOVER_US: Final = (
    1024 * 7 * 86_400 * 1_000_000
)  # GPS counts weeks in ten bits (IS-GPS-200, 20.3.3.3.1.1)
MAX_ROLLOVERS: Final = 2  # older than that (a date from 1980) it is no rollover but a receiver without a date
MESSAGE_DELAY_US: Final = 400_000  # a receiver tells of a second while it runs: so long after, give or take
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Dated:
    """`time_us` as it must be meant, None where that can't be told; `rollovers` it is behind (0: not at all)."""

    time_us: int | None
    rollovers: int


def utc_us(year: int, month: int, day: int, clock: tuple[int, int, int], fraction: str) -> int:
    """Unix microseconds of a UTC date, (hours, minutes, seconds) and the digits after the point; raises ValueError.

    Unix time has no leap seconds: 23:59:60 is the first second of the next day.
    """
    leap = clock == (23, 59, 60)
    hours, minutes, seconds = (23, 59, 59) if leap else clock
    when = datetime(year, month, day, hours, minutes, seconds, tzinfo=UTC)
    fraction_us = int(fraction.ljust(6, "0")[:6])
    return (when - EPOCH) // timedelta(microseconds=1) + fraction_us + 1_000_000 * leap


def dated(time_us: int) -> Dated:
    """A receiver's Unix µs, moved forward by whole rollovers until no device of ours is younger than it."""
    behind = max(0, -((time_us - EARLIEST_US) // WEEK_ROLLOVER_US))
    return Dated(None if behind > MAX_ROLLOVERS else time_us + behind * WEEK_ROLLOVER_US, behind)


def heard(now_ns: int, asked_before_ns: int) -> tuple[int, int]:
    """(monotonic ns of the fix, its uncertainty µs) of a message found now that was not there when last asked."""
    return now_ns - MESSAGE_DELAY_US * 1000, MESSAGE_DELAY_US + max(0, now_ns - asked_before_ns) // 1000
