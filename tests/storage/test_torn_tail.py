# SPDX-License-Identifier: Apache-2.0
"""What a start and a repair cut from a segment: what a crash tore, and never a record that may be acknowledged."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import vector_maker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage_world import T0, World
from unsafe_disk import UnsafeDisk

from storage import torn_tail
from storage.format import FrameWalker, parse_header
from storage.fsck import Severity, verify_store
from storage.recovery import cut_torn_tails, measure, recover_store
from storage.types import EPOCH_US, SegmentKind, StoreLimits

READS = SegmentKind.READS
MAX_TAIL = 16 << 20
CUTTERS = [recover_store, cut_torn_tails]
LENGTH_FLIPS = [(at, bit) for at in range(1, 5) for bit in range(8)]


def acknowledged(world, sizes: list[int]) -> Path:
    """A segment that a killed process left: no footer, every record committed."""
    store = world.store()
    for number, size in enumerate(sizes):
        store.append(READS, b"%d" % number + bytes(size), at_us=T0)
    store.commit()
    world.close()
    return store.segments()[0].path


def starts(data: bytes) -> list[int]:
    return [frame.start for frame in FrameWalker(memoryview(data), parse_header(data).size)]


def altered(path: Path, at: int, mask: int) -> bytes:
    data = bytearray(path.read_bytes())
    data[at] ^= mask
    path.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize("cutter", CUTTERS)
def test_a_bit_in_a_length_costs_no_record_behind_it(
    world, cutter: Callable[[Path, int], list[Path]]
) -> None:
    path = acknowledged(world, [300] * 50)
    sound = path.read_bytes()
    for at, bit in LENGTH_FLIPS:
        data = altered(path, starts(sound)[20] + at, 1 << bit)
        assert cutter(world.store_root, MAX_TAIL) == []
        assert path.read_bytes() == data
        (world.store_root / "recovered.json").unlink(missing_ok=True)
        path.write_bytes(sound)


@pytest.mark.parametrize(
    "torn", [b"", b"R\0", b"R\0\0\1\0" + bytes(90), bytes(4096)], ids=["none", "head", "body", "zeros"]
)
def test_what_a_crash_tore_behind_such_damage_stays_too(world, torn: bytes) -> None:
    path = acknowledged(world, [300] * 10)
    data = altered(path, starts(path.read_bytes())[4] + 3, 0x40) + torn
    path.write_bytes(data)
    world.store()
    assert path.read_bytes() == data


def test_a_hole_before_the_last_record_is_left_and_told(world) -> None:
    """A power cut may keep a page of what nobody was told is safe, and lose the one before it."""
    path = acknowledged(world, [300] * 10)
    data = bytearray(path.read_bytes())
    at, end = starts(bytes(data))[7:9]
    data[at:end] = bytes(end - at)
    path.write_bytes(data)
    store = world.store()
    assert store.recovered == ()
    content = world.open(store.segments()[0])
    assert len(content.records) == 7
    assert not content.complete
    world.close()
    (problem,) = verify_store(world.store_root).problems
    assert problem.severity is Severity.ERROR
    assert "whole records follow" in problem.what
    assert "left by a crash and never acknowledged, or damage" in problem.what


def test_a_torn_tail_is_told_as_one(world) -> None:
    path = acknowledged(world, [300] * 3)
    path.write_bytes(path.read_bytes() + b"R\0\0\1\0" + bytes(90))
    (problem,) = verify_store(world.store_root).problems
    assert "torn by a crash" in problem.what
    assert "--repair" in problem.do


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, 90), min_size=1, max_size=12),
    harmed=st.tuples(st.integers(0, 4000), st.integers(1, 255)),
    torn=st.binary(max_size=40),
)
def test_no_whole_frame_but_the_harmed_one_is_ever_cut(tmp_path, sizes, harmed, torn) -> None:
    made = vector_maker.segment([os.urandom(size) for size in sizes])
    path = tmp_path / "store" / "reads" / "5-reads-00112233aabbccdd-0.wseg"
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    path.parent.mkdir(parents=True)
    body = bytearray(b"".join(made.records))
    at, mask = harmed[0] % len(body), harmed[1]
    body[at] ^= mask
    path.write_bytes(made.header + body + torn)
    recover_store(tmp_path / "store", MAX_TAIL)
    left, start = path.read_bytes(), len(made.header)
    for record in made.records:
        end = start + len(record)
        if not start <= len(made.header) + at < end:
            assert left[start:end] == record
        start = end


def test_of_a_closed_segment_a_start_reads_the_end_alone(world, monkeypatch) -> None:
    """Years of them lie on a card that reads a few megabytes a second."""
    store = world.store()
    for hour in range(3):
        store.append(READS, bytes(200_000), at_us=T0 + hour * EPOCH_US)
    store.close()
    (world.store_root / "recovered.json").unlink(missing_ok=True)
    looked: list[Path] = []
    monkeypatch.setattr(torn_tail, "end_of_whole", lambda path, _: looked.append(path))
    assert recover_store(world.store_root, MAX_TAIL) == []
    assert looked == []


def test_of_a_segment_that_ends_in_order_a_start_reads_little(world, monkeypatch) -> None:
    path = acknowledged(world, [60_000] * 60)
    read: list[int] = []
    read_at = torn_tail.read_at
    monkeypatch.setattr(
        torn_tail, "read_at", lambda file, at, size: read.append(size) or read_at(file, at, size)
    )
    assert torn_tail.torn_at(path, MAX_TAIL) is None
    assert sum(read) == 2 * torn_tail.WINDOW_BYTES < path.stat().st_size / 3


def test_a_tail_by_chance_is_looked_through_whole() -> None:
    """Sixteen megabytes of ciphertext hold a hundred beginnings that look like records."""
    assert not torn_tail.holds_a_frame(os.urandom(MAX_TAIL))


LIMITS = StoreLimits(write_buffer_bytes=700)  # each record is a write of its own
KEPT = [b"kept %d" % number + bytes(800) for number in range(3)]
AT_RISK = [b"at risk %d" % number + bytes(1500) for number in range(5)]


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data(), restarted=st.booleans())
def after_a_power_cut(base: Path, ends: set[str], data: st.DataObject, restarted: bool) -> None:
    disk = UnsafeDisk(Path(tempfile.mkdtemp(dir=base)))
    world = World(disk.root)
    store = world.store(limits=LIMITS, files=disk, keyring=world.keyring(disk))
    for payload in KEPT:
        store.append(READS, payload, at_us=T0)
    store.commit()
    for payload in AT_RISK:
        store.append(READS, payload, at_us=T0)
    world.close()
    if restarted:  # what a start has found whole is durable from then on, or cut
        disk.restart()
        world.store(limits=LIMITS, files=disk, keyring=world.keyring(disk))
        world.close()
    disk = disk.crash(data.draw, Path(tempfile.mkdtemp(dir=base)) / "after")
    world = World(disk.root)
    store = world.store(limits=LIMITS, files=disk, keyring=world.keyring(disk))
    (info,) = store.segments()
    records = world.open(info).records
    assert records[:3] == KEPT
    assert records[3:] == AT_RISK[: len(records) - 3]
    assert len(records) == 8 or not restarted
    left = info.path.read_bytes()[measure(info.path).whole :]
    assert not left or torn_tail.holds_a_frame(left)
    ends.add("hole" if left else "all" if len(records) == 8 else "cut" if store.recovered else "short")
    world.close()
    disk.power_off()


def test_after_a_power_cut_what_was_acknowledged_opens_whatever_the_disk_made_of_the_rest(tmp_path) -> None:
    ends: set[str] = set()
    after_a_power_cut(tmp_path, ends)
    assert ends == {"hole", "all", "cut", "short"}  # the disk did what it may do
