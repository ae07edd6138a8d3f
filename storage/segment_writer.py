# SPDX-License-Identifier: Apache-2.0
"""One growing segment: the only holder of its key, which is gone when the writer is closed.

Order of writes: the whole header goes to a temp file, is synced, renamed to its final name, and the folder is
synced; frames are then appended, and `sync` is the sole commit point of what was appended before it. The footer is
written when all records are synced, and synced by itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage.atomic import write_atomic
from storage.errors import DiskFullError, WriteFailedError, is_disk_full
from storage.files import Files
from storage.format import (
    FOOTER,
    RECORD,
    RECORD_OVERHEAD,
    Footer,
    HeaderFields,
    WrappedSecret,
    key_info,
    pack_footer,
    pack_frame,
    pack_header,
    record_aad,
    record_nonce,
)
from storage.primitives import SECRET_BYTES, TAG_BYTES, canonical_json, derive, sign, wrap
from storage.types import Recipient


class SegmentWriter:
    """Appends sealed records to one file; not thread-safe, its store serialises calls."""

    def __init__(
        self,
        path: Path,
        fields: HeaderFields,
        *,
        share: bytes,
        recipients: Sequence[Recipient],
        signer: EllipticCurvePrivateKey,
        files: Files,
    ) -> None:
        """Make the file; raises DiskFullError or WriteFailedError, leaving no file behind."""
        secret = secrets.token_bytes(SECRET_BYTES)
        info = fields.wrap_info()
        slots = tuple(
            WrappedSecret(item.key_id, wrap(item.public_key, secret, info).hex()) for item in recipients
        )
        self.fields = replace(fields, recipients=slots)
        header = pack_header(self.fields, signer)
        self.digest = hashlib.sha256(header).digest()
        key, commitment = derive(secret, share, key_info(self.digest))
        self._aead = AESGCM(key)
        self._signer = signer
        self._files = files
        self._path = path
        self._hash = hashlib.sha256(header + commitment)
        self._records = 0
        self._last_tag = bytes(TAG_BYTES)
        self._last_us = fields.opened_us
        self._pending = bytearray()
        self._unsynced = 0  # bytes appended since the last sync
        self.size = len(header) + len(commitment)
        try:
            write_atomic(path, header + commitment, files=files)
            self._fd = files.append_to(path)
        except OSError as error:
            raise _translated(error, path) from error

    @property
    def unsynced(self) -> int:
        """Bytes appended and not yet acknowledged."""
        return self._unsynced

    @property
    def buffered(self) -> int:
        """Bytes appended and still in RAM."""
        return len(self._pending)

    def append(self, payload: bytes, at_us: int) -> int:
        """Seal a record into the buffer; its index."""
        index = self._records
        aad = record_aad(self.digest, RECORD, index, self._last_tag)
        sealed = self._aead.encrypt(record_nonce(index), payload, aad)
        self._last_tag = sealed[-TAG_BYTES:]
        self._records += 1
        self._last_us = max(self._last_us, at_us)
        self._push(pack_frame(RECORD, sealed))
        return index

    def fits(self, payload_size: int, limit: int) -> bool:
        """Whether a record of `payload_size` bytes keeps the file within `limit` bytes."""
        return self.size + payload_size + RECORD_OVERHEAD <= limit

    def flush(self) -> None:
        """Hand the buffer to the system; raises DiskFullError (the buffer is kept) or WriteFailedError."""
        try:
            while self._pending:
                # The view must be gone before the buffer shrinks: hence a slice that copies.
                taken = self._files.write(self._fd, bytes(self._pending))
                del self._pending[:taken]
        except OSError as error:
            raise _translated(error, self._path) from error

    def sync(self) -> None:
        """Make durable what was flushed; raises WriteFailedError, after which the file must be given up."""
        try:
            self._files.fsync(self._fd)
        except OSError as error:
            # After a failed fsync the kernel may have dropped the pages: a later success would prove nothing.
            raise WriteFailedError(f"cannot sync {self._path}: check the disk") from error

    def mark_synced(self, size: int) -> None:
        """Note that `size` of the unsynced bytes are now durable."""
        self._unsynced -= size

    def finish(self) -> None:
        """Sync the records, write the signed footer, sync and close; raises DiskFullError or WriteFailedError.

        Call `flush` first. Whatever happens to the footer, the records are synced.
        """
        self._sync_records()
        footer = Footer(self._records, self._last_tag.hex(), self._hash.hexdigest(), self._last_us)
        raw = canonical_json(asdict(footer))
        aad = record_aad(self.digest, FOOTER, self._records, self._last_tag) + raw
        seal = self._aead.encrypt(record_nonce(self._records), b"", aad)
        signature = sign(self._signer, "segment-footer", self.digest + raw)
        whole = self.size
        self._push(pack_footer(raw, seal, signature))
        try:
            self.flush()
        except WriteFailedError:
            self._cut(whole)
            raise
        finally:
            try:
                self.sync()
            finally:
                self.abandon()

    def _sync_records(self) -> None:
        """Before the footer: a power cut may keep the later of two writes, and a footer vouches for the records."""
        if self._unsynced:
            try:
                self.sync()
            except WriteFailedError:
                self.abandon()
                raise

    def _cut(self, size: int) -> None:
        with contextlib.suppress(OSError):  # a torn footer reads as a cut tail, which is true
            self._files.truncate(self._path, size)

    def abandon(self) -> None:
        """Close the file without a footer and drop the key."""
        self._pending.clear()
        self._files.close(self._fd)

    def _push(self, frame: bytes) -> None:
        self._pending += frame
        self._hash.update(frame)
        self._unsynced += len(frame)
        self.size += len(frame)


def _translated(error: OSError, path: Path) -> WriteFailedError:
    if is_disk_full(error):
        return DiskFullError(f"no space for {path}: free space, then commit again")
    return WriteFailedError(f"cannot write {path}: check the disk")
