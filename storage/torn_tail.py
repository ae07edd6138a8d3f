# SPDX-License-Identifier: Apache-2.0
"""The torn tail that a crash leaves at the end of a segment: where it begins, and cutting it. One rule for all who cut.

What follows the last record whose checksum fits is a torn tail, and nobody was told that it is safe. It is none when
a whole frame begins anywhere in it: then a record before it is damaged, or a power cut kept what came later and lost
what came first. The two cannot be told apart, so nothing is cut: what follows may have been acknowledged.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from storage.errors import FormatError
from storage.files import Files
from storage.format import FOOTER, MAX_FRAME_BYTES, RECORD, Frame, FrameWalker, parse_header
from storage.frames import WINDOW_BYTES, read_at, record_ends

MAX_FALSE_BYTES = 2 << 30  # of frames whose checksum does not fit; by chance 0.7 GB in a tail of 16 MiB
_FRAME_START = re.compile(rb"[RF]\0")  # type, and the first byte of a length below 16 MiB


def torn_at(path: Path, max_tail: int) -> int | None:
    """Where the torn tail of a segment begins, if it is of 1 to `max_tail` bytes; raises FormatError kinds, OSError."""
    size, whole = end_of_whole(path, max_tail)
    if not 0 < size - whole <= max_tail:
        return None
    with path.open("rb") as file:
        return None if holds_a_frame(read_at(file, whole, size - whole)) else whole


def cut(path: Path, size: int, files: Files) -> None:
    """Shorten a file to `size` bytes, durably; raises OSError."""
    files.truncate(path, size)
    fd = files.append_to(path)
    try:
        files.fsync(fd)
    finally:
        files.close(fd)


def holds_a_frame(tail: bytes) -> bool:
    """Whether a whole frame with its checksum begins anywhere in these bytes; raises FormatError for crafted ones."""
    return any(True for _ in _found_in(tail, lambda _: True))


def end_of_whole(path: Path, max_tail: int) -> tuple[int, int]:
    """Size of a segment, and where its last whole frame ends, from its last `max_tail` bytes and a little more.

    The two are equal when there is nothing to cut: also for a segment with a footer, whatever may follow that.
    Raises FormatError kinds and OSError.
    """
    with path.open("rb") as file:
        start = parse_header(file).size
        size = file.seek(0, os.SEEK_END)
        # most ends are whole, which little shows; else records are small, or as large as they may be
        for span in (2 * WINDOW_BYTES, max_tail + WINDOW_BYTES, max_tail + 2 * MAX_FRAME_BYTES):
            low = max(start, size - span)
            data = read_at(file, low, size - low)
            first = 0 if low == start else first_record(data)
            if first is not None:
                ends, footer_end = whole_frames(data, first)
                whole = size if footer_end else low + (ends[-1] if ends else first)
                if whole == size or low == start or span > max_tail:
                    return size, whole
    return size, size


def first_record(data: bytes) -> int | None:
    """Where the first record begins in bytes cut out of a segment: one whose checksum fits, and another follows.

    None when there is none. Raises FormatError when too much looks like one and is none.
    """

    def followed(frame: Frame) -> bool:
        after = frame_at(data, frame.end)
        return frame.type == RECORD and after is not None and after.type == RECORD

    return next((frame.start for frame in _found_in(data, followed)), None)


def whole_frames(data: bytes, start: int) -> tuple[list[int], int]:
    """Where the records from `start` on end, and the footer behind them (0: there is none).

    Without a footer, records at the end whose checksum fails are left out: their bytes did not reach the disk.
    """
    ends = record_ends(data, start)
    footer = frame_at(data, ends[-1] if ends else start)
    if footer is not None and footer.type == FOOTER and footer.crc_ok():
        return ends, footer.end
    starts = [start, *ends]
    while ends and not ((frame := frame_at(data, starts[len(ends) - 1])) and frame.crc_ok()):
        ends.pop()
    return ends, 0


def frame_at(data: bytes, at: int) -> Frame | None:
    """The frame that begins there, whole by its length; its checksum is not looked at."""
    return next(iter(FrameWalker(memoryview(data), at)), None)


def _found_in(data: bytes, plausible: Callable[[Frame], bool]) -> Iterator[Frame]:
    """Frames with a checksum that fits, wherever they begin, of those that are plausible."""
    left = MAX_FALSE_BYTES
    for start in _FRAME_START.finditer(data):
        frame = frame_at(data, start.start())
        if frame is None or not plausible(frame):
            continue
        if frame.crc_ok():
            yield frame
        left -= len(frame.body)
        if left < 0:
            raise FormatError("its end only looks like records, as if somebody made it so: it stays as it is")
