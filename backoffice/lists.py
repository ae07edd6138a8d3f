# SPDX-License-Identifier: Apache-2.0
"""Hot lists at the office: feeds to drafts, drafts to signed versions, one signed manifest.

`lists/ID/draft.json` is what the next publish signs; `lists/ID/vN.signed` is what was published;
`lists/manifest.signed` names the newest version of each and is replaced last.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import func, select

from backoffice import keys
from backoffice.db import insert_once, list_versions
from backoffice.errors import BadRequest, NotFound
from backoffice.office import Office
from storage.atomic import locked, make_folder, write_atomic
from storage.types import is_id
from sync.errors import ListError
from sync.hotlists.delta import make_delta
from sync.hotlists.entry import Category, ListEntry, normalise_plate, pattern_is_too_wide
from sync.hotlists.layouts import parse
from sync.hotlists.listfile import (
    DAY_S,
    HotList,
    ListDocument,
    manifest_item,
    sign_list,
    sign_manifest,
    verify_list,
    verify_manifest,
)
from sync.hotlists.mapping import load_mapping
from sync.hotlists.parsed import ParsedList
from sync.schema import ListManifest, canonical_json

MANUAL_LIST = "manual"
MANUAL_MAX_LIFETIME_US = 30 * DAY_S * 1_000_000  # a manual entry must be looked at again within a month
KEPT_VERSIONS = 10  # older ones can no longer be the start of a delta
PUBLISH_WAIT_S = 30.0
NEVER_STALE_S = 3650 * DAY_S  # manual entries carry their own expiry


class Draft(BaseModel):
    """The content of a list's next version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = ""
    layout: str = ""
    as_of_us: int
    folds_o: bool = False
    stale_after_s: int = DAY_S
    entries: tuple[ListEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed file to add: `mapping` is the TOML for mapped layouts."""

    list_id: str
    layout: str
    data: bytes
    mapping: bytes | None = None
    title: str = ""
    as_of_us: int | None = None


@dataclass(frozen=True, slots=True)
class Manual:
    """A manual entry; plate may hold wildcards."""

    plate: str
    reason: str
    expires_us: int
    state: str | None = None
    category: Category = Category.MANUAL


@dataclass(frozen=True, slots=True)
class PublishedList:
    """The newest version of one list; times in Unix microseconds."""

    list_id: str
    version: int
    entries: int
    published_us: int
    expires_us: int
    sha256: str


def add_feed(office: Office, feed: Feed) -> ParsedList:
    """Parse a feed into the list's draft; the result tells every problem. Raises BadRequest, LayoutError."""
    folder = _folder(office, feed.list_id)
    mapping = load_mapping(feed.mapping) if feed.mapping is not None else None
    parsed = parse(feed.layout, feed.data, mapping)
    draft = Draft(
        title=feed.title,
        layout=feed.layout,
        as_of_us=feed.as_of_us or parsed.as_of_us or office.clock(),
        folds_o=parsed.folds_o,
        entries=parsed.entries,
    )
    _save_draft(folder, draft)
    return parsed


def add_manual(office: Office, manual: Manual) -> ListEntry:
    """Add one entry to the manual list's draft; needs a reason and an expiry within 30 days."""
    now = office.clock()
    plate = normalise_plate(manual.plate)
    if not manual.reason.strip():
        raise BadRequest("a manual entry needs its reason")
    if not now < manual.expires_us <= now + MANUAL_MAX_LIFETIME_US:
        raise BadRequest("a manual entry needs an expiry in the future, at most 30 days from now")
    if not plate or pattern_is_too_wide(plate):
        raise BadRequest("give a plate; a pattern needs at least two fixed characters")
    try:
        entry = ListEntry(
            entry_id=f"manual-{secrets.token_hex(8)}",
            plate=plate,
            state=manual.state,
            category=manual.category,
            reason=manual.reason.strip(),
            source="manual",
            effective_us=now,
            expires_us=manual.expires_us,
        )
    except ValidationError as error:
        raise BadRequest(f"the entry is out of bounds: {error.errors()[0]['loc'][0]}") from error
    _append_manual(_folder(office, MANUAL_LIST), entry, now)
    return entry


def _append_manual(folder: Path, entry: ListEntry, now: int) -> None:
    with locked(folder / "lock", PUBLISH_WAIT_S) as free:
        if not free:
            raise BadRequest("another manual entry is being made: try again")
        held = _load_draft(folder).entries if (folder / "draft.json").exists() else ()
        alive = tuple(old for old in held if old.expires_us is None or old.expires_us > now)
        draft = Draft(
            title="Manual entries",
            layout="manual",
            as_of_us=now,
            stale_after_s=NEVER_STALE_S,
            entries=(*alive, entry),
        )
        _save_draft(folder, draft)


def publish(office: Office) -> list[PublishedList]:
    """Sign a new version of every list with a draft, then the manifest that names them all."""
    drafts = sorted(path.parent for path in office.layout.lists.glob("*/draft.json"))
    return _publish(office, drafts, keep=False)


def publish_manual(office: Office) -> list[PublishedList]:
    """Sign the manual list alone; the others stay as they were published, whatever their drafts hold."""
    return _publish(office, [_folder(office, MANUAL_LIST)], keep=True)


def _publish(office: Office, folders: list[Path], *, keep: bool) -> list[PublishedList]:
    """`keep`: the manifest goes on naming what it names now; else it names `folders` alone."""
    key = keys.load_purpose_key(office.layout, keys.LISTS)
    with locked(office.layout.lists / "lock", PUBLISH_WAIT_S) as free:
        if not free:
            raise BadRequest("another publish is running: try again when it is done")
        fresh = {folder.name for folder in folders}
        named = _manifest_names(office, key.public_key()) - fresh if keep else set()
        kept = [_as_published(office, item, key) for item in published(office) if item.list_id in named]
        signed = [_publish_one(office, folder, key) for folder in folders]
        _publish_manifest(office, sorted([*kept, *signed], key=lambda item: item.list_id), key)
    return published(office)


def _as_published(office: Office, item: PublishedList, key: ec.EllipticCurvePrivateKey) -> HotList:
    path = _folder(office, item.list_id, make=False) / f"v{item.version}.signed"
    try:
        return verify_list(path.read_bytes(), (key.public_key(),), floor_version=item.version, now_us=0)
    except (OSError, ListError) as error:
        raise BadRequest(
            f"{item.list_id}: its published version is damaged: publish all lists again"
        ) from error


def published(office: Office) -> list[PublishedList]:
    """The newest version of every list."""
    newest = (
        select(list_versions.c.list_id, func.max(list_versions.c.version).label("version"))
        .group_by(list_versions.c.list_id)
        .subquery()
    )
    query = select(list_versions).join(
        newest,
        (list_versions.c.list_id == newest.c.list_id) & (list_versions.c.version == newest.c.version),
    )
    with office.engine.connect() as connection:
        rows = connection.execute(query.order_by(list_versions.c.list_id)).mappings().all()
    return [
        PublishedList(
            list_id=row["list_id"],
            version=row["version"],
            entries=row["entries"],
            published_us=row["published_us"],
            expires_us=row["expires_us"],
            sha256=row["sha256"],
        )
        for row in rows
    ]


def manifest(office: Office) -> tuple[bytes, str]:
    """(signed manifest, its SHA-256); NotFound before the first publish."""
    try:
        data = (office.layout.lists / "manifest.signed").read_bytes()
    except FileNotFoundError as error:
        raise NotFound("no list is published yet") from error
    return data, hashlib.sha256(data).hexdigest()


def list_file(office: Office, list_id: str, have: int | None) -> bytes:
    """The newest signed version, or the delta to it from version `have` where that is smaller."""
    folder = _folder(office, list_id, make=False)
    version = next((item.version for item in published(office) if item.list_id == list_id), None)
    if version is None:
        raise NotFound(f"there is no list {list_id!r}")
    newest = (folder / f"v{version}.signed").read_bytes()
    old = folder / f"v{have}.signed"
    if have is None or have == version or not old.exists():
        return newest
    delta = make_delta(old.read_bytes(), newest)
    return delta if len(delta) < len(newest) else newest


def _publish_one(office: Office, folder: Path, key: ec.EllipticCurvePrivateKey) -> HotList:
    now = office.clock()
    draft = _load_draft(folder)
    version = max((item.version for item in published(office) if item.list_id == folder.name), default=0) + 1
    document = ListDocument(
        list_id=folder.name,
        version=version,
        created_us=now,
        as_of_us=min(draft.as_of_us, now),
        expires_us=now + office.settings.list_lifetime_s * 1_000_000,
        entries=draft.entries,
        title=draft.title,
        layout=draft.layout,
        stale_after_s=draft.stale_after_s,
        folds_o=draft.folds_o,
    )
    data = sign_list(document, key)
    checked = verify_list(data, (key.public_key(),), floor_version=version, now_us=now)
    write_atomic(folder / f"v{version}.signed", data)
    row = {
        "list_id": folder.name,
        "version": version,
        "published_us": now,
        "expires_us": document.expires_us,
        "entries": len(document.entries),
        "sha256": checked.sha256,
    }
    insert_once(office.engine, list_versions, row)
    for old in folder.glob("v*.signed"):
        if int(old.stem[1:]) <= version - KEPT_VERSIONS:
            old.unlink()
    return checked


def _publish_manifest(office: Office, signed: list[HotList], key: ec.EllipticCurvePrivateKey) -> None:
    now = office.clock()
    document = ListManifest(
        version=_manifest_version(office, key.public_key()) + 1,
        issued_us=now,
        expires_us=now + office.settings.list_lifetime_s * 1_000_000,
        lists=tuple(manifest_item(item) for item in signed),
    )
    write_atomic(office.layout.lists / "manifest.signed", sign_manifest(document, key))


def _manifest_version(office: Office, public: ec.EllipticCurvePublicKey) -> int:
    held = _manifest(office, public)
    return held.version if held else 0


def _manifest_names(office: Office, public: ec.EllipticCurvePublicKey) -> set[str]:
    held = _manifest(office, public)
    return {item.list_id for item in held.lists} if held else set()


def _manifest(office: Office, public: ec.EllipticCurvePublicKey) -> ListManifest | None:
    try:
        data, _ = manifest(office)
        return verify_manifest(data, (public,), floor_version=0, now_us=0)
    except NotFound:
        return None
    except ListError as error:
        raise BadRequest("manifest.signed is damaged: restore it from the backup") from error


def _folder(office: Office, list_id: str, *, make: bool = True) -> Path:
    if not is_id(list_id):
        raise BadRequest("a list id has 1 to 64 of a-z, 0-9 and '-'")
    folder = office.layout.lists / list_id
    if make:
        make_folder(folder)
    return folder


def _load_draft(folder: Path) -> Draft:
    try:
        return Draft.model_validate_json((folder / "draft.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise BadRequest(f"the draft of {folder.name} is damaged: add the list again") from error


def _save_draft(folder: Path, draft: Draft) -> None:
    write_atomic(folder / "draft.json", canonical_json(draft.model_dump(mode="json")))
