# SPDX-License-Identifier: Apache-2.0
"""Deletion receipts: signed, numbered, each bound to the one before; checked offline with a public key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

from storage.errors import ReceiptInvalidError
from storage.primitives import canonical_json, key_id_of, label, sign, signature_ok
from storage.types import EpochId

GENESIS = "0" * 64
MAX_RECEIPT_BYTES = 1 << 20


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
            canonical = hexes and receipt.encode() == raw
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ReceiptInvalidError("this is no deletion receipt: fetch the chain again") from error
        if not canonical:
            raise ReceiptInvalidError("the receipt is not canonical JSON: fetch the chain again")
        return receipt


@dataclass(frozen=True, slots=True)
class ReceiptsReport:
    """What a check of a chain found; `next_n` is the number that the next receipt has."""

    receipts: int
    epochs: tuple[EpochId, ...]
    next_n: int
    problems: tuple[str, ...]

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
    problems: list[str] = []
    expected, prev = first_n, GENESIS if first_n == 0 else None
    for receipt in receipts:
        body = receipt.body
        if not signature_ok(public_key, "receipt", body.raw, bytes.fromhex(receipt.signature)):
            problems.append(f"receipt {body.n} is not signed by this device")
        if body.n > expected:
            problems.append(f"receipts {expected} to {body.n - 1} are missing")
        elif body.n < expected:
            problems.append(f"receipt {body.n} is there twice or out of order")
        elif prev is not None and body.prev != prev:
            problems.append(f"receipt {body.n} does not follow the one before: one was replaced")
        expected, prev = body.n + 1, body.hash
    epochs = tuple(receipt.body.epoch for receipt in receipts)
    return ReceiptsReport(len(receipts), epochs, expected, tuple(problems))


def decode_body(value: Mapping[str, Any]) -> ReceiptBody:
    """Body from plain JSON; raises KeyError, TypeError or ValueError."""
    plain = dict(value)
    segments = tuple(ErasedSegment(**segment) for segment in plain.pop("segments"))
    sources = tuple(str(source) for source in plain.pop("time_sources"))
    body = ReceiptBody(**plain, segments=segments, time_sources=sources)
    if type(body.n) is not int or type(body.epoch) is not int:
        raise TypeError("n and epoch are whole numbers")
    return body
