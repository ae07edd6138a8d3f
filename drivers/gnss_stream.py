# SPDX-License-Identifier: Apache-2.0
"""A receiver whose messages come as a stream of bytes, whatever carries them and whatever language they are in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from drivers.gnss_time import heard
from drivers.pps import PULSE_UNCERTAINTY_US, Pulse
from drivers.types import Fix, GnssCounters

SOONEST_NS: Final = (
    50_000_000  # no receiver tells of a second sooner after its pulse: it told of the one before
)
NS_PER_S: Final = 1_000_000_000
US_PER_S: Final = 1_000_000


class Source(Protocol):
    """What carries the bytes."""

    def read(self) -> bytes:
        """What has arrived, at once; raises GnssLost."""

    def close(self) -> None:
        """Releases it; may be called twice."""


class Reader(Protocol):
    """What understands them; `latest` is None as soon as the receiver says that it has no fix."""

    latest: Fix | None
    counters: GnssCounters

    def feed(self, data: bytes) -> bool:
        """Takes bytes as they come; True when `latest` was set anew. Raises GnssLost when they say so."""


class StreamGnss:
    """Reads what has arrived whenever it is asked; it never waits. Ask it several times a second: a fix that may
    have lain there for long has a time that may be off by as much.
    """

    def __init__(
        self,
        source: Source,
        reader: Reader,
        max_age_s: float,
        pulse: Pulse | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._source, self._reader, self._pulse = source, reader, pulse
        self._max_age_ns, self._monotonic_ns = round(max_age_s * NS_PER_S), monotonic_ns
        self._asked_ns = self._fresh_ns = monotonic_ns()
        self._fix: Fix | None = None

    @property
    def counters(self) -> GnssCounters:
        """What became of the messages so far."""
        return self._reader.counters

    def fix(self) -> Fix | None:
        """The newest fix, None when there is none or it is older than `max_age_s`; raises GnssLost."""
        data = self._source.read()
        now_ns = self._monotonic_ns()
        fresh = self._reader.feed(data)
        latest = self._reader.latest
        if latest is None:
            self._fix = None
        elif fresh:
            self._fix, self._fresh_ns = self._timed(latest, now_ns), now_ns
        self._asked_ns = now_ns
        return self._fix if now_ns - self._fresh_ns <= self._max_age_ns else None

    def _timed(self, fix: Fix, now_ns: int) -> Fix:
        """The fix with the moment at which it was true: the pulse before its message, else a guess."""
        at_ns, uncertainty_us = heard(now_ns, self._asked_ns)
        pulse_ns = None if self._pulse is None else self._pulse.last_ns()
        whole_second = fix.time_us is not None and fix.time_us % US_PER_S == 0
        if pulse_ns is not None and whole_second and SOONEST_NS <= now_ns - pulse_ns < NS_PER_S:
            at_ns, uncertainty_us = pulse_ns, PULSE_UNCERTAINTY_US
        return replace(fix, monotonic_ns=at_ns, time_uncertainty_us=uncertainty_us)

    def close(self) -> None:
        """Releases what carries the bytes."""
        self._source.close()
