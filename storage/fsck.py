# SPDX-License-Identifier: Apache-2.0
"""Checking a store without any key that opens it: structure, checksums, signatures, and what is missing.

It reads only. Every problem says what to do about it.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from storage.atomic import TEMP_SUFFIX
from storage.errors import FormatError, StoreError
from storage.format import FOOTER, Frame, SegmentHeader, parse_footer, parse_header
from storage.frames import FileFrames, read_at
from storage.layout import SEGMENT_SUFFIX
from storage.primitives import TAG_BYTES
from storage.torn_tail import holds_a_frame
from storage.types import SegmentKind, StoreLimits

_CHUNK = 1 << 20
MAX_TAIL_BYTES = StoreLimits().max_uncommitted_bytes
_CUT = "start the device, or `wayside verify --repair`: it cuts them"
_FETCH = "fetch the segment from the office if it was pulled; keep the file"


class Severity(StrEnum):
    """From worst to least."""

    ERROR = "error"  # records or proof are damaged, missing or forged
    WARNING = "warning"  # nothing is lost; somebody should look at it


@dataclass(frozen=True, slots=True)
class Problem:
    """An inconsistency: the file, what is wrong, what to do."""

    path: Path
    what: str
    do: str
    severity: Severity = Severity.ERROR


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What a check found; `unclosed` counts segments without a footer, which is no problem by itself."""

    segments: int
    unclosed: int
    records: int
    size: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.problems


@dataclass(slots=True)
class StoreScan:
    """What a check of each segment found; `report` adds what is missing between them."""

    verify_key: EllipticCurvePublicKey | None
    growing: bool = False
    segments: int = 0
    unclosed: int = 0
    records: int = 0
    size: int = 0
    problems: list[Problem] = field(default_factory=list)
    headers: list[tuple[Path, SegmentHeader]] = field(default_factory=list)

    def add(self, path: Path, what: str, do: str, severity: Severity = Severity.ERROR) -> None:
        """Another problem."""
        self.problems.append(Problem(path, what, do, severity))

    def report(self, erased: Collection[str] = ()) -> FsckReport:
        """The finished report; `erased` are ids of segments that receipts or the audit log say were deleted."""
        gaps = _gaps(self.headers, frozenset(erased))
        return FsckReport(self.segments, self.unclosed, self.records, self.size, (*self.problems, *gaps))


def verify_store(
    root: Path,
    *,
    verify_key: EllipticCurvePublicKey | None = None,
    erased: Collection[str] = (),
    growing: bool = False,
) -> FsckReport:
    """As `scan_store`, for a store that nobody writes to: `erased` is known before."""
    return scan_store(root, verify_key=verify_key, growing=growing).report(erased)


def scan_store(
    root: Path, *, verify_key: EllipticCurvePublicKey | None = None, growing: bool = False
) -> StoreScan:
    """Check each segment of the store at `root`; with the device's public key also its signatures.

    `growing`: a service writes there now, so that the last record of an unclosed segment may be half written; what it
    deletes on time meanwhile is known after the scan. Raises StoreError when there is no store.
    """
    if not any((root / kind.value).is_dir() for kind in SegmentKind):
        raise StoreError(f"{root} holds no store: give the folder that has reads/ and images/")
    tally = StoreScan(verify_key, growing)
    for kind in SegmentKind:
        _check_folder(tally, kind, root / kind.value)
    return tally


def _check_folder(tally: StoreScan, kind: SegmentKind, folder: Path) -> None:
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 -- names alone
    except FileNotFoundError:
        tally.add(folder, "is missing", "start the device: it makes it; what it held was lost or taken")
    except OSError as error:
        tally.add(folder, f"cannot be read: {error.strerror}", "check the disk")
    else:
        for name in names:
            _check_file(tally, kind, folder / name)


def is_other_than_file(path: Path) -> bool:
    """Whether a link, a folder or the like lies there; what is gone in this moment is none."""
    try:
        return not stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False  # opening it tells


def _check_file(tally: StoreScan, kind: SegmentKind, path: Path) -> None:
    if path.name.startswith(".") and path.name.endswith(TEMP_SUFFIX):
        if tally.growing:  # a segment on its way to its place
            return
        tally.add(
            path,
            "left over from a crash, holds nothing acknowledged",
            "start the device: it clears it",
            Severity.WARNING,
        )
    elif path.suffix != SEGMENT_SUFFIX or is_other_than_file(path):
        tally.add(path, "not a segment", "find out who put it there, then remove it", Severity.WARNING)
    else:
        try:
            with path.open("rb") as file:
                _check_segment(tally, kind, path, file)
        except FormatError as error:
            tally.add(path, str(error), _FETCH)
        except FileNotFoundError:
            return  # deleted on time, in this moment
        except OSError as error:
            tally.add(path, f"cannot be read: {error.strerror}", "check the disk, then copy what is readable")


def _check_segment(tally: StoreScan, kind: SegmentKind, path: Path, file: BinaryIO) -> None:
    header = parse_header(file)
    tally.segments += 1
    tally.size += (size := file.seek(0, os.SEEK_END))
    tally.headers.append((path, header))
    if path.stem != header.segment_id or kind is not header.kind:
        tally.add(path, f"is {header.kind.value} {header.segment_id}", "name it so, in its folder")
    if tally.verify_key is not None and not header.signed_by(tally.verify_key):
        tally.add(path, "the header is not signed by this device", "treat the file as forged; keep it")
    records, closed = _check_frames(tally, path, header, file, size)
    tally.records += records
    tally.unclosed += not closed


def _check_frames(
    tally: StoreScan, path: Path, header: SegmentHeader, file: BinaryIO, size: int
) -> tuple[int, bool]:
    """Records counted, and whether the segment is closed."""
    records, last_tag = 0, bytes(TAG_BYTES)
    walker = FileFrames(file, header.size)
    for frame in walker:
        if not frame.crc_ok():
            tally.add(path, f"record {records} at byte {frame.start} fails its checksum", _FETCH)
        if frame.type == FOOTER:
            if frame.end != size:
                tally.add(path, "bytes follow the footer", "treat the added bytes as forged; keep the file")
            _check_footer(tally, path, header, file, frame, records, last_tag)
            return records, True
        records, last_tag = records + 1, bytes(frame.body[-TAG_BYTES:])
    if walker.stop and not tally.growing:
        _check_rest(tally, path, file, walker, size - walker.end)
    return records, False


def _check_rest(tally: StoreScan, path: Path, file: BinaryIO, walker: FileFrames, left: int) -> None:
    """What a start would cut, or would not."""
    what = f"{walker.stop} at byte {walker.end}, {left} bytes left: "
    if holds_a_frame(read_at(file, walker.end, MAX_TAIL_BYTES)):
        tally.add(
            path, what + "whole records follow: left by a crash and never acknowledged, or damage", _FETCH
        )
    elif left > MAX_TAIL_BYTES:
        tally.add(path, what + "more than a crash leaves, so it is damage", _FETCH)
    else:
        tally.add(path, what + "torn by a crash, never acknowledged", _CUT)


def _check_footer(
    tally: StoreScan,
    path: Path,
    header: SegmentHeader,
    file: BinaryIO,
    frame: Frame,
    records: int,
    last_tag: bytes,
) -> None:
    parsed = parse_footer(bytes(frame.body))
    if parsed is None:
        tally.add(path, "the footer is damaged", _FETCH)
        return
    footer = parsed.footer
    if (footer.records, footer.last_tag) != (records, last_tag.hex()):
        tally.add(path, f"the footer counts {footer.records} records, here are {records}", _FETCH)
    elif footer.body_sha256 != _sha256(file, frame.start):
        tally.add(path, "the content differs from the footer's hash", _FETCH)
    if tally.verify_key is not None and not parsed.signed_by(tally.verify_key, header.digest):
        tally.add(path, "the footer is not signed by this device", "treat the file as forged; keep it")


def _sha256(file: BinaryIO, size: int) -> str:
    """Of the first `size` bytes."""
    digest = hashlib.sha256()
    file.seek(0)
    while size > 0 and (chunk := file.read(min(size, _CHUNK))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest()


def _gaps(headers: Iterable[tuple[Path, SegmentHeader]], erased: frozenset[str]) -> Iterator[Problem]:
    """Each run numbers and links its segments of a kind; a gap between two that are there is a loss."""
    gone = {tuple(segment_id.split("-")[1:]) for segment_id in erased}
    runs: dict[tuple[str, SegmentKind], list[tuple[Path, SegmentHeader]]] = {}
    for path, header in headers:
        runs.setdefault((header.fields.run_id, header.kind), []).append((path, header))
    for members in runs.values():
        members.sort(key=lambda item: item[1].fields.seq)
        for (_, before), (path, after) in itertools.pairwise(members):
            yield from _check_link(path, before, after, gone)


def _check_link(
    path: Path, before: SegmentHeader, after: SegmentHeader, gone: Collection[tuple[str, ...]]
) -> Iterator[Problem]:
    first, last = before.fields.seq + 1, after.fields.seq
    run, kind = after.fields.run_id, after.kind.value
    missing = [seq for seq in range(first, min(last, first + 1000)) if (kind, run, str(seq)) not in gone]
    if missing:
        what = f"segments {missing[0]} to {missing[-1]} of run {run} are missing before it"
        yield Problem(path, what, "look for their deletion receipts; without one they were lost or taken")
    elif first > last:
        yield Problem(path, f"segment {last} of run {run} is there twice", "keep both; one is a copy")
    elif first == last and after.fields.prev != before.digest.hex():
        do = "treat one of the two as forged; keep both"
        yield Problem(path, "does not follow the segment before it", do)
