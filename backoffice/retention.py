# SPDX-License-Identifier: Apache-2.0
"""The office's own rolling deletion: shares first, under a fresh keyring key, then files, recorded before and after.

Order of writes: 1. the plan enters the audit log; 2. the shares leave the keyring, whose key is replaced and
destroyed (from here the reads are gone); 3. segment files and hit bodies are unlinked; 4. the audit log says
what was deleted. A run after a crash finds what is left and does it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, and_, or_, select, update

from backoffice.db import hits
from backoffice.office import Office
from backoffice.pull import HEADER_BYTES, open_keyring
from backoffice.segments import PART_SUFFIX, SegmentFolder
from storage.errors import StorageError
from storage.reader import parse_header
from storage.types import EPOCH_US, EpochId


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """What is past its retention: shares by device, segment files and parts, hits, bodies that no hit names."""

    shares: dict[str, list[EpochId]]
    segments: list[Path]
    hits: list[tuple[str, str]]  # hit id, blob
    strays: list[Path]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to delete."""
        return not (self.shares or self.segments or self.hits or self.strays)

    def counts(self) -> dict[str, int]:
        """How much of each."""
        shares = sum(len(epochs) for epochs in self.shares.values())
        return {
            "shares": shares,
            "segments": len(self.segments),
            "hits": len(self.hits),
            "strays": len(self.strays),
        }


def plan(office: Office) -> DeletionPlan:
    """Everything whose last possible moment is older than the agency's retention; deletes nothing."""
    limit_us = office.clock() - office.settings.retention_seconds * 1_000_000
    last_epoch = limit_us // EPOCH_US - 1  # the last epoch that ended before the limit
    keyring = open_keyring(office)
    shares = {
        scope: expired
        for scope in keyring.scopes()
        if (expired := [epoch for epoch in keyring.epochs(scope=scope) if epoch <= last_epoch])
    }
    held = [path for _, path in SegmentFolder(office.layout.segments).all()]
    parts = office.layout.segments.glob(f"*/*{PART_SUFFIX}")
    files = [path for path in (*held, *parts) if _epoch(path) <= last_epoch]
    old = select(hits.c.hit_id, hits.c.blob).where(_is_past(office, limit_us), hits.c.deleted_us.is_(None))
    with office.engine.connect() as connection:
        found = [(str(hit_id), str(blob)) for hit_id, blob in connection.execute(old)]
    return DeletionPlan(shares, files, found, _strays(office, limit_us))


def _is_past(office: Office, limit_us: int) -> ColumnElement[bool]:
    """A hit goes by when it was raised or when it came, whichever is earlier: a clock ahead keeps nothing for ever.

    A hit that would have been past its retention when it came was raised by a clock that was never set: then the
    time of its arrival alone counts, or an officer would never see it.
    """
    keep_us = office.settings.retention_seconds * 1_000_000
    plausible = hits.c.raised_us >= hits.c.received_us - keep_us
    return or_(hits.c.received_us < limit_us, and_(hits.c.raised_us < limit_us, plausible))


def _strays(office: Office, limit_us: int) -> list[Path]:
    """Bodies that a crash left between writing the body and the row, old enough to belong to no request."""
    with office.engine.connect() as connection:
        named = set(connection.execute(select(hits.c.blob)).scalars())
    files = (path for path in office.layout.blobs.iterdir() if path.name not in named)
    return [path for path in files if path.stat().st_mtime * 1e6 < limit_us]


def delete(office: Office, doomed: DeletionPlan, by: str) -> None:
    """Carry a plan out; safe to repeat."""
    if doomed.empty:
        return
    office.audit.record("retention_started", user=by, at_us=office.clock(), **doomed.counts())
    keyring = open_keyring(office)
    for scope, epochs in doomed.shares.items():
        keyring.destroy(epochs, scope=scope)
    for path in doomed.segments:
        path.unlink(missing_ok=True)
    for path in doomed.strays:
        path.unlink(missing_ok=True)
    for hit_id, blob in doomed.hits:
        (office.layout.blobs / blob).unlink(missing_ok=True)
        with office.engine.begin() as connection:
            connection.execute(update(hits).where(hits.c.hit_id == hit_id).values(deleted_us=office.clock()))
    names = sorted(f"{path.parent.name}/{path.stem}" for path in doomed.segments)
    version = office.settings.retention_version
    spans = {scope: [epochs[0], epochs[-1], len(epochs)] for scope, epochs in doomed.shares.items()}
    office.audit.record(
        "retention_done",
        user=by,
        at_us=office.clock(),
        policy=version,
        epochs=spans,
        segments=names[:200],
    )


def _epoch(path: Path) -> EpochId:
    """The epoch of a segment; one that cannot be read counts as the newest, so that it is never deleted early."""
    try:
        with path.open("rb") as file:
            return parse_header(file.read(HEADER_BYTES)).epoch
    except (StorageError, OSError):
        return 1 << 40
