# SPDX-License-Identifier: Apache-2.0
"""Work for the disk, done by one thread in its order, so that whoever brings it never waits for a disk that hangs.

What waits is bounded in bytes. Beyond the bound reads with their pictures are refused, then bare reads: whoever brings
them counts that. Hits (and what else is URGENT) go before all others and are never refused: they are bounded where
they are kept. A job that says `NotNow` waits with all that came behind it, and keeps no URGENT one from its turn.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

MAX_WAITING_BYTES = 64 << 20  # of reads with their pictures: three quarters of a minute of a busy road
READS_RESERVE_BYTES = 8 << 20  # more, for reads that give up their pictures
POLL_S = 0.5
AGAIN_S = 1.0  # between two tries of a job that says `NotNow`


class Rank(Enum):
    """What a job is about: who gives way when the disk is too slow for all."""

    URGENT = "urgent"
    READ = "read"
    PICTURES = "pictures"


_BOUNDS = {Rank.PICTURES: MAX_WAITING_BYTES, Rank.READ: MAX_WAITING_BYTES + READS_RESERVE_BYTES}


class NotNow(Exception):
    """Raised by a READ or PICTURES job that can be done in another moment; `give_up` where nobody tries again."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        super().__init__("in another moment")
        self.give_up = give_up


class Later(Protocol):
    """Takes a job that writes; `size` bytes stay in RAM until it is done. False: too much waits, it was not taken."""

    def __call__(self, job: Callable[[], None], rank: Rank = Rank.URGENT, size: int = 0) -> bool:
        """Takes the job, or not."""
        ...


def at_once(job: Callable[[], None], rank: Rank = Rank.URGENT, size: int = 0) -> bool:  # noqa: ARG001 -- Later's
    """A `Later` that does the job itself, once: where nothing else has to go on meanwhile."""
    try:
        job()
    except NotNow as asked:
        asked.give_up()
    return True


@dataclass(frozen=True, slots=True)
class _Job:
    do: Callable[[], None]
    rank: Rank
    size: int
    since_s: float


class Keeper:
    """A `Later` whose jobs are done by whoever calls `run` (a thread of the eye) or `work`."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._urgent: deque[_Job] = deque()
        self._others: deque[_Job] = deque()
        self._doing: _Job | None = None
        self._closed = False
        self._put_off_s = -float("inf")  # when a job last said `NotNow`
        self.waiting_bytes = 0

    def __call__(self, job: Callable[[], None], rank: Rank = Rank.URGENT, size: int = 0) -> bool:
        """Takes a job unless too much waits; never waits itself."""
        with self._ready:
            if rank is not Rank.URGENT and self.waiting_bytes + size > _BOUNDS[rank]:
                return False
            queue = self._urgent if rank is Rank.URGENT else self._others
            queue.append(_Job(job, rank, size, time.monotonic()))
            self.waiting_bytes += size
            self._ready.notify()
        return True

    @property
    def waiting_s(self) -> float:
        """For how long the oldest job waits for the disk; what was put off did not wait for it."""
        with self._ready:
            jobs = [self._doing, *list(self._urgent)[:1], *list(self._others)[:1]]
            since = [max(job.since_s, self._put_off_s) for job in jobs if job is not None]
        return max((time.monotonic() - since_s for since_s in since), default=0.0)

    @property
    def waiting_reads(self) -> int:
        """Reads that are not written yet."""
        with self._ready:
            doing = self._doing is not None and self._doing.rank is not Rank.URGENT
            return len(self._others) + doing

    def run(self, advanced: Callable[[], None]) -> None:
        """Does jobs until closed and empty; `advanced` is called after each and while there is none.

        What a job raises ends it, and the others still wait: call it again to have them done.
        """
        while self._step(POLL_S):
            advanced()

    def work(self) -> None:
        """Does all that waits, here and now, but for what is put off."""
        self._put_off_s = -float("inf")
        while self._turn() is not None:
            self._step(0.0)

    def _turn(self) -> deque[_Job] | None:
        """The queue that is next."""
        if self._urgent:
            return self._urgent
        put_off = not self._closed and time.monotonic() - self._put_off_s < AGAIN_S
        return self._others if self._others and not put_off else None

    def _step(self, wait_s: float) -> bool:
        with self._ready:
            self._ready.wait_for(lambda: self._turn() is not None or self._closed, wait_s)
            queue = self._turn()
            if queue is None:
                return not self._closed
            self._doing = job = queue.popleft()
        put_off = False
        try:
            job.do()
        except NotNow as asked:
            put_off = self._put_off(job)
            if not put_off:
                asked.give_up()
        finally:
            with self._ready:
                self._doing = None
                self.waiting_bytes -= 0 if put_off else job.size
        return True

    def _put_off(self, job: _Job) -> bool:
        """Before all others, for another try; not when no more time is left."""
        with self._ready:
            if self._closed:
                return False
            self._others.appendleft(job)
            self._put_off_s = time.monotonic()
        return True

    def close(self) -> None:
        """No more jobs will come: `run` ends when it has done the rest."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
