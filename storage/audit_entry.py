# SPDX-License-Identifier: Apache-2.0
"""The lines of the audit log: canonical JSON, each bound to the one before it by a hash; and signed checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from storage.errors import AuditError, EntryTooLargeError
from storage.primitives import canonical_json, label, signature_ok

MAX_ENTRY_BYTES = 64 << 10
MAX_LINE_BYTES = MAX_ENTRY_BYTES + 1  # with its newline
MAX_EVENT_CHARS = 64
CHECKPOINT = "checkpoint"  # events that the log enters by itself
TAIL_CUT = "tail_cut"
SET_ASIDE = "log_set_aside"
GENESIS = "0" * 64


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
            hexes = bytes.fromhex(made.signature).hex() == made.signature and bool(made.message)
        except (TypeError, ValueError, RecursionError) as error:
            raise AuditError("this is no checkpoint: export it again") from error
        texts = isinstance(made.head, str) and isinstance(made.key_id, str)
        if not (hexes and texts and type(made.n) is int and type(made.at_us) is int):
            raise AuditError("this is no checkpoint: export it again")
        return made

    def signed_by(self, public_key: EllipticCurvePublicKey) -> bool:
        """Whether the signature is of this key."""
        return signature_ok(public_key, "audit-checkpoint", self.message, bytes.fromhex(self.signature))


def entry_hash(raw: bytes) -> str:
    """Hash of an entry's line (without newline), 64 hex."""
    return hashlib.sha256(label("audit-entry") + raw).hexdigest()


def entry_line(n: int, at_us: int, event: str, fields: Mapping[str, Any], prev: str) -> bytes:
    """The bytes of an entry, without newline; raises EntryTooLargeError."""
    try:
        raw = canonical_json({"at_us": at_us, "event": event, "fields": dict(fields), "n": n, "prev": prev})
    except (TypeError, ValueError) as error:
        raise EntryTooLargeError("the fields are no plain JSON: record numbers, texts and lists") from error
    if len(raw) > MAX_ENTRY_BYTES:
        raise EntryTooLargeError(f"the entry is over {MAX_ENTRY_BYTES} bytes: record less")
    return raw


def parse_entry(raw: bytes) -> AuditEntry | None:
    """The entry that a line (without newline) is; None when it is none."""
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


def read_entries(path: Path, *events: str) -> Iterator[AuditEntry]:
    """Entries of a log in order, unchecked, up to the first line that is none; only these events when any is named."""
    # as each line of such an entry has it
    marks = [canonical_json({"event": event})[1:-1] for event in events]
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            if marks and not any(mark in line for mark in marks):
                continue
            entry = parse_entry(line.removesuffix(b"\n"))
            if entry is None:
                return
            if not events or entry.event in events:
                yield entry
