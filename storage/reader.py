# SPDX-License-Identifier: Apache-2.0
"""Opening a segment at the office: bytes, share and private key in, records out. No files, no clocks."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage.errors import NotARecipientError, SignatureInvalidError, WrongShareError
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
from storage.primitives import TAG_BYTES, derive, key_id_of, unwrap

__all__ = ["SegmentContent", "parse_header", "read_segment"]

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
    """Open a segment; with `verify_key` also check that this device wrote it.

    Raises FormatError kinds for a bad header, NotARecipientError, WrongKeyError, WrongShareError,
    SignatureInvalidError. Damage after the header is no error: it is told in `problems`.
    """
    raw = read_bounded(data, MAX_SEGMENT_BYTES)
    header = parse_header(raw)
    if verify_key is not None and not header.signed_by(verify_key):
        raise SignatureInvalidError("the header is not signed by this device: treat the file as forged")
    opening = _Opening(header, AESGCM(_segment_key(header, share, private_key)), verify_key)
    opening.read(memoryview(raw))
    return opening.content()


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


class _Opening:
    """Walks the frames of one segment and collects what it finds."""

    def __init__(
        self, header: SegmentHeader, aead: AESGCM, verify_key: EllipticCurvePublicKey | None
    ) -> None:
        self._header = header
        self._aead = aead
        self._verify_key = verify_key
        self._records: list[bytes] = []
        self._salvaged: list[tuple[int, bytes]] = []
        self._problems: list[str] = []
        self._untold = 0
        self._index = 0
        self._prev_tag: bytes | memoryview = bytes(TAG_BYTES)
        self._damaged = False
        self._closed = False

    def read(self, view: memoryview) -> None:
        walker = FrameWalker(view, self._header.size)
        for frame in walker:
            if self._closed or (frame.type == FOOTER and frame.end != len(view)):
                self._problem(f"bytes follow the footer at {frame.start}: the file was added to")
                return
            if frame.type == RECORD:
                self._record(frame)
            else:
                self._footer(frame)
        if walker.stop == "cut":
            self._problem(f"cut in record {self._index} at byte {walker.end}: fetch the segment again")
        elif walker.stop:
            self._problem(f"no record at byte {walker.end}, where record {self._index} should be: altered")

    def content(self) -> SegmentContent:
        if self._untold:
            self._problems.append(f"and {self._untold} more")
        return SegmentContent(
            header=self._header,
            records=self._records,
            closed=self._closed,
            complete=not self._problems,
            problems=tuple(self._problems),
            salvaged=tuple(self._salvaged),
        )

    def _record(self, frame: Frame) -> None:
        index, tag = self._index, frame.body[-TAG_BYTES:]
        aad = record_aad(self._header.digest, RECORD, index, bytes(self._prev_tag))
        try:
            payload = self._aead.decrypt(record_nonce(index), frame.body, aad)
        except InvalidTag:
            self._damaged = True
            self._problem(
                f"record {index} at byte {frame.start} is altered, moved, or one before it is missing"
            )
        else:
            if self._damaged:
                self._salvaged.append((index, payload))
            else:
                self._records.append(payload)
        self._index, self._prev_tag = index + 1, tag

    def _footer(self, frame: Frame) -> None:
        parsed = parse_footer(bytes(frame.body))
        if parsed is None:
            self._problem(f"the footer at byte {frame.start} is damaged: the end is not proven")
            return
        prev_tag = bytes(self._prev_tag)
        if parsed.footer.records != self._index or parsed.footer.last_tag != prev_tag.hex():
            self._problem(f"the footer counts {parsed.footer.records} records, here are {self._index}")
            return
        aad = record_aad(self._header.digest, FOOTER, self._index, prev_tag) + parsed.json
        try:
            self._aead.decrypt(record_nonce(self._index), parsed.seal, aad)
        except InvalidTag:
            self._problem("the footer is forged: the end is not proven")
            return
        if self._verify_key is not None and not parsed.signed_by(self._verify_key, self._header.digest):
            self._problem("the footer is not signed by this device: the end is not proven")
            return
        self._closed = True

    def _problem(self, text: str) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(text)
        else:
            self._untold += 1
