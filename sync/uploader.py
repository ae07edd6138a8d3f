# SPDX-License-Identifier: Apache-2.0
"""Spool to office: oldest first, backoff with jitter; only what is acknowledged leaves the spool."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from storage.errors import StorageError
from sync.errors import AuthRejected, BadReply, OfficeUnavailable, TransportError
from sync.wire import DUPLICATE, HITS, ID_HEADER, Response, Transport, expect

log = structlog.get_logger(__name__)


class SpoolItemLike(Protocol):
    """An item that waits."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def attempts(self) -> int:
        """How often it was tried."""


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


@dataclass(frozen=True, slots=True)
class UploadSettings:
    """How uploads are paced."""

    batch: int = 32  # items of one step
    first_wait_s: float = 1.0  # seconds; doubles with each failure in a row, full jitter
    max_wait_s: float = 300.0  # seconds
    tired_attempts: int = 5  # tries after which an item goes behind the fresh ones


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

    def remaining_s(self) -> float:
        """Seconds until the next try."""
        return max(0.0, self._until - self._monotonic())

    def failure(self, at_least_s: float = 0.0) -> float:
        """Note a failure; the seconds to wait."""
        ceiling = min(self._settings.max_wait_s, self._settings.first_wait_s * 2 ** min(self._failures, 30))
        self._failures += 1
        wait_s = max(at_least_s, self._rng.uniform(ceiling / 2, ceiling))
        self._until = self._monotonic() + wait_s
        return wait_s

    def success(self) -> None:
        """Note a success."""
        self._failures, self._until = 0, 0.0


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
        self.backoff = Backoff(settings, rng or random.Random(), monotonic)  # noqa: S311 - jitter is no secret

    def step(self) -> UploadReport:
        """Send one batch; raises AuthRejected (the item stays). Every other failure is in the report."""
        waiting_s = self.backoff.remaining_s()
        if waiting_s > 0:
            return UploadReport(wait_s=waiting_s)
        acknowledged = set_aside = failed = 0
        for item in self._batch():
            body = self._read(item.id)
            if body is None:
                continue
            try:
                self._send(item.id, body)
            except AuthRejected:
                raise
            except TransportError as error:
                self._note(item.id, error)
                if error.permanent:
                    set_aside += 1
                    continue
                failed += 1
                if not isinstance(error, OfficeUnavailable) or failed > 1:
                    wait_s = self.backoff.failure(getattr(error, "retry_after_s", None) or 0.0)
                    return UploadReport(acknowledged, set_aside, failed, wait_s, str(error))
                continue  # one item that the office chokes on must not hold up the others
            if self._acknowledge(item.id):
                acknowledged += 1
                self.backoff.success()
        if failed and not acknowledged:
            return UploadReport(
                acknowledged, set_aside, failed, self.backoff.failure(), "the office cannot answer"
            )
        return UploadReport(acknowledged, set_aside, failed)

    def _batch(self) -> list[SpoolItemLike]:
        try:
            waiting = self._spool.pending(self._settings.batch)
        except (StorageError, OSError) as error:
            log.error("spool_unreadable", reason=type(error).__name__)
            return []
        return sorted(waiting, key=lambda item: item.attempts >= self._settings.tired_attempts)

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

    def _note(self, item_id: str, error: TransportError) -> None:
        log.log(40 if error.permanent else 30, "upload_failed", item=item_id, reason=str(error))
        with contextlib.suppress(StorageError):
            self._spool.failed(item_id, str(error), permanent=error.permanent)


def _names(response: Response, item_id: str) -> bool:
    """Whether a 409 says that the office has this very item (a conflict of content names none)."""
    return response.headers.get(ID_HEADER.lower()) == item_id
