# SPDX-License-Identifier: Apache-2.0
"""The frames of a segment file that is read piece by piece, so that its size costs no memory."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from typing import BinaryIO

from storage.format import FRAME_HEAD, MAX_FRAME_BYTES, MAX_RECORD_BYTES, RECORD, Frame, FrameWalker
from storage.primitives import TAG_BYTES

WINDOW_BYTES = 512 << 10  # of a segment in memory at a time, or one frame; more is slower than the caches
_TYPE_AND_LENGTH = struct.Struct(">BI")


class FileFrames:
    """Iterates over the whole frames of an open segment file from `start` on; raises OSError.

    After that `end` is the offset reached and `stop` why it ended there, as of a `FrameWalker`.
    """

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file = file
        self.end = start
        self.stop = ""

    def __iter__(self) -> Iterator[Frame]:
        while window := window_at(self._file, self.end):
            base = self.end
            walker = FrameWalker(memoryview(window), base, origin=base)
            for frame in walker:
                self.end = walker.end
                yield frame
            if self.end == base:
                self.stop = walker.stop
                return


def window_at(file: BinaryIO, at: int) -> bytes:
    """Bytes from an offset on, with at least one whole frame if there is one there; raises OSError."""
    window = read_at(file, at, WINDOW_BYTES)
    needed = FRAME_HEAD + int.from_bytes(window[1:5], "big")
    return read_at(file, at, needed) if len(window) < needed <= MAX_FRAME_BYTES else window


def read_at(file: BinaryIO, at: int, size: int) -> bytes:
    """Up to `size` bytes from an offset on, fewer only at the end of the file; raises OSError."""
    file.seek(at)
    return file.read(size)


def record_ends(data: bytes, start: int) -> list[int]:
    """Where each whole record from `start` on ends, up to what is none; only lengths are looked at.

    A segment of small records has a million of them: this is the walk without what `FrameWalker` gives besides.
    """
    ends: list[int] = []
    at = start
    with contextlib.suppress(struct.error):  # the end of the data
        while True:
            kind, size = _TYPE_AND_LENGTH.unpack_from(data, at)
            if kind != RECORD or not TAG_BYTES <= size <= MAX_RECORD_BYTES + TAG_BYTES:
                break
            at += FRAME_HEAD + size
            ends.append(at)
    if ends and at > len(data):
        ends.pop()
    return ends
