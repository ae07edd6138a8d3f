# SPDX-License-Identifier: Apache-2.0
"""The audit log: JSON lines, each bound to the one before it by a hash, with signed checkpoints.

append: one write of a whole line with O_APPEND, then fsync (sole commit point). A line without its newline is
an append that was never acknowledged; the next append cuts it. Several processes may append: a lock file
orders them, and each reads the end of the file that it finds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

from storage.atomic import locked, make_folder
from storage.errors import AuditDamagedError, AuditError, DiskFullError, EntryTooLargeError, WriteFailedError
from storage.files import OS_FILES, Files, write_all
from storage.primitives import canonical_json, key_id_of, label, sign, signature_ok

MAX_ENTRY_BYTES = 64 << 10
MAX_EVENT_CHARS = 64
CHECKPOINT_EVERY = 64  # entries between signed checkpoints
CHECKPOINT = "checkpoint"
GENESIS = "0" * 64
LOCK_TIMEOUT_S = 10.0
MAX_PROBLEMS = 50
_MAX_LINE_BYTES = MAX_ENTRY_BYTES + 1  # with its newline
_FULL_ERRNOS = {28, 122}  # ENOSPC, EDQUOT


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line: number from 0, time, event, fields, hash of the line before, own hash."""

    n: int
    at_us: int
    event: str
    fields: Mapping[str, Any]
    prev: str
    hash: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement that entry `n` has this hash; kept elsewhere, it shows that a tail was cut."""

    n: int
    head: str
    at_us: int
    key_id: str
    signature: str

    @property
    def message(self) -> bytes:
        """What is signed: everything but the signature."""
        fields = asdict(self)
        del fields["signature"]
        return canonical_json(fields)

    def as_fields(self) -> dict[str, Any]:
        """The checkpoint as plain JSON."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Checkpoint:
        """Checkpoint from plain JSON; raises AuditError."""
        try:
            made = cls(**fields)
            hexes = bytes.fromhex(made.signature).hex() == made.signature
        except (TypeError, ValueError) as error:
            raise AuditError("this is no checkpoint: export it again") from error
        texts = isinstance(made.head, str) and isinstance(made.key_id, str)
        if not (hexes and texts and type(made.n) is int and type(made.at_us) is int):
            raise AuditError("this is no checkpoint: export it again")
        return made

    def signed_by(self, public_key: EllipticCurvePublicKey) -> bool:
        """Whether the signature is of this key."""
        return signature_ok(public_key, "audit-checkpoint", self.message, bytes.fromhex(self.signature))


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a check of a log found. `unsigned`: entries after the last good checkpoint."""

    entries: int
    head: str
    checkpoints: int
    unsigned: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class _Head:
    n: int  # number of the last entry, -1 for none
    hash: str
    size: int  # bytes up to the end of the last whole line


class AuditLog:
    """Appends to one audit log; thread-safe and safe between processes."""

    def __init__(self, path: Path, signer: EllipticCurvePrivateKey | None, files: Files) -> None:
        self._path = path
        self._lock_path = path.with_name(path.name + ".lock")
        self._signer = signer
        self._files = files
        self._mutex = threading.Lock()
        self._head = _Head(-1, GENESIS, 0)

    @classmethod
    def open(
        cls, path: Path, signer: EllipticCurvePrivateKey | None = None, *, files: Files = OS_FILES
    ) -> AuditLog:
        """Open a log, made at its first entry; raises AuditDamagedError. With a signer it sets checkpoints."""
        make_folder(path.parent)
        log = cls(path, signer, files)
        with log._exclusive():
            log._catch_up()
        return log

    def append(self, event: str, fields: Mapping[str, Any], *, at_us: int | None = None) -> AuditEntry:
        """Add an entry, durable on return; raises EntryTooLargeError, AuditError, WriteFailedError kinds."""
        if not 1 <= len(event) <= MAX_EVENT_CHARS:
            raise EntryTooLargeError(f"an event name has 1 to {MAX_EVENT_CHARS} characters")
        with self._exclusive():
            self._catch_up()
            entry = self._write(event, fields, at_us)
            if self._signer is not None and (entry.n + 1) % CHECKPOINT_EVERY == 0:
                self._checkpoint(self._signer, at_us)
            return entry

    def checkpoint(self, *, at_us: int | None = None) -> Checkpoint:
        """Sign the present end of the log, enter that, and return it to be kept elsewhere."""
        if self._signer is None:
            raise AuditError("this log was opened without a signing key")
        with self._exclusive():
            self._catch_up()
            return self._checkpoint(self._signer, at_us)

    def _checkpoint(self, signer: EllipticCurvePrivateKey, at_us: int | None) -> Checkpoint:
        at = _now_us() if at_us is None else at_us
        bare = Checkpoint(self._head.n, self._head.hash, at, key_id_of(signer.public_key()), "")
        checkpoint = replace(bare, signature=sign(signer, "audit-checkpoint", bare.message).hex())
        self._write(CHECKPOINT, checkpoint.as_fields(), at)
        return checkpoint

    def _write(self, event: str, fields: Mapping[str, Any], at_us: int | None) -> AuditEntry:
        at = _now_us() if at_us is None else at_us
        head = self._head
        raw = _entry_line(head.n + 1, at, event, fields, head.hash)
        self._append_line(raw + b"\n")
        self._head = _Head(head.n + 1, entry_hash(raw), head.size + len(raw) + 1)
        return AuditEntry(head.n + 1, at, event, dict(fields), head.hash, self._head.hash)

    def _append_line(self, line: bytes) -> None:
        is_new = self._head.size == 0
        fd = self._files.append_to(self._path)
        try:
            write_all(self._files, fd, line)
            self._files.fsync(fd)
        finally:
            self._files.close(fd)
        if is_new:
            self._files.fsync_dir(self._path.parent)

    def _catch_up(self) -> None:
        """Learn the end of the file as other processes left it; cut a line that was never acknowledged."""
        size = self._path.stat().st_size if self._path.exists() else 0
        if size == self._head.size:
            return
        head = _read_head(self._path, size)
        if head.size < size:
            self._files.truncate(self._path, head.size)
        self._head = head

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._mutex:
            try:
                with locked(self._lock_path, LOCK_TIMEOUT_S) as free:
                    if not free:
                        raise AuditError(f"{self._lock_path} is held by another process: try again")
                    yield
            except OSError as error:
                kind = DiskFullError if error.errno in _FULL_ERRNOS else WriteFailedError
                raise kind(f"cannot write {self._path}: check the disk") from error


def entry_hash(raw: bytes) -> str:
    """Hash of an entry's line (without newline), 64 hex."""
    return hashlib.sha256(label("audit-entry") + raw).hexdigest()


def verify_audit(
    path: Path, public_key: EllipticCurvePublicKey | None = None, *, checkpoint: Checkpoint | None = None
) -> AuditReport:
    """Check a whole log offline, line by line; a checkpoint kept elsewhere shows a cut tail.

    Raises AuditError when the file cannot be read; everything else is a problem in the report.
    """
    check = _Check(public_key, checkpoint)
    try:
        with path.open("rb") as file:
            while line := file.readline(_MAX_LINE_BYTES):
                if not check.take(line):
                    break
    except OSError as error:
        raise AuditError(f"cannot read {path}: check the path") from error
    return check.report()


class _Check:
    """Running state of a verification."""

    def __init__(self, public_key: EllipticCurvePublicKey | None, checkpoint: Checkpoint | None) -> None:
        self._public_key = public_key
        self._expected = checkpoint
        self._seen_expected = checkpoint is not None and (checkpoint.n, checkpoint.head) == (-1, GENESIS)
        self._line = 0
        self._n = 0
        self._head = GENESIS
        self._checkpoints = 0
        self._signed_to = 0
        self._problems: list[str] = []

    def take(self, line: bytes) -> bool:
        """Check one line; False when going on makes no sense."""
        self._line += 1
        raw = line.removesuffix(b"\n")
        entry = _parse_entry(raw)
        if entry is None or raw == line:
            what = "is cut" if raw == line else "is no entry"
            return self._problem(f"line {self._line} {what}: the log was edited or its last write was torn")
        if entry.n != self._n or entry.prev != self._head:
            self._problem(f"line {self._line} does not follow the one before: edited, removed or inserted")
        if entry.event == CHECKPOINT:
            self._check_signature(entry)
        self._n, self._head = entry.n + 1, entry.hash
        if self._expected is not None and entry.n == self._expected.n:
            self._seen_expected = entry.hash == self._expected.head
        return len(self._problems) < MAX_PROBLEMS

    def report(self) -> AuditReport:
        """The finished report."""
        if self._expected is not None:
            self._check_expected(self._expected)
        unsigned = self._n - self._signed_to
        return AuditReport(self._n, self._head, self._checkpoints, unsigned, tuple(self._problems))

    def _check_expected(self, expected: Checkpoint) -> None:
        if self._public_key is not None and not expected.signed_by(self._public_key):
            self._problem("the given checkpoint is not signed by this key: get the right one")
        elif not self._seen_expected:
            self._problem(f"entry {expected.n} of the checkpoint is missing or differs: cut or rewritten")

    def _check_signature(self, entry: AuditEntry) -> None:
        try:
            checkpoint = Checkpoint.from_fields(entry.fields)
        except AuditError:
            self._problem(f"entry {entry.n} is a malformed checkpoint")
            return
        if (checkpoint.n, checkpoint.head, checkpoint.at_us) != (entry.n - 1, entry.prev, entry.at_us):
            self._problem(f"checkpoint at entry {entry.n} is of another log or was moved")
        elif self._public_key is not None and not checkpoint.signed_by(self._public_key):
            self._problem(f"checkpoint at entry {entry.n} is not signed by this key")
        else:
            self._checkpoints += 1
            self._signed_to = entry.n + 1

    def _problem(self, text: str) -> bool:
        self._problems.append(text)
        return False


def read_entries(path: Path) -> Iterator[AuditEntry]:
    """Entries of a log in order, unchecked, up to the first line that is none."""
    with path.open("rb") as file:
        while line := file.readline(_MAX_LINE_BYTES):
            entry = _parse_entry(line.removesuffix(b"\n"))
            if entry is None:
                return
            yield entry


def _now_us() -> int:
    return time.time_ns() // 1000


def _entry_line(n: int, at_us: int, event: str, fields: Mapping[str, Any], prev: str) -> bytes:
    try:
        raw = canonical_json({"at_us": at_us, "event": event, "fields": dict(fields), "n": n, "prev": prev})
    except (TypeError, ValueError) as error:
        raise EntryTooLargeError("the fields are no plain JSON: record numbers, texts and lists") from error
    if len(raw) > MAX_ENTRY_BYTES:
        raise EntryTooLargeError(f"the entry is over {MAX_ENTRY_BYTES} bytes: record less")
    return raw


def _parse_entry(raw: bytes) -> AuditEntry | None:
    try:
        value = json.loads(raw)
        entry = AuditEntry(**value, hash=entry_hash(raw))
        canonical = canonical_json(value) == raw
    except (ValueError, TypeError, RecursionError):
        return None
    numbers = type(entry.n) is int and type(entry.at_us) is int
    event = isinstance(entry.event, str) and 1 <= len(entry.event) <= MAX_EVENT_CHARS
    sound = numbers and event and isinstance(entry.fields, dict) and isinstance(entry.prev, str)
    return entry if canonical and sound else None


def _read_head(path: Path, size: int) -> _Head:
    """The last whole line; raises AuditDamagedError when it is no entry."""
    if size == 0:
        return _Head(-1, GENESIS, 0)
    start = max(0, size - 2 * (MAX_ENTRY_BYTES + 1))
    with path.open("rb") as file:
        file.seek(start)
        tail = file.read(size - start)
    whole = tail[: tail.rfind(b"\n") + 1]
    if not whole and start == 0:
        return _Head(-1, GENESIS, 0)
    entry = _parse_entry(whole[:-1].rpartition(b"\n")[2])
    if entry is None:
        raise AuditDamagedError(f"{path} does not end in an entry: verify it and set it aside")
    return _Head(entry.n, entry.hash, start + len(whole))
