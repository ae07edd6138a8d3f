# SPDX-License-Identifier: Apache-2.0
"""On a disk that fills up the oldest pictures go before their time, so that the reads still find room.

The order of the policy: pictures before reads, reads before nothing, hits never. A sealed read is not removed before
its time by anything but a person's policy: where no picture is left to give way, new reads are refused and counted.

Order of writes:
1. the audit event `images_gave_way` names the segments (the sole commit point: from here on they are explained),
2. their files are unlinked, the oldest first, and the folder is synced.
A crash in between leaves segments that are named and still there: the next run names and removes them again. One
that the disk does not remove comes last from then on, and is not named again. The share of their hour stays, because
the reads of that hour need it. On a disk without a free byte the ballast makes room for the event, and is made again
afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from storage.audit import AuditLog, read_entries
from storage.ballast import Ballast
from storage.errors import FormatError, StorageError, WriteFailedError, is_disk_full
from storage.files import OS_FILES, Files
from storage.layout import SEGMENT_SUFFIX
from storage.recovery import look, measure
from storage.retention_files import named_files
from storage.store_lock import free_space
from storage.types import SegmentKind, StoreLimits, is_id

EVENT = "images_gave_way"
ROOM_AGAIN = (
    1.1  # of the mark: so much is free after giving way, or it would begin again with the next picture
)
SEGMENTS_AN_EVENT = 500  # their ids stay below the bound of an audit entry
WORTH_OF_MARK = 0.1  # the growing segment is closed and removed only where that frees so much of the mark


class Growing(Protocol):
    """What giving way needs of the store that writes now."""

    def growing(self) -> Collection[str]:
        """Ids of the segments that are written."""
        ...

    def finish_images(self) -> None:
        """Closes the growing segments of pictures."""


@dataclass(frozen=True, slots=True)
class GaveWay:
    """Segments that were removed for room. `records`: those whose file could be read; `size` in bytes."""

    segments: tuple[str, ...]
    records: int
    size: int


@dataclass(frozen=True, slots=True)
class _Candidate:
    epoch: int
    changed_ns: int
    path: Path
    size: int


class GivingWay:
    """Makes room in one store; call `make_room` often (it asks for the free space, and mostly does no more)."""

    def __init__(
        self,
        root: Path,
        *,
        audit: AuditLog,
        ballast: Ballast,
        store: Growing,
        limits: StoreLimits = StoreLimits(),  # noqa: B008 -- frozen
        files: Files = OS_FILES,
        free_bytes: Callable[[Path], int] = free_space,
    ) -> None:
        self._folder = root / SegmentKind.IMAGES.value
        self._audit = audit
        self._ballast = ballast
        self._store = store
        self._limits = limits
        self._files = files
        self._free_bytes = free_bytes
        self._named: set[str] = set()  # in the audit log, and there still: the disk did not remove them

    def make_room(self, at_us: int) -> GaveWay | None:
        """Remove the oldest segments of pictures when the free space is below the mark; what went, or None.

        Raises AuditError, and WriteFailedError kinds where none could be removed; nothing is removed that the audit log
        does not explain.
        """
        try:
            free = self._free_bytes(self._folder)
            if free >= self._limits.make_room_below_bytes:
                return None
            chosen = self._choose(round(self._limits.make_room_below_bytes * ROOM_AGAIN) - free, free)
            return self._remove(chosen, free, at_us) if chosen else None
        except OSError as error:
            raise WriteFailedError(f"cannot make room in {self._folder}: check the disk") from error

    def _choose(self, need: int, free: int) -> list[_Candidate]:
        """The oldest segments that are not written any more, until `need` bytes are found."""
        growing = self._store.growing()
        found = sorted(self._candidates(), key=self._turn)
        chosen: list[_Candidate] = []
        for item in (item for item in found if item.path.stem not in growing):
            if need <= 0 or len(chosen) == SEGMENTS_AN_EVENT:
                break
            chosen.append(item)
            need -= item.size
        if chosen or free >= self._limits.min_free_for_images_bytes:
            return chosen
        return self._last_resort([item for item in found if item.path.stem in growing])

    def _turn(self, item: _Candidate) -> tuple[bool, int, int, str]:
        return item.path.stem in self._named, item.epoch, item.changed_ns, item.path.name

    def _last_resort(self, growing: list[_Candidate]) -> list[_Candidate]:
        """The segment of this hour, closed first; not one that would free next to nothing."""
        worth = self._limits.min_free_for_images_bytes * WORTH_OF_MARK
        if sum(item.size for item in growing) < worth:
            return []
        try:
            self._store.finish_images()
        except WriteFailedError as error:
            if not (is_disk_full(error) and self._ballast.release()):
                raise
            self._store.finish_images()
        return growing

    def _candidates(self) -> list[_Candidate]:
        """Segments of pictures by the epoch in their name, which even a damaged header leaves readable."""
        found = []
        for epoch, _, name in named_files(self._folder.parent, [SegmentKind.IMAGES]):
            if is_id(name.removesuffix(SEGMENT_SUFFIX)):
                path = self._folder / name
                stat = path.stat()
                found.append(_Candidate(epoch, stat.st_mtime_ns, path, stat.st_size))
        return found

    def _remove(self, chosen: list[_Candidate], free: int, at_us: int) -> GaveWay:
        """Written down, then removed; what went. Raises OSError when the disk removes none of them."""
        described = [
            GaveWay((item.path.stem,), _records(item.path), item.path.stat().st_size) for item in chosen
        ]
        fresh = [one for one in described if one.segments[0] not in self._named]
        try:
            if fresh:
                self._write_down(_all_of(fresh), free, at_us)
            gone = self._unlink(described)
            self._files.fsync_dir(self._folder)
        finally:
            self._ballast.hold()
        return gone

    def _unlink(self, described: list[GaveWay]) -> GaveWay:
        gone: list[GaveWay] = []
        refused: list[OSError] = []
        for one in described:
            (name,) = one.segments
            try:
                self._files.unlink(self._folder / f"{name}{SEGMENT_SUFFIX}")
            except OSError as error:
                self._named.add(name)
                refused.append(error)
            else:
                self._named.discard(name)
                gone.append(one)
        if refused and not gone:
            raise refused[0]
        return _all_of(gone)

    def _write_down(self, gone: GaveWay, free: int, at_us: int) -> None:
        fields = {
            "segments": list(gone.segments),
            "records": gone.records,
            "bytes": gone.size,
            "why": f"{free} bytes were free, {self._limits.make_room_below_bytes} are wanted",
        }
        try:
            self._audit.append(EVENT, fields, at_us=at_us)
        except StorageError as error:
            if not (is_disk_full(error) and self._ballast.release()):
                raise
            self._audit.append(EVENT, fields, at_us=at_us)


def _all_of(items: Iterable[GaveWay]) -> GaveWay:
    parts = list(items)
    names = tuple(name for one in parts for name in one.segments)
    return GaveWay(names, sum(one.records for one in parts), sum(one.size for one in parts))


def _records(path: Path) -> int:
    """Records of a segment; 0 for one that cannot be read any more."""
    try:
        _, footer, _ = look(path)
        return footer.footer.records if footer else measure(path).records
    except (FormatError, OSError):
        return 0


def gave_way(audit: Path) -> frozenset[str]:
    """Ids of all segments that an audit log, or one that was set aside, says gave way; what is unreadable says none."""
    names: set[str] = set()
    for log in (audit, *audit.parent.glob(f"{audit.name}.*.damaged")):
        try:
            for entry in read_entries(log):
                listed = entry.fields.get("segments") if entry.event == EVENT else None
                names.update(map(str, listed) if isinstance(listed, list) else ())
        except OSError:
            continue
    return frozenset(names)
