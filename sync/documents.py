# SPDX-License-Identifier: Apache-2.0
"""The documents of the wire: heartbeat and its answer, list manifest, shares, segment list."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from sync.limits import (
    MAX_DOCUMENT_BYTES,
    MAX_HEALTH_FIELDS,
    MAX_LISTS,
    MAX_PULL_REQUESTS,
    MAX_SHARE_EPOCHS,
)
from sync.record import Base64, Count, Finite, Id, Microseconds, Name, Record, Text


class ListStatus(Record):
    """One installed list as a heartbeat reports it."""

    list_id: Id
    version: Count
    age_s: Count
    stale: bool


Health = int | Finite | bool | str | None


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
    waiting: Annotated[dict[Name, Count], Field(max_length=16)] = Field(default_factory=dict)
    counters: Annotated[dict[Name, Count], Field(max_length=MAX_HEALTH_FIELDS)] = Field(default_factory=dict)
    health: Annotated[dict[Name, Health], Field(max_length=MAX_HEALTH_FIELDS)] = Field(default_factory=dict)
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
    shares: Annotated[dict[Epoch, Base64], Field(max_length=MAX_SHARE_EPOCHS)] = Field(default_factory=dict)
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
