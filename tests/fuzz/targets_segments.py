# SPDX-License-Identifier: Apache-2.0
"""Targets in storage: segments as a thief, a bad disk or a forged transfer may have changed them."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage import fsck, recovery, torn_tail
from storage.errors import (
    FormatError,
    NotARecipientError,
    SignatureInvalidError,
    WrongKeyError,
    WrongShareError,
)
from storage.format import (
    FOOTER,
    MAGIC,
    RECORD,
    TRAILER,
    FrameWalker,
    footer_start,
    pack_frame,
    parse_footer,
    parse_header,
    record_aad,
    record_nonce,
)
from storage.frames import FileFrames
from storage.primitives import canonical_json
from storage.reader import SegmentReading, read_segment
from storage.types import SegmentKind
from tests.fuzz.engine import Target
from tests.fuzz.held import AGENCY, DEVICE, memory_folder
from tests.fuzz.sources import either, json_like, mutated, wrapped

VECTORS = Path(__file__).parents[1] / "vectors" / "storage"
SHARE = hashlib.sha256(b"share").digest()


def _vector(name: str) -> bytes:
    """The segment of a vector file: hex after the empty line."""
    return bytes.fromhex((VECTORS / f"{name}.txt").read_text().partition("\n\n")[2])


SEGMENTS = tuple(
    _vector(name) for name in ("good", "good-images", "good-unclosed", "good-empty", "good-tiny")
)
HEADER = parse_header(SEGMENTS[0])
HEADER_BYTES = SEGMENTS[0][: HEADER.size]
HEADER_JSON = HEADER.signed[len(MAGIC) + 6 :]
_SEGMENT_KEY = hashlib.sha256(b"segment key").digest()
_AEAD = AESGCM(_SEGMENT_KEY)


# --- segments ------------------------------------------------------------------------------------------------


def _header_around(body: bytes) -> bytes:
    signed = MAGIC + b"\0\1" + len(body).to_bytes(4, "big") + body
    return signed + len(HEADER.signature).to_bytes(2, "big") + HEADER.signature + HEADER.commitment


def _footer_body(raw: bytes) -> bytes:
    """A footer's body around its JSON, sizes and trailer right."""
    body = (len(raw) & 0xFFFF).to_bytes(2, "big") + raw + bytes(16) + (8).to_bytes(2, "big") + bytes(8)
    return body + (9 + len(body) + 4 + len(TRAILER)).to_bytes(4, "big") + TRAILER


def _sealed_records(payloads: bytes) -> bytes:
    """Frames that authenticate under the target's key, one a line of `payloads`; a line `!` spoils its frame."""
    out, tag = b"", bytes(16)
    for index, payload in enumerate(payloads.split(b"\n")):
        aad = record_aad(HEADER.digest, RECORD, index, tag)
        body = _AEAD.encrypt(record_nonce(index), payload, aad)
        tag = body[-16:]
        out += pack_frame(RECORD, body if b"!" not in payload else body[:-1] + b"\0")
    return out + _sealed_footer(len(payloads.split(b"\n")), tag, out) if payloads.endswith(b".") else out


def _sealed_footer(records: int, tag: bytes, before: bytes) -> bytes:
    raw = canonical_json(
        {
            "body_sha256": hashlib.sha256(before).hexdigest(),
            "closed_us": 1,
            "last_tag": tag.hex(),
            "records": records,
        }
    )
    seal_tag = _AEAD.encrypt(
        record_nonce(records), b"", record_aad(HEADER.digest, FOOTER, records, tag) + raw
    )
    body = len(raw).to_bytes(2, "big") + raw + seal_tag + (8).to_bytes(2, "big") + bytes(8)
    return pack_frame(FOOTER, body + (9 + len(body) + 4 + len(TRAILER)).to_bytes(4, "big") + TRAILER)


def _walk(data: bytes) -> bool:
    walker = FrameWalker(memoryview(data), 0)
    sound = sum(frame.crc_ok() for frame in walker)
    assert walker.end <= len(data)
    return sound > 0


def _framed_again(data: bytes) -> bytes:
    """The pieces of a line each in a frame of their own, checksum right."""
    return b"".join(
        pack_frame(RECORD if piece[:1] < b"\xc0" else FOOTER, piece) for piece in data.split(b"\n")
    )


def _open_records(data: bytes) -> bool:
    """Behind the header, with the right key; from memory and from a file, which must tell the same."""
    told = []
    for frames in (FrameWalker(memoryview(data), HEADER.size), FileFrames(io.BytesIO(data), HEADER.size)):
        reading = SegmentReading(HEADER, frames, len(data), _SEGMENT_KEY, None)
        told.append((list(reading), reading.problems, reading.closed))
    assert told[0] == told[1]
    return bool(told[0][0])


def _behind_header(frames: bytes) -> bytes:
    return bytes(HEADER.size) + frames


def _read(data: bytes) -> bool:
    content = read_segment(data, share=SHARE, private_key=AGENCY, verify_key=DEVICE.public_key())
    return bool(content.records)


_STORE = memory_folder()
(_STORE / SegmentKind.READS.value).mkdir(parents=True)
(_STORE / SegmentKind.IMAGES.value).mkdir()
_ON_DISK = _STORE / SegmentKind.READS.value / f"{HEADER.segment_id}.wseg"


def _recover(data: bytes) -> bool:
    _ON_DISK.write_bytes(data)
    recovery.look(_ON_DISK)
    torn_tail.torn_at(_ON_DISK, len(data))
    return recovery.measure(_ON_DISK).records > 0


def _check_store(data: bytes) -> bool:
    _ON_DISK.write_bytes(data)
    report = fsck.verify_store(_STORE, verify_key=DEVICE.public_key())
    return report.records > 0


_FRAMES = tuple(segment[parse_header(segment).size :] for segment in SEGMENTS)
_PAYLOADS = wrapped(
    mutated(b"one\ntwo\nthree.", b"a\n\n!b\nc", b"a\nb!\n!.", tokens=(b"\n", b"!", b".")), _sealed_records
)
_FOOTER_JSON = canonical_json({"body_sha256": "0" * 64, "closed_us": 5, "last_tag": "1" * 32, "records": 3})
_WHOLE = mutated(*SEGMENTS, tokens=(MAGIC, TRAILER, b"R", b"F"))

_READ_ERRORS = (FormatError, NotARecipientError, WrongKeyError, WrongShareError, SignatureInvalidError)

TARGETS = (
    Target(
        "segment-header",
        parse_header,
        either(
            mutated(*SEGMENTS), wrapped(json_like(HEADER_JSON, words=('"reads"', '"images"')), _header_around)
        ),
        (FormatError,),
    ),
    Target(
        "segment-frames",
        _walk,
        either(
            mutated(*(frames for frames in _FRAMES if frames)),
            wrapped(mutated(b"R" * 30 + b"\n" + b"x" * 40), _framed_again),
        ),
    ),
    Target(
        "segment-footer",
        parse_footer,
        either(mutated(_footer_body(_FOOTER_JSON)), wrapped(json_like(_FOOTER_JSON), _footer_body)),
    ),
    Target(
        "segment-footer-place",
        lambda data: footer_start(data[4:], int.from_bytes(data[:4], "big")),
        mutated(b"\0\0\1\0" + _footer_body(_FOOTER_JSON)),
    ),
    Target(
        "segment-records",
        _open_records,
        wrapped(either(_PAYLOADS, _PAYLOADS, mutated(*_FRAMES)), _behind_header),
    ),
    Target("segment", _read, _WHOLE, _READ_ERRORS),
    Target("segment-recovery", _recover, _WHOLE, (FormatError,)),
    Target("store-check", _check_store, _WHOLE),
)
