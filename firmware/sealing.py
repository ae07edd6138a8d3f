# SPDX-License-Identifier: Apache-2.0
"""The eye's way into storage: pictures and reads into the sealed store, hits into the spool, keys destroyed on time.

Order of writes for one vehicle pass: its hits enter the spool (durable), then pictures and read are appended, then
a group commit makes them durable and only then are they acknowledged. A crash in between can leave a hit whose read
was not sealed (the hit carries the read), never a sealed read whose hit is lost.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from storage.believed_time import TimeEvidence
from storage.errors import LowSpaceError, WriteFailedError
from storage.seal import seal
from storage.types import Recipient, SealedRecordRef, SegmentKind
from sync.schema import HIT_INFO, HitRecord, ImageKind, ImageRecord, ReadRecord, RecordRef

log = structlog.get_logger(__name__)


class StoreLike(Protocol):
    """What the vault needs of `storage.store.Store`."""

    def append(self, kind: SegmentKind, payload: bytes, *, at_us: int) -> SealedRecordRef:
        """Adds a record; not durable before `commit`."""
        ...

    def commit(self) -> None:
        """Makes all appended records durable."""

    def roll(self, now_us: int) -> None:
        """Closes segments of past epochs."""

    def close(self) -> None:
        """Closes all segments."""


class SpoolLike(Protocol):
    """What the vault needs of `storage.spool.Spool`."""

    def put(self, item_id: str, body: bytes, *, kind: str) -> bool:
        """Durable on return; False when the id was known."""
        ...


class RetentionLike(Protocol):
    """What the vault needs of `storage.retention.Retention` (which delivers its receipts itself)."""

    def run(self, now: TimeEvidence) -> Sequence[object]:
        """Destroys what has expired; one receipt an epoch."""
        ...


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A record that is durable: where it lies and the SHA-256 of what was sealed."""

    segment: str
    index: int
    kind: str
    sha256: str


class Vault:
    """Thread-safe; owns the device's store and the outgoing spools."""

    def __init__(
        self,
        store: StoreLike,
        hits: SpoolLike,
        retention: RetentionLike,
        hit_recipients: Sequence[Recipient],
    ) -> None:
        self._store = store
        self._hits = hits
        self._retention = retention
        self._hit_recipients = list(hit_recipients)
        self._lock = threading.Lock()
        self._waiting: list[Acknowledged] = []
        self.sealed = 0
        self.lost = 0
        self.images_given_up = 0

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One writer at a time; records of a segment that the disk broke are counted as lost, never acknowledged."""
        with self._lock:
            try:
                yield
            except WriteFailedError as error:
                kept = [record for record in self._waiting if record.segment not in error.segments]
                gone = len(self._waiting) - len(kept)
                self._waiting, self.lost = kept, self.lost + gone
                log.error("records_lost", count=gone, segments=list(error.segments))
                raise

    def keep_images(self, images: Sequence[ImageRecord], at_us: int) -> dict[ImageKind, RecordRef]:
        """Appends pictures and says where each lies; on a nearly full disk they give way, and are counted."""
        refs: dict[ImageKind, RecordRef] = {}
        with self._writing():
            for image in images:
                try:
                    ref = self._append(SegmentKind.IMAGES, image.encode(), at_us)
                except LowSpaceError:
                    self.images_given_up += 1
                    continue
                refs[image.kind] = RecordRef(segment=ref.segment, index=ref.index)
        return refs

    def keep_read(self, read: ReadRecord) -> None:
        """Appends one read."""
        with self._writing():
            self._append(SegmentKind.READS, read.encode(), read.captured_us)

    def _append(self, kind: SegmentKind, payload: bytes, at_us: int) -> SealedRecordRef:
        ref = self._store.append(kind, payload, at_us=at_us)
        digest = hashlib.sha256(payload).hexdigest()
        self._waiting.append(Acknowledged(ref.segment, ref.index, kind.value, digest))
        return ref

    def raise_hit(self, hit: HitRecord) -> bool:
        """Seals the hit to the agency and puts it into the spool; durable on return. False: it was there already."""
        body = seal(self._hit_recipients, hit.encode(), info=HIT_INFO, aad=hit.hit_id.encode())
        return self._hits.put(hit.hit_id, body, kind="hit")

    def commit(self) -> list[Acknowledged]:
        """Makes everything appended so far durable and returns it."""
        with self._writing():
            if not self._waiting:
                return []
            self._store.commit()
            done, self._waiting = self._waiting, []
            self.sealed += len(done)
        return done

    def tend(self, now: TimeEvidence) -> int:
        """Closes segments of past epochs and destroys what is past retention; returns how many epochs died."""
        with self._writing():
            self._store.roll(now.now_us)
            destroyed = len(self._retention.run(now))
        if destroyed:
            log.info("epochs_destroyed", count=destroyed)
        return destroyed

    def close(self) -> list[Acknowledged]:
        """Commits what is left and closes the segments with their footers."""
        done = self.commit()
        with self._writing():
            self._store.close()
        return done


def describe(record: Acknowledged) -> list[object]:
    """For the developer's tap."""
    return [record.segment, record.index, record.kind, record.sha256]
