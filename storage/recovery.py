# SPDX-License-Identifier: Apache-2.0
"""Segment files found on disk: what they are, and how a torn tail is cut after a crash.

Files are read, not mapped: a bad sector below a map kills the process, a read of it is an OSError.

Order of writes of a recovery: stray temp files go; each torn tail is cut and every file synced; then `recovered.json`
names the runs whose segments were all looked through. That file saves time and nothing else: without it every
segment that has no footer is looked through again, which changes nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from storage.atomic import remove_stray_temps, write_atomic
from storage.errors import FormatError
from storage.files import OS_FILES, Files
from storage.format import (
    FOOTER,
    MAX_FOOTER_BYTES,
    FrameWalker,
    ParsedFooter,
    SegmentHeader,
    footer_start,
    parse_footer,
    parse_header,
)
from storage.frames import window_at
from storage.layout import RECOVERED_FILE, SEGMENT_SUFFIX
from storage.primitives import canonical_json
from storage.torn_tail import cut, torn_at, whole_frames
from storage.types import SegmentInfo, SegmentKind

MAX_RECOVERED_BYTES = 4 << 20  # of the runs' names: 200,000 starts of the process
_RUN = re.compile(r"\d{1,12}-[a-z]+-([0-9a-f]{16})-\d+")


def segment_path(root: Path, kind: SegmentKind, segment_id: str) -> Path:
    """Path of a segment in a store."""
    return root / kind.value / f"{segment_id}{SEGMENT_SUFFIX}"


def segment_names(root: Path, kind: SegmentKind) -> list[str]:
    """Names of the segment files of a kind, sorted, without a look into any; raises OSError.

    What only has such a name (a folder, a link, a pipe that would never answer) is left to fsck.
    """
    try:
        with os.scandir(root / kind.value) as entries:  # names alone: no path for each of 90,000
            named = [entry for entry in entries if entry.name.endswith(SEGMENT_SUFFIX)]
            return sorted(entry.name for entry in named if entry.is_file(follow_symlinks=False))
    except FileNotFoundError:
        return []


def list_segments(root: Path) -> list[SegmentInfo]:
    """Segments of a store by epoch and id, headers only; what has no readable header is left to fsck."""
    found = []
    for kind in SegmentKind:
        for name in segment_names(root, kind):
            info = _describe(root / kind.value / name)
            if info is not None:
                found.append(info)
    return sorted(found, key=lambda info: (info.epoch, info.segment_id))


def _describe(path: Path) -> SegmentInfo | None:
    try:
        header, footer, size = look(path)
    except (FormatError, OSError):
        return None
    closed = footer is not None
    return SegmentInfo(header.segment_id, header.kind, header.epoch, header.boot_id, size, closed, path)


def look(path: Path) -> tuple[SegmentHeader, ParsedFooter | None, int]:
    """Header, footer (None when not closed) and size of a segment, without reading its records.

    Raises FormatError kinds and OSError. Neither signature nor records are checked.
    """
    with path.open("rb", buffering=0) as file:
        header = parse_header(file)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(header.size, size - MAX_FOOTER_BYTES))
        tail = file.read(MAX_FOOTER_BYTES)
    return header, _footer_in(tail), size


def _footer_in(tail: bytes) -> ParsedFooter | None:
    start = footer_start(tail, len(tail))
    if start is None or tail[start] != FOOTER:
        return None
    frame = next(iter(FrameWalker(memoryview(tail), start)), None)
    return parse_footer(bytes(frame.body)) if frame is not None and frame.crc_ok() else None


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a segment is whole: `whole` bytes and `records` records, of `size` bytes on disk."""

    size: int
    whole: int
    records: int


def measure(path: Path) -> Extent:
    """Walk a segment; drop records at its end whose checksum fails. Raises FormatError for a bad header, OSError."""
    with path.open("rb") as file:
        at, records = parse_header(file).size, 0
        size = file.seek(0, os.SEEK_END)
        while window := window_at(file, at):
            ends, footer_end = whole_frames(window, 0)
            records += len(ends)
            if not ends or footer_end:
                return Extent(size, at + footer_end, records)
            at += ends[-1]
    return Extent(size, at, records)


def recover_store(root: Path, max_tail: int, *, files: Files = OS_FILES) -> list[Path]:
    """Cut torn tails of at most `max_tail` bytes, the most that can be unacknowledged; the files changed.

    Closed segments are not touched; damage deeper than a tail, and a file that cannot be read or cut, are left
    for fsck to report. Of each segment only the end is read, and only of runs that were not recovered before.
    """
    settled = _recovered_runs(root)
    changed: list[Path] = []
    found, failed = set(), set()
    remove_stray_temps(root, files=files)
    for kind in SegmentKind:
        remove_stray_temps(root / kind.value, files=files)
        for name in segment_names(root, kind):
            run = _run_of(name)
            found.add(run)
            if run in settled:
                continue
            path = root / kind.value / name
            try:
                changed += [path] if _cut_tail(path, max_tail, files) else []
            except OSError:
                failed.add(run)
    if found - settled:
        files.sync_all()  # one call: a sync of each file of a year takes minutes
    _remember(root, settled, (found & settled) | (found - failed), files)
    return changed


def _run_of(name: str) -> str:
    """The run that the name of a segment file tells; empty for a name that is none."""
    match = _RUN.fullmatch(name.removesuffix(SEGMENT_SUFFIX))
    return match.group(1) if match else ""


def _recovered_runs(root: Path) -> set[str]:
    """What the last recovery noted; nothing when that cannot be read, which costs time alone."""
    try:
        with (root / RECOVERED_FILE).open("rb") as file:
            return set(json.loads(file.read(MAX_RECOVERED_BYTES))["runs"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return set()


def _remember(root: Path, before: set[str], runs: Iterable[str], files: Files) -> None:
    named = sorted(run for run in runs if run)
    if set(named) != before:
        with contextlib.suppress(OSError):  # a disk that takes nothing must not keep the device from starting
            write_atomic(root / RECOVERED_FILE, canonical_json({"runs": named}), files=files)


def cut_torn_tails(root: Path, max_tail: int, *, files: Files = OS_FILES) -> list[Path]:
    """Cut torn tails as a start does, whatever was recovered before; the files changed. Raises OSError.

    Nobody may write the store. A file that cannot be read is left for fsck to report.
    """
    changed = []
    for kind in SegmentKind:
        for name in segment_names(root, kind):
            path = root / kind.value / name
            whole = None
            with contextlib.suppress(OSError):
                whole = _torn_at(path, max_tail)
            if whole is not None:
                cut(path, whole, files)
                changed.append(path)
    return changed


def _cut_tail(path: Path, max_tail: int, files: Files) -> bool:
    whole = _torn_at(path, max_tail)
    if whole is None:
        return False
    cut(path, whole, files)
    return True


def _torn_at(path: Path, max_tail: int) -> int | None:
    """Where the torn tail of a segment begins; None where there is nothing to cut. Raises OSError."""
    try:
        closed = look(path)[1] is not None  # most are: a few KB of each
        return None if closed else torn_at(path, max_tail)
    except FormatError:
        return None
