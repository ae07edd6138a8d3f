# SPDX-License-Identifier: Apache-2.0
"""The record formats that the eye writes and the office reads: canonical JSON, extra fields refused."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    model_validator,
)

from sync.errors import BadRecord
from sync.hotlists.entry import ListEntry
from sync.limits import (
    MAX_ALTERNATIVES,
    MAX_CROP_BYTES,
    MAX_DOCUMENT_BYTES,
    MAX_HEALTH_FIELDS,
    MAX_HIT_BYTES,
    MAX_IMAGE_BYTES,
    MAX_IMAGE_HEADER_BYTES,
    MAX_LISTS,
    MAX_NAME_CHARS,
    MAX_PLATE_CHARS,
    MAX_PULL_REQUESTS,
    MAX_RECORD_BYTES,
    MAX_SHARE_EPOCHS,
    MAX_TEXT_CHARS,
)

HIT_INFO = b"wayside/hit/1"  # HPKE info label of a sealed hit; its AAD is the hit id
ADVICE = "verify before acting"
_MAX_TIME_US = 2**53 - 1  # microseconds; the largest integer that every JSON reader keeps exact

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
Name = Annotated[str, StringConstraints(max_length=MAX_NAME_CHARS)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS)]
PlateText = Annotated[str, StringConstraints(pattern=rf"^[A-Z0-9]{{1,{MAX_PLATE_CHARS}}}$")]
StateCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2,3}$")]
Probability = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Microseconds = Annotated[int, Field(ge=0, le=_MAX_TIME_US)]
Count = Annotated[int, Field(ge=0, le=_MAX_TIME_US)]


def _from_base64(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error


Base64 = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    PlainSerializer(lambda b: base64.b64encode(b).decode("ascii"), return_type=str, when_used="json"),
]


def canonical_json(value: object) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _explain(error: ValidationError) -> str:
    """Where and what kind, never the value: values hold plate text."""
    found = [
        f"{'.'.join(str(part)[:40] for part in item['loc']) or '(top)'}: {item['type']}"
        for item in error.errors(include_input=False, include_url=False, include_context=False)[:5]
    ]
    return "; ".join(found)


class Record(BaseModel):
    """Base of all documents: frozen, extra fields refused, canonical JSON both ways."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def encode(self) -> bytes:
        """Canonical JSON bytes."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def max_bytes(cls) -> int:
        """The most bytes that `decode` accepts."""
        return MAX_DOCUMENT_BYTES

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse and validate strictly; raises BadRecord, whose message holds no values."""
        if len(data) > cls.max_bytes():
            raise BadRecord(f"{cls.__name__}: {len(data)} bytes, at most {cls.max_bytes()} allowed")
        try:
            return cls.model_validate_json(data, strict=True)
        except ValidationError as error:
            raise BadRecord(f"{cls.__name__} refused: {_explain(error)}") from None


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
    """One hit. `probability`: that the vehicle really carries the listed plate; None when not known."""

    v: Literal[1] = 1
    hit_id: Id
    read: ReadRecord
    match: MatchRecord
    entry: ListEntry
    crop_jpeg: Annotated[Base64, Field(max_length=MAX_CROP_BYTES)] = b""
    raised_us: Microseconds
    probability: Probability | None = None
    advice: Literal["verify before acting"] = "verify before acting"

    @classmethod
    def max_bytes(cls) -> int:
        """The most bytes of an encoded hit."""
        return MAX_HIT_BYTES


def hit_id(device_id: str, read_id: str, list_id: str, entry_id: str) -> str:
    """The hit's id, the same however often the same read is matched: 32 hex digits."""
    joined = f"{device_id}\0{read_id}\0{list_id}\0{entry_id}"
    return hashlib.sha256(joined.encode()).hexdigest()[:32]


class ListStatus(Record):
    """One installed list as a heartbeat reports it."""

    list_id: Id
    version: Count
    age_s: Count
    stale: bool


Health = int | float | bool | str | None


class Heartbeat(Record):
    """Health from the device to the office. No plate text, no keys: counts, versions and states only."""

    v: Literal[1] = 1
    device_id: Id
    boot_id: Id
    sent_us: Microseconds
    time_uncertainty_us: Microseconds = 0
    time_sources: Annotated[tuple[Name, ...], Field(max_length=8)] = ()
    software: Name = ""
    uptime_s: Count = 0
    lists: Annotated[tuple[ListStatus, ...], Field(max_length=MAX_LISTS)] = ()
    waiting: Annotated[dict[Name, Count], Field(max_length=16)] = {}
    counters: Annotated[dict[Name, Count], Field(max_length=MAX_HEALTH_FIELDS)] = {}
    health: Annotated[dict[Name, Health], Field(max_length=MAX_HEALTH_FIELDS)] = {}
    problems: Annotated[tuple[Text, ...], Field(max_length=64)] = ()


class SignedDocument(Record):
    """A signed document for the device (`config`, `recipients`): an envelope as LISTS.md describes."""

    kind: Id
    signed: Annotated[Base64, Field(max_length=MAX_DOCUMENT_BYTES)]


class HeartbeatReply(Record):
    """The office's answer: its time, segments that it wants pushed, signed documents."""

    v: Literal[1] = 1
    server_time_us: Microseconds
    pull_requests: Annotated[tuple[Id, ...], Field(max_length=MAX_PULL_REQUESTS)] = ()
    documents: Annotated[tuple[SignedDocument, ...], Field(max_length=8)] = ()


class ManifestItem(Record):
    """One list in a manifest: version, size and SHA-256 of its signed bytes."""

    list_id: Id
    version: Count
    size: Count
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ListManifest(Record):
    """Which lists a device has to hold. `version` only grows; a list not named is removed."""

    v: Literal[1] = 1
    version: Count
    issued_us: Microseconds
    expires_us: Microseconds
    lists: Annotated[tuple[ManifestItem, ...], Field(max_length=MAX_LISTS)] = ()

    @model_validator(mode="after")
    def _each_list_once(self) -> Self:
        if len({item.list_id for item in self.lists}) != len(self.lists):
            raise ValueError("a list is named twice")
        return self


Epoch = Annotated[int, Field(ge=0, le=10_000_000)]


class ShareRequest(Record):
    """The office asks a device for the shares of these epochs (hours since 1970 UTC)."""

    v: Literal[1] = 1
    epochs: Annotated[tuple[Epoch, ...], Field(max_length=MAX_SHARE_EPOCHS)]


class ShareReply(Record):
    """The shares that are still in retention, and the epochs that have none."""

    v: Literal[1] = 1
    device_id: Id
    shares: Annotated[dict[Epoch, Base64], Field(max_length=MAX_SHARE_EPOCHS)] = {}
    missing: Annotated[tuple[Epoch, ...], Field(max_length=MAX_SHARE_EPOCHS)] = ()


class SegmentItem(Record):
    """One segment that the device offers: enough to choose and to resume."""

    segment_id: Id
    kind: Name
    epoch: Epoch
    boot_id: Id
    size: Count
    closed: bool


class SegmentList(Record):
    """What GET /v1/segments answers."""

    v: Literal[1] = 1
    device_id: Id
    segments: Annotated[tuple[SegmentItem, ...], Field(max_length=100_000)] = ()

    @classmethod
    def max_bytes(cls) -> int:
        """A device with years of segments answers with tens of megabytes at most."""
        return 32 * 1024 * 1024


def to_jsonable(record: Record) -> dict[str, Any]:
    """The record as plain JSON values, for pages and tables."""
    return record.model_dump(mode="json")
