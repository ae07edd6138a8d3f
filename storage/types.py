# SPDX-License-Identifier: Apache-2.0
"""The values that storage hands out and takes in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from storage.errors import BadRecipientError
from storage.primitives import key_id_of

EpochId = int  # hours since 1970-01-01T00:00Z
EPOCH_US = 3_600_000_000  # microseconds in an epoch
AGREEING_SOURCES = 2  # that make a time agreed
MAX_PEM_BYTES = 4096  # bytes of a public key in PEM
ID_PATTERN = re.compile(r"[a-z0-9-]{1,64}")


def epoch_of(at_us: int) -> EpochId:
    """Epoch (hour since 1970 UTC) that holds the Unix time `at_us` in microseconds."""
    return at_us // EPOCH_US


def is_id(text: str) -> bool:
    """Whether `text` is a plain id: 1 to 64 of a-z, 0-9 and '-'; safe as a file name."""
    return ID_PATTERN.fullmatch(text) is not None


class SegmentKind(StrEnum):
    """What a segment holds; each kind has a folder of its own."""

    READS = "reads"
    IMAGES = "images"


@dataclass(frozen=True, slots=True)
class SealedRecordRef:
    """Where a record lies: segment id and index (from 0) in that segment."""

    segment: str
    index: int

    def __str__(self) -> str:
        return f"{self.segment}:{self.index}"


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """A segment file as its header and its end tell it; `size` in bytes."""

    segment_id: str
    kind: SegmentKind
    epoch: EpochId
    boot_id: str
    size: int
    closed: bool
    path: Path


@dataclass(frozen=True, slots=True)
class Recipient:
    """A P-256 key that can open what is sealed to it; `key_id` is 16 hex of its SHA-256."""

    key_id: str
    public_key: EllipticCurvePublicKey

    @classmethod
    def of(cls, public_key: EllipticCurvePublicKey) -> Self:
        """Recipient of a loaded P-256 key; raises BadRecipientError for another curve."""
        if not isinstance(public_key.curve, SECP256R1):
            raise BadRecipientError(f"recipient key is on {public_key.curve.name}: give a P-256 key")
        return cls(key_id_of(public_key), public_key)

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Recipient from a PEM public key of at most 4096 bytes; raises BadRecipientError."""
        if len(pem) > MAX_PEM_BYTES:
            raise BadRecipientError(f"recipient key is over {MAX_PEM_BYTES} bytes: give one public key")
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise BadRecipientError("recipient key is no PEM public key: export it again") from error
        if not isinstance(key, EllipticCurvePublicKey):
            raise BadRecipientError("recipient key is no elliptic-curve key: give a P-256 key")
        return cls.of(key)


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Bounds of the segment store, in bytes unless said."""

    max_record_bytes: int = 4 << 20
    max_segment_bytes: int = 256 << 20  # a segment that would grow over this is closed, a new one opened
    write_buffer_bytes: int = 1 << 20  # appended bytes kept in RAM before they are written (not yet synced)
    max_uncommitted_bytes: int = 16 << 20  # then append() commits by itself; also the longest tail ever cut
    max_open_segments: int = 8  # count
    # Below the first of these bytes of free space the oldest pictures give way to new ones; below the others new
    # pictures, then new reads, are refused: hits, receipts and deletion go on.
    make_room_below_bytes: int = 256 << 20
    min_free_for_images_bytes: int = 64 << 20
    min_free_for_reads_bytes: int = 32 << 20

    def min_free_bytes(self, kind: SegmentKind) -> int:
        """Free space below which records of a kind are refused."""
        images = kind is SegmentKind.IMAGES
        return self.min_free_for_images_bytes if images else self.min_free_for_reads_bytes


@dataclass(frozen=True, slots=True)
class TimeEvidence:
    """What the clock says: Unix time and its uncertainty in microseconds, and the sources that agree on it."""

    now_us: int
    uncertainty_us: int
    sources: tuple[str, ...]

    @property
    def earliest_us(self) -> int:
        """The earliest time that it can be."""
        return self.now_us - max(0, self.uncertainty_us)

    @property
    def latest_us(self) -> int:
        """The latest time that it can be."""
        return self.now_us + max(0, self.uncertainty_us)

    @property
    def agreed(self) -> bool:
        """Whether two or more different sources stand behind it."""
        return len(set(self.sources)) >= AGREEING_SOURCES
