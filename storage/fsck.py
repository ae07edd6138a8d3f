# SPDX-License-Identifier: Apache-2.0
"""Checking a store without any key that opens it: structure, checksums, signatures, and what is missing.

It reads only. Every problem says what to do about it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from storage.atomic import TEMP_SUFFIX
from storage.errors import FormatError, StoreError
from storage.format import FOOTER, FrameWalker, SegmentHeader, parse_footer, parse_header
from storage.layout import SEGMENT_SUFFIX
from storage.primitives import TAG_BYTES
from storage.recovery import mapped
from storage.types import SegmentKind

_HEADER_BOUND = 64 << 10  # more than any header has
_CHUNK = 1 << 20
_FETCH = "fetch the segment from the office if it was pulled; keep the file"


@dataclass(frozen=True, slots=True)
class Problem:
    """An inconsistency: the file, what is wrong, what to do."""

    path: Path
    what: str
    do: str


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
class _Tally:
    verify_key: EllipticCurvePublicKey | None
    segments: int = 0
    unclosed: int = 0
    records: int = 0
    size: int = 0
    problems: list[Problem] = field(default_factory=list)
    headers: list[tuple[Path, SegmentHeader]] = field(default_factory=list)

    def add(self, path: Path, what: str, do: str) -> None:
        self.problems.append(Problem(path, what, do))


def verify_store(
    root: Path,
    *,
    verify_key: EllipticCurvePublicKey | None = None,
    erased: Collection[str] = (),
) -> FsckReport:
    """Check the store at `root`; with the device's public key also its signatures.

    `erased` are ids of segments that a receipt says were deleted: those are not missed. Raises StoreError when
    there is no store.
    """
    if not any((root / kind.value).is_dir() for kind in SegmentKind):
        raise StoreError(f"{root} holds no store: give the folder that has reads/ and images/")
    tally = _Tally(verify_key)
    for kind in SegmentKind:
        for path in sorted((root / kind.value).glob("*")):
            _check_file(tally, kind, path)
    _check_chains(tally, frozenset(erased))
    return FsckReport(tally.segments, tally.unclosed, tally.records, tally.size, tuple(tally.problems))


def _check_file(tally: _Tally, kind: SegmentKind, path: Path) -> None:
    if path.name.startswith(".") and path.name.endswith(TEMP_SUFFIX):
        tally.add(
            path, "left over from a crash, holds nothing acknowledged", "start the device: it clears it"
        )
    elif path.suffix != SEGMENT_SUFFIX or not path.is_file():
        tally.add(path, "not a segment", "find out who put it there, then remove it")
    else:
        try:
            with mapped(path) as view:
                _check_segment(tally, kind, path, view)
        except FormatError as error:
            tally.add(path, str(error), _FETCH)
        except OSError as error:
            tally.add(path, f"cannot be read: {error.strerror}", "check the disk, then copy what is readable")


def _check_segment(tally: _Tally, kind: SegmentKind, path: Path, view: memoryview) -> None:
    header = parse_header(bytes(view[:_HEADER_BOUND]))
    tally.segments += 1
    tally.size += len(view)
    tally.headers.append((path, header))
    if path.stem != header.segment_id or kind is not header.kind:
        tally.add(path, f"is {header.kind.value} {header.segment_id}", "name it so, in its folder")
    if tally.verify_key is not None and not header.signed_by(tally.verify_key):
        tally.add(path, "the header is not signed by this device", "treat the file as forged; keep it")
    records, closed = _check_frames(tally, path, header, view)
    tally.records += records
    tally.unclosed += not closed


def _check_frames(tally: _Tally, path: Path, header: SegmentHeader, view: memoryview) -> tuple[int, bool]:
    """Records counted, and whether the segment is closed."""
    records, last_tag = 0, bytes(TAG_BYTES)
    walker = FrameWalker(view, header.size)
    for frame in walker:
        if not frame.crc_ok():
            tally.add(path, f"record {records} at byte {frame.start} fails its checksum", _FETCH)
        if frame.type == FOOTER:
            if frame.end != len(view):
                tally.add(path, "bytes follow the footer", "treat the added bytes as forged; keep the file")
            _check_footer(tally, path, header, view, frame.start, records, last_tag)
            return records, True
        records, last_tag = records + 1, bytes(frame.body[-TAG_BYTES:])
    if walker.stop:
        left = len(view) - walker.end
        tally.add(
            path, f"{walker.stop} at byte {walker.end}, {left} bytes left", f"start the device, or {_FETCH}"
        )
    return records, False


def _check_footer(
    tally: _Tally,
    path: Path,
    header: SegmentHeader,
    view: memoryview,
    start: int,
    records: int,
    last_tag: bytes,
) -> None:
    parsed = parse_footer(bytes(next(iter(FrameWalker(view, start))).body))
    if parsed is None:
        tally.add(path, "the footer is damaged", _FETCH)
        return
    footer = parsed.footer
    if (footer.records, footer.last_tag) != (records, last_tag.hex()):
        tally.add(path, f"the footer counts {footer.records} records, here are {records}", _FETCH)
    elif footer.body_sha256 != _sha256(view[:start]):
        tally.add(path, "the content differs from the footer's hash", _FETCH)
    if tally.verify_key is not None and not parsed.signed_by(tally.verify_key, header.digest):
        tally.add(path, "the footer is not signed by this device", "treat the file as forged; keep it")


def _sha256(view: memoryview) -> str:
    digest = hashlib.sha256()
    for at in range(0, len(view), _CHUNK):
        digest.update(view[at : at + _CHUNK])
    return digest.hexdigest()


def _check_chains(tally: _Tally, erased: frozenset[str]) -> None:
    """Each run numbers and links its segments of a kind; a gap between two that are there is a loss."""
    gone = {tuple(segment_id.split("-")[1:]) for segment_id in erased}
    runs: dict[tuple[str, SegmentKind], list[tuple[Path, SegmentHeader]]] = {}
    for path, header in tally.headers:
        runs.setdefault((header.fields.run_id, header.kind), []).append((path, header))
    for members in runs.values():
        members.sort(key=lambda item: item[1].fields.seq)
        for (_, before), (path, after) in itertools.pairwise(members):
            _check_link(tally, path, before, after, gone)


def _check_link(
    tally: _Tally, path: Path, before: SegmentHeader, after: SegmentHeader, gone: Collection[tuple[str, ...]]
) -> None:
    first, last = before.fields.seq + 1, after.fields.seq
    run, kind = after.fields.run_id, after.kind.value
    missing = [seq for seq in range(first, min(last, first + 1000)) if (kind, run, str(seq)) not in gone]
    if missing:
        what = f"segments {missing[0]} to {missing[-1]} of run {run} are missing before it"
        tally.add(path, what, "look for their deletion receipts; without one they were lost or taken")
    elif first > last:
        tally.add(path, f"segment {last} of run {run} is there twice", "keep both; one is a copy")
    elif first == last and after.fields.prev != before.digest.hex():
        tally.add(path, "does not follow the segment before it", "treat one of the two as forged; keep both")
