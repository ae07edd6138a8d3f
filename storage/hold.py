# SPDX-License-Identifier: Apache-2.0
"""Records held for a case: sealed anew under a share of the case's own, so that destroying that share ends the hold.

A case's folder holds ordinary segments, signed by the office; FORMAT.md ("Legal hold") says what their payloads are.
The share of the epoch that a record comes from is never kept.

Order of writes: 1. the case's share is durable in the keyring (`case_share`); 2. each segment is written, closed and
synced (`CaseWriter`); 3. the caller's own document that names the files is the sole commit point. Files that it does
not name were left by an attempt that was cut off; `read_case` reads them as well, so that a second attempt loses
nothing of the first. To end a hold: 1. `end_case` destroys the share (no return), 2. it unlinks the files.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Self

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

from storage.atomic import make_folder
from storage.errors import HeldRecordError, StorageError
from storage.files import OS_FILES, Files
from storage.format import HeaderFields
from storage.keyring import Keyring
from storage.layout import SEGMENT_SUFFIX
from storage.primitives import SECRET_BYTES, canonical_json, key_id_of
from storage.reader import open_segment, parse_header
from storage.segment_writer import SegmentWriter
from storage.types import EpochId, Recipient, SegmentKind, is_id

CASE_PREFIX = "case-"  # of the scope of a case's share; no device's id begins so
MAX_HELD_HEADER_BYTES = 1024
MAX_CASE_SEGMENT_BYTES = 256 << 20  # a segment that would grow over this is closed, a new one opened
FLUSH_BYTES = 1 << 20
_LENGTH_BYTES = 4
_MEMBERS = {"device", "header_sha256", "index", "kind", "segment"}


def case_scope(hold_id: str) -> str:
    """Scope of a case's share in the keyring."""
    return CASE_PREFIX + hold_id


def is_case_scope(scope: str) -> bool:
    """Whether a scope of the keyring is a case's: its share ends with the hold, never with the retention."""
    return scope.startswith(CASE_PREFIX)


class HeldKind(StrEnum):
    """What a held record is: a read, a picture, a hit, or the signed ends of a segment that records came from."""

    READ = "reads"
    IMAGE = "images"
    HIT = "hits"
    PROOF = "proof"


@dataclass(frozen=True, slots=True)
class HeldRecord:
    """One record with where it came from.

    `header_sha256` is the `header_hash` of the source segment, 64 hex; empty for a hit, whose `segment` is its id.
    """

    kind: HeldKind
    device: str
    segment: str
    index: int
    header_sha256: str
    payload: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """Of the payload, 64 hex."""
        return hashlib.sha256(self.payload).hexdigest()

    @property
    def place(self) -> tuple[str, str, str, int]:
        """What tells it from every other record of a case."""
        return str(self.kind), self.device, self.segment, self.index

    def encode(self) -> bytes:
        """Payload of a case's segment: length of the header, header, payload."""
        header = canonical_json(
            {
                "device": self.device,
                "header_sha256": self.header_sha256,
                "index": self.index,
                "kind": self.kind,
                "segment": self.segment,
            }
        )
        return len(header).to_bytes(_LENGTH_BYTES, "big") + header + self.payload

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """From the payload of a case's segment; raises HeldRecordError."""
        size = int.from_bytes(raw[:_LENGTH_BYTES], "big")
        end = _LENGTH_BYTES + size
        if size > MAX_HELD_HEADER_BYTES or len(raw) < end:
            raise HeldRecordError("a held record is cut, or its header is too long")
        try:
            value = json.loads(raw[_LENGTH_BYTES:end])
            made = cls(**{**value, "kind": HeldKind(value["kind"])}, payload=raw[end:])
            sound = set(value) == _MEMBERS and type(made.index) is int and made.encode() == raw
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise HeldRecordError("a held record has no header as FORMAT.md says") from error
        if not sound:
            raise HeldRecordError("the header of a held record is not canonical or out of bounds")
        return made


@dataclass(frozen=True, slots=True)
class HeldSegment:
    """A closed segment of a case: file name, records in it, its `header_hash` (64 hex) and size in bytes."""

    name: str
    records: int
    header_sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class CaseSeal:
    """What a case is sealed with: scope, epoch and share in the keyring, who opens, who signs."""

    scope: str
    epoch: EpochId
    share: bytes = field(repr=False)
    recipients: Sequence[Recipient]
    signer: EllipticCurvePrivateKey = field(repr=False)


def case_share(keyring: Keyring, scope: str, epoch: EpochId) -> bytes:
    """The case's share, drawn and durable at first use; raises KeyringError kinds."""
    known = keyring.peek(epoch, scope=scope)
    if known is not None:
        return known
    fresh = secrets.token_bytes(SECRET_BYTES)
    keyring.import_share(scope, epoch, fresh)
    return fresh


class CaseWriter:
    """Writes the segments of one case, pictures apart from the rest; one thread."""

    def __init__(self, folder: Path, seal: CaseSeal, *, files: Files = OS_FILES) -> None:
        self._folder = folder
        self._seal = seal
        self._files = files
        self._run = secrets.token_hex(8)
        self._open: dict[SegmentKind, tuple[SegmentWriter, int]] = {}
        self._last: dict[SegmentKind, tuple[int, str]] = {}
        self._done: list[HeldSegment] = []
        make_folder(folder)

    def add(self, record: HeldRecord, at_us: int) -> None:
        """Seal a record; raises WriteFailedError, and DiskFullError."""
        payload = record.encode()
        kind = SegmentKind.IMAGES if record.kind is HeldKind.IMAGE else SegmentKind.READS
        known = self._open.get(kind)
        if known is not None and not known[0].fits(len(payload), MAX_CASE_SEGMENT_BYTES):
            self._close(kind)
            known = None
        writer, count = known or (self._begin(kind, at_us), 0)
        writer.append(payload, at_us)
        self._open[kind] = writer, count + 1
        if writer.buffered >= FLUSH_BYTES:
            writer.flush()

    def finish(self) -> tuple[HeldSegment, ...]:
        """Close every segment, durably; raises WriteFailedError."""
        for kind in tuple(self._open):
            self._close(kind)
        return tuple(self._done)

    def abandon(self) -> None:
        """Give up what is not closed; the files stay for the next attempt."""
        for writer, _ in self._open.values():
            writer.abandon()
        self._open.clear()

    def _begin(self, kind: SegmentKind, at_us: int) -> SegmentWriter:
        seal = self._seal
        seq, prev = self._last.get(kind, (-1, "0" * 64))
        segment_id = f"{seal.epoch}-{kind}-{self._run}-{seq + 1}"
        fields = HeaderFields(
            device_id=seal.scope,
            boot_id="office",
            run_id=self._run,
            segment_id=segment_id,
            kind=kind,
            epoch=seal.epoch,
            opened_us=at_us,
            seq=seq + 1,
            prev=prev,
            signer=key_id_of(seal.signer.public_key()),
            recipients=(),
        )
        writer = SegmentWriter(
            self._folder / f"{segment_id}{SEGMENT_SUFFIX}",
            fields,
            share=seal.share,
            recipients=seal.recipients,
            signer=seal.signer,
            files=self._files,
        )
        self._last[kind] = seq + 1, writer.digest.hex()
        self._open[kind] = writer, 0
        return writer

    def _close(self, kind: SegmentKind) -> None:
        writer, count = self._open[kind]
        writer.flush()
        del self._open[kind]
        writer.finish()
        name = f"{writer.fields.segment_id}{SEGMENT_SUFFIX}"
        self._done.append(HeldSegment(name, count, writer.digest.hex(), writer.size))


def case_files(folder: Path) -> list[Path]:
    """Every segment of a case's folder, named by its document or not."""
    return sorted(folder.glob(f"*{SEGMENT_SUFFIX}"))


def read_case(
    paths: Iterable[Path],
    scope: str,
    keyring: Keyring,
    *,
    private_key: EllipticCurvePrivateKey,
    verify_key: EllipticCurvePublicKey,
    on_problem: Callable[[str], None],
) -> Iterator[HeldRecord]:
    """Every record that opens, in the order of files and indices; what does not is told and never skipped silently."""
    for path in paths:
        try:
            with path.open("rb") as file:
                share = _share_of(file, scope, keyring)
                reading = open_segment(file, share=share, private_key=private_key, verify_key=verify_key)
                for _, payload in reading:
                    record = _decoded(payload, path, on_problem)
                    if record is not None:
                        yield record
                for problem in reading.problems:
                    on_problem(f"{path.name}: {problem}")
        except (StorageError, OSError) as error:
            on_problem(f"{path.name}: {error}")


def _decoded(payload: bytes, path: Path, on_problem: Callable[[str], None]) -> HeldRecord | None:
    try:
        return HeldRecord.decode(payload)
    except HeldRecordError as error:
        on_problem(f"{path.name}: {error}")
        return None


def _share_of(file: BinaryIO, scope: str, keyring: Keyring) -> bytes:
    header = parse_header(file)
    if header.device_id != scope:
        raise HeldRecordError(f"it belongs to {header.device_id}, not to this case")
    share = keyring.peek(header.epoch, scope=scope)
    if share is None:
        raise HeldRecordError("the case's share is destroyed: the hold was ended")
    return share


def end_case(keyring: Keyring, folder: Path, scope: str, *, files: Files = OS_FILES) -> None:
    """Destroy a case's share for good, then unlink its segments; safe to repeat. Raises KeyringError kinds, OSError."""
    if not (is_case_scope(scope) and is_id(scope)):
        raise HeldRecordError("this is no case's scope: nothing was destroyed")
    keyring.destroy(keyring.epochs(scope), scope=scope)
    remove_files(folder, case_files(folder), files=files)


def remove_files(folder: Path, paths: Iterable[Path], *, files: Files = OS_FILES) -> None:
    """Unlink segments and make that durable; raises OSError."""
    for path in paths:
        files.unlink(path)
    if folder.is_dir():
        files.fsync_dir(folder)
