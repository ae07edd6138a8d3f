# SPDX-License-Identifier: Apache-2.0
"""Opening a segment at the office: bytes or an open file, share and private key in, records out. No clocks."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage.errors import NotARecipientError, SignatureInvalidError, TooLargeError, WrongShareError
from storage.format import (
    FOOTER,
    MAX_SEGMENT_BYTES,
    RECORD,
    Frame,
    FrameWalker,
    SegmentHeader,
    key_info,
    parse_footer,
    parse_header,
    read_bounded,
    record_aad,
    record_nonce,
)
from storage.frames import FileFrames
from storage.primitives import TAG_BYTES, derive, key_id_of, unwrap

__all__ = ["SegmentContent", "SegmentReading", "open_segment", "parse_header", "read_segment"]

MAX_PROBLEMS = 20  # named one by one; then only counted


@dataclass(frozen=True, slots=True)
class SegmentContent:
    """What a segment held.

    `records` are the payloads from index 0 up to the first damage; `salvaged` are (index, payload) after it
    that still prove themselves. `complete`: nothing is damaged or cut. `closed`: it ends in a footer that
    proves, too, that nothing is missing at the end.
    """

    header: SegmentHeader
    records: list[bytes] = field(repr=False)
    closed: bool
    complete: bool
    problems: tuple[str, ...]
    salvaged: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)


def read_segment(
    data: bytes | BinaryIO,
    *,
    share: bytes,
    private_key: EllipticCurvePrivateKey,
    verify_key: EllipticCurvePublicKey | None,
) -> SegmentContent:
    """Open a segment whole; with `verify_key` also check that this device wrote it.

    Raises FormatError kinds for a bad header, NotARecipientError, WrongKeyError, WrongShareError,
    SignatureInvalidError. Damage after the header is no error: it is told in `problems`.
    """
    raw = read_bounded(data, MAX_SEGMENT_BYTES)
    reading = open_segment(raw, share=share, private_key=private_key, verify_key=verify_key)
    records: list[bytes] = []
    salvaged: list[tuple[int, bytes]] = []
    for index, payload in reading:
        if reading.damaged:
            salvaged.append((index, payload))
        else:
            records.append(payload)
    return SegmentContent(
        reading.header, records, reading.closed, reading.complete, reading.problems, tuple(salvaged)
    )


def open_segment(
    source: bytes | BinaryIO,
    *,
    share: bytes,
    private_key: EllipticCurvePrivateKey,
    verify_key: EllipticCurvePublicKey | None,
) -> SegmentReading:
    """Open a segment to be read record by record, from a file without holding it in memory.

    Raises what `read_segment` does, and OSError.
    """
    size = _size_of(source)
    if size > MAX_SEGMENT_BYTES:
        raise TooLargeError(f"input is over {MAX_SEGMENT_BYTES} bytes: this is no segment of ours")
    header = parse_header(source)
    if verify_key is not None and not header.signed_by(verify_key):
        raise SignatureInvalidError("the header is not signed by this device: treat the file as forged")
    key = _segment_key(header, share, private_key)
    frames = (
        FrameWalker(memoryview(source), header.size)
        if isinstance(source, bytes)
        else FileFrames(source, header.size)
    )
    return SegmentReading(header, frames, size, key, verify_key)


def _size_of(source: bytes | BinaryIO) -> int:
    if isinstance(source, bytes):
        return len(source)
    size = source.seek(0, os.SEEK_END)
    source.seek(0)
    return size


def _segment_key(header: SegmentHeader, share: bytes, private_key: EllipticCurvePrivateKey) -> bytes:
    key_id = key_id_of(private_key.public_key())
    wrapped = next((slot.wrapped for slot in header.fields.recipients if slot.key_id == key_id), None)
    if wrapped is None:
        names = ", ".join(header.recipients)
        raise NotARecipientError(f"sealed to {names}, not to {key_id}: use one of those keys")
    secret = unwrap(private_key, bytes.fromhex(wrapped), header.fields.wrap_info())
    key, commitment = derive(secret, share, key_info(header.digest))
    if not hmac.compare_digest(commitment, header.commitment):
        raise WrongShareError(f"the share does not fit: pull the share of epoch {header.epoch} again")
    return key


class SegmentReading:
    """A segment being read: iterate, once, over (index, payload); what is wrong is known when that is done.

    From the moment that `damaged` is true, a payload follows damage and is salvaged under its own index. `closed`
    is as in `SegmentContent`.
    """

    def __init__(
        self,
        header: SegmentHeader,
        frames: FrameWalker | FileFrames,
        size: int,
        key: bytes,
        verify_key: EllipticCurvePublicKey | None,
    ) -> None:
        self.header = header
        self.damaged = False
        self.closed = False
        self._frames = frames
        self._size = size
        self._aead = AESGCM(key)
        self._verify_key = verify_key
        self._problems: list[str] = []
        self._untold = 0
        self._index = 0
        self._prev_tag = bytes(TAG_BYTES)

    @property
    def complete(self) -> bool:
        """Whether nothing was found damaged or cut so far."""
        return not self._problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What was found wrong so far."""
        more = (f"and {self._untold} more",) if self._untold else ()
        return (*self._problems, *more)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        frames = self._frames
        for frame in frames:
            if self.closed or (frame.type == FOOTER and frame.end != self._size):
                self._problem(f"bytes follow the footer at {frame.start}: the file was added to")
                return
            if frame.type == FOOTER:
                self._footer(frame)
                continue
            index, payload = self._index, self._record(frame)
            if payload is not None:
                yield index, payload
        if frames.stop == "cut":
            self._problem(f"cut in record {self._index} at byte {frames.end}: fetch the segment again")
        elif frames.stop:
            self._problem(f"no record at byte {frames.end}, where record {self._index} should be: altered")

    def _record(self, frame: Frame) -> bytes | None:
        """The payload of the next record; None when it does not authenticate."""
        index, prev_tag = self._index, self._prev_tag
        self._index, self._prev_tag = index + 1, bytes(frame.body[-TAG_BYTES:])
        aad = record_aad(self.header.digest, RECORD, index, prev_tag)
        try:
            return self._aead.decrypt(record_nonce(index), frame.body, aad)
        except InvalidTag:
            self.damaged = True
            self._problem(
                f"record {index} at byte {frame.start} is altered, moved, or one before it is missing"
            )
            return None

    def _footer(self, frame: Frame) -> None:
        parsed = parse_footer(bytes(frame.body))
        if parsed is None:
            self._problem(f"the footer at byte {frame.start} is damaged: the end is not proven")
            return
        prev_tag = self._prev_tag
        if parsed.footer.records != self._index or parsed.footer.last_tag != prev_tag.hex():
            self._problem(f"the footer counts {parsed.footer.records} records, here are {self._index}")
            return
        aad = record_aad(self.header.digest, FOOTER, self._index, prev_tag) + parsed.json
        try:
            self._aead.decrypt(record_nonce(self._index), parsed.seal, aad)
        except InvalidTag:
            self._problem("the footer is forged: the end is not proven")
            return
        if self._verify_key is not None and not parsed.signed_by(self._verify_key, self.header.digest):
            self._problem("the footer is not signed by this device: the end is not proven")
            return
        self.closed = True

    def _problem(self, text: str) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(text)
        else:
            self._untold += 1
