# SPDX-License-Identifier: Apache-2.0
"""The device's one clock: it says what time it is, how sure it is, and which sources agree.

Sources, best first: GNSS and the office (offers, each authenticated by its own link), then the system clock.
- The monotonic clock carries the time between sources; the time never goes back once it is confirmed.
- At the start the system clock is followed if it is later than the last confirmed time; before any offer this time
  is *unconfirmed*. A clock that was never set starts from the last time that was known.
- An offer confirms the time it agrees with. An unconfirmed time that a fresh offer contradicts is corrected, even
  backwards: nothing was decided by it.
- Once confirmed, a jump of the system clock is followed only when an offer agrees with it.
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
BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class TimeOffer:
    """What another source said the time was, and when on the monotonic clock it said so."""

    source: str
    at_us: int
    monotonic_ns: int
    uncertainty_us: int

    def at(self, monotonic_ns: int) -> int:
        """What the source would say at another moment, Unix µs."""
        return self.at_us + (monotonic_ns - self.monotonic_ns) // NS_PER_US


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
        self._confirmed_us, last_us = _read_floor(floor_path)
        self._confirmed = False
        system = system_us()
        was_set = system >= max(EARLIEST_US, self._confirmed_us)
        self._anchor_us = system if was_set else max(self._confirmed_us, last_us, EARLIEST_US)
        self._anchor_ns = monotonic_ns()

    def now_us(self) -> int:
        """Unix microseconds, UTC; never less than an earlier confirmed answer."""
        with self._lock:
            return self._now()

    def _now(self) -> int:
        mono = self._monotonic_ns()
        now = self._anchor_us + (mono - self._anchor_ns) // NS_PER_US
        system = self._system_us()
        ahead = system - now
        followed = ahead > 0 and (ahead <= AGREEMENT_US or not self._confirmed or self._offered(system, mono))
        self._anchor_us, self._anchor_ns = (system if followed else now), mono
        return self._anchor_us

    def _offered(self, at_us: int, mono: int) -> bool:
        """Whether a fresh offer agrees with a time."""
        return any(abs(offer.at(mono) - at_us) <= AGREEMENT_US for offer in self._fresh(mono))

    def _fresh(self, mono: int) -> list[TimeOffer]:
        return [
            offer for offer in self._offers.values() if 0 <= mono - offer.monotonic_ns <= OFFER_MAX_AGE_NS
        ]

    def to_wall_us(self, monotonic_ns: int) -> int:
        """The time of something that happened at `monotonic_ns` (a frame's exposure)."""
        with self._lock:
            now = self._now()
            return now - (self._anchor_ns - monotonic_ns) // NS_PER_US

    def offer(self, offer: TimeOffer) -> None:
        """Takes what another source says: confirms the time, or corrects one that nothing confirmed."""
        with self._lock:
            now = self._now()
            said = offer.at(self._anchor_ns)
            if said < EARLIEST_US or not 0 <= self._anchor_ns - offer.monotonic_ns <= OFFER_MAX_AGE_NS:
                return
            self._offers[offer.source] = offer
            system_agrees = abs(self._system_us() - said) <= AGREEMENT_US
            if abs(said - now) > AGREEMENT_US:
                if self._confirmed and not (said > now and system_agrees):
                    return
                self._anchor_us = max(said, self._confirmed_us)
            self._confirmed = True
            self._confirmed_us = max(self._confirmed_us, self._anchor_us)

    def evidence(self) -> TimeEvidence:
        """The time, its uncertainty and the sources that agree on it: what retention decides by."""
        with self._lock:
            now = self._now()
            mono = self._anchor_ns
            sources, uncertainty = [], UNSET_UNCERTAINTY_US
            if abs(self._system_us() - now) <= AGREEMENT_US and now > EARLIEST_US:
                sources.append("system")
                uncertainty = SYSTEM_UNCERTAINTY_US
            for offer in self._fresh(mono):
                if abs(offer.at(mono) - now) <= AGREEMENT_US:
                    sources.append(offer.source)
                    uncertainty = min(uncertainty, offer.uncertainty_us)
        return TimeEvidence(now_us=now, uncertainty_us=uncertainty, sources=tuple(sources))

    def persist(self) -> None:
        """Writes the last time and the last confirmed one; called every so often and at the end."""
        with self._lock:
            now = self._now()
            if self._confirmed:
                self._confirmed_us = max(self._confirmed_us, now)
            floor = {"confirmed_us": self._confirmed_us, "last_us": now}
        write_atomic(self._floor_path, json.dumps(floor).encode())


def _read_floor(path: Path) -> tuple[int, int]:
    """(last confirmed, last) time, 0 where there is none (or it can't be read: the clock then asks its sources)."""
    try:
        raw = json.loads(path.read_bytes())
        confirmed, last = raw["confirmed_us"], raw["last_us"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0
    sound = isinstance(confirmed, int) and isinstance(last, int) and min(confirmed, last) >= 0
    return (confirmed, last) if sound else (0, 0)


def boot_id() -> str:
    """Names this boot of the machine: offers of an earlier boot have another monotonic clock."""
    try:
        return BOOT_ID_FILE.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def write_offer(path: Path, offer: TimeOffer) -> None:
    """How the sync service hands the office's time to the eye (both share the machine's monotonic clock)."""
    document = {
        "source": offer.source,
        "at_us": offer.at_us,
        "monotonic_ns": offer.monotonic_ns,
        "boot": boot_id(),
    }
    write_atomic(path, json.dumps({**document, "uncertainty_us": offer.uncertainty_us}).encode())


def read_offer(path: Path) -> TimeOffer | None:
    """The offer in `path`, or None where there is none, it is of another boot, or it is damaged."""
    try:
        raw = json.loads(path.read_bytes())
        if raw["boot"] != boot_id():
            return None
        return TimeOffer(
            str(raw["source"]), int(raw["at_us"]), int(raw["monotonic_ns"]), int(raw["uncertainty_us"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
