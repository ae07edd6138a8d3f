# SPDX-License-Identifier: Apache-2.0
"""Deletion receipts: signed, numbered, each bound to the one before; checked offline with a public key.

What a check says, and where it goes on, stands in FORMAT.md ("Receipts"); `offline/verify_audit.py` says the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

from storage.audit import read_entries, verify_audit
from storage.errors import ReceiptInvalidError, StorageError
from storage.primitives import canonical_json, key_id_of, label, sign, signature_ok
from storage.types import EpochId

GENESIS = "0" * 64
MAX_RECEIPT_BYTES = 1 << 20
MAX_PROBLEMS = 50  # then the check stops
_Told = tuple[int, int, object]  # number of an audit entry; number and hash of the receipt that it tells of
_BODY_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("epoch", "erased_us", "n", "policy_seconds"), (int,)),
    **dict.fromkeys(("device_id", "policy_version", "prev", "root_of_trust"), (str,)),
    "best_effort": (bool,),
}
_SEGMENT_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("header_sha256", "kind", "segment_id"), (str,)),
    "size": (int,),
    "records": (int, type(None)),
    "closed": (bool,),
}


@dataclass(frozen=True, slots=True)
class ErasedSegment:
    """A segment that was deleted. `records` is None when its file could not be read any more."""

    segment_id: str
    kind: str
    size: int
    records: int | None
    header_sha256: str
    closed: bool


@dataclass(frozen=True, slots=True)
class ReceiptBody:
    """What a receipt states. `time_sources` stood behind `erased_us`, the lower bound of the time."""

    device_id: str
    n: int
    prev: str
    epoch: EpochId
    erased_us: int
    time_sources: tuple[str, ...]
    policy_seconds: int
    policy_version: str
    root_of_trust: str
    best_effort: bool
    segments: tuple[ErasedSegment, ...]

    @property
    def raw(self) -> bytes:
        """Canonical JSON, the bytes that are signed."""
        return canonical_json(asdict(self))

    @property
    def hash(self) -> str:
        """What the next receipt names as `prev`."""
        return hashlib.sha256(label("receipt-link") + self.raw).hexdigest()


@dataclass(frozen=True, slots=True)
class Receipt:
    """A signed receipt: the body's canonical JSON is what was signed."""

    body: ReceiptBody
    key_id: str
    signature: str

    def encode(self) -> bytes:
        """Canonical JSON of the whole receipt."""
        return canonical_json({"body": asdict(self.body), "key_id": self.key_id, "signature": self.signature})

    @classmethod
    def decode(cls, raw: bytes) -> Receipt:
        """Receipt from its JSON; raises ReceiptInvalidError. The signature is not checked."""
        if len(raw) > MAX_RECEIPT_BYTES:
            raise ReceiptInvalidError(f"a receipt is at most {MAX_RECEIPT_BYTES} bytes")
        try:
            value = json.loads(raw)
            receipt = cls(decode_body(value.pop("body")), **value)
            hexes = bytes.fromhex(receipt.signature).hex() == receipt.signature
            canonical = hexes and isinstance(receipt.key_id, str) and receipt.encode() == raw
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ReceiptInvalidError("this is no deletion receipt: fetch the chain again") from error
        if not canonical:
            raise ReceiptInvalidError("the receipt is not canonical JSON: fetch the chain again")
        return receipt


@dataclass(frozen=True, slots=True)
class ReceiptsReport:
    """What a check of a chain found.

    `receipts` counts what is a receipt in form, `damaged` the lines that are none. `epochs` and `segments` (ids) are
    what the signed ones say was erased. `next_n` is the number that the next receipt has.
    """

    receipts: int
    epochs: tuple[EpochId, ...]
    next_n: int
    problems: tuple[str, ...]
    damaged: int = 0
    segments: frozenset[str] = frozenset()

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong or missing."""
        return not self.problems


def sign_receipt(body: ReceiptBody, signer: EllipticCurvePrivateKey) -> Receipt:
    """Sign a receipt's body."""
    signature = sign(signer, "receipt", body.raw).hex()
    return Receipt(body, key_id_of(signer.public_key()), signature)


def verify_receipts(
    receipts: Sequence[Receipt], public_key: EllipticCurvePublicKey, *, first_n: int = 0
) -> ReceiptsReport:
    """Check a chain in order: signatures, numbers, links; says which numbers are missing."""
    chain = _Chain(public_key, first_n)
    for receipt in receipts:
        chain.take(receipt)
    return chain.report()


def check_receipts(
    path: Path,
    public_key: EllipticCurvePublicKey | None,
    *,
    first_n: int = 0,
    audit: Path | None = None,
) -> ReceiptsReport:
    """Check a file of receipts, one a line; whatever is wrong with it is a problem of the report.

    No file is an empty chain. Without a key no signature is checked. `audit`, the device's audit log, shows receipts
    that are missing at the end.
    """
    # First the audit log, which tells of a receipt that is there already: a device may delete meanwhile.
    problems, told = _told(audit, first_n) if audit is not None else ([], [])
    chain = _Chain(public_key, first_n)
    try:
        for number, line in _lines(path):
            chain.take_line(number, line)
            if chain.full:
                return chain.report()
    except FileNotFoundError:
        pass
    except OSError as error:
        chain.tell(f"cannot be read to its end: {error.strerror}: check the disk, keep the file")
    _check_told(chain, problems, told)
    return chain.report()


def _lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Number from 1 and content of each line; None, as the last, for one that is cut or over its bound."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_RECEIPT_BYTES + 1):
            number += 1
            if not line.endswith(b"\n"):
                yield number, None
                return
            yield number, line[:-1]


class _Chain:
    """Running state of a check: the number and the link that the next receipt should have."""

    def __init__(self, public_key: EllipticCurvePublicKey | None, first_n: int) -> None:
        self._public_key = public_key
        self._expected = first_n
        self._prev = GENESIS if first_n == 0 else None
        self._skipped = 0  # damaged lines since the last receipt, each of which may have been one
        self._damaged = 0
        self._epochs: list[EpochId] = []
        self._segments: set[str] = set()
        self._receipts = 0
        self._problems: list[str] = []
        self.hashes: dict[int, str] = {}

    @property
    def full(self) -> bool:
        """Whether so much was found that going on makes no sense."""
        return len(self._problems) >= MAX_PROBLEMS

    def tell(self, problem: str) -> None:
        """Add a problem."""
        self._problems.append(problem)

    def take_line(self, number: int, line: bytes | None) -> None:
        """Check a line of a file, None for one that is cut; a damaged one is told, and the check goes on behind it."""
        try:
            receipt = None if line is None else Receipt.decode(line)
            why = "its end is missing: the last write was torn, or the file was cut"
        except ReceiptInvalidError as error:
            receipt, why = None, str(error)
        if receipt is not None:
            self.take(receipt)
            return
        self.tell(f"line {number} is no receipt, or is cut: {why}")
        self._damaged += 1
        self._skipped += 1
        self._prev = None

    def take(self, receipt: Receipt) -> None:
        """Check the next receipt."""
        body = receipt.body
        if self._signed(receipt):
            self._epochs.append(body.epoch)
            self._segments.update(segment.segment_id for segment in body.segments)
        else:
            self.tell(f"receipt {body.n} is not signed by this device")
        if body.n > self._expected + self._skipped:
            self.tell(f"receipts {self._expected} to {body.n - 1} are missing")
        elif body.n < self._expected:
            self.tell(f"receipt {body.n} is there twice or out of order")
        elif self._prev is not None and body.prev != self._prev:
            self.tell(f"receipt {body.n} does not follow the one before: one was replaced")
        self._expected, self._prev, self._skipped = body.n + 1, body.hash, 0
        self.hashes[body.n] = body.hash
        self._receipts += 1

    def _signed(self, receipt: Receipt) -> bool:
        signature = bytes.fromhex(receipt.signature)
        key = self._public_key
        return key is None or signature_ok(key, "receipt", receipt.body.raw, signature)

    def report(self) -> ReceiptsReport:
        """The finished report."""
        return ReceiptsReport(
            receipts=self._receipts,
            epochs=tuple(self._epochs),
            next_n=self._expected,
            problems=tuple(self._problems),
            damaged=self._damaged,
            segments=frozenset(self._segments),
        )


def _told(audit: Path, first_n: int) -> tuple[list[str], list[_Told]]:
    """What is wrong with an audit log, and the receipts that it tells of."""
    try:
        sound = verify_audit(audit)
    except StorageError as error:
        return [f"the audit log cannot be used: {error}"], []
    told = []
    for entry in read_entries(audit):
        n = entry.fields.get("receipt")
        if entry.event == "epoch_erased" and type(n) is int and n >= first_n:
            told.append((entry.n, n, entry.fields.get("receipt_hash")))
    what = "the audit log is not whole, so it tells of fewer receipts"
    return [f"{what}: {problem}" for problem in sound.problems[:1]], told


def _check_told(chain: _Chain, problems: Iterable[str], told: Iterable[_Told]) -> None:
    """Every receipt that the audit log tells of is here, and is that one."""
    for problem in problems:
        chain.tell(problem)
    for entry_n, n, digest in told:
        if chain.hashes.get(n) != digest:
            what = "is another one here" if n in chain.hashes else "is missing here"
            chain.tell(f"receipt {n}, which entry {entry_n} of the audit log tells of, {what}")
        if chain.full:
            return


def decode_body(value: Mapping[str, Any]) -> ReceiptBody:
    """Body from plain JSON; raises KeyError, TypeError or ValueError."""
    plain = dict(value)
    segments = tuple(ErasedSegment(**segment) for segment in plain.pop("segments"))
    sources = tuple(str(source) for source in plain.pop("time_sources"))
    body = ReceiptBody(**plain, segments=segments, time_sources=sources)
    _check_types(body, _BODY_TYPES)
    for segment in segments:
        _check_types(segment, _SEGMENT_TYPES)
    return body


def _check_types(value: ReceiptBody | ErasedSegment, types: Mapping[str, tuple[type, ...]]) -> None:
    """Raise TypeError unless each member is of exactly its type: no true for 1, no 1.0 for 1."""
    wrong = [name for name, kinds in types.items() if type(getattr(value, name)) not in kinds]
    if wrong:
        raise TypeError(f"{', '.join(wrong)}: not as FORMAT.md says")
