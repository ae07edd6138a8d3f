# SPDX-License-Identifier: Apache-2.0
"""Segments made from FORMAT.md alone, byte for byte the same each time: what the vectors are made with."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import independent_reader as reader
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Private = ec.EllipticCurvePrivateKey
Public = ec.EllipticCurvePublicKey


def sign(key: Private, what: str, message: bytes) -> bytes:
    """Deterministic (RFC 6979), so that vectors can be made again byte for byte."""
    return key.sign(reader.label(what) + message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def frame(kind: int, body: bytes) -> bytes:
    head = struct.pack(">BI", kind, len(body))
    return head + struct.pack(">I", zlib.crc32(head + body)) + body


@dataclass
class Made:
    """A segment in parts, and the values on the way that FORMAT.md shows."""

    signed: bytes
    signature: bytes
    digest: bytes
    key: bytes
    commitment: bytes
    records: list[bytes]  # frames
    footer: bytes = b""

    @property
    def header(self) -> bytes:
        """Up to the commitment, with it."""
        return self.signed + struct.pack(">H", len(self.signature)) + self.signature + self.commitment

    def bytes(self) -> bytes:
        return self.header + b"".join(self.records) + self.footer


def make_segment(
    fields: dict[str, Any],
    payloads: list[bytes],
    *,
    secret: bytes,
    share: bytes,
    recipients: Sequence[tuple[Public, Private]],
    device: Private,
    spoilt: bool = False,
) -> Made:
    """`recipients`: each key with its ephemeral one; `spoilt`: the last bit of each wrapped secret is wrong."""
    info = reader.label("segment-secret") + reader.canonical(fields)
    slots = []
    for public, ephemeral in recipients:
        wrapped = reader.hpke_seal(secret, public, info, ephemeral)
        wrapped = wrapped[:-1] + bytes([wrapped[-1] ^ spoilt])
        slots.append({"key_id": reader.key_id(public), "wrapped": wrapped.hex()})
    raw = reader.canonical({**fields, "recipients": slots})
    signed = b"WAYSEGM\n" + struct.pack(">HI", 1, len(raw)) + raw
    signature = sign(device, "segment-header", signed)
    digest = hashlib.sha256(signed + struct.pack(">H", len(signature)) + signature).digest()
    key, commitment = reader.derive(secret, share, reader.label("segment-key") + digest)
    made = Made(signed, signature, digest, key, commitment, [])
    tag = _records(made, payloads)
    content = {
        "body_sha256": hashlib.sha256(made.bytes()).hexdigest(),
        "closed_us": fields["opened_us"],
        "last_tag": tag.hex(),
        "records": len(payloads),
    }
    made.footer = make_footer(made, reader.canonical(content), tag, len(payloads), device)
    return made


def _records(made: Made, payloads: list[bytes]) -> bytes:
    """Seals the records; the last tag."""
    tag = bytes(16)
    for index, payload in enumerate(payloads):
        number = struct.pack(">Q", index)
        aad = made.digest + b"R" + number + tag
        body = AESGCM(made.key).encrypt(bytes(4) + number, payload, aad)
        tag = body[-16:]
        made.records.append(frame(0x52, body))
    return tag


def make_footer(made: Made, raw: bytes, tag: bytes, n: int, signer: Private, *, seal: bytes = b"") -> bytes:
    """The footer's frame, signed by `signer`, with its right seal unless another is given."""
    number = struct.pack(">Q", n)
    aad = made.digest + b"F" + number + tag + raw
    seal = seal or AESGCM(made.key).encrypt(bytes(4) + number, b"", aad)
    signature = sign(signer, "segment-footer", made.digest + raw)
    body = struct.pack(">H", len(raw)) + raw + seal + struct.pack(">H", len(signature)) + signature
    return frame(0x46, body + struct.pack(">I", 9 + len(body) + 12) + b"WAYSEND\n")
