# SPDX-License-Identifier: Apache-2.0
"""Spool to office: oldest first, backoff with jitter; only what is acknowledged leaves the spool.

A 422 puts an item in doubt: the office may lack a key or a version that it will have tomorrow. Such an item is tried
again with waits of its own, behind the others, and only after `doubtful_attempts` tries in a row is it set aside.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from storage.errors import StorageError
from sync.errors import AuthRejected, BadReply, OfficeUnavailable, RequestRejected, TransportError
from sync.wire import DUPLICATE, HITS, ID_HEADER, Response, Transport, expect

log = structlog.get_logger(__name__)
UNPROCESSABLE = 422
DOUBTS_A_STEP = 4  # items in doubt that one step tries: an office that takes none must not be sent them all
MAX_DOUBTS = 1000  # items whose doubts are remembered


class SpoolItemLike(Protocol):
    """An item that waits."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def attempts(self) -> int:
        """How often it was tried."""


class SetAsideLike(Protocol):
    """An item that was set aside."""

    @property
    def id(self) -> str:
        """Its id."""


class SpoolLike(Protocol):
    """The outbox, as storage.spool.Spool has it."""

    def pending(self, limit: int = 100) -> Sequence[SpoolItemLike]:
        """The oldest items."""

    def read(self, item_id: str) -> bytes:
        """An item's body."""

    def ack(self, item_id: str) -> None:
        """Forget an acknowledged item."""

    def failed(self, item_id: str, reason: str, *, permanent: bool = False) -> None:
        """Note a failed try, or set the item aside for good."""

    def quarantined(self) -> Sequence[SetAsideLike]:
        """The items that were set aside."""

    def quarantined_count(self) -> int:
        """How many were set aside."""

    def requeue(self, item_id: str) -> None:
        """Let an item that was set aside wait again."""


@dataclass(frozen=True, slots=True)
class UploadSettings:
    """How uploads are paced."""

    batch: int = 32  # items of one step
    first_wait_s: float = 1.0  # seconds; doubles with each failure in a row, full jitter
    max_wait_s: float = 300.0  # seconds
    tired_attempts: int = 5  # tries after which an item goes behind the fresh ones
    doubtful_attempts: int = (
        20  # tries of an item that the office answers with 422: an hour, then it is set aside
    )
    window: int = 4  # batches that are looked through for fresh items


@dataclass(frozen=True, slots=True)
class UploadReport:
    """What one step did; `wait_s`: seconds until the next try can help."""

    acknowledged: int = 0
    set_aside: int = 0
    failed: int = 0
    wait_s: float = 0.0
    reason: str = ""


class Backoff:
    """Exponential with full jitter: waits between 0 and first * 2^n seconds, and at least what the office asks."""

    def __init__(self, settings: UploadSettings, rng: random.Random, monotonic: Callable[[], float]) -> None:
        self._settings = settings
        self._rng = rng
        self._monotonic = monotonic
        self._failures = 0
        self._until = 0.0
        self._asked_until = 0.0

    def remaining_s(self) -> float:
        """Seconds until the next try."""
        return max(0.0, self._until - self._monotonic())

    def failure(self, at_least_s: float = 0.0) -> float:
        """Note a failure; the seconds to wait."""
        ceiling = min(self._settings.max_wait_s, self._settings.first_wait_s * 2 ** min(self._failures, 30))
        self._failures += 1
        wait_s = max(at_least_s, self._rng.uniform(ceiling / 2, ceiling))
        self._until = self._monotonic() + wait_s
        self._asked_until = self._monotonic() + at_least_s
        return wait_s

    def wake(self) -> None:
        """The link works: wait no longer than the office asked for."""
        self._until = min(self._until, self._asked_until)

    def success(self) -> None:
        """Note a success."""
        self._failures, self._until = 0, 0.0


@dataclass(slots=True)
class _Tally:
    acknowledged: int = 0
    set_aside: int = 0
    failed: int = 0
    doubted: int = 0


class Uploader:
    """Sends what waits in a spool to one route. AuthRejected goes up to the caller, who stops."""

    def __init__(
        self,
        transport: Transport,
        spool: SpoolLike,
        *,
        route: str = HITS,
        content_type: str = "application/octet-stream",
        settings: UploadSettings = UploadSettings(),
        rng: random.Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._spool = spool
        self._route = route
        self._content_type = content_type
        self._settings = settings
        self._rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        self._monotonic = monotonic
        self._doubts: dict[str, tuple[int, Backoff]] = {}
        self.backoff = Backoff(settings, self._rng, monotonic)

    def step(self) -> UploadReport:
        """Send one batch; raises AuthRejected (the item stays). Every other failure is in the report."""
        waiting_s = self.backoff.remaining_s()
        if waiting_s > 0:
            return UploadReport(wait_s=waiting_s)
        tally = _Tally()
        for item in self._batch():
            body = self._read(item.id)
            error = None if body is None else self._deliver(item.id, body, tally)
            if error is not None and self._ends_the_step(error, tally):
                wait_s = self.backoff.failure(getattr(error, "retry_after_s", None) or 0.0)
                return UploadReport(tally.acknowledged, tally.set_aside, tally.failed, wait_s, str(error))
            if tally.doubted >= DOUBTS_A_STEP:
                break
        if tally.failed and not tally.acknowledged:
            wait_s, reason = self.backoff.failure(), "the office cannot take it now"
            return UploadReport(0, tally.set_aside, tally.failed, wait_s, reason)
        return UploadReport(tally.acknowledged, tally.set_aside, tally.failed)

    def requeue(self) -> int:
        """Let everything that was set aside wait again (once, at the start); how many."""
        done = 0
        try:
            for item in self._spool.quarantined():
                self._spool.requeue(item.id)
                done += 1
        except (StorageError, OSError) as error:
            log.error("spool_unreadable", reason=type(error).__name__)
        return done

    def _deliver(self, item_id: str, body: bytes, tally: _Tally) -> TransportError | None:
        """Send one item; what went wrong and concerns more than the item, else None."""
        try:
            self._send(item_id, body)
        except AuthRejected:
            raise
        except RequestRejected as error:
            if error.status == UNPROCESSABLE and self._doubt(item_id):
                tally.failed, tally.doubted = tally.failed + 1, tally.doubted + 1
                self._note(item_id, error, permanent=False)
            else:
                tally.set_aside += 1
                self._doubts.pop(item_id, None)
                self._note(item_id, error, permanent=True)
            return None
        except TransportError as error:
            tally.failed += 1
            self._note(item_id, error, permanent=False)
            return error
        self._doubts.pop(item_id, None)
        if self._acknowledge(item_id):
            tally.acknowledged += 1
            self.backoff.success()
        return None

    @staticmethod
    def _ends_the_step(error: TransportError, tally: _Tally) -> bool:
        """One item that the office chokes on must not hold up the others; two are the office's trouble."""
        return not isinstance(error, OfficeUnavailable) or tally.failed > 1

    def _doubt(self, item_id: str) -> bool:
        """Whether an item that the office could not take is worth another try."""
        count, wait = self._doubts.get(item_id, (0, Backoff(self._settings, self._rng, self._monotonic)))
        if count + 1 >= self._settings.doubtful_attempts:
            return False
        wait.failure()
        self._doubts[item_id] = (count + 1, wait)
        if len(self._doubts) > MAX_DOUBTS:
            del self._doubts[next(iter(self._doubts))]
        return True

    def _batch(self) -> list[SpoolItemLike]:
        limit = self._settings.window * self._settings.batch + len(self._doubts)
        try:
            waiting = self._spool.pending(limit)
        except (StorageError, OSError) as error:
            log.error("spool_unreadable", reason=type(error).__name__)
            return []
        due = [item for item in waiting if self._due(item.id)]
        due.sort(key=lambda item: (item.id in self._doubts, item.attempts >= self._settings.tired_attempts))
        return due[: self._settings.batch]

    def _due(self, item_id: str) -> bool:
        return item_id not in self._doubts or self._doubts[item_id][1].remaining_s() <= 0

    def _read(self, item_id: str) -> bytes | None:
        try:
            return self._spool.read(item_id)
        except (StorageError, OSError) as error:
            log.error("spool_item_unreadable", item=item_id, reason=type(error).__name__)
            return None

    def _send(self, item_id: str, body: bytes) -> None:
        headers = {ID_HEADER: item_id, "Content-Type": self._content_type}
        response = self._transport.post(self._route, body, headers)
        if response.status == DUPLICATE and _names(response, item_id):
            return
        expect(response, 200, 201)
        echoed = response.headers.get(ID_HEADER.lower())
        if echoed is not None and echoed != item_id:
            raise BadReply("the office acknowledged another item than the one sent")

    def _acknowledge(self, item_id: str) -> bool:
        try:
            self._spool.ack(item_id)
        except (StorageError, OSError) as error:
            # The office has it and knows its id: sending it again is harmless.
            log.error("spool_ack_failed", item=item_id, reason=type(error).__name__)
            return False
        return True

    def _note(self, item_id: str, error: TransportError, *, permanent: bool) -> None:
        log.log(
            40 if permanent else 30, "upload_failed", item=item_id, reason=str(error), permanent=permanent
        )
        with contextlib.suppress(StorageError, OSError):
            self._spool.failed(item_id, str(error), permanent=permanent)


def _names(response: Response, item_id: str) -> bool:
    """Whether a 409 says that the office has this very item (a conflict of content names none)."""
    return response.headers.get(ID_HEADER.lower()) == item_id
