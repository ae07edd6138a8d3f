# SPDX-License-Identifier: Apache-2.0
"""The device's one clock: it never goes back, starts no earlier than it last knew, and says how sure it is and why.

Sources, best first: GNSS, the office's signed-in time, the system clock. The system clock carries the time between
sources; when it is set back the device's time goes on at the monotonic clock's pace until the system has caught up.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storage.atomic import write_atomic
from storage.believed_time import TimeEvidence

EARLIEST_US = 1_767_225_600_000_000  # 2026-01-01: no device of ours is older; a clock before it was never set
AGREEMENT_US = 5_000_000  # sources closer than this agree
SYSTEM_UNCERTAINTY_US = 100_000
UNSET_UNCERTAINTY_US = 86_400_000_000
OFFER_MAX_AGE_NS = 3_600_000_000_000
NS_PER_US = 1_000


@dataclass(frozen=True, slots=True)
class TimeOffer:
    """What another source said the time was, and when on the monotonic clock it said so."""

    source: str
    at_us: int
    monotonic_ns: int
    uncertainty_us: int


class DeviceClock:
    """Thread-safe; `floor_path` keeps the last known time over a power cut."""

    def __init__(
        self,
        floor_path: Path,
        *,
        system_us: Callable[[], int] = lambda: time.time_ns() // NS_PER_US,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._floor_path = floor_path
        self._system_us = system_us
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._offers: dict[str, TimeOffer] = {}
        self._anchor_us = max(_read_floor(floor_path), EARLIEST_US)
        self._anchor_ns = monotonic_ns()

    def now_us(self) -> int:
        """Unix microseconds, UTC; never less than an earlier answer."""
        with self._lock:
            return self._now()

    def _now(self) -> int:
        mono = self._monotonic_ns()
        carried = self._anchor_us + (mono - self._anchor_ns) // NS_PER_US
        now = max(carried, self._system_us())
        self._anchor_us, self._anchor_ns = now, mono
        return now

    def to_wall_us(self, monotonic_ns: int) -> int:
        """The time of something that happened at `monotonic_ns` (a frame's exposure)."""
        with self._lock:
            now = self._now()
            return now - (self._anchor_ns - monotonic_ns) // NS_PER_US

    def offer(self, offer: TimeOffer) -> None:
        """Notes what another source says; it bears on certainty, and never turns the clock back."""
        with self._lock:
            self._offers[offer.source] = offer

    def evidence(self) -> TimeEvidence:
        """The time, its uncertainty and the sources that agree on it: what retention decides by."""
        with self._lock:
            now = self._now()
            mono = self._monotonic_ns()
            sources, uncertainty = [], UNSET_UNCERTAINTY_US
            if abs(self._system_us() - now) <= AGREEMENT_US and now > EARLIEST_US:
                sources.append("system")
                uncertainty = SYSTEM_UNCERTAINTY_US
            for offer in self._offers.values():
                age_ns = mono - offer.monotonic_ns
                if not 0 <= age_ns <= OFFER_MAX_AGE_NS:
                    continue
                if abs(offer.at_us + age_ns // NS_PER_US - now) <= AGREEMENT_US:
                    sources.append(offer.source)
                    uncertainty = min(uncertainty, offer.uncertainty_us)
        return TimeEvidence(now_us=now, uncertainty_us=uncertainty, sources=tuple(sources))

    def persist(self) -> None:
        """Writes the floor; called every so often and at the end."""
        write_atomic(self._floor_path, json.dumps({"floor_us": self.now_us()}).encode())


def _read_floor(path: Path) -> int:
    """The last persisted time, or 0 where there is none (or it can't be read: the clock then asks its sources)."""
    try:
        floor = json.loads(path.read_bytes())["floor_us"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return floor if isinstance(floor, int) and floor >= 0 else 0


def write_offer(path: Path, offer: TimeOffer) -> None:
    """How the sync service hands the office's time to the eye (both share the machine's monotonic clock)."""
    document = {"source": offer.source, "at_us": offer.at_us, "monotonic_ns": offer.monotonic_ns}
    write_atomic(path, json.dumps({**document, "uncertainty_us": offer.uncertainty_us}).encode())


def read_offer(path: Path) -> TimeOffer | None:
    """The offer in `path`, or None where there is none or it is damaged."""
    try:
        raw = json.loads(path.read_bytes())
        return TimeOffer(
            str(raw["source"]), int(raw["at_us"]), int(raw["monotonic_ns"]), int(raw["uncertainty_us"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
