# SPDX-License-Identifier: Apache-2.0
"""The office's own rolling deletion: shares first, under a fresh keyring key, then files, recorded before and after.

Order of writes: 0. the round leaves its time (`retention_clock`); 1. the plan enters the audit log; 2. the shares leave
the keyring, whose key is replaced and destroyed (from here the reads are gone); 3. segment files and hit bodies are
unlinked; 4. the audit log says what was deleted. A run after a crash finds what is left and does it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import select, update

from backoffice.db import hits
from backoffice.hold_watch import case_scopes, sealing_ends, watch_holds
from backoffice.known_epochs import first_met
from backoffice.office import Office
from backoffice.pull import HEADER_BYTES, open_keyring
from backoffice.receipts import erased_epochs
from backoffice.retention_clock import trust_clock
from backoffice.retention_policy import dies_us, hit_since_us, newest, schedule
from backoffice.segments import PART_SUFFIX, SegmentFolder
from storage.errors import StorageError
from storage.files import OS_FILES
from storage.reader import parse_header
from storage.retention_schedule import Calendar, RetentionSchedule
from storage.types import EpochId, epoch_of


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


class _PastHours:
    """Which hours are past their retention, now.

    An hour goes by its name. It has a wrong one where the office heard of it before it began, from a device whose clock
    was ahead. Such an hour goes when it is past its retention since it was heard of, if its name cannot be right (it
    has still not begun) or the device's receipt says that it is gone there.
    """

    def __init__(self, office: Office, calendar: Calendar) -> None:
        self._calendar = calendar
        self._now = office.clock()
        self._met = cache(lambda device_id: first_met(office, device_id))
        self._erased = cache(lambda device_id: erased_epochs(office, device_id))

    def __call__(self, device_id: str, epoch: EpochId) -> bool:
        """Whether the hour `epoch` of this device is."""
        if self._calendar.dies_us(epoch) <= self._now:
            return True
        met = epoch_of(self._met(device_id).get(epoch, self._now))
        if met >= epoch or self._calendar.dies_us(met) > self._now:
            return False
        return epoch > epoch_of(self._now) or epoch in self._erased(device_id)


def plan(office: Office, policies: RetentionSchedule | None = None) -> DeletionPlan:
    """Everything that is past its retention by the agency's policies, or by these; deletes nothing."""
    calendar = Calendar(policies or schedule(office))
    is_past = _PastHours(office, calendar)
    keyring = open_keyring(office)
    cases = case_scopes(office, keyring.scopes())
    shares = {
        scope: expired
        for scope in keyring.scopes()
        if scope not in cases  # a hold's share ends with the hold
        and (expired := [epoch for epoch in keyring.epochs(scope=scope) if is_past(scope, epoch)])
    }
    held = [path for _, path in SegmentFolder(office.layout.segments).all()]
    parts = office.layout.segments.glob(f"*/*{PART_SUFFIX}")
    files = [path for path in (*held, *parts) if is_past(path.parent.name, _epoch(path))]
    return DeletionPlan(shares, files, *_bodies(office, calendar.schedule, office.clock()))


def run_round(office: Office, by: str, *, clock_is_right: bool = False) -> DeletionPlan:
    """Delete what is past its retention; ClockInDoubt, and nothing deleted, where the clock is not to be believed."""
    trust_clock(office, by, clock_is_right=clock_is_right)
    doomed = plan(office)
    delete(office, doomed, by)
    return doomed


def _bodies(
    office: Office, policies: RetentionSchedule, now_us: int
) -> tuple[list[tuple[str, str]], list[Path]]:
    """Hits that are past their retention (id, blob), and stray bodies that are."""
    held = select(hits.c.hit_id, hits.c.blob, hits.c.raised_us, hits.c.received_us)
    with office.engine.connect() as connection:
        rows = connection.execute(held.where(hits.c.deleted_us.is_(None))).all()
    named = {str(row.blob) for row in rows}
    old = [
        (str(hit_id), str(blob))
        for hit_id, blob, raised, received in rows
        if dies_us(policies, hit_since_us(policies, raised, received)) < now_us
    ]
    # left by a crash between writing the body and the row, or brought back by one, and of no request any more
    files = (path for path in office.layout.blobs.iterdir() if path.name not in named)
    strays = [path for path in files if dies_us(policies, int(path.stat().st_mtime * 1e6)) < now_us]
    return old, strays


def delete(office: Office, doomed: DeletionPlan, by: str) -> None:
    """Carry a plan out; safe to repeat."""
    with sealing_ends(office):
        watch_holds(office, doomed.shares, {hit_id for hit_id, _ in doomed.hits}, by)
        if doomed.empty:
            return
        office.audit.record("retention_started", user=by, at_us=office.clock(), **doomed.counts())
        keyring = open_keyring(office)
        for scope, epochs in doomed.shares.items():
            keyring.destroy(epochs, scope=scope)
    folder = SegmentFolder(office.layout.segments)
    for path in doomed.segments:
        folder.remove(path)
    for path in doomed.strays:
        path.unlink(missing_ok=True)
    for _, blob in doomed.hits:
        (office.layout.blobs / blob).unlink(missing_ok=True)
    OS_FILES.fsync_dir(office.layout.blobs)  # before a row says so
    with office.engine.begin() as connection:
        for hit_id, _ in doomed.hits:
            connection.execute(update(hits).where(hits.c.hit_id == hit_id).values(deleted_us=office.clock()))
    names = sorted(f"{path.parent.name}/{path.stem}" for path in doomed.segments)
    version = newest(office).policy.version
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
