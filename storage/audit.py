# SPDX-License-Identifier: Apache-2.0
"""The audit log: JSON lines, each bound to the one before it by a hash, with signed checkpoints.

append: one write of a whole line with O_APPEND, then fsync (sole commit point), and at a process's first append an
fsync of the folder. What follows the last entry and is none itself, at most one line long, is an append that was never
acknowledged; the next append cuts it, and says so in an entry of its own. Several processes may append: a lock file
orders them, and each reads the end of the file that it finds.
set aside: rename to another name (sole commit point), then the first entry of the new log, whose sync of the folder
makes both durable.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from storage.atomic import locked, make_folder
from storage.audit_check import AuditReport, verify_audit
from storage.audit_entry import (
    CHECKPOINT,
    GENESIS,
    MAX_ENTRY_BYTES,
    MAX_EVENT_CHARS,
    MAX_LINE_BYTES,
    SET_ASIDE,
    TAIL_CUT,
    AuditEntry,
    Checkpoint,
    entry_hash,
    entry_line,
    parse_entry,
    read_entries,
)
from storage.errors import (
    AuditDamagedError,
    AuditError,
    DiskFullError,
    EntryTooLargeError,
    WriteFailedError,
    is_bad_sector,
    is_disk_full,
)
from storage.files import OS_FILES, Files, write_all
from storage.primitives import key_id_of, sign

__all__ = [
    "CHECKPOINT",
    "CHECKPOINT_EVERY",
    "GENESIS",
    "MAX_ENTRY_BYTES",
    "MAX_EVENT_CHARS",
    "SET_ASIDE",
    "TAIL_CUT",
    "AuditEntry",
    "AuditLog",
    "AuditReport",
    "Checkpoint",
    "entry_hash",
    "read_entries",
    "verify_audit",
]

CHECKPOINT_EVERY = 64  # entries between signed checkpoints
LOCK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class _Head:
    n: int  # number of the last entry, -1 for none
    hash: str
    size: int  # bytes up to the end of the last entry


_EMPTY = _Head(-1, GENESIS, 0)


class AuditLog:
    """Appends to one audit log; thread-safe and safe between processes."""

    def __init__(
        self, path: Path, signer: EllipticCurvePrivateKey | None, files: Files, *, goes_on: bool = False
    ) -> None:
        self._path = path
        self._lock_path = path.with_name(path.name + ".lock")
        self._signer = signer
        self._files = files
        self._goes_on = goes_on  # whether a log that cannot be continued is set aside
        self._mutex = threading.Lock()
        self._head = _EMPTY
        self._named = False  # whether this object has made the file's name durable

    @classmethod
    def open(
        cls, path: Path, signer: EllipticCurvePrivateKey | None = None, *, files: Files = OS_FILES
    ) -> AuditLog:
        """Open a log, made at its first entry; raises AuditDamagedError. With a signer it sets checkpoints."""
        log = cls(path, signer, files)
        log._begin()
        return log

    @classmethod
    def open_or_begin(
        cls, path: Path, signer: EllipticCurvePrivateKey | None = None, *, files: Files = OS_FILES
    ) -> AuditLog:
        """As `open`, for who must go on: a log that cannot be continued, because it is damaged or the disk cannot
        read it, is set aside under another name, now or at a later entry, and the new one begins with a note of that.
        """
        log = cls(path, signer, files, goes_on=True)
        log._begin()
        return log

    def _begin(self) -> None:
        with self._translated():
            make_folder(self._path.parent, files=self._files)
        with self._exclusive():
            self._catch_up()

    def append(self, event: str, fields: Mapping[str, Any], *, at_us: int | None = None) -> AuditEntry:
        """Add an entry, durable on return; raises EntryTooLargeError, AuditError, WriteFailedError kinds."""
        if not 1 <= len(event) <= MAX_EVENT_CHARS:
            raise EntryTooLargeError(f"an event name has 1 to {MAX_EVENT_CHARS} characters")
        with self._exclusive():
            self._cut_tail(at_us)
            entry = self._write(event, fields, at_us)
            if self._signer is not None and (entry.n + 1) % CHECKPOINT_EVERY == 0:
                self._checkpoint(self._signer, at_us)
            return entry

    def checkpoint(self, *, at_us: int | None = None) -> Checkpoint:
        """Sign the present end of the log, enter that, and return it to be kept elsewhere."""
        if self._signer is None:
            raise AuditError("this log was opened without a signing key")
        with self._exclusive():
            self._cut_tail(at_us)
            return self._checkpoint(self._signer, at_us)

    def signed_head(self, *, at_us: int | None = None) -> Checkpoint:
        """Sign the present end of the log and enter nothing: for a witness, who is told often."""
        if self._signer is None:
            raise AuditError("this log was opened without a signing key")
        with self._exclusive():
            self._catch_up()
            return self._signed(self._signer, _now_us() if at_us is None else at_us)

    def _checkpoint(self, signer: EllipticCurvePrivateKey, at_us: int | None) -> Checkpoint:
        checkpoint = self._signed(signer, _now_us() if at_us is None else at_us)
        self._write(CHECKPOINT, checkpoint.as_fields(), checkpoint.at_us)
        return checkpoint

    def _signed(self, signer: EllipticCurvePrivateKey, at_us: int) -> Checkpoint:
        bare = Checkpoint(self._head.n, self._head.hash, at_us, key_id_of(signer.public_key()), "")
        return replace(bare, signature=sign(signer, "audit-checkpoint", bare.message).hex())

    def _write(self, event: str, fields: Mapping[str, Any], at_us: int | None) -> AuditEntry:
        at = _now_us() if at_us is None else at_us
        head = self._head
        raw = entry_line(head.n + 1, at, event, fields, head.hash)
        try:
            self._append_line(raw + b"\n")
        except OSError:
            self._head = _EMPTY  # to be read again: whether the disk still reads it
            raise
        self._head = _Head(head.n + 1, entry_hash(raw), head.size + len(raw) + 1)
        return AuditEntry(head.n + 1, at, event, dict(fields), head.hash, self._head.hash)

    def _append_line(self, line: bytes) -> None:
        fd = self._files.append_to(self._path)
        try:
            write_all(self._files, fd, line)
            self._files.fsync(fd)
        finally:
            self._files.close(fd)
        if not self._named:
            self._files.fsync_dir(self._path.parent)
            self._named = True

    def _catch_up(self) -> int:
        """Learn the end of the file as other processes left it, or begin a new one; its size."""
        try:
            return self._learn_end()
        except (AuditDamagedError, OSError) as error:
            if not self._goes_on or (isinstance(error, OSError) and not is_bad_sector(error)):
                raise
            self._set_aside(error)
            return self._head.size

    def _set_aside(self, why: Exception) -> None:
        aside = self._path.with_name(f"{self._path.name}.{_now_us()}.damaged")
        self._files.replace(self._path, aside)
        self._head, self._named = _EMPTY, False
        self._write(SET_ASIDE, {"file": aside.name, "why": type(why).__name__}, None)

    def _learn_end(self) -> int:
        size = self._path.stat().st_size if self._path.exists() else 0
        if size != self._head.size:
            self._head = _read_head(self._path, size)
        return size

    def _cut_tail(self, at_us: int | None) -> None:
        """Cut what was never acknowledged, and enter that."""
        size = self._catch_up()
        if size > self._head.size:
            self._files.truncate(self._path, self._head.size)
            self._write(TAIL_CUT, {"bytes": size - self._head.size}, at_us)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._mutex, self._translated(), locked(self._lock_path, LOCK_TIMEOUT_S) as free:
            if not free:
                raise AuditError(f"{self._lock_path} is held by another process: try again")
            yield

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = DiskFullError if is_disk_full(error) else WriteFailedError
            raise kind(f"cannot write {self._path}: check the disk") from error


def _now_us() -> int:
    return time.time_ns() // 1000


def _read_head(path: Path, size: int) -> _Head:
    """The last entry, with at most one line's worth of bytes after it; raises AuditDamagedError when there is none."""
    start = max(0, size - 3 * MAX_LINE_BYTES)
    with path.open("rb") as file:
        file.seek(start)
        tail = file.read(size - start)
    end = tail.rfind(b"\n")
    while end >= 0 and len(tail) - end - 1 <= MAX_LINE_BYTES:
        entry = parse_entry(tail[tail.rfind(b"\n", 0, end) + 1 : end])
        if entry is not None:
            return _Head(entry.n, entry.hash, start + end + 1)
        end = tail.rfind(b"\n", 0, end)
    if size > MAX_LINE_BYTES:
        raise AuditDamagedError(f"{path} does not end in an entry: verify it and set it aside")
    return _EMPTY
