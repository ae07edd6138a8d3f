# SPDX-License-Identifier: Apache-2.0
"""What is found of a segment after a crash, however it is read: in windows, from its end alone, or once for all."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import BinaryIO

import pytest
import vector_maker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage_world import T0, Scripted

from storage import frames, recovery, torn_tail
from storage.errors import FormatError
from storage.format import FRAME_HEAD, Frame, FrameWalker, pack_frame
from storage.frames import FileFrames, record_ends
from storage.layout import RECOVERED_FILE
from storage.recovery import measure
from storage.types import EPOCH_US, SegmentKind

READS, IMAGES = SegmentKind.READS, SegmentKind.IMAGES
IN_A_FIXTURE = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
SIZES = st.lists(st.integers(0, 90), min_size=1, max_size=30)
SMALL_FRAME = 120  # bytes; larger than any frame here, so that windows are many


class Counted(Scripted):
    def sync_all(self) -> None:
        self._step("sync_all")


def unclosed(sizes: list[int]) -> bytes:
    made = vector_maker.segment([bytes(size) for size in sizes])
    return made.header + b"".join(made.records)


def walked(data: bytes) -> tuple[int, int]:
    """Where the last record ends whose checksum fits, and their number: by the walk over everything."""
    start = recovery.parse_header(data).size
    found = list(FrameWalker(memoryview(data), start))
    while found and not found[-1].crc_ok():
        found.pop()
    return (found[-1].end if found else start), len(found)


@pytest.fixture
def small_windows(monkeypatch) -> None:
    monkeypatch.setattr(frames, "WINDOW_BYTES", SMALL_FRAME // 3)
    monkeypatch.setattr(torn_tail, "WINDOW_BYTES", SMALL_FRAME // 3)
    monkeypatch.setattr(frames, "MAX_FRAME_BYTES", SMALL_FRAME)
    monkeypatch.setattr(torn_tail, "MAX_FRAME_BYTES", SMALL_FRAME)


@pytest.mark.usefixtures("small_windows")
@IN_A_FIXTURE
@given(SIZES, st.integers(0, 200), st.binary(max_size=60))
def test_in_windows_and_from_the_end_alone_it_finds_what_the_whole_walk_finds(
    tmp_path, sizes, cut, rubbish
) -> None:
    path = tmp_path / "one.wseg"
    data = unclosed(sizes)
    header = recovery.parse_header(data).size
    path.write_bytes(data := data[: max(header, len(data) - cut)] + rubbish)
    whole, records = walked(data)
    assert measure(path) == recovery.Extent(len(data), whole, records)
    if len(data) - whole <= 300:
        assert torn_tail.end_of_whole(path, 300) == (len(data), whole)
    with path.open("rb") as file:
        in_windows = FileFrames(file, header)
        found = [(frame.type, frame.start, bytes(frame.body), frame.end) for frame in in_windows]
    at_once = FrameWalker(memoryview(data), header)
    assert found == [(frame.type, frame.start, bytes(frame.body), frame.end) for frame in at_once]
    assert (in_windows.end, in_windows.stop) == (at_once.end, at_once.stop)


@given(SIZES, st.integers(0, 120))
def test_the_quick_walk_finds_what_the_other_does(sizes, cut) -> None:
    data = b"".join(pack_frame(0x52, bytes(16 + size)) for size in sizes)
    data = data[: len(data) - cut]
    assert record_ends(data, 0) == [frame.end for frame in FrameWalker(memoryview(data), 0)]


@pytest.mark.parametrize("at", [0, FRAME_HEAD, 20])
def test_a_footer_ends_what_is_walked_and_what_follows_it_is_kept_as_it_is(world, at) -> None:
    store = world.store()
    store.append(READS, b"closed", at_us=T0)
    store.close()
    path = store.segments()[0].path
    altered = path.read_bytes() + pack_frame(0x52, bytes(40))[:at] + b"rubbish"
    path.write_bytes(altered)
    (world.store_root / RECOVERED_FILE).unlink(missing_ok=True)
    assert world.store().recovered == ()
    assert path.read_bytes() == altered
    assert measure(path).records == 1


def torn(world, at_us: int) -> tuple[Path, bytes]:
    """A segment that a crash left, with a torn tail."""
    store = world.store()
    store.append(READS, b"kept", at_us=at_us)
    store.commit()
    world.close()
    (path,) = {info.path for info in store.segments() if not info.closed and info.epoch == at_us // EPOCH_US}
    whole = path.read_bytes()
    path.write_bytes(whole + b"R\0\0")
    return path, whole


def test_each_run_is_looked_through_once(world) -> None:
    first, whole = torn(world, T0)
    assert world.store().recovered == (first,)
    world.close()
    second, _ = torn(world, T0 + EPOCH_US)
    first.write_bytes(whole + b"R\0\0")  # not by a crash of ours: its run is over
    assert world.store().recovered == (second,)
    world.close()
    (world.store_root / RECOVERED_FILE).unlink()
    assert world.store().recovered == (first,)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"runs":7}', b'{"runs":[[]]}', b"\xff", b"[" * 9999])
def test_a_damaged_note_of_recovered_runs_costs_time_alone(world, content) -> None:
    path, whole = torn(world, T0)
    (world.store_root / RECOVERED_FILE).write_bytes(content)
    assert world.store().recovered == (path,)
    assert path.read_bytes() == whole
    runs = json.loads((world.store_root / RECOVERED_FILE).read_bytes())["runs"]
    assert runs == [path.stem.split("-")[2]]


def test_runs_whose_files_are_gone_are_forgotten(world) -> None:
    path, _ = torn(world, T0)
    world.store()
    world.close()
    path.unlink()
    world.store()
    assert json.loads((world.store_root / RECOVERED_FILE).read_bytes()) == {"runs": []}


def test_a_file_that_cannot_be_read_holds_nothing_up_and_is_tried_again(world, monkeypatch) -> None:
    path, whole = torn(world, T0)
    broken = path.with_name(path.name.replace("-0.wseg", "-1.wseg"))
    broken.write_bytes(whole + b"R")
    look = recovery.torn_at

    def bad_sector(at: Path, max_tail: int) -> int | None:
        if at == broken:
            raise OSError(errno.EIO, "EIO")
        return look(at, max_tail)

    monkeypatch.setattr(recovery, "torn_at", bad_sector)
    assert world.store().recovered == (path,)
    world.close()
    assert path.read_bytes() == whole
    assert not (world.store_root / RECOVERED_FILE).exists()
    monkeypatch.undo()
    assert world.store().recovered == (broken,)


def test_what_a_killed_process_wrote_is_made_durable_once(world) -> None:
    """Closed segments too: a footer may lie in RAM alone."""
    for number in range(3):
        store = world.store()
        store.append(READS, b"one", at_us=T0 + number * EPOCH_US)
        store.close()
    (world.store_root / RECOVERED_FILE).unlink()
    files = Counted()
    recovery.recover_store(world.store_root, 100, files=files)
    assert files.calls[0] == "sync_all"
    assert files.calls.count("sync_all") == 1
    assert files.calls.count("fsync") == 1  # of the note
    again = Counted()
    recovery.recover_store(world.store_root, 100, files=again)
    assert again.calls == []


@pytest.mark.parametrize("noise", [b"", b"R\0\0\0\x20" + bytes(60), b"R\0" * 50])
def test_the_first_record_in_a_piece_is_found_behind_what_only_looks_like_one(noise) -> None:
    records = b"".join(pack_frame(0x52, bytes([number]) * 40) for number in range(3))
    assert torn_tail.first_record(noise + records) == len(noise)
    assert torn_tail.first_record(noise) is None
    assert torn_tail.first_record(pack_frame(0x52, bytes(40))) is None  # one alone proves too little


def test_a_disk_full_of_false_starts_does_not_hold_up_a_start(monkeypatch) -> None:
    """Each looks like a record of five megabytes with one behind it, to be checked, and there are millions."""
    monkeypatch.setattr(torn_tail, "MAX_FALSE_BYTES", 100 << 20)
    checked: list[int] = []
    fits = Frame.crc_ok
    monkeypatch.setattr(Frame, "crc_ok", lambda frame: checked.append(len(frame.body)) or fits(frame))
    crafted = (b"R" + (0x00520052).to_bytes(4, "big")) * 3_000_000
    for looked_through in (torn_tail.first_record, torn_tail.holds_a_frame):
        checked.clear()
        with pytest.raises(FormatError, match="as if somebody made it so"):
            looked_through(crafted)
        assert 100 << 20 < sum(checked) < 106 << 20


def test_a_start_reads_no_more_of_a_segment_than_can_be_torn(tmp_path, monkeypatch) -> None:
    path = tmp_path / "one.wseg"
    path.write_bytes(unclosed([5_000] * 1_000)[:-7])
    read: list[int] = []
    read_at = torn_tail.read_at

    def counted(file: BinaryIO, at: int, size: int) -> bytes:
        read.append(size)
        return read_at(file, at, size)

    monkeypatch.setattr(torn_tail, "read_at", counted)
    size, whole = torn_tail.end_of_whole(path, 1_500_000)
    assert 0 < size - whole < 5_100
    assert sum(read) == 1_500_000 + 3 * frames.WINDOW_BYTES < size
