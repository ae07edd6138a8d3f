# SPDX-License-Identifier: Apache-2.0
"""The bytes of a segment, as FORMAT.md gives them: pure packing and parsing, no files and no decryption."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

from storage.errors import BadMagicError, HeaderDamagedError, TooLargeError, UnsupportedVersionError
from storage.primitives import (
    KEY_ID_HEX,
    TAG_BYTES,
    WRAPPED_BYTES,
    canonical_json,
    label,
    sign,
    signature_ok,
)
from storage.types import EpochId, SegmentKind, is_id

MAGIC = b"WAYSEGM\n"
VERSION = 1
COMMITMENT_BYTES = 32
MAX_HEADER_JSON_BYTES = 16 << 10
MAX_SIGNATURE_BYTES = 80
MAX_RECIPIENTS = 16
MAX_RECORD_BYTES = 16 << 20  # plaintext of one record
MAX_SEGMENT_BYTES = 1 << 30
MAX_FOOTER_BYTES = 4096

RECORD = 0x52  # "R"
FOOTER = 0x46  # "F"
FRAME_HEAD = 1 + 4 + 4  # type, length, CRC-32
RECORD_OVERHEAD = FRAME_HEAD + TAG_BYTES
MAX_FRAME_BYTES = MAX_RECORD_BYTES + RECORD_OVERHEAD
TRAILER = b"WAYSEND\n"

_PREFIX = len(MAGIC) + 2 + 4
_HEAD = struct.Struct(">BII")
_BODY_BOUNDS = {RECORD: (TAG_BYTES, MAX_RECORD_BYTES + TAG_BYTES), FOOTER: (0, MAX_FOOTER_BYTES)}
_NO_BODY = (1, 0)
_HEX64 = re.compile(r"[0-9a-f]{64}")
_KEY_ID = re.compile(rf"[0-9a-f]{{{KEY_ID_HEX}}}")


@dataclass(frozen=True, slots=True)
class WrappedSecret:
    """A segment secret wrapped to one recipient; `wrapped` is 113 bytes in hex."""

    key_id: str
    wrapped: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HeaderFields:
    """What a segment's header says. `opened_us` is the time of the first record, `prev` the SHA-256 of the
    header of the segment before it in this run and kind (64 zeros for the first), `signer` a key id.
    """

    device_id: str
    boot_id: str
    run_id: str
    segment_id: str
    kind: SegmentKind
    epoch: EpochId
    opened_us: int
    seq: int
    prev: str
    signer: str
    recipients: tuple[WrappedSecret, ...]

    def wrap_info(self) -> bytes:
        """HPKE info: the label, then the header's JSON without its recipients."""
        fields = asdict(self)
        del fields["recipients"]
        return label("segment-secret") + canonical_json(fields)


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """A parsed header; `size` bytes with the key commitment that follows it, `digest` 32 bytes."""

    fields: HeaderFields
    size: int
    digest: bytes
    commitment: bytes
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def device_id(self) -> str:
        """Device that wrote the segment."""
        return self.fields.device_id

    @property
    def epoch(self) -> EpochId:
        """Hour since 1970 UTC."""
        return self.fields.epoch

    @property
    def kind(self) -> SegmentKind:
        """Reads or images."""
        return self.fields.kind

    @property
    def segment_id(self) -> str:
        """The segment's id."""
        return self.fields.segment_id

    @property
    def boot_id(self) -> str:
        """Boot (process start) in which it was written."""
        return self.fields.boot_id

    @property
    def recipients(self) -> tuple[str, ...]:
        """Key ids that can open it, given the share."""
        return tuple(slot.key_id for slot in self.fields.recipients)

    def signed_by(self, public_key: EllipticCurvePublicKey) -> bool:
        """Whether the header's signature is of this key."""
        return signature_ok(public_key, "segment-header", self.signed, self.signature)


@dataclass(frozen=True, slots=True)
class Footer:
    """The end of a closed segment. `body_sha256` is of every byte before the footer's frame."""

    records: int
    last_tag: str
    body_sha256: str
    closed_us: int


@dataclass(frozen=True, slots=True)
class ParsedFooter:
    """A footer with what proves it: `seal` under the segment key, `signature` of the device."""

    footer: Footer
    json: bytes
    seal: bytes
    signature: bytes

    def signed_by(self, public_key: EllipticCurvePublicKey, header_digest: bytes) -> bool:
        """Whether the footer is signed by this key for the segment of this header."""
        return signature_ok(public_key, "segment-footer", header_digest + self.json, self.signature)


def pack_header(fields: HeaderFields, signer: EllipticCurvePrivateKey) -> bytes:
    """Header bytes up to and with the signature; the key commitment follows them."""
    body = canonical_json(asdict(fields))
    signed = MAGIC + VERSION.to_bytes(2, "big") + len(body).to_bytes(4, "big") + body
    signature = sign(signer, "segment-header", signed)
    return signed + len(signature).to_bytes(2, "big") + signature


def key_info(header_digest: bytes) -> bytes:
    """HKDF info of the segment key."""
    return label("segment-key") + header_digest


def record_nonce(index: int) -> bytes:
    """AES-GCM nonce of the record (or footer seal) at `index`."""
    return index.to_bytes(12, "big")


def record_aad(header_digest: bytes, frame_type: int, index: int, prev_tag: bytes) -> bytes:
    """What a record's tag also covers: header, type, index and the tag before it (zeros for the first)."""
    return header_digest + bytes([frame_type]) + index.to_bytes(8, "big") + prev_tag


def pack_frame(frame_type: int, body: bytes) -> bytes:
    """Frame: type, length, CRC-32 of (type, length, body), body."""
    head = bytes([frame_type]) + len(body).to_bytes(4, "big")
    return head + zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "big") + body


def pack_footer(footer_json: bytes, seal: bytes, signature: bytes) -> bytes:
    """Footer frame, with the trailer that lets a reader find it from the end of the file."""
    body = len(footer_json).to_bytes(2, "big") + footer_json + seal
    body += len(signature).to_bytes(2, "big") + signature
    size = FRAME_HEAD + len(body) + 4 + len(TRAILER)
    return pack_frame(FOOTER, body + size.to_bytes(4, "big") + TRAILER)


def read_bounded(source: bytes | BinaryIO, limit: int) -> bytes:
    """All bytes of a source; raises TooLargeError over `limit` bytes."""
    data = source if isinstance(source, bytes) else source.read(limit + 1)
    if len(data) > limit:
        raise TooLargeError(f"input is over {limit} bytes: this is no segment of ours")
    return data


def parse_header(source: bytes | BinaryIO) -> SegmentHeader:
    """Header at the start of a segment; raises FormatError kinds. The signature is not checked."""
    limit = _PREFIX + MAX_HEADER_JSON_BYTES + 2 + MAX_SIGNATURE_BYTES + COMMITMENT_BYTES
    data = source[:limit] if isinstance(source, bytes) else source.read(limit)
    json_end = _json_end(data)
    signature_at = json_end + 2
    signature_size = int.from_bytes(data[json_end:signature_at], "big")
    end = signature_at + signature_size
    if signature_size > MAX_SIGNATURE_BYTES or len(data) < end + COMMITMENT_BYTES:
        raise HeaderDamagedError("the segment is cut in its header: fetch it again")
    return SegmentHeader(
        fields=_parse_fields(data[_PREFIX:json_end]),
        size=end + COMMITMENT_BYTES,
        digest=hashlib.sha256(data[:end]).digest(),
        commitment=data[end : end + COMMITMENT_BYTES],
        signed=data[:json_end],
        signature=data[signature_at:end],
    )


def _json_end(data: bytes) -> int:
    if data[: len(MAGIC)] != MAGIC:
        raise BadMagicError("not a segment file: check what was given")
    if len(data) < _PREFIX:
        raise HeaderDamagedError("the segment is cut in its header: fetch it again")
    version = int.from_bytes(data[8:10], "big")
    if version != VERSION:
        raise UnsupportedVersionError(f"segment version {version}, this software reads {VERSION}: update it")
    size = int.from_bytes(data[10:_PREFIX], "big")
    if size > MAX_HEADER_JSON_BYTES:
        raise HeaderDamagedError(f"the header claims {size} bytes: fetch the segment again")
    return _PREFIX + size


def _parse_fields(raw: bytes) -> HeaderFields:
    try:
        value = json.loads(raw)
        slots = tuple(WrappedSecret(**slot) for slot in value["recipients"])
        fields = HeaderFields(**{**value, "kind": SegmentKind(value["kind"]), "recipients": slots})
        canonical = canonical_json(value) == raw
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise HeaderDamagedError("the header is not as FORMAT.md says: fetch the segment again") from error
    if not (canonical and _plausible(fields)):
        raise HeaderDamagedError("the header is not canonical or out of bounds: fetch the segment again")
    return fields


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _plausible(fields: HeaderFields) -> bool:
    ids = (fields.device_id, fields.boot_id, fields.run_id, fields.segment_id)
    return (
        all(isinstance(item, str) and is_id(item) for item in ids)
        and all(_is_count(item) for item in (fields.epoch, fields.opened_us, fields.seq))
        and _matches(_HEX64, fields.prev)
        and _matches(_KEY_ID, fields.signer)
        and 1 <= len(fields.recipients) <= MAX_RECIPIENTS
        and all(_slot_ok(slot) for slot in fields.recipients)
    )


def _slot_ok(slot: WrappedSecret) -> bool:
    pattern = re.compile(rf"[0-9a-f]{{{2 * WRAPPED_BYTES}}}")
    return _matches(_KEY_ID, slot.key_id) and _matches(pattern, slot.wrapped)


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole frame: its type, where it starts, and its body as a view."""

    type: int
    start: int
    body: memoryview
    crc: int

    @property
    def end(self) -> int:
        """Offset after the frame."""
        return self.start + FRAME_HEAD + len(self.body)

    def crc_ok(self) -> bool:
        """Whether the checksum fits; it finds torn writes and bad sectors, not an attacker."""
        head = bytes([self.type]) + len(self.body).to_bytes(4, "big")
        return zlib.crc32(self.body, zlib.crc32(head)) == self.crc


class FrameWalker:
    """Iterates over whole frames; after that `end` is the offset reached and `stop` why it ended there.

    `stop` is "" at the end of the data, "cut" when a frame is not whole, "damaged" when it cannot be one. Offsets
    are those of a file in which the data begins at `origin`.
    """

    def __init__(self, view: memoryview, start: int, *, origin: int = 0) -> None:
        self._view = view
        self._origin = origin
        self.end = start
        self.stop = ""

    def __iter__(self) -> Iterator[Frame]:
        while self.end - self._origin < len(self._view):
            frame = self._next()
            if frame is None:
                return
            self.end = frame.end
            yield frame

    def _next(self) -> Frame | None:
        at, view = self.end - self._origin, self._view
        try:
            kind, size, crc = _HEAD.unpack_from(view, at)
        except struct.error:
            self.stop = "cut" if view[at] in {RECORD, FOOTER} else "damaged"
            return None
        smallest, largest = _BODY_BOUNDS.get(kind, _NO_BODY)
        if not smallest <= size <= largest:
            self.stop = "damaged"
            return None
        body_at = at + FRAME_HEAD
        if body_at + size > len(view):
            self.stop = "cut"
            return None
        return Frame(kind, self.end, view[body_at : body_at + size], crc)


def parse_footer(body: bytes) -> ParsedFooter | None:
    """Footer from its frame's body, or None when it is not one as FORMAT.md says."""
    json_size = int.from_bytes(body[:2], "big")
    seal_at = 2 + json_size
    sig_at = seal_at + TAG_BYTES + 2
    sig_size = int.from_bytes(body[sig_at - 2 : sig_at], "big")
    tail = body[sig_at + sig_size :]
    size = FRAME_HEAD + len(body)
    if tail != size.to_bytes(4, "big") + TRAILER or sig_size > MAX_SIGNATURE_BYTES:
        return None
    raw = body[2:seal_at]
    try:
        value = json.loads(raw)
        footer = Footer(**value)
        canonical = canonical_json(value) == raw
    except (ValueError, TypeError, RecursionError):
        return None
    hexes = _matches(_HEX64, footer.body_sha256) and _matches(re.compile("[0-9a-f]{32}"), footer.last_tag)
    if not (canonical and hexes and _is_count(footer.records) and _is_count(footer.closed_us)):
        return None
    return ParsedFooter(footer, raw, body[seal_at : sig_at - 2], body[sig_at : sig_at + sig_size])


def footer_start(tail: bytes, size: int) -> int | None:
    """Offset of the footer's frame in a file of `size` bytes that ends in `tail`; None when it has none."""
    if len(tail) < 4 + len(TRAILER) or tail[-len(TRAILER) :] != TRAILER:
        return None
    frame_size = int.from_bytes(tail[-len(TRAILER) - 4 : -len(TRAILER)], "big")
    return size - frame_size if FRAME_HEAD < frame_size <= min(MAX_FOOTER_BYTES, size) else None
