# SPDX-License-Identifier: Apache-2.0
"""How the disk is: room for pictures and reads, how fast it takes them, and whether it keeps what it was given."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from firmware.health import Condition, Finding, well
from storage.store_lock import free_space, is_read_only
from storage.types import StoreLimits

AGAIN = 1.1  # of a limit: so much must be free before it counts as kept again
SLOW_S = 2.0  # beyond the pause between two commits: a sound card needs a tenth of it
SLOW_KEPT_S = 60.0  # told for so long after the last slow write
GAVE_WAY_KEPT_S = 3600.0

FULL = Finding(
    "disk",
    Condition.FAILED,
    "full",
    "new reads are refused, plates are read and alarms given still: fit a larger disk, or shorten the retention",
)
LOW = Finding(
    "disk",
    Condition.DEGRADED,
    "nearly_full",
    "new pictures are not kept any more: fit a larger disk, or shorten the retention",
)
GAVE_WAY = Finding(
    "disk",
    Condition.DEGRADED,
    "pictures_gave_way",
    "the oldest pictures were removed to make room: fit a larger disk, or shorten the retention",
)
REFUSED = Finding(
    "disk",
    Condition.FAILED,
    "refused",
    "the disk takes no writes, plates are read and alarms given still: replace the card or the drive",
)
READ_ONLY = Finding(
    "disk",
    Condition.FAILED,
    "read_only",
    "the system lets nobody write to it, plates are read and alarms given still: replace the card or the drive",
)
LOST = Finding(
    "disk", Condition.FAILED, "records_lost", "reads were lost on it: replace the card or the drive"
)
SLOW_CODE = "slow"


@dataclass(frozen=True, slots=True)
class DiskNews:
    """What those who write say: records lost so far, pictures that gave way so far.

    `refused`: whether the disk refused any kind of work when that was last tried; `full`: all of it for want of room.
    `slow_s`: how much longer than its turn the oldest record waits, or the last one waited, to be durable.
    """

    lost: int = 0
    refused: bool = False
    full: bool = False
    gave_way: int = 0
    slow_s: float = 0.0


class DiskWatch:
    """`finding` looks at the room that is left and at the news; a disk that lost a record stays suspect."""

    def __init__(
        self,
        root: Path,
        limits: StoreLimits = StoreLimits(),  # noqa: B008 -- frozen
        free_bytes: Callable[[Path], int] = free_space,
        monotonic_s: Callable[[], float] = time.monotonic,
        read_only: Callable[[Path], bool] = is_read_only,
    ) -> None:
        self._read_only = read_only
        self._root, self._limits, self._free_bytes = root, limits, free_bytes
        self._monotonic_s = monotonic_s
        self._room_was = well("disk")
        self._gave_way = 0
        self._gave_way_s = self._slow_at_s = -float("inf")
        self._slow = well("disk")
        self.free: int | None = None  # bytes at the last look; None: it cannot be asked
        self._writable = True

    def finding(self, news: DiskNews) -> Finding:
        """The worst of what is wrong with it."""
        room = self._look()
        slow, gave_way = self._slowness(news.slow_s), self._giving_way(news.gave_way)
        if not self._writable:
            return READ_ONLY
        full = room == FULL or news.full  # that explains its refusals; room may be bytes, inodes or a quota
        if self.free is None or (news.refused and not full):
            return REFUSED
        if full:
            return FULL
        if news.lost:
            return LOST
        return next((found for found in (room, slow, gave_way) if found.code), well("disk"))

    def _look(self) -> Finding:
        try:
            self.free = self._free_bytes(self._root)
            self._writable = not self._read_only(self._root)
        except OSError:
            self.free = None
            return self._room_was
        self._room_was = self._room(self.free)
        return self._room_was

    def _room(self, free: int) -> Finding:
        full = self._limits.min_free_for_reads_bytes * (AGAIN if self._room_was == FULL else 1.0)
        low = self._limits.min_free_for_images_bytes * (AGAIN if self._room_was in (FULL, LOW) else 1.0)
        return FULL if free < full else LOW if free < low else well("disk")

    def _slowness(self, slow_s: float) -> Finding:
        now_s = self._monotonic_s()
        if slow_s >= SLOW_S:
            self._slow_at_s = now_s
            advice = f"it takes {slow_s:.0f} s to keep what it is given: replace the card if this goes on"
            self._slow = Finding("disk", Condition.DEGRADED, SLOW_CODE, advice)
        return self._slow if now_s - self._slow_at_s < SLOW_KEPT_S else well("disk")

    def _giving_way(self, gave_way: int) -> Finding:
        now_s = self._monotonic_s()
        if gave_way > self._gave_way:
            self._gave_way, self._gave_way_s = gave_way, now_s
        return GAVE_WAY if now_s - self._gave_way_s < GAVE_WAY_KEPT_S else well("disk")
