# SPDX-License-Identifier: Apache-2.0
"""The eye's watch for listed plates: the lists as installed, the matcher over them, and the ring for late lists."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from sync.errors import SyncError
from sync.hotlists.listfile import HotList
from sync.hotlists.match import Match, Matcher
from sync.hotlists.policy import MatchPolicy
from sync.schema import HitRecord, ReadRecord, hit_id

US_PER_HOUR = 3_600_000_000

log = structlog.get_logger(__name__)


class Watch:
    """Matches reads against the lists; `refresh` loads new versions and looks back over the reads in RAM.

    The ring of past reads lives in RAM alone and is gone with the power. No read stays in it for longer than
    `ring_hours`, or than the agency's retention where that is shorter (`retention_s`, asked each time).
    """

    def __init__(
        self,
        load: Callable[[], Sequence[HotList]],
        generation: Callable[[], object],
        policy: MatchPolicy,
        *,
        ring_reads: int,
        ring_hours: int,
        retention_s: Callable[[], float] = lambda: float("inf"),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._generation = generation
        self._policy = policy
        self._seen: object = None
        self._ring: deque[tuple[float, ReadRecord]] = deque(maxlen=ring_reads)  # with when it came
        self._ring_us = ring_hours * US_PER_HOUR
        self._retention_s = retention_s
        self._monotonic = monotonic
        self._lock = threading.Lock()  # the ring and the matcher change together
        self._matcher = Matcher([], policy)
        self.lists: Sequence[HotList] = ()

    def refresh(self, now_us: int) -> list[HitRecord]:
        """Loads the lists if they changed; returns the hits of reads that came before them. Old reads are forgotten."""
        self._forget_old()
        generation = self._generation()
        if generation == self._seen:
            return []
        try:
            lists = self._load()
        except SyncError as error:
            log.error("lists_unreadable", reason=str(error))
            self._seen = generation  # the lists in use stay in use; the next version is tried again
            return []
        matcher = Matcher(lists, self._policy)
        with self._lock:
            self._seen, self.lists, self._matcher = generation, lists, matcher
            ring = [read for _, read in self._ring]
        log.info("lists_loaded", lists=len(lists), entries=sum(len(hot.entries) for hot in lists))
        recent = [read for read in ring if now_us - read.captured_us <= self._ring_us]
        return [hit for read in recent for hit in self.hits_of(read, b"", now_us)]

    def listed(self, text: str, state: str | None, now_us: int) -> bool:
        """Whether anything in the lists matches (cheap: no pictures are made for plates that nobody looks for)."""
        return bool(self._matcher.match(text, state, now_us=now_us))

    def remember(self, read: ReadRecord) -> None:
        """Keeps a read for lists that arrive late."""
        with self._lock:
            self._ring.append((self._monotonic(), read))

    def _forget_old(self) -> None:
        """By the clock that nobody sets: a device without the time must not keep reads for longer."""
        oldest_s = self._monotonic() - min(self._ring_us / 1e6, self._retention_s())
        with self._lock:
            while self._ring and self._ring[0][0] <= oldest_s:
                self._ring.popleft()

    def hits_of(self, read: ReadRecord, crop: bytes, now_us: int) -> list[HitRecord]:
        """The hits of one read, one for each entry that matches."""
        found = self._matcher.match(read.text, read.state, chars=read.chars, now_us=now_us)
        return [_hit(read, match, crop, now_us) for match in found]


def _hit(read: ReadRecord, match: Match, crop: bytes, now_us: int) -> HitRecord:
    return HitRecord(
        hit_id=hit_id(read.device_id, read.read_id, match.list_id, match.entry.entry_id),
        read=read,
        match=match.to_record(),
        entry=match.entry,
        crop_jpeg=crop,
        raised_us=now_us,
        probability=match.probability,
    )
