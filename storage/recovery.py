# SPDX-License-Identifier: Apache-2.0
"""Segment files found on disk: what they are, and how a torn tail is cut after a crash."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from storage.atomic import remove_stray_temps
from storage.errors import FormatError
from storage.files import OS_FILES, Files
from storage.format import (
    FOOTER,
    MAX_FOOTER_BYTES,
    RECORD,
    FrameWalker,
    ParsedFooter,
    SegmentHeader,
    footer_start,
    parse_footer,
    parse_header,
)
from storage.layout import SEGMENT_SUFFIX
from storage.types import SegmentInfo, SegmentKind


def segment_path(root: Path, kind: SegmentKind, segment_id: str) -> Path:
    """Path of a segment in a store."""
    return root / kind.value / f"{segment_id}{SEGMENT_SUFFIX}"


def list_segments(root: Path) -> list[SegmentInfo]:
    """Segments of a store by epoch and id, headers only; what has no whole header is left to fsck."""
    found = []
    for kind in SegmentKind:
        for path in sorted((root / kind.value).glob(f"*{SEGMENT_SUFFIX}")):
            info = _describe(path)
            if info is not None:
                found.append(info)
    return sorted(found, key=lambda info: (info.epoch, info.segment_id))


def _describe(path: Path) -> SegmentInfo | None:
    try:
        header, footer, size = look(path)
    except (FormatError, FileNotFoundError):
        return None
    closed = footer is not None
    return SegmentInfo(header.segment_id, header.kind, header.epoch, header.boot_id, size, closed, path)


def look(path: Path) -> tuple[SegmentHeader, ParsedFooter | None, int]:
    """Header, footer (None when not closed) and size of a segment, without reading its records.

    Raises FormatError kinds and OSError. Neither signature nor records are checked.
    """
    with path.open("rb") as file:
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


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """The bytes of a file without reading it whole; empty for an empty file."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            yield memoryview(b"")
            return
        # Not closed by hand: the map goes with the last view of it.
        yield memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a segment is whole: `whole` bytes and `records` records, of `size` bytes on disk."""

    size: int
    whole: int
    records: int


def measure(path: Path) -> Extent:
    """Walk a segment; drop frames at its end whose checksum fails. Raises FormatError for a bad header."""
    with mapped(path) as view:
        start = parse_header(bytes(view[: 64 << 10])).size
        return _measure(view, start)


def _measure(view: memoryview, start: int) -> Extent:
    frames = [(start, False)]  # where each ends, and whether it is a record
    frames.extend((frame.end, frame.type == RECORD) for frame in FrameWalker(view, start))
    while len(frames) > 1:
        last = next(iter(FrameWalker(view, frames[-2][0])))
        if last.crc_ok():
            break
        frames.pop()
    return Extent(len(view), frames[-1][0], sum(is_record for _, is_record in frames))


def recover_store(root: Path, max_tail: int, *, files: Files = OS_FILES) -> list[Path]:
    """Cut torn tails of at most `max_tail` bytes, the most that can be unacknowledged; the files changed.

    Closed segments are not touched, and damage deeper than a tail is left for fsck to report.
    """
    for kind in SegmentKind:
        remove_stray_temps(root / kind.value, files=files)
    unclosed = [info.path for info in list_segments(root) if not info.closed]
    return [path for path in unclosed if _cut_tail(path, max_tail, files)]


def _cut_tail(path: Path, max_tail: int, files: Files) -> bool:
    extent = measure(path)
    if not 0 < extent.size - extent.whole <= max_tail:
        return False
    files.truncate(path, extent.whole)
    fd = files.append_to(path)
    try:
        files.fsync(fd)
    finally:
        files.close(fd)
    return True
