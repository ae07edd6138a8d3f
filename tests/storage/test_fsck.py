# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage_world import DEVICE_KEY, OTHER_KEY, T0, World

from storage.errors import StoreError
from storage.fsck import FsckReport, verify_store
from storage.types import EPOCH_US, SegmentKind

READS, IMAGES = SegmentKind
PUBLIC = DEVICE_KEY.public_key()


def filled(world: World) -> list:
    store = world.store()
    for hour in range(3):
        for n in range(4):
            store.append(READS, b"read %d" % n, at_us=T0 + hour * EPOCH_US)
    store.append(IMAGES, bytes(3000), at_us=T0)
    store.close()
    return [info.path for info in store.segments() if info.kind is READS]


def check(world: World) -> FsckReport:
    return verify_store(world.store_root, verify_key=PUBLIC)


def only(report: FsckReport) -> str:
    (problem,) = report.problems
    assert problem.do
    return problem.what


def test_a_sound_store(world) -> None:
    filled(world)
    report = check(world)
    assert (report.ok, report.segments, report.unclosed, report.records) == (True, 4, 0, 13)
    assert report.size == sum(path.stat().st_size for path in world.store_root.rglob("*.wseg"))


def test_an_unclosed_segment_is_no_problem(world) -> None:
    store = world.store()
    store.append(READS, b"x", at_us=T0)
    store.commit()
    report = check(world)
    assert (report.ok, report.unclosed, report.records) == (True, 1, 1)


def test_what_can_be_wrong(world) -> None:
    path = filled(world)[1]
    good = path.read_bytes()
    for change, says in (
        (lambda d: d[:-3], "cut"),
        (lambda d: d[:100], "cut in its header"),
        (lambda d: b"X" + d[1:], "not a segment file"),
        (lambda d: d.replace(b"pole-7", b"pole-6"), "not signed by this device"),
        (lambda d: d + d[-50:], "bytes follow the footer"),
        (lambda d: d[:-400] + bytes([d[-400] ^ 1]) + d[-399:], "checksum"),
    ):
        path.write_bytes(change(good))
        report = check(world)
        assert any(says in problem.what for problem in report.problems), (says, report.problems)
        assert all(problem.path and problem.do for problem in report.problems)
    path.write_bytes(good)
    assert check(world).ok


def test_names_and_strangers(world) -> None:
    path = filled(world)[2]
    (world.store_root / "reads" / ".x.tmp").write_bytes(b"")
    assert "left over" in only(check(world))
    (world.store_root / "reads" / ".x.tmp").unlink()
    (world.store_root / "images" / "notes.txt").write_bytes(b"")
    assert "not a segment" in only(check(world))
    (world.store_root / "images" / "notes.txt").unlink()
    path.rename(world.store_root / "images" / path.name)
    assert any("is reads" in problem.what for problem in check(world).problems)


def test_a_missing_segment_is_missed_unless_a_receipt_names_it(world) -> None:
    paths = filled(world)
    gone = paths[1].stem
    paths[1].unlink()
    assert "missing before it" in only(check(world))
    assert verify_store(world.store_root, erased=[gone]).ok


def test_a_copy_and_a_replacement_are_seen(world) -> None:
    paths = filled(world)
    copy = paths[0].with_name("copy.wseg")
    copy.write_bytes(paths[0].read_bytes())
    assert any("there twice" in problem.what for problem in check(world).problems)
    copy.unlink()
    data = paths[0].read_bytes()
    paths[0].write_bytes(data.replace(b"boot-1", b"boot-2"))
    report = verify_store(world.store_root)  # even without the device's key
    assert any("does not follow" in problem.what for problem in report.problems)


def test_another_devices_key(world) -> None:
    filled(world)
    report = verify_store(world.store_root, verify_key=OTHER_KEY.public_key())
    assert len(report.problems) == 8  # header and footer of each


def test_no_store(tmp_path) -> None:
    with pytest.raises(StoreError):
        verify_store(tmp_path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 5000), st.integers(1, 255))
def test_no_byte_of_a_closed_segment_can_be_changed_unseen(world, at, change) -> None:
    if not world.store_root.exists():
        filled(world)
    path = min((world.store_root / "reads").glob("*.wseg"))
    good = path.read_bytes()
    at %= len(good)
    path.write_bytes(good[:at] + bytes([good[at] ^ change]) + good[at + 1 :])
    try:
        assert not check(world).ok
    finally:
        path.write_bytes(good)
