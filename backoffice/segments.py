# SPDX-License-Identifier: Apache-2.0
"""Sealed segments as the office keeps them: whole files, and parts that a transfer can resume.

`segments/DEVICE/SEGMENT.wseg` is what is here (a segment that the device still writes grows with the next
pull); `segments/DEVICE/SEGMENT.part` is a pushed segment that is not complete.

Order of writes of a transfer: the mark `FILE.open` is made and its folder synced; each piece is appended and synced
before the next; then a pushed part gets its final name (sole commit point of what the device is told), its folder is
synced, and the mark goes. A mark that another run of the office left says that its last piece may be torn, or zeros
where the power went: that much is taken back and fetched again.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from backoffice.errors import BadRequest, Conflict
from backoffice.limits import LIMITS
from storage.atomic import make_folder
from storage.files import OS_FILES, Files, write_all
from storage.format import MAX_FOOTER_BYTES, footer_start
from storage.layout import SEGMENT_SUFFIX
from storage.types import is_id

PART_SUFFIX = ".part"
MARK_SUFFIX = ".open"
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

    def __init__(self, root: Path, *, files: Files = OS_FILES) -> None:
        self._root = root
        self._files = files
        self._lock = Lock()
        self._ours: set[Path] = set()  # what this object appends to: all of it is synced

    def path(self, device_id: str, segment_id: str) -> Path:
        """Where a segment lies; BadRequest for an id that is no plain id."""
        if not is_id(device_id) or not is_id(segment_id):
            raise BadRequest("ids have 1 to 64 of a-z, 0-9 and '-'")
        return self._root / device_id / f"{segment_id}{SEGMENT_SUFFIX}"

    def size(self, device_id: str, segment_id: str) -> int:
        """Bytes of a segment that are here for sure; 0 when none."""
        return self._held(self.path(device_id, segment_id))

    def is_closed(self, path: Path) -> bool:
        """Whether a segment file ends in a footer, for sure: then nothing belongs after it."""
        if self._held(path) != path.stat().st_size:
            return False
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
        """Write `data` at offset `at`, which must be the end of what is here for sure, and make it durable."""
        held = self._held(path)
        if held != at:
            raise Conflict(f"{held} bytes are here, the piece starts at {at}")
        make_folder(path.parent, files=self._files)
        if path not in self._ours:
            if path.exists():
                self._files.truncate(path, at)
            with contextlib.suppress(FileExistsError):
                self._files.close(self._files.create(_mark(path)))
        fd = self._files.append_to(path)
        try:
            if path not in self._ours:
                self._files.fsync_dir(path.parent)
                self._ours.add(path)
            write_all(self._files, fd, data)
            self._files.fsync(fd)
        except OSError:
            self._ours.discard(path)
            raise
        finally:
            self._files.close(fd)

    def settle(self, path: Path) -> None:
        """The transfer of a file is over for now; the mark stays when not all of it is synced."""
        if path in self._ours:
            self._files.unlink(_mark(path))
            self._files.fsync_dir(path.parent)  # or the mark could come back, and good bytes be taken back
            self._ours.discard(path)

    def remove(self, path: Path) -> None:
        """Remove a segment or a part, and its mark."""
        self._files.unlink(path)
        self._files.unlink(_mark(path))
        self._ours.discard(path)

    def _held(self, path: Path) -> int:
        size = path.stat().st_size if path.exists() else 0
        torn = path not in self._ours and _mark(path).exists()
        return max(0, size - LIMITS.chunk_bytes) if torn else size

    def accept(self, device_id: str, segment_id: str, piece: ContentRange, data: bytes) -> PushState:
        """Take a pushed piece; one that does not start at the end is not written."""
        path = self.path(device_id, segment_id)
        part = path.with_suffix(PART_SUFFIX)
        with self._lock:
            if self._held(path) >= piece.total:
                return self._whole(path, part)
            held = self._held(part)
            if not piece.length or piece.first != held:
                return PushState(held, complete=False, taken=not piece.length)
            self.append(part, held, data)
            held += len(data)
            if held < piece.total:
                return PushState(held, complete=False, taken=True)
            if path.exists() and not _begins_with(part, path):
                self.remove(part)
                raise Conflict("the segment held here has another content: it is kept")
            self._files.replace(part, path)
            return self._whole(path, part)

    def _whole(self, path: Path, part: Path) -> PushState:
        """Complete and durable: whoever gave the file its name may have been killed before its folder was synced."""
        self._files.fsync_dir(path.parent)
        self.remove(part)
        return PushState(self._held(path), complete=True, taken=True)


def _begins_with(longer: Path, shorter: Path) -> bool:
    with longer.open("rb") as left, shorter.open("rb") as right:
        while piece := right.read(COMPARE_BYTES):
            if left.read(len(piece)) != piece:
                return False
    return True


def _mark(path: Path) -> Path:
    return path.with_name(path.name + MARK_SUFFIX)
