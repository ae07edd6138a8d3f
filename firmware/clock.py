# SPDX-License-Identifier: Apache-2.0
"""The device's one clock: it says what time it is, how sure it is, and which sources agree.

Sources: GNSS and the office (offers); the system clock, called `ntp` while the kernel says that it is steered, else
`system` (at the start that is the battery clock). GNSS is the most precise, the office the one that nobody can forge.

1. The monotonic clock carries the time between sources.
2. At the start the system clock is followed if it is later than the last confirmed time: *unconfirmed*. A clock that
   was never set starts from the last time that was known: *unset*.
3. The first offer (or a steered system clock) sets such a time, even backwards: nothing was decided by it. It is then
   *claimed* by that source. A claim is moved by its own source, by one that is trusted more, and by two that agree.
4. A time that two sources agree on is *confirmed*. It never goes back, also not over a restart, and it leaps forward
   only to what two sources agree on: a forged GNSS alone moves nothing.
5. Within the seconds by which sources agree, a source that is surer than we are steers: forward at once, back by
   running slower; only as far as our own doubt and the other sources allow, and alone no further than WALK_US in all.
6. The doubt is that of the source that steered last, grown by the crystal's drift since, and never less than what the
   sources differ by.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from drivers.clock import EARLIEST_US, KernelTime, kernel_time
from firmware.time_offer import NS_PER_US, PPM, TimeOffer, drifted, read_offer, write_offer
from storage.atomic import write_atomic
from storage.believed_time import TimeEvidence

__all__ = ["ClockState", "DeviceClock", "Grade", "TimeOffer", "read_offer", "write_offer"]

AGREEMENT_US: Final = 5_000_000  # sources closer than this agree
COARSE_US: Final = 600_000_000  # ... and closer than this for what only asks for the hour
WALK_US: Final = (
    AGREEMENT_US  # one source alone steers no further until another agrees: it could walk anywhere
)
UNSTEERED_UNCERTAINTY_US: Final = 60_000_000  # a battery clock after weeks on a shelf
UNSET_UNCERTAINTY_US: Final = 86_400_000_000
OFFER_MAX_AGE_NS: Final = 3_600_000_000_000
SLOWER_PPM: Final = 50_000  # how much slower time runs while it is ahead: it loses a second in twenty
RANK: Final = ("gnss", "office", "ntp", "system")  # by precision
TRUST: Final = {"office": 2, "gnss": 1, "ntp": 1}  # whose word corrects whose claim


class Grade(IntEnum):
    """How far the time may be believed."""

    UNSET = 0
    UNCONFIRMED = 1
    CLAIMED = 2
    CONFIRMED = 3


@dataclass(frozen=True, slots=True)
class ClockState:
    """For a person: the grade, and by how much (µs) each source that contradicts is ahead of us."""

    grade: Grade
    contradicting: dict[str, int]
    evidence: TimeEvidence


class DeviceClock:
    """Thread-safe; `floor_path` keeps the last known time over a power cut.

    `kernel` says whether the system clock is steered; nothing steers one that is given as `system_us`.
    """

    def __init__(
        self,
        floor_path: Path,
        *,
        system_us: Callable[[], int] | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        kernel: Callable[[], KernelTime | None] | None = None,
    ) -> None:
        self._floor_path = floor_path
        self._system_us = system_us or (lambda: time.time_ns() // NS_PER_US)
        self._monotonic_ns = monotonic_ns
        self._kernel = kernel or (kernel_time if system_us is None else lambda: None)
        self._lock = threading.Lock()
        self._offers: dict[str, TimeOffer] = {}
        self._confirmed_us, last_us = _read_floor(floor_path)
        system = self._system_us()
        was_set = system >= max(EARLIEST_US, self._confirmed_us)
        self._grade = Grade.UNCONFIRMED if was_set else Grade.UNSET
        self._claimed_by = ""
        self._anchor_us = system if was_set else max(self._confirmed_us, last_us, EARLIEST_US)
        self._anchor_ns = self._sure_ns = monotonic_ns()
        self._ahead_us = 0  # what is still to be lost by running slower
        self._walked_us = 0
        self._sure_us = UNSET_UNCERTAINTY_US

    def now_us(self) -> int:
        """Unix microseconds, UTC; never less than an earlier confirmed answer."""
        with self._lock:
            return self._now()

    def to_wall_us(self, monotonic_ns: int) -> int:
        """The time of something that happened at `monotonic_ns` (a frame's exposure)."""
        with self._lock:
            now = self._now()
            return now - (self._anchor_ns - monotonic_ns) // NS_PER_US

    def offer(self, offer: TimeOffer) -> None:
        """Takes what another source says; what is too old, too vague or before any device of ours is passed over."""
        with self._lock:
            self._now()
            said, doubt = offer.at(self._anchor_ns), offer.doubt_at(self._anchor_ns)
            if said >= EARLIEST_US and 0 <= doubt <= AGREEMENT_US and self._is_fresh(offer):
                self._offers[offer.source] = offer
                self._hear(offer.source, said, doubt)

    def evidence(self) -> TimeEvidence:
        """The time, its uncertainty and the sources that agree on it."""
        with self._lock:
            return self._evidence(self._now())

    def coarse_evidence(self) -> TimeEvidence:
        """The same for deletion, which asks for hours: sources that agree within minutes, and by how much they differ.

        A battery clock is a minute off after weeks without power, and yet says as a second source that they passed.
        """
        with self._lock:
            now = self._now()
            apart = {source: abs(at - now) for source, (at, _) in self._witnesses().items()}
            near = {source: by for source, by in apart.items() if by <= COARSE_US}
            doubt = max(self._evidence(now).uncertainty_us, *near.values(), 0)
            return TimeEvidence(now_us=now, uncertainty_us=doubt, sources=tuple(near))

    def state(self) -> ClockState:
        """The grade, and who contradicts."""
        with self._lock:
            now = self._now()
            apart = {source: at - now for source, (at, _) in self._witnesses().items()}
            others = {source: us for source, us in apart.items() if abs(us) > AGREEMENT_US}
            return ClockState(self._grade, others, self._evidence(now))

    def persist(self) -> None:
        """Writes the last time and the last confirmed one; called every so often and at the end."""
        with self._lock:
            now = self._now()
            if self._grade is Grade.CONFIRMED:
                self._confirmed_us = max(self._confirmed_us, now)
            floor = {"confirmed_us": self._confirmed_us, "last_us": now}
        write_atomic(self._floor_path, json.dumps(floor).encode())

    def _now(self) -> int:
        """Moves the anchor on by the monotonic clock, and hears the system clock where that can matter."""
        elapsed_us = (self._monotonic_ns() - self._anchor_ns) // NS_PER_US
        lost_us = min(self._ahead_us, elapsed_us * SLOWER_PPM // PPM)
        self._ahead_us -= lost_us
        self._anchor_us += elapsed_us - lost_us
        self._anchor_ns += elapsed_us * NS_PER_US
        system = self._system_us()
        agrees = abs(system - self._anchor_us) <= AGREEMENT_US
        if system >= EARLIEST_US and (self._grade < Grade.CLAIMED or not agrees or not self._offered()):
            self._hear(*self._system(system))
        return self._anchor_us

    def _system(self, at_us: int) -> tuple[str, int, int]:
        """What the system clock counts as, its time and uncertainty."""
        kernel = self._kernel()
        if kernel is None or not kernel.synchronised:
            return "system", at_us, UNSTEERED_UNCERTAINTY_US
        return "ntp", at_us, kernel.max_error_us

    def _is_fresh(self, offer: TimeOffer) -> bool:
        return 0 <= self._anchor_ns - offer.monotonic_ns <= OFFER_MAX_AGE_NS

    def _offered(self) -> dict[str, tuple[int, int]]:
        """What the fresh offers say now: (Unix µs, how far off, µs)."""
        at = self._anchor_ns
        return {name: (it.at(at), it.doubt_at(at)) for name, it in self._offers.items() if self._is_fresh(it)}

    def _witnesses(self) -> dict[str, tuple[int, int]]:
        """The same with the system clock, the most precise first."""
        said = self._offered()
        source, at, uncertainty = self._system(self._system_us())
        if at >= EARLIEST_US:
            said[source] = (at, uncertainty)
        order = [*RANK, *sorted(set(said) - set(RANK))]
        return {source: said[source] for source in order if source in said}

    def _hear(self, source: str, said: int, uncertainty_us: int) -> None:
        """Takes one source's word by the rules of this module."""
        backers = {
            other: witness
            for other, witness in self._witnesses().items()
            if other != source and abs(witness[0] - said) <= AGREEMENT_US
        }
        if source == "system" and not backers:
            if self._grade < Grade.CLAIMED and said > self._anchor_us:
                self._anchor_us, self._grade = said, Grade.UNCONFIRMED
            return
        if self._grade < Grade.CLAIMED or abs(said - self._anchor_us) > AGREEMENT_US:
            surest = min([(said, uncertainty_us), *backers.values()], key=lambda witness: witness[1])
            if not self._may_leap(source, surest[0], backed=bool(backers)):
                return
            self._leap(*surest)
            self._claimed_by = source
        elif source != "system":
            self._steer(said, uncertainty_us, backed=bool(set(backers) - {"system"}))
        self._grade = Grade.CONFIRMED if backers else max(self._grade, Grade.CLAIMED)
        if self._grade is Grade.CONFIRMED:
            self._confirmed_us = max(self._confirmed_us, self._anchor_us)

    def _may_leap(self, source: str, to_us: int, *, backed: bool) -> bool:
        """Rules 3 and 4."""
        if to_us < self._confirmed_us - AGREEMENT_US:
            return False
        if self._grade is Grade.CONFIRMED:
            return backed and to_us > self._anchor_us
        trusted = TRUST.get(source, 0) > TRUST.get(self._claimed_by, 0)
        return self._grade < Grade.CLAIMED or backed or source == self._claimed_by or trusted

    def _leap(self, to_us: int, uncertainty_us: int) -> None:
        self._anchor_us, self._ahead_us, self._walked_us = max(to_us, self._confirmed_us), 0, 0
        self._sure_us, self._sure_ns = uncertainty_us, self._anchor_ns

    def _steer(self, said: int, uncertainty_us: int, *, backed: bool) -> None:
        """Rule 5: towards a source that agrees and is surer than we are."""
        error, doubt = said - self._anchor_us, self._doubt()
        if backed:
            self._walked_us = 0
        if abs(error) + uncertainty_us < doubt:
            self._sure_us, self._sure_ns = abs(error) + uncertainty_us, self._anchor_ns
        within = uncertainty_us < abs(error) <= doubt + uncertainty_us and uncertainty_us < doubt
        if not within or self._walked_us + abs(error) > WALK_US or not self._bearable(said, uncertainty_us):
            return
        self._walked_us += abs(error)
        self._anchor_us += max(0, error)
        self._ahead_us = max(0, -error)
        self._sure_us, self._sure_ns = uncertainty_us, self._anchor_ns

    def _bearable(self, said: int, uncertainty_us: int) -> bool:
        """Whether no other fresh offer contradicts a time, each within its own doubt."""
        apart = ((abs(at - said), doubt) for at, doubt in self._offered().values())
        return all(by <= doubt + uncertainty_us for by, doubt in apart if by <= AGREEMENT_US)

    def _doubt(self) -> int:
        """How far off the time may be by the source that steered it last, µs."""
        return self._sure_us + drifted(self._sure_ns, self._anchor_ns) + self._ahead_us

    def _evidence(self, now: int) -> TimeEvidence:
        witnesses = self._witnesses()
        agreeing = {source: pair for source, pair in witnesses.items() if abs(pair[0] - now) <= AGREEMENT_US}
        differ = max((abs(at - now) - doubt for at, doubt in agreeing.values()), default=0)
        unsure = {Grade.UNSET: UNSET_UNCERTAINTY_US, Grade.UNCONFIRMED: UNSTEERED_UNCERTAINTY_US}
        doubt = unsure.get(self._grade, min(UNSET_UNCERTAINTY_US, max(self._doubt(), differ)))
        return TimeEvidence(now_us=now, uncertainty_us=doubt, sources=tuple(agreeing))


def _read_floor(path: Path) -> tuple[int, int]:
    """(last confirmed, last) time, 0 where there is none (or it can't be read: the clock then asks its sources)."""
    try:
        raw = json.loads(path.read_bytes())
        confirmed, last = raw["confirmed_us"], raw["last_us"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0, 0
    sound = isinstance(confirmed, int) and isinstance(last, int) and min(confirmed, last) >= 0
    return (confirmed, last) if sound else (0, 0)
