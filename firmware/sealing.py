# SPDX-License-Identifier: Apache-2.0
"""The eye's way into storage: pictures and reads into the sealed store, hits into the spool, keys destroyed on time.

Order of writes for one vehicle pass: its hits enter the spool (durable), then pictures and read are appended, then
a group commit makes them durable and only then are they acknowledged. A crash in between can leave a hit whose read
was not sealed (the hit carries the read), never a sealed read whose hit is lost, but for a hit that
the outbox refuses (a full disk, a full outbox): that one waits in RAM.

No lock is held while the disk works: hits and reads are taken while a commit or a deletion hangs.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from storage.believed_time import TimeEvidence
from storage.errors import DiskFullError, LowSpaceError, WriteFailedError, is_disk_full
from storage.giving_way import GaveWay
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

    def broken(self, segments: Iterable[str]) -> frozenset[str]:
        """Which of these segments the disk broke before all in them was durable."""
        ...

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


class RoomLike(Protocol):
    """What the vault needs of `storage.giving_way.GivingWay`."""

    def make_room(self, at_us: int) -> GaveWay | None:
        """Removes the oldest pictures where the disk fills up."""
        ...


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A record that is durable: where it lies and the SHA-256 of what was sealed."""

    segment: str
    index: int
    kind: str
    sha256: str


@dataclass(frozen=True, slots=True)
class _Waiting:
    record: Acknowledged
    since_s: float


class Vault:
    """Thread-safe; owns the device's store and the outgoing spools. One thread commits, tends and makes room."""

    def __init__(
        self,
        store: StoreLike,
        hits: SpoolLike,
        retention: RetentionLike,
        hit_recipients: Sequence[Recipient],
        room: RoomLike | None = None,
    ) -> None:
        self._store = store
        self._hits = hits
        self._retention = retention
        self._hit_recipients = list(hit_recipients)
        self._room = room
        self._lock = threading.Lock()  # the counts and what waits; never held while the disk works
        self._waiting: list[_Waiting] = []  # appended, not yet acknowledged
        self._committing: list[_Waiting] = []  # of these, what the commit under way makes durable
        self._lost: Counter[str] = Counter()
        self._refusals: dict[str, bool] = {}
        self.sealed = 0
        self.images_given_up = 0
        self.images_refused = 0
        self.images_gave_way = 0
        self.ack_s = 0.0  # how long the oldest record of the last commit had waited for it

    @property
    def lost(self) -> int:
        """Records that were on a part of the disk that broke before they were acknowledged."""
        return self._lost.total()

    @property
    def waiting_s(self) -> float:
        """For how long the oldest record has waited to be acknowledged; 0 when none does."""
        with self._lock:
            first = [*self._committing[:1], *self._waiting[:1]]
        return max((time.monotonic() - item.since_s for item in first), default=0.0)

    def counts(self) -> dict[str, int]:
        """What became of records that were not kept, for the ledger."""
        with self._lock:
            lost = {f"lost: {kind} on a broken part of the disk": n for kind, n in self._lost.items()}
        return {
            **lost,
            "given up: pictures, the disk is nearly full": self.images_given_up,
            "lost: pictures the disk refused": self.images_refused,
            "gave way: pictures removed to make room": self.images_gave_way,
        }

    def refusals(self) -> dict[str, bool]:
        """Kinds of work that the disk refused when they were last tried, and whether for want of room."""
        with self._lock:
            return dict(self._refusals)

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Notes how the disk takes this kind of work: only the same kind done takes a refusal back.

        Records of a segment that the disk broke are counted as lost, never acknowledged.
        """
        try:
            yield
        except LowSpaceError:  # nothing was tried: that is told by the room there is
            self._note(what, None)
            raise
        except (OSError, WriteFailedError) as error:
            self._note(what, error)
            raise
        self._note(what, None)

    def _note(self, what: str, refusal: Exception | None) -> None:
        with self._lock:
            if refusal is None:
                self._refusals.pop(what, None)
            else:
                self._refusals[what] = is_disk_full(refusal)
                self._waiting = self._sound(self._waiting)

    def _sound(self, items: Sequence[_Waiting]) -> list[_Waiting]:
        """Without those of broken segments, which count as lost; under the lock."""
        broken = self._store.broken({item.record.segment for item in items})
        if not broken:
            return list(items)
        gone = [item.record for item in items if item.record.segment in broken]
        self._lost.update(record.kind for record in gone)
        log.error("records_lost", count=len(gone), segments=sorted(broken))
        return [item for item in items if item.record.segment not in broken]

    def keep_images(self, images: Sequence[ImageRecord], at_us: int) -> dict[ImageKind, RecordRef]:
        """Appends pictures and says where each lies; what the disk does not take is counted: the read goes on."""
        refs: dict[ImageKind, RecordRef] = {}
        for image in images:
            try:
                ref = self._append(SegmentKind.IMAGES, image.encode(), at_us)
            except LowSpaceError:
                self.images_given_up += 1
            except WriteFailedError as error:
                log.error("picture_not_sealed", reason=str(error))
                self.images_refused += 1
                refs = {kind: kept for kind, kept in refs.items() if kept.segment not in error.segments}
            else:
                refs[image.kind] = RecordRef(segment=ref.segment, index=ref.index)
        return refs

    def keep_read(self, read: ReadRecord) -> None:
        """Appends one read; raises WriteFailedError kinds, and then it was not kept."""
        self._append(SegmentKind.READS, read.encode(), read.captured_us)

    def _append(self, kind: SegmentKind, payload: bytes, at_us: int) -> SealedRecordRef:
        """Once more where a part of the disk broke: the store goes on in a new segment."""
        try:
            with self._writing(kind.value):
                ref = self._store.append(kind, payload, at_us=at_us)
        except DiskFullError:
            raise
        except WriteFailedError:
            with self._writing(kind.value):
                ref = self._store.append(kind, payload, at_us=at_us)
        digest = hashlib.sha256(payload).hexdigest()
        with self._lock:
            record = Acknowledged(ref.segment, ref.index, kind.value, digest)
            self._waiting.append(_Waiting(record, time.monotonic()))
        return ref

    def raise_hit(self, hit: HitRecord) -> bool:
        """Seals the hit to the agency and puts it into the spool; durable on return. False: it was there already."""
        body = seal(self._hit_recipients, hit.encode(), info=HIT_INFO, aad=hit.hit_id.encode())
        with self._writing("hits"):
            return self._hits.put(hit.hit_id, body, kind="hit")

    def commit(self) -> list[Acknowledged]:
        """Makes everything appended so far durable and returns it."""
        with self._lock:
            if not self._waiting:
                return []
            self._committing, self._waiting = self._waiting, []
        with self._writing("commit"):
            try:
                self._store.commit()
            except BaseException:
                self._put_back()
                raise
        with self._lock:
            # Another thread may have met the broken part: then the commit had nothing to do there.
            done, self._committing = self._sound(self._committing), []
            self.sealed += len(done)
        self.ack_s = time.monotonic() - done[0].since_s if done else 0.0
        return [item.record for item in done]

    def _put_back(self) -> None:
        """What was not acknowledged waits again, before what came meanwhile."""
        with self._lock:
            self._waiting, self._committing = self._committing + self._waiting, []

    def tend(self, now: TimeEvidence) -> int:
        """Closes segments of past epochs and destroys what is past retention; returns how many epochs died.

        What is past retention goes in any case: a segment may only want the room that this makes.
        """
        with self._writing("deletion"):
            try:
                self._store.roll(now.now_us)
            finally:
                destroyed = len(self._retention.run(now))
                if destroyed:
                    log.info("epochs_destroyed", count=destroyed)
        return destroyed

    def make_room(self, at_us: int) -> None:
        """Lets the oldest pictures give way where the disk fills up; asks for little where it does not."""
        if self._room is None:
            return
        with self._writing("room"):
            gone = self._room.make_room(at_us)
        if gone is not None:
            self.images_gave_way += gone.records
            log.warning("images_gave_way", segments=len(gone.segments), records=gone.records, bytes=gone.size)

    def close(self) -> list[Acknowledged]:
        """Commits what is left and closes the segments with their footers."""
        with ExitStack() as ends:
            ends.callback(self._close_store)  # whatever becomes of the commit
            return self.commit()

    def _close_store(self) -> None:
        with self._writing("close"):
            self._store.close()


def describe(record: Acknowledged) -> list[object]:
    """For the developer's tap."""
    return [record.segment, record.index, record.kind, record.sha256]
