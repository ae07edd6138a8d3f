# SPDX-License-Identifier: Apache-2.0
"""A second implementation, from FORMAT.md alone: HPKE from its RFC, and segments and envelopes both ways.

It imports nothing of the product, and nothing of `cryptography` beyond primitives (in particular no HPKE).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Private = ec.EllipticCurvePrivateKey
Public = ec.EllipticCurvePublicKey


class Refused(Exception):
    """Nothing is opened; the text is the kind of refusal."""


# --- HPKE, RFC 9180 base mode -------------------------------------------------------------------------------


def point(key: Public) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), ikm, "sha256")


def expand(prk: bytes, info: bytes, size: int) -> bytes:
    out, block, n = b"", b"", 1
    while len(out) < size:
        block = hmac.digest(prk, block + info + bytes([n]), "sha256")
        out, n = out + block, n + 1
    return out[:size]


def labeled_extract(suite: bytes, salt: bytes, name: bytes, ikm: bytes) -> bytes:
    return extract(salt, b"HPKE-v1" + suite + name + ikm)


def labeled_expand(suite: bytes, prk: bytes, name: bytes, info: bytes, size: int) -> bytes:
    return expand(prk, struct.pack(">H", size) + b"HPKE-v1" + suite + name + info, size)


def hpke_key(
    dh: bytes, enc: bytes, recipient: Public, info: bytes, aead: int, key_size: int
) -> tuple[bytes, bytes]:
    kem = b"KEM" + struct.pack(">H", 0x0010)
    prk = labeled_extract(kem, b"", b"eae_prk", dh)
    shared = labeled_expand(kem, prk, b"shared_secret", enc + point(recipient), 32)
    suite = b"HPKE" + struct.pack(">HHH", 0x0010, 0x0001, aead)
    context = b"\0" + labeled_extract(suite, b"", b"psk_id_hash", b"")
    context += labeled_extract(suite, b"", b"info_hash", info)
    secret = labeled_extract(suite, shared, b"secret", b"")
    return labeled_expand(suite, secret, b"key", context, key_size), labeled_expand(
        suite, secret, b"base_nonce", context, 12
    )


def hpke_open(wrapped: bytes, private: Private, info: bytes) -> bytes:
    enc, ct = wrapped[:65], wrapped[65:]
    ephemeral = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), enc)
    dh = private.exchange(ec.ECDH(), ephemeral)
    key, nonce = hpke_key(dh, enc, private.public_key(), info, 0x0002, 32)
    return AESGCM(key).decrypt(nonce, ct, b"")


def hpke_seal(secret: bytes, recipient: Public, info: bytes, ephemeral: Private) -> bytes:
    enc = point(ephemeral.public_key())
    key, nonce = hpke_key(ephemeral.exchange(ec.ECDH(), recipient), enc, recipient, info, 0x0002, 32)
    return enc + AESGCM(key).encrypt(nonce, secret, b"")


# --- Conventions --------------------------------------------------------------------------------------------


def label(what: str) -> bytes:
    return f"wayside/{what}/1\0".encode()


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def key_id(key: Public) -> str:
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()[:16]


def derive(secret: bytes, salt: bytes, info: bytes) -> tuple[bytes, bytes]:
    okm = expand(extract(salt, secret), info, 64)
    return okm[:32], okm[32:]


def signed_by(key: Public, what: str, message: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, label(what) + message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def sign(key: Private, what: str, message: bytes) -> bytes:
    """Deterministic (RFC 6979), so that vectors can be made again byte for byte."""
    return key.sign(label(what) + message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


# --- Reading a segment --------------------------------------------------------------------------------------


@dataclass
class Opened:
    header: dict[str, Any]
    records: list[bytes]
    closed: bool
    complete: bool


def open_segment(data: bytes, share: bytes, private: Private, verify: Public | None) -> Opened:
    if data[:8] != b"WAYSEGM\n":
        raise Refused("magic")
    if len(data) < 14:
        raise Refused("header")
    version, size = struct.unpack(">HI", data[8:14])
    if version != 1:
        raise Refused("version")
    signed = data[: 14 + size]
    (sig_size,) = struct.unpack(">H", data[14 + size : 16 + size].rjust(2, b"\xff"))
    header_end = 16 + size + sig_size
    if size > 16384 or sig_size > 80 or len(data) < header_end + 32:
        raise Refused("header")
    header = _json(signed[14:])
    if header is None:
        raise Refused("header")
    if verify is not None and not signed_by(verify, "segment-header", signed, data[16 + size : header_end]):
        raise Refused("signature")
    header_hash = hashlib.sha256(data[:header_end]).digest()
    secret = _secret(header, private)
    key, commitment = derive(secret, share, label("segment-key") + header_hash)
    if commitment != data[header_end : header_end + 32]:
        raise Refused("share")
    return _frames(data, header_end + 32, header, header_hash, AESGCM(key), verify)


def _json(raw: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    return value if isinstance(value, dict) and canonical(value) == raw else None


def _secret(header: dict[str, Any], private: Private) -> bytes:
    mine = key_id(private.public_key())
    for slot in header["recipients"]:
        if slot["key_id"] == mine:
            rest = {name: value for name, value in header.items() if name != "recipients"}
            try:
                return hpke_open(
                    bytes.fromhex(slot["wrapped"]), private, label("segment-secret") + canonical(rest)
                )
            except (InvalidTag, ValueError) as error:
                raise Refused("wrapped secret") from error
    raise Refused("recipient")


def _frames(
    data: bytes, at: int, header: dict[str, Any], header_hash: bytes, aead: AESGCM, verify: Public | None
) -> Opened:
    out = Opened(header, [], closed=False, complete=True)
    tag, index = bytes(16), 0
    while at < len(data):
        if len(data) < at + 9:
            out.complete = False
            break
        kind, size, crc = struct.unpack(">BII", data[at : at + 9])
        body, end = data[at + 9 : at + 9 + size], at + 9 + size
        aad = header_hash + bytes([kind]) + struct.pack(">Q", index) + tag
        nonce = bytes(4) + struct.pack(">Q", index)
        if kind == 0x46 and len(body) == size:
            footer = _footer(body, data[:at], index, tag)
            out.closed = (
                end == len(data)
                and footer is not None
                and _decrypts(aead, nonce, footer.seal, aad + footer.raw)
            )
            if out.closed and footer is not None and verify is not None:
                out.closed = signed_by(verify, "segment-footer", header_hash + footer.raw, footer.signature)
            out.complete = out.closed
            break
        sound = kind == 0x52 and len(body) == size and zlib.crc32(data[at : at + 5] + body) == crc
        if not (sound and _decrypts(aead, nonce, body, aad)):
            out.complete = False
            break
        out.records.append(aead.decrypt(nonce, body, aad))
        tag, index, at = body[-16:], index + 1, end
    return out


def _decrypts(aead: AESGCM, nonce: bytes, body: bytes, aad: bytes) -> bool:
    try:
        aead.decrypt(nonce, body, aad)
    except InvalidTag:
        return False
    return True


@dataclass
class FooterParts:
    raw: bytes
    seal: bytes
    signature: bytes


def _footer(body: bytes, before: bytes, records: int, last_tag: bytes) -> FooterParts | None:
    (size,) = struct.unpack(">H", body[:2])
    raw, seal, rest = body[2 : 2 + size], body[2 + size : 18 + size], body[18 + size :]
    (sig_size,) = struct.unpack(">H", rest[:2])
    signature, end = rest[2 : 2 + sig_size], rest[2 + sig_size :]
    footer = _json(raw)
    if footer is None or end != struct.pack(">I", len(body) + 9) + b"WAYSEND\n":
        return None
    expected = {
        "records": records,
        "last_tag": last_tag.hex(),
        "body_sha256": hashlib.sha256(before).hexdigest(),
    }
    if any(footer[name] != value for name, value in expected.items()):
        return None
    return FooterParts(raw, seal, signature)


# --- Writing a segment, for vectors -------------------------------------------------------------------------


def frame(kind: int, body: bytes) -> bytes:
    head = struct.pack(">BI", kind, len(body))
    return head + struct.pack(">I", zlib.crc32(head + body)) + body


@dataclass
class Made:
    header: bytes  # up to the commitment
    records: list[bytes]  # frames
    footer: bytes

    def bytes(self) -> bytes:
        return self.header + b"".join(self.records) + self.footer


def make_segment(
    fields: dict[str, Any],
    payloads: list[bytes],
    *,
    secret: bytes,
    share: bytes,
    recipient: Public,
    ephemeral: Private,
    device: Private,
) -> Made:
    wrapped = hpke_seal(secret, recipient, label("segment-secret") + canonical(fields), ephemeral)
    slots = [{"key_id": key_id(recipient), "wrapped": wrapped.hex()}]
    raw = canonical({**fields, "recipients": slots})
    signed = b"WAYSEGM\n" + struct.pack(">HI", 1, len(raw)) + raw
    signature = sign(device, "segment-header", signed)
    header = signed + struct.pack(">H", len(signature)) + signature
    digest = hashlib.sha256(header).digest()
    key, commitment = derive(secret, share, label("segment-key") + digest)
    aead, tag, frames = AESGCM(key), bytes(16), []
    for index, payload in enumerate(payloads):
        aad = digest + b"R" + struct.pack(">Q", index) + tag
        body = aead.encrypt(bytes(4) + struct.pack(">Q", index), payload, aad)
        tag = body[-16:]
        frames.append(frame(0x52, body))
    made = Made(header + commitment, frames, b"")
    n = len(payloads)
    content = {
        "body_sha256": hashlib.sha256(made.bytes()).hexdigest(),
        "closed_us": fields["opened_us"],
        "last_tag": tag.hex(),
        "records": n,
    }
    raw = canonical(content)
    aad = digest + b"F" + struct.pack(">Q", n) + tag + raw
    seal = aead.encrypt(bytes(4) + struct.pack(">Q", n), b"", aad)
    signature = sign(device, "segment-footer", digest + raw)
    body = struct.pack(">H", len(raw)) + raw + seal + struct.pack(">H", len(signature)) + signature
    made.footer = frame(0x46, body + struct.pack(">I", 9 + len(body) + 12) + b"WAYSEND\n")
    return made


# --- Envelopes ----------------------------------------------------------------------------------------------


def open_envelope(blob: bytes, private: Private, info: bytes, aad: bytes) -> bytes:
    if blob[:8] != b"WAYSENV\n" or blob[8:10] != b"\0\1":
        raise Refused("magic")
    count = blob[10]
    context = struct.pack(">I", len(info)) + info + struct.pack(">I", len(aad)) + aad
    body_at = 11 + 121 * count + 32
    for i in range(count):
        slot = blob[11 + 121 * i : 132 + 121 * i]
        if slot[:8].hex() == key_id(private.public_key()):
            secret = hpke_open(slot[8:], private, label("envelope-secret") + context)
            key, commitment = derive(secret, b"", label("envelope-key") + context)
            if commitment != blob[body_at - 32 : body_at]:
                raise Refused("commitment")
            return AESGCM(key).decrypt(bytes(12), blob[body_at:], blob[:body_at])
    raise Refused("recipient")
