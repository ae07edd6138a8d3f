# SPDX-License-Identifier: Apache-2.0
"""What a hold keeps of the segments that its records came from: the parts that the device signed.

They prove that the device sealed such a segment (header), and how many records and which bytes it had when it was
closed (footer). That a held record was one of them is the word of the office, which opened it while the share was
alive: to prove it to a stranger takes the segment's key, and with that key every other record of the segment opens.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from storage.errors import FormatError, HeldRecordError
from storage.format import COMMITMENT_BYTES, SegmentHeader, parse_header
from storage.hold import HeldKind, HeldRecord
from storage.primitives import canonical_json, signature_ok
from storage.recovery import look

_MEMBERS = {"file_sha256", "footer", "footer_signature", "header"}


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What the signed parts of a source segment say; the footer's are None when the segment was not closed.

    `header_signed`, `footer_signed`: by the device. `file_sha256` is the office's, of the file as it was held.
    """

    device: str
    segment: str
    kind: str
    epoch: int
    opened_us: int
    header_sha256: str
    header_signed: bool
    file_sha256: str
    footer_signed: bool | None
    records: int | None
    closed_us: int | None
    body_sha256: str | None


def source_proof(device: str, path: Path) -> HeldRecord:
    """The signed parts of a source segment, to be held with its records; raises FormatError kinds and OSError."""
    header, footer, _ = look(path)
    with path.open("rb") as file:
        file_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    payload = canonical_json(
        {
            "file_sha256": file_sha256,
            "footer": footer.json.decode() if footer else "",
            "footer_signature": footer.signature.hex() if footer else "",
            "header": _raw(header).hex(),
        }
    )
    return HeldRecord(HeldKind.PROOF, device, path.stem, 0, header.digest.hex(), payload)


def check_proof(record: HeldRecord, device_key: EllipticCurvePublicKey) -> SourceFacts:
    """What a held proof proves under the device's key; raises HeldRecordError."""
    try:
        value = json.loads(record.payload)
        raw = bytes.fromhex(value["header"])
        header = parse_header(raw + bytes(COMMITMENT_BYTES))
        footer = dict(json.loads(value["footer"])) if value["footer"] else None
        footer_signed = None
        if footer is not None:
            message = header.digest + value["footer"].encode()
            signature = bytes.fromhex(value["footer_signature"])
            footer_signed = signature_ok(device_key, "segment-footer", message, signature)
        sound = set(value) == _MEMBERS and hashlib.sha256(raw).hexdigest() == record.header_sha256
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, FormatError) as error:
        raise HeldRecordError("a kept proof is not as FORMAT.md says") from error
    if not sound:
        raise HeldRecordError("a kept proof is not as FORMAT.md says")
    ends = footer or {}
    return SourceFacts(
        device=header.device_id,
        segment=header.segment_id,
        kind=str(header.kind),
        epoch=header.epoch,
        opened_us=header.fields.opened_us,
        header_sha256=record.header_sha256,
        header_signed=header.signed_by(device_key),
        file_sha256=str(value["file_sha256"]),
        footer_signed=footer_signed,
        records=ends.get("records"),
        closed_us=ends.get("closed_us"),
        body_sha256=ends.get("body_sha256"),
    )


def _raw(header: SegmentHeader) -> bytes:
    """The bytes whose SHA-256 is the header's digest."""
    return header.signed + len(header.signature).to_bytes(2, "big") + header.signature
