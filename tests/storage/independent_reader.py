# SPDX-License-Identifier: Apache-2.0
"""A second reader, from FORMAT.md alone: HPKE from its RFC, segments, envelopes and keyrings.

It imports nothing of the product, and nothing of `cryptography` beyond primitives (in particular no HPKE).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import struct
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Private = ec.EllipticCurvePrivateKey
Public = ec.EllipticCurvePublicKey


class Refused(Exception):
    """Nothing is opened; the text is the code of the refusal in FORMAT.md."""


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
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def parsed(raw: bytes) -> dict[str, Any] | None:
    """An object in canonical JSON, or None."""
    try:
        value = json.loads(raw)
        return value if isinstance(value, dict) and canonical(value) == raw else None
    except (ValueError, RecursionError):
        return None


def whole(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def text(pattern: str, value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


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


# --- Reading a segment --------------------------------------------------------------------------------------

MAX_SEGMENT = 2**30
MAX_HEADER_JSON = 16_384
MAX_SIGNATURE = 80
RECORD, MIN_RECORD, MAX_RECORD = 0x52, 16, 16_777_232
FOOTER, MAX_FOOTER = 0x46, 4096
ID = "[a-z0-9-]{1,64}"


@dataclass
class Opened:
    """`problems` are codes of FORMAT.md, in the order of the file."""

    header: dict[str, Any]
    records: list[bytes] = field(default_factory=list)
    salvaged: list[tuple[int, bytes]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    closed: bool = False

    @property
    def complete(self) -> bool:
        return not self.problems


def open_segment(data: bytes, share: bytes, private: Private, verify: Public | None) -> Opened:
    header, signed, signature, header_hash, at = read_header(data)
    if verify is not None and not signed_by(verify, "segment-header", signed, signature):
        raise Refused("signature")
    secret = _secret(header, private)
    key, commitment = derive(secret, share, label("segment-key") + header_hash)
    if commitment != data[at - 32 : at]:
        raise Refused("share")
    out = Opened(header)
    _Walk(out, data, header_hash, AESGCM(key), verify).frames(at)
    return out


def read_header(data: bytes) -> tuple[dict[str, Any], bytes, bytes, bytes, int]:
    """The object, the signed bytes, their signature, the hash, and where the frames begin."""
    if len(data) > MAX_SEGMENT:
        raise Refused("size")
    if data[:8] != b"WAYSEGM\n":
        raise Refused("magic")
    if len(data) < 14:
        raise Refused("header")
    version, size = struct.unpack(">HI", data[8:14])
    if version != 1:
        raise Refused("version")
    if size > MAX_HEADER_JSON or len(data) < 16 + size:
        raise Refused("header")
    (sig_size,) = struct.unpack(">H", data[14 + size : 16 + size])
    end = 16 + size + sig_size
    if sig_size > MAX_SIGNATURE or len(data) < end + 32:
        raise Refused("header")
    header = parsed(data[14 : 14 + size])
    if header is None or not _header_ok(header):
        raise Refused("header")
    digest = hashlib.sha256(data[:end]).digest()
    return header, data[: 14 + size], data[16 + size : end], digest, end + 32


def _header_ok(header: dict[str, Any]) -> bool:
    ids, numbers = ("boot_id", "device_id", "run_id", "segment_id"), ("epoch", "opened_us", "seq")
    if set(header) != {*ids, *numbers, "kind", "prev", "recipients", "signer"}:
        return False
    slots = header["recipients"]
    return (
        all(text(ID, header[name]) for name in ids)
        and all(whole(header[name]) for name in numbers)
        and header["kind"] in ("reads", "images")
        and text("[0-9a-f]{64}", header["prev"])
        and text("[0-9a-f]{16}", header["signer"])
        and isinstance(slots, list)
        and 1 <= len(slots) <= 16
        and all(_slot_ok(slot) for slot in slots)
    )


def _slot_ok(slot: object) -> bool:
    return (
        isinstance(slot, dict)
        and set(slot) == {"key_id", "wrapped"}
        and text("[0-9a-f]{16}", slot["key_id"])
        and text("[0-9a-f]{226}", slot["wrapped"])
    )


def _secret(header: dict[str, Any], private: Private) -> bytes:
    mine = key_id(private.public_key())
    for slot in header["recipients"]:
        if slot["key_id"] == mine:
            rest = {name: value for name, value in header.items() if name != "recipients"}
            info = label("segment-secret") + canonical(rest)
            try:
                return hpke_open(bytes.fromhex(slot["wrapped"]), private, info)
            except (InvalidTag, ValueError) as error:
                raise Refused("wrapped") from error
    raise Refused("recipient")


@dataclass
class _Walk:
    out: Opened
    data: bytes
    header_hash: bytes
    aead: AESGCM
    verify: Public | None
    index: int = 0
    tag: bytes = bytes(16)

    def frames(self, at: int) -> None:
        while at < len(self.data):
            kind = self.data[at]
            if kind not in (RECORD, FOOTER):
                return self._told(f"frame {self.index}")
            if len(self.data) < at + 9:
                return self._told(f"cut {self.index}")
            (size,) = struct.unpack(">I", self.data[at + 1 : at + 5])
            low, high = (MIN_RECORD, MAX_RECORD) if kind == RECORD else (0, MAX_FOOTER)
            if not low <= size <= high:
                return self._told(f"frame {self.index}")
            end = at + 9 + size
            if len(self.data) < end:
                return self._told(f"cut {self.index}")
            if kind == FOOTER:
                return self._footer(self.data[at + 9 : end], at_end=end == len(self.data))
            self._record(self.data[at + 9 : end])
            at = end
        return None

    def _told(self, code: str) -> None:
        self.out.problems.append(code)

    def _open(self, kind: int, sealed: bytes, more: bytes = b"") -> bytes | None:
        number = struct.pack(">Q", self.index)
        aad = self.header_hash + bytes([kind]) + number + self.tag + more
        try:
            return self.aead.decrypt(bytes(4) + number, sealed, aad)
        except InvalidTag:
            return None

    def _record(self, body: bytes) -> None:
        payload = self._open(RECORD, body)
        if payload is None:
            self._told(f"record {self.index}")
        elif self.out.problems:
            self.out.salvaged.append((self.index, payload))
        else:
            self.out.records.append(payload)
        self.index, self.tag = self.index + 1, body[-16:]

    def _footer(self, body: bytes, *, at_end: bool) -> None:
        parts = _footer(body)
        if not at_end:
            self._told("after-footer")
        elif parts is None:
            self._told("footer")
        elif (parts.fields["records"], parts.fields["last_tag"]) != (self.index, self.tag.hex()):
            self._told("footer-count")
        elif self._open(FOOTER, parts.seal, parts.raw) is None:
            self._told("footer-seal")
        elif self.verify is not None and not signed_by(
            self.verify, "segment-footer", self.header_hash + parts.raw, parts.signature
        ):
            self._told("footer-signature")
        else:
            self.out.closed = True


@dataclass
class FooterParts:
    fields: dict[str, Any]
    raw: bytes
    seal: bytes
    signature: bytes


def _footer(body: bytes) -> FooterParts | None:
    if len(body) < 32 or body[-12:] != struct.pack(">I", len(body) + 9) + b"WAYSEND\n":
        return None
    (size,) = struct.unpack(">H", body[:2])
    raw, seal, rest = body[2 : 2 + size], body[2 + size : 18 + size], body[18 + size : -12]
    if len(rest) < 2 or len(rest) - 2 != struct.unpack(">H", rest[:2])[0] or len(rest) - 2 > MAX_SIGNATURE:
        return None
    fields = parsed(raw)
    if fields is None or set(fields) != {"body_sha256", "closed_us", "last_tag", "records"}:
        return None
    sound = (
        text("[0-9a-f]{64}", fields["body_sha256"])
        and text("[0-9a-f]{32}", fields["last_tag"])
        and whole(fields["records"])
        and whole(fields["closed_us"])
    )
    return FooterParts(fields, raw, seal, rest[2:]) if sound else None


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


# --- Keyring ------------------------------------------------------------------------------------------------


def open_keyring(data: bytes, kek: bytes) -> tuple[bytes, dict[str, dict[int, bytes]]]:
    """The key of boxes, and the shares by scope and epoch."""
    if data[:8] != b"WAYKEYR\n":
        raise Refused("magic")
    if data[8:10] != b"\0\1":
        raise Refused("version")
    (size,) = struct.unpack(">I", data[10:14])
    at = 14 + size
    if size > 1024 or len(data) < at + 12:
        raise Refused("keyring")
    try:
        content = json.loads(AESGCM(kek).decrypt(data[at : at + 12], data[at + 12 :], data[:at]))
    except InvalidTag as error:
        raise Refused("keyring") from error
    shares = {
        scope: {int(epoch): bytes.fromhex(share) for epoch, share in by_epoch.items()}
        for scope, by_epoch in content["shares"].items()
    }
    return bytes.fromhex(content["box"]), shares


def keyring_slot(data: bytes) -> str:
    """The slot of the root of trust that holds the keyring's key."""
    (size,) = struct.unpack(">I", data[10:14])
    return str(json.loads(data[14 : 14 + size])["slot"])


def open_box(blob: bytes, box_key: bytes, name: str, aad: bytes) -> bytes:
    key = expand(extract(b"", box_key), label("box") + name.encode(), 32)
    if blob[:4] != b"WBX1":
        raise Refused("magic")
    return AESGCM(key).decrypt(blob[4:16], blob[16:], aad)
