# SPDX-License-Identifier: Apache-2.0
"""The segment store of one device: append, commit, roll; nothing in it can open what it wrote."""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from storage.atomic import make_folder
from storage.errors import (
    BadIdError,
    BadRecipientError,
    BadTimeError,
    DiskFullError,
    LowSpaceError,
    StoreClosedError,
    TooLargeError,
    WriteFailedError,
)
from storage.files import OS_FILES, Files
from storage.format import MAX_RECIPIENTS, HeaderFields
from storage.keyring import Keyring
from storage.primitives import key_id_of
from storage.recovery import list_segments, recover_store, segment_path
from storage.segment_writer import SegmentWriter
from storage.store_lock import free_space, lock_store
from storage.types import (
    EpochId,
    Recipient,
    SealedRecordRef,
    SegmentInfo,
    SegmentKind,
    StoreLimits,
    epoch_of,
    is_id,
)

__all__ = ["Store", "free_space", "list_segments"]

_Slot = tuple[SegmentKind, EpochId]
_NO_HEADER = "0" * 64
MAX_BROKEN = 10_000  # segments that were given up and are remembered


class Store:
    """Writes segments; one process and one `Store` at a time. Safe to call from several threads."""

    def __init__(  # noqa: PLR0913, PLR0917 -- called by `open` alone
        self,
        root: Path,
        keyring: Keyring,
        recipients: Sequence[Recipient],
        signer: EllipticCurvePrivateKey,
        ids: tuple[str, str],
        limits: StoreLimits,
        files: Files,
        lock_fd: int,
        free_bytes: Callable[[Path], int],
    ) -> None:
        self._root = root
        self._keyring = keyring
        self._recipients = tuple(recipients)
        self._signer = signer
        self._device_id, self._boot_id = ids
        self._limits = limits
        self._files = files
        self._free_bytes = free_bytes
        self._release = weakref.finalize(self, os.close, lock_fd)
        self._run_id = secrets.token_hex(8)
        self._chain: dict[SegmentKind, tuple[int, str]] = dict.fromkeys(SegmentKind, (0, _NO_HEADER))
        self._open: dict[_Slot, SegmentWriter] = {}
        self._lock = threading.RLock()  # the segments and their buffers
        self._sync_lock = threading.RLock()  # one commit or close at a time; taken before _lock
        self._broken: dict[str, None] = {}  # the newest MAX_BROKEN
        self.recovered: tuple[Path, ...] = ()

    @classmethod
    def open(  # noqa: PLR0913 -- what a store is made of, named at its one call
        cls,
        root: Path,
        *,
        keyring: Keyring,
        recipients: Sequence[Recipient],
        signer: EllipticCurvePrivateKey,
        device_id: str,
        boot_id: str,
        limits: StoreLimits = StoreLimits(),  # noqa: B008 -- frozen
        files: Files = OS_FILES,
        free_bytes: Callable[[Path], int] = free_space,
    ) -> Store:
        """Open for writing and recover from a crash: torn tails are cut, closed segments not touched.

        Raises StoreBusyError when another `Store` writes here, BadIdError, BadRecipientError.
        """
        if not (is_id(device_id) and is_id(boot_id)):
            raise BadIdError("device_id and boot_id are 1 to 64 of a-z, 0-9 and '-'")
        if not 1 <= len(recipients) <= MAX_RECIPIENTS:
            raise BadRecipientError(
                f"a segment has 1 to {MAX_RECIPIENTS} recipients: enrol the agency's keys"
            )
        for kind in SegmentKind:
            make_folder(root / kind.value, files=files)
        lock_fd = lock_store(root)
        ids = (device_id, boot_id)
        store = cls(root, keyring, recipients, signer, ids, limits, files, lock_fd, free_bytes)
        store.recovered = tuple(recover_store(root, limits.max_uncommitted_bytes, files=files))
        return store

    def append(self, kind: SegmentKind, payload: bytes, *, at_us: int) -> SealedRecordRef:
        """Seal one record into the segment of its hour; not durable before `commit`.

        Raises LowSpaceError (of this kind nothing is taken now, and nothing was appended), TooLargeError,
        BadTimeError, StoreClosedError, DiskFullError or WriteFailedError.
        """
        if len(payload) > self._limits.max_record_bytes:
            raise TooLargeError(f"record is over {self._limits.max_record_bytes} bytes: split it")
        if not 0 <= at_us < 1 << 63:
            raise BadTimeError("a record's time is in microseconds since 1970: set the clock first")
        self._check_room(kind)
        if self._uncommitted() + len(payload) > self._limits.max_uncommitted_bytes:
            self.commit()
        with self._lock:
            writer = self._ready(kind, at_us, len(payload))
            if writer is not None:
                return self._put(writer, payload, at_us)
        with self._sync_lock, self._lock:
            return self._put(self._opened(kind, at_us, len(payload)), payload, at_us)

    def commit(self) -> None:
        """Make everything appended so far durable: one fsync per segment that grew.

        Raises DiskFullError (nothing is lost: free space and commit again) or WriteFailedError (what was
        not acknowledged in its `segments` is lost; the store goes on in new ones), after all were tried: a large
        picture that finds no room keeps no read from being durable.
        """
        errors: list[WriteFailedError] = []
        with self._sync_lock:
            with self._lock:
                self._check_open()
                grown = [(writer, writer.unsynced) for writer in self._reads_first() if writer.unsynced]
                flushed = [item for item in grown if _tried(errors, self._flush, item[0])]
            for writer, size in flushed:
                _tried(errors, self._sync, writer, size)
        _raise_first(errors)

    def roll(self, now_us: int) -> None:
        """Close the segments of hours before that of `now_us` with a signed footer."""
        current = epoch_of(now_us)
        self._finish([slot for slot in self._slots() if slot[1] < current])

    def close_epochs(self, epochs: Iterable[EpochId]) -> None:
        """Close the segments of these epochs, because their shares are about to be destroyed."""
        doomed = set(epochs)
        self._finish([slot for slot in self._slots() if slot[1] in doomed])

    def finish_images(self) -> None:
        """Close the growing segments of pictures, because they are about to give way."""
        self._finish([slot for slot in self._slots() if slot[0] is SegmentKind.IMAGES])

    def broken(self, segments: Iterable[str]) -> frozenset[str]:
        """Which of these segments were given up, because the disk broke what was not yet durable in them.

        A segment is among them before a commit can succeed without it: who is about to acknowledge asks here first.
        """
        broken = self._broken  # no lock: another thread may hang in a write that holds it
        return frozenset(segment for segment in segments if segment in broken)

    def growing(self) -> frozenset[str]:
        """Ids of the segments that are written now."""
        with self._lock:
            return frozenset(writer.fields.segment_id for writer in self._open.values())

    def close(self) -> None:
        """Close every segment with its footer and let another process write; a second call does nothing."""
        try:
            self._finish(self._slots())
        finally:
            self._release()

    def segments(self) -> list[SegmentInfo]:
        """All segments on disk, open ones too (as far as they were written)."""
        return list_segments(self._root)

    def _check_open(self) -> None:
        if not self._release.alive:
            raise StoreClosedError("the store was closed: open it again")

    def _check_room(self, kind: SegmentKind) -> None:
        """The last space is for what matters more: reads before pictures, hits and deletion before reads."""
        try:
            free = self._free_bytes(self._root)
        except OSError as error:
            raise WriteFailedError(
                f"cannot ask for the free space of {self._root}: check the disk"
            ) from error
        if free < self._limits.min_free_bytes(kind):
            raise LowSpaceError(f"{free} bytes are free: too few for {kind.value}")

    def _uncommitted(self) -> int:
        with self._lock:
            self._check_open()
            return sum(writer.unsynced for writer in self._open.values())

    def _ready(self, kind: SegmentKind, at_us: int, payload_size: int) -> SegmentWriter | None:
        """The open segment for a record, or None when one has to be opened or closed first."""
        self._check_open()
        writer = self._open.get((kind, epoch_of(at_us)))
        fits = writer is not None and writer.fits(payload_size, self._limits.max_segment_bytes)
        return writer if fits else None

    def _opened(self, kind: SegmentKind, at_us: int, payload_size: int) -> SegmentWriter:
        writer = self._ready(kind, at_us, payload_size)
        if writer is None:
            slot = (kind, epoch_of(at_us))
            self._finish([slot])
            if len(self._open) >= self._limits.max_open_segments:
                self._finish([min(self._open, key=lambda item: item[1])])
            writer = self._open[slot] = self._start(kind, at_us)
        return writer

    def _put(self, writer: SegmentWriter, payload: bytes, at_us: int) -> SealedRecordRef:
        ref = SealedRecordRef(writer.fields.segment_id, writer.append(payload, at_us))
        if writer.buffered >= self._limits.write_buffer_bytes:
            self._flush(writer)
        return ref

    def _start(self, kind: SegmentKind, at_us: int) -> SegmentWriter:
        epoch = epoch_of(at_us)
        seq, prev = self._chain[kind]
        fields = HeaderFields(
            device_id=self._device_id,
            boot_id=self._boot_id,
            run_id=self._run_id,
            segment_id=f"{epoch}-{kind.value}-{self._run_id}-{seq}",
            kind=kind,
            epoch=epoch,
            opened_us=at_us,
            seq=seq,
            prev=prev,
            signer=key_id_of(self._signer.public_key()),
            recipients=(),
        )
        writer = SegmentWriter(
            segment_path(self._root, kind, fields.segment_id),
            fields,
            share=self._share(epoch),
            recipients=self._recipients,
            signer=self._signer,
            files=self._files,
        )
        self._chain[kind] = (seq + 1, writer.digest.hex())
        return writer

    def _share(self, epoch: EpochId) -> bytes:
        try:
            return self._keyring.share(epoch)
        except OSError as error:
            raise WriteFailedError(f"cannot keep the share of epoch {epoch}: check the disk") from error

    def _flush(self, writer: SegmentWriter) -> None:
        try:
            writer.flush()
        except DiskFullError:
            raise  # the buffer is kept: a later commit writes it
        except WriteFailedError as error:
            self._give_up(writer)
            error.segments = (writer.fields.segment_id,)
            raise

    def _sync(self, writer: SegmentWriter, size: int) -> None:
        try:
            writer.sync()
        except WriteFailedError as error:
            with self._lock:
                self._give_up(writer)
            error.segments = (writer.fields.segment_id,)
            raise
        with self._lock:
            if writer not in self._open.values():
                failed = WriteFailedError("a segment failed while it was synced: check the disk")
                failed.segments = (writer.fields.segment_id,)
                raise failed
            writer.mark_synced(size)

    def _give_up(self, writer: SegmentWriter) -> None:
        if writer in self._open.values():
            self._note_broken(writer)
            self._open = {slot: item for slot, item in self._open.items() if item is not writer}
            writer.abandon()

    def _note_broken(self, writer: SegmentWriter) -> None:
        self._broken[writer.fields.segment_id] = None
        while len(self._broken) > MAX_BROKEN:
            del self._broken[next(iter(self._broken))]

    def _reads_first(self) -> list[SegmentWriter]:
        return sorted(self._open.values(), key=lambda writer: writer.fields.kind is not SegmentKind.READS)

    def _slots(self) -> list[_Slot]:
        with self._lock:
            return list(self._open)

    def _finish(self, slots: list[_Slot]) -> None:
        """Close each of these; the first error is raised after all were tried."""
        errors: list[WriteFailedError] = []
        with self._sync_lock, self._lock:
            for slot in slots:
                _tried(errors, self._finish_one, slot)
        _raise_first(errors)

    def _finish_one(self, slot: _Slot) -> None:
        writer = self._open.get(slot)
        if writer is not None:
            self._flush(writer)
            del self._open[slot]
            try:
                writer.finish()
            except DiskFullError:
                raise  # only the footer is missing
            except WriteFailedError as error:
                self._note_broken(writer)
                error.segments = (writer.fields.segment_id,)
                raise


def _tried(errors: list[WriteFailedError], work: Callable[..., None], *args: object) -> bool:
    """Whether it was done; else its error is among `errors`."""
    try:
        work(*args)
    except WriteFailedError as error:
        errors.append(error)
        return False
    return True


def _raise_first(errors: Sequence[WriteFailedError]) -> None:
    """The first one, with the segments of all."""
    if errors:
        errors[0].segments = tuple(segment for error in errors for segment in error.segments)
        raise errors[0]
