# SPDX-License-Identifier: Apache-2.0
"""Sealed segments as the office keeps them: whole files, and parts that a transfer can resume.

`segments/DEVICE/SEGMENT.wseg` is what is here (a segment that the device still writes grows with the next
pull); `segments/DEVICE/SEGMENT.part` is a pushed segment that is not complete.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from backoffice.errors import BadRequest, Conflict
from backoffice.limits import LIMITS
from storage.format import MAX_FOOTER_BYTES, footer_start
from storage.layout import SEGMENT_SUFFIX
from storage.types import is_id

PART_SUFFIX = ".part"
COMPARE_BYTES = 1 << 20
_RANGE = re.compile(r"bytes (?:(\d{1,15})-(\d{1,15})|\*)/(\d{1,15})")


@dataclass(frozen=True, slots=True)
class ContentRange:
    """`bytes first-last/total`, all in bytes, last inclusive; `bytes */total` asks how much is here."""

    first: int
    last: int
    total: int

    @property
    def length(self) -> int:
        """Bytes in this range."""
        return self.last - self.first + 1

    def probe(self) -> ContentRange:
        """The same segment, no bytes of it."""
        return ContentRange(0, -1, self.total)

    @classmethod
    def parse(cls, header: str) -> ContentRange:
        """From a Content-Range header; BadRequest unless it is a range inside a bounded segment."""
        found = _RANGE.fullmatch(header.strip())
        if not found:
            raise BadRequest("Content-Range must be 'bytes first-last/total' or 'bytes */total'")
        first, last, total = found.groups(default="")
        parsed = cls(int(first), int(last), int(total)) if first else cls(0, -1, int(total))
        if parsed.length and not parsed.first <= parsed.last < parsed.total:
            raise BadRequest("Content-Range must lie inside the segment")
        if parsed.total > LIMITS.segment_bytes:
            raise BadRequest(f"a segment has at most {LIMITS.segment_bytes} bytes")
        return parsed


@dataclass(frozen=True, slots=True)
class PushState:
    """What is here of a pushed segment; `taken`: the piece was written (a probe always is)."""

    held: int
    complete: bool
    taken: bool


class SegmentFolder:
    """The segments of all devices."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = Lock()

    def path(self, device_id: str, segment_id: str) -> Path:
        """Where a segment lies; BadRequest for an id that is no plain id."""
        if not is_id(device_id) or not is_id(segment_id):
            raise BadRequest("ids have 1 to 64 of a-z, 0-9 and '-'")
        return self._root / device_id / f"{segment_id}{SEGMENT_SUFFIX}"

    def size(self, device_id: str, segment_id: str) -> int:
        """Bytes of a segment that are here; 0 when none."""
        path = self.path(device_id, segment_id)
        return path.stat().st_size if path.exists() else 0

    def is_closed(self, path: Path) -> bool:
        """Whether a segment file ends in a footer: then nothing belongs after it."""
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MAX_FOOTER_BYTES))
            return footer_start(file.read(), size) is not None

    def all(self, device_id: str | None = None) -> Iterator[tuple[str, Path]]:
        """(device id, path) of every segment, oldest name first."""
        pattern = f"{device_id or '*'}/*{SEGMENT_SUFFIX}"
        for path in sorted(self._root.glob(pattern)):
            yield path.parent.name, path

    def append(self, path: Path, at: int, data: bytes) -> None:
        """Write `data` at offset `at`, which must be the end of the file, and make it durable."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("ab") as file:
            if file.tell() != at:
                raise Conflict(f"{file.tell()} bytes are here, the piece starts at {at}")
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def accept(self, device_id: str, segment_id: str, piece: ContentRange, data: bytes) -> PushState:
        """Take a pushed piece; one that does not start at the end is not written."""
        path = self.path(device_id, segment_id)
        part = path.with_suffix(PART_SUFFIX)
        with self._lock:
            if path.exists() and path.stat().st_size >= piece.total:
                return PushState(path.stat().st_size, complete=True, taken=True)
            held = part.stat().st_size if part.exists() else 0
            if not piece.length or piece.first != held:
                return PushState(held, complete=False, taken=not piece.length)
            self.append(part, held, data)
            held += len(data)
            if held < piece.total:
                return PushState(held, complete=False, taken=True)
            if path.exists() and not _begins_with(part, path):
                part.unlink()
                raise Conflict("the segment held here has another content: it is kept")
            part.replace(path)
            _sync_folder(path.parent)
            return PushState(held, complete=True, taken=True)


def _begins_with(longer: Path, shorter: Path) -> bool:
    with longer.open("rb") as left, shorter.open("rb") as right:
        while piece := right.read(COMPARE_BYTES):
            if left.read(len(piece)) != piece:
                return False
    return True


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
