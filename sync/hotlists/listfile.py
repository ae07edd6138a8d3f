# SPDX-License-Identifier: Apache-2.0
"""The list file: its document, signature, and the numbered rules by which a device accepts one.

A device accepts a signed list only when every rule holds, in this order:

1. it is no larger than the bound;
2. its head names the kind `list`;
3. a trusted key signed the body under the label `wayside/list/1` (nothing is parsed before);
4. the body follows the schema, strictly, within the bounds;
5. the list id is the one asked for, when one was asked for;
6. no entry id occurs twice, no pattern is too wide, and there are not too many entries or `*` patterns;
7. the version is not below the floor: the highest version ever accepted for this id;
8. it is not past its expiry.

A manifest is accepted by rules 1 to 4, 7 and 8 under the label `wayside/manifest/1`. A list is *stale*
when the age of its source data exceeds `stale_after_s`: it is still matched, and every hit says so. A
list past `expires_us` is not matched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from sync.errors import BadList, BadRecord, ListExpired, RollbackRefused
from sync.hotlists.entry import Category, ListEntry, pattern_is_too_wide
from sync.hotlists.envelope import open_envelope, sign_envelope
from sync.limits import ListLimits
from sync.schema import Count, Id, ListManifest, ManifestItem, Microseconds, Name, canonical_json

DEFAULT_LIMITS = ListLimits()
DAY_S = 86_400  # seconds
_ENTRIES_CAP = 2_000_000  # entries; a hard stop of the schema, ListLimits.max_entries is the working bound


class Mode(StrEnum):
    """What an agency does with a category; ordered from open to strict."""

    ENABLED = "enabled"
    SILENT = "silent"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class ListDocument:
    """One version of one hot list. `as_of_us`: when the source made the data; entries sorted by id."""

    list_id: Id
    version: Count
    created_us: Microseconds
    as_of_us: Microseconds
    expires_us: Microseconds
    entries: Annotated[tuple[ListEntry, ...], Field(max_length=_ENTRIES_CAP)]
    title: Name = ""
    layout: Name = ""
    stale_after_s: Count = DAY_S
    folds_o: bool = False
    categories: Mapping[Category, Mode] = Field(default_factory=dict)
    v: Literal[1] = 1

    def age_s(self, now_us: int) -> int:
        """Seconds since the source made the data, never negative."""
        return max(0, now_us - self.as_of_us) // 1_000_000

    def stale(self, now_us: int) -> bool:
        """Whether the data is older than the list allows."""
        return self.age_s(now_us) > self.stale_after_s


@dataclass(frozen=True, slots=True)
class HotList:
    """A verified list: the document, who signed it, and the SHA-256 and size of its signed bytes."""

    document: ListDocument
    key_id: str
    sha256: str
    size: int

    @property
    def list_id(self) -> str:
        """The list's id."""
        return self.document.list_id

    @property
    def version(self) -> int:
        """The list's version."""
        return self.document.version

    @property
    def entries(self) -> tuple[ListEntry, ...]:
        """The entries, sorted by id."""
        return self.document.entries


_DOCUMENT = TypeAdapter(ListDocument)


def encode_document(document: ListDocument) -> bytes:
    """Canonical JSON: entries sorted by id, fields at their default left out."""
    fields: dict[str, Any] = _DOCUMENT.dump_python(document, mode="json", exclude_defaults=True)
    fields["entries"] = sorted(fields["entries"], key=lambda entry: str(entry["entry_id"]))
    return canonical_json(fields | {"v": 1})


def sign_list(document: ListDocument, private_key: ec.EllipticCurvePrivateKey) -> bytes:
    """The signed list file; raises BadList for a document that no device would accept."""
    _check_entries(document, DEFAULT_LIMITS)
    return sign_envelope("list", encode_document(document), private_key)


def verify_list(
    data: bytes,
    public_keys: Sequence[ec.EllipticCurvePublicKey],
    *,
    floor_version: int,
    now_us: int,
    list_id: str | None = None,
    limits: ListLimits = DEFAULT_LIMITS,
) -> HotList:
    """Apply rules 1 to 8; raises BadList, BadSignature, RollbackRefused or ListExpired."""
    body, signer = open_envelope("list", data, public_keys, max_bytes=limits.max_list_bytes)  # rules 1 to 3
    try:
        document = _DOCUMENT.validate_json(body, strict=True)  # rule 4
    except ValidationError as error:
        kinds = sorted({item["type"] for item in error.errors(include_input=False, include_url=False)[:20]})
        raise BadList(f"the list does not follow its format: {', '.join(kinds)}") from None
    if list_id is not None and document.list_id != list_id:  # rule 5
        raise BadList(f"this is the list {document.list_id}, not {list_id}")
    _check_entries(document, limits)  # rule 6
    verify_floor(document, floor_version)  # rule 7
    if document.expires_us <= now_us:  # rule 8
        raise ListExpired(f"{document.list_id}: version {document.version} has expired")
    return HotList(document, signer, hashlib.sha256(data).hexdigest(), len(data))


def verify_floor(document: ListDocument, floor_version: int) -> None:
    """Rule 7; raises RollbackRefused."""
    if document.version < floor_version:
        raise RollbackRefused(f"{document.list_id}: version {document.version} is below {floor_version}")


def _check_entries(document: ListDocument, limits: ListLimits) -> None:
    if len(document.entries) > limits.max_entries:
        raise BadList(f"the list has more than {limits.max_entries} entries")
    if sum("*" in entry.plate for entry in document.entries) > limits.max_star_entries:
        raise BadList(
            f"the list has more than {limits.max_star_entries} entries with `*`; use `?` where it fits"
        )
    if len({entry.entry_id for entry in document.entries}) != len(document.entries):
        raise BadList("an entry id occurs twice")
    if any(pattern_is_too_wide(entry.plate) for entry in document.entries):
        raise BadList("a pattern is too wide: give at least two characters")


def manifest_item(signed_list: HotList) -> ManifestItem:
    """The manifest's line for a list."""
    return ManifestItem(
        list_id=signed_list.list_id,
        version=signed_list.version,
        size=signed_list.size,
        sha256=signed_list.sha256,
    )


def sign_manifest(manifest: ListManifest, private_key: ec.EllipticCurvePrivateKey) -> bytes:
    """The signed manifest."""
    return sign_envelope("manifest", manifest.encode(), private_key)


def verify_manifest(
    data: bytes,
    public_keys: Sequence[ec.EllipticCurvePublicKey],
    *,
    floor_version: int,
    now_us: int,
    limits: ListLimits = DEFAULT_LIMITS,
) -> ListManifest:
    """Apply the rules to a manifest; raises BadList, BadSignature, RollbackRefused or ListExpired."""
    body, _ = open_envelope("manifest", data, public_keys, max_bytes=limits.max_manifest_bytes)
    try:
        manifest = ListManifest.decode(body)
    except BadRecord as error:
        raise BadList(str(error)) from None
    if manifest.version < floor_version:
        raise RollbackRefused(f"manifest {manifest.version} is below {floor_version}")
    if manifest.expires_us <= now_us:
        raise ListExpired("the manifest has expired; the office must publish a new one")
    return manifest
