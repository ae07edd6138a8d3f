# SPDX-License-Identifier: Apache-2.0
"""The record formats that the eye writes and the office reads; the wire's documents come from here too."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from sync.documents import (
    Epoch,
    Heartbeat,
    HeartbeatReply,
    ListManifest,
    ListStatus,
    ManifestItem,
    SegmentItem,
    SegmentList,
    ShareReply,
    ShareRequest,
    SignedDocument,
)
from sync.errors import BadRecord
from sync.hotlists.entry import ListEntry
from sync.limits import (
    MAX_ALTERNATIVES,
    MAX_CROP_BYTES,
    MAX_HIT_BYTES,
    MAX_IMAGE_BYTES,
    MAX_IMAGE_HEADER_BYTES,
    MAX_PLATE_CHARS,
    MAX_RECORD_BYTES,
)
from sync.record import (
    Base64,
    Count,
    Finite,
    Id,
    Microseconds,
    Name,
    PlateText,
    Probability,
    Record,
    StateCode,
    Text,
    canonical_json,
    to_jsonable,
)

__all__ = [
    "ADVICE",
    "HIT_INFO",
    "Base64",
    "CharReading",
    "Count",
    "Difference",
    "Doubt",
    "Epoch",
    "Finite",
    "Heartbeat",
    "HeartbeatReply",
    "HitRecord",
    "Id",
    "ImageKind",
    "ImageRecord",
    "ListManifest",
    "ListStatus",
    "ManifestItem",
    "MatchKind",
    "MatchRecord",
    "Microseconds",
    "Name",
    "PlateText",
    "Position",
    "Probability",
    "ReadImages",
    "ReadRecord",
    "Record",
    "RecordRef",
    "SegmentItem",
    "SegmentList",
    "ShareReply",
    "ShareRequest",
    "SignedDocument",
    "StateAgreement",
    "StateCode",
    "Text",
    "canonical_json",
    "hit_id",
    "to_jsonable",
]

HIT_INFO = b"wayside/hit/1"  # HPKE info label of a sealed hit; its AAD is the hit id
ADVICE = "verify before acting"


class Position(Record):
    """Where the unit was: degrees WGS 84, and which source said so (`surveyed`, `gnss`, ...)."""

    lat: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
    lon: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
    source: Name


Character = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]$")]


class CharReading(Record):
    """One character: the reading, its probability, and other readings with theirs."""

    c: Character
    p: Probability
    alt: Annotated[tuple[tuple[Character, Probability], ...], Field(max_length=MAX_ALTERNATIVES)] = ()


class RecordRef(Record):
    """Where a sealed record lies: segment id and index in it."""

    segment: Id
    index: Count


class ReadImages(Record):
    """The pictures of a read, as sealed records."""

    crop_ref: RecordRef | None = None
    scene_ref: RecordRef | None = None


class ReadRecord(Record):
    """One vehicle pass as read. Boxes and corners are pixels of the frame it was read from."""

    v: Literal[1] = 1
    read_id: Id
    device_id: Id
    camera: Name
    captured_us: Microseconds
    time_uncertainty_us: Microseconds
    time_sources: Annotated[tuple[Name, ...], Field(max_length=8)] = ()
    position: Position | None = None
    text: PlateText
    confidence: Probability
    chars: Annotated[tuple[CharReading, ...], Field(max_length=MAX_PLATE_CHARS)] = ()
    state: StateCode | None = None
    state_confidence: Probability | None = None
    state_note: Text = ""
    frames_seen: Count
    frames_agreed: Count
    box: tuple[Finite, Finite, Finite, Finite]
    corners: Annotated[tuple[tuple[Finite, Finite], ...], Field(min_length=4, max_length=4)]
    width_px: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    ir: bool
    images: ReadImages | None = None

    @model_validator(mode="after")
    def _chars_spell_text(self) -> Self:
        if self.chars and "".join(char.c for char in self.chars) != self.text:
            raise ValueError("chars do not spell text")
        return self

    @classmethod
    def max_bytes(cls) -> int:
        """The most bytes of an encoded read."""
        return MAX_RECORD_BYTES


class ImageKind(StrEnum):
    """What a picture shows: the plate, or the whole scene."""

    CROP = "crop"
    SCENE = "scene"


class _ImageHeader(Record):
    read_id: Id
    kind: ImageKind
    media_type: Annotated[str, StringConstraints(pattern=r"^image/[a-z0-9.+-]{1,40}$")]


class ImageRecord(_ImageHeader):
    """A picture of a read: 4 bytes big-endian header length, canonical JSON header, picture bytes."""

    data: Annotated[bytes, Field(max_length=MAX_IMAGE_BYTES)]

    def encode(self) -> bytes:
        """Header length, header, picture."""
        header = canonical_json(self.model_dump(mode="json", exclude={"data"}))
        return len(header).to_bytes(4, "big") + header + self.data

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse; raises BadRecord when cut, too long or malformed."""
        size = int.from_bytes(data[:4], "big")
        if len(data) < 4 or size > MAX_IMAGE_HEADER_BYTES or len(data) < 4 + size:
            raise BadRecord("ImageRecord refused: cut short or its header is too long")
        if len(data) - 4 - size > MAX_IMAGE_BYTES:
            raise BadRecord(f"ImageRecord refused: more than {MAX_IMAGE_BYTES} bytes of picture")
        header = _ImageHeader.decode(data[4 : 4 + size])
        return cls(**dict(header), data=data[4 + size :])


class MatchKind(StrEnum):
    """How a read met an entry; `folded` means that confusable characters were taken as equal."""

    EXACT = "exact"
    FOLDED = "folded"
    WILDCARD = "wildcard"
    WILDCARD_FOLDED = "wildcard-folded"


class StateAgreement(StrEnum):
    """Whether the state of issuance agrees with the list entry."""

    AGREES = "agrees"
    UNKNOWN = "unknown"
    DIFFERS = "differs"


class Difference(Record):
    """One position (0-based, in the read) where the read and the entry differ, and why it still matched."""

    pos: Annotated[int, Field(ge=0, lt=MAX_PLATE_CHARS)]
    read: Character
    listed: Character
    why: Text = ""


class Doubt(Record):
    """One position where the reader itself was unsure: another reading and its probability."""

    pos: Annotated[int, Field(ge=0, lt=MAX_PLATE_CHARS)]
    read: Character
    p: Probability
    other: Character
    other_p: Probability


class MatchRecord(Record):
    """Why a read hit: kind, differences, doubts, the state's agreement, and how old the list is."""

    kind: MatchKind
    explanation: Annotated[str, StringConstraints(max_length=2_000)]
    differences: Annotated[tuple[Difference, ...], Field(max_length=MAX_PLATE_CHARS)] = ()
    doubts: Annotated[tuple[Doubt, ...], Field(max_length=MAX_PLATE_CHARS)] = ()
    state_agreement: StateAgreement = StateAgreement.UNKNOWN
    list_id: Id
    list_version: Count
    list_age_s: Count
    stale: bool
    silent: bool = False
    calibration: bool = False


class HitRecord(Record):
    """One hit. `probability`: that the vehicle really carries the listed plate; None when not known.

    `preliminary`: raised while the vehicle was still in sight, from its first frames. When all frames together
    say otherwise, a second hit follows: `supersedes` names the first, `correction` says what was read instead.
    """

    v: Literal[1] = 1
    hit_id: Id
    read: ReadRecord
    match: MatchRecord
    entry: ListEntry
    crop_jpeg: Annotated[Base64, Field(max_length=MAX_CROP_BYTES)] = b""
    raised_us: Microseconds
    probability: Probability | None = None
    advice: Literal["verify before acting"] = "verify before acting"
    preliminary: bool = False
    supersedes: Id | None = None
    correction: Text = ""

    @classmethod
    def max_bytes(cls) -> int:
        """The most bytes of an encoded hit."""
        return MAX_HIT_BYTES


def hit_id(device_id: str, read_id: str, list_id: str, entry_id: str) -> str:
    """The hit's id, the same however often the same read is matched: 32 hex digits."""
    joined = f"{device_id}\0{read_id}\0{list_id}\0{entry_id}"
    return hashlib.sha256(joined.encode()).hexdigest()[:32]
