# SPDX-License-Identifier: Apache-2.0
"""Pictures that give way: the oldest first, written down before they go, at every step that a crash can come."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from storage_world import DEVICE_KEY, HOUR, T0, EachCall, Killed, Scripted, SmallDisk, World

from storage.audit import AuditLog, read_entries, verify_audit
from storage.ballast import Ballast
from storage.errors import LowSpaceError, WriteFailedError
from storage.files import OS_FILES, Files
from storage.fsck import verify_store
from storage.giving_way import EVENT, SEGMENTS_AN_EVENT, GaveWay, GivingWay, gave_way
from storage.store import Store
from storage.types import EPOCH_US, SegmentKind, StoreLimits

READS, IMAGES = SegmentKind
PICTURE = bytes(30_000)
HOURS = 4
LIMITS = StoreLimits(
    make_room_below_bytes=60_000, min_free_for_images_bytes=20_000, min_free_for_reads_bytes=5_000
)
SMALL = 1 << 16


def audit_path(world: World) -> Path:
    return world.root / "audit.jsonl"


def giving_way(
    world: World, store: Store, free: list[int], files: Files = OS_FILES, *, ballast: int = 0
) -> GivingWay:
    return GivingWay(
        world.store_root,
        audit=AuditLog.open(audit_path(world), DEVICE_KEY, files=files),
        ballast=Ballast(world.root / "ballast", ballast, files=files),
        store=store,
        limits=LIMITS,
        files=files,
        free_bytes=lambda _folder: free[0],
    )


def fill(world: World, *, growing: bool = False) -> Store:
    """A picture and a read in each of four hours, closed; `growing`: the last hour still is written."""
    store = world.store(limits=LIMITS, free_bytes=lambda _folder: 1 << 30)
    for hour in range(HOURS):
        store.append(IMAGES, PICTURE, at_us=T0 + hour * EPOCH_US)
        store.append(READS, b"read", at_us=T0 + hour * EPOCH_US)
    store.commit()
    store.roll(T0 + (HOURS - growing) * EPOCH_US)
    return store


def hours_of(world: World, kind: SegmentKind) -> list[int]:
    return sorted(int(path.name.split("-")[0]) - HOUR for path in (world.store_root / kind).glob("*.wseg"))


def events(world: World) -> list[dict]:
    path = audit_path(world)
    return [dict(e.fields) for e in read_entries(path) if e.event == EVENT] if path.exists() else []


def test_while_there_is_room_nothing_goes(world) -> None:
    store = fill(world)
    assert giving_way(world, store, [60_000]).make_room(T0) is None
    assert hours_of(world, IMAGES) == hours_of(world, READS) == [0, 1, 2, 3]
    assert events(world) == []


def test_the_oldest_pictures_go_until_there_is_room_and_a_margin(world) -> None:
    store = fill(world)
    # 66,000 are wanted and 29,000 there: one segment of 31,000 bytes is not enough
    gone = giving_way(world, store, [29_000]).make_room(T0 + 9)
    assert isinstance(gone, GaveWay)
    assert (len(gone.segments), gone.records) == (2, 2)
    assert gone.size > 2 * len(PICTURE)
    assert hours_of(world, IMAGES) == [2, 3]
    assert hours_of(world, READS) == [0, 1, 2, 3]
    (event,) = events(world)
    assert event["segments"] == list(gone.segments)
    assert (event["records"], event["bytes"]) == (gone.records, gone.size)
    assert "29000" in event["why"]


def test_what_gave_way_is_explained_to_whoever_checks_the_store(world) -> None:
    store = fill(world)
    store.append(
        IMAGES, PICTURE, at_us=T0 - EPOCH_US
    )  # a late picture of an earlier hour, in a later segment
    store.close()
    giving_way(world, store, [55_000]).make_room(T0)  # takes that one
    giving_way(world, store, [55_000]).make_room(T0)
    assert hours_of(world, IMAGES) == [1, 2, 3]
    explained = gave_way(audit_path(world))
    assert len(explained) == 2
    assert verify_store(world.store_root, erased=explained).ok
    assert verify_audit(audit_path(world), DEVICE_KEY.public_key()).ok
    assert gave_way(world.root / "nowhere") == frozenset()


def test_the_growing_segment_is_the_last_resort_and_is_closed_first(world) -> None:
    store = fill(world, growing=True)
    (current,) = (name for name in store.growing() if "images" in name)
    keeper = giving_way(world, store, free := [10_000])
    keeper.make_room(T0)
    assert hours_of(world, IMAGES) == [2, 3]
    free[0] = 20_000
    keeper.make_room(T0)  # the last closed one
    assert hours_of(world, IMAGES) == [3]
    assert keeper.make_room(T0) is None  # above the lower mark the growing one stays
    free[0] = 19_999
    gone = keeper.make_room(T0)
    assert gone is not None
    assert gone.segments == (current,)
    assert hours_of(world, IMAGES) == []
    assert keeper.make_room(T0) is None
    store.append(READS, b"read", at_us=T0)
    store.close()
    assert hours_of(world, READS) == [0, 0, 1, 2, 3]


def test_a_growing_segment_that_would_free_nothing_stays(world) -> None:
    store = world.store(limits=LIMITS, free_bytes=lambda _folder: 1 << 30)
    store.append(IMAGES, b"small", at_us=T0)
    store.commit()
    assert giving_way(world, store, [10]).make_room(T0) is None
    assert len(hours_of(world, IMAGES)) == 1


def test_without_pictures_to_give_way_new_ones_are_refused_then_reads(world) -> None:
    free = [19_999]
    store = world.store(limits=LIMITS, free_bytes=lambda _folder: free[0])
    assert giving_way(world, store, free).make_room(T0) is None
    with pytest.raises(LowSpaceError):
        store.append(IMAGES, PICTURE, at_us=T0)
    store.append(READS, b"read", at_us=T0)
    free[0] = 4_999
    with pytest.raises(LowSpaceError):
        store.append(READS, b"read", at_us=T0)
    assert giving_way(world, store, free).make_room(T0) is None  # an old read never makes room for a new one
    assert len(hours_of(world, READS)) == 1


def steps(tmp_path: Path) -> int:
    world = World(tmp_path / "dry")
    files = EachCall()
    fill(world).close()
    keeper = giving_way(world, world.store(), [29_000], files, ballast=SMALL)
    files.calls.clear()
    keeper.make_room(T0)
    world.close()
    assert {"unlink", "fsync_dir", "fsync", "write"} <= set(files.calls)
    return len(files.calls)


def test_killed_at_each_step_nothing_is_gone_that_is_not_explained(tmp_path) -> None:
    for step in range(steps(tmp_path)):
        world = World(tmp_path / str(step))
        store = fill(world)
        files = EachCall()
        keeper = giving_way(world, store, [29_000], files, ballast=SMALL)
        files.kill_in(step)
        with pytest.raises(Killed):
            keeper.make_room(T0)
        world.close()
        missing = set(range(HOURS)) - set(hours_of(world, IMAGES))
        named = {int(name.split("-")[0]) - HOUR for name in gave_way(audit_path(world))}
        assert missing <= named, (step, files.calls[-1])
        assert hours_of(world, READS) == [0, 1, 2, 3]
        again = giving_way(world, world.store(), [29_000])
        again.make_room(T0)
        assert verify_store(world.store_root, erased=gave_way(audit_path(world))).ok
        assert verify_audit(audit_path(world), DEVICE_KEY.public_key()).ok
        world.close()


def test_on_a_disk_without_a_free_byte_the_ballast_makes_room_for_the_event(world) -> None:
    store = fill(world)
    store.close()
    disk = SmallDisk(world.root)
    keeper = GivingWay(
        world.store_root,
        audit=AuditLog.open(audit_path(world), DEVICE_KEY, files=disk),
        ballast=(ballast := Ballast(world.root / "ballast", SMALL, files=disk)),
        store=store,
        limits=LIMITS,
        files=disk,
        free_bytes=disk.free,
    )
    assert ballast.hold()
    disk.fill()
    gone = keeper.make_room(T0)
    assert gone is not None
    assert len(gone.segments) == 3
    assert len(events(world)) == 1
    assert (world.root / "ballast").stat().st_size == SMALL
    assert disk.free(world.root) > LIMITS.make_room_below_bytes / 2


def test_an_event_that_cannot_be_written_keeps_every_picture(world) -> None:
    store = fill(world)
    files = Scripted()
    keeper = giving_way(world, store, [0], files)
    for error in (errno.EIO, errno.EROFS, errno.ENOSPC):
        files.plan = {len(files.calls): error}
        with pytest.raises(WriteFailedError):
            keeper.make_room(T0)
        assert hours_of(world, IMAGES) == [0, 1, 2, 3]
        assert events(world) == []


def test_strangers_and_damaged_segments(world) -> None:
    store = fill(world)
    folder = world.store_root / "images"
    (folder / "notes.wseg").write_bytes(bytes(50_000))  # no epoch in its name: not ours to remove
    (folder / f"{HOUR}-folder.wseg").mkdir()
    (folder / f"{HOUR}-link.wseg").symlink_to(audit_path(world))
    damaged = min(path for path in folder.glob(f"{HOUR}-images-*"))
    damaged.write_bytes(b"x" * 40_000)
    gone = giving_way(world, store, [29_000]).make_room(T0)
    assert gone is not None
    assert (gone.segments, gone.records, gone.size) == ((damaged.stem,), 0, 40_000)
    assert len(list(folder.iterdir())) == 3 + HOURS - 1


def test_a_disk_that_cannot_be_asked_is_told(world) -> None:
    store = fill(world)
    keeper = giving_way(world, store, [0])
    keeper._free_bytes = lambda _folder: (_ for _ in ()).throw(OSError(errno.EIO, "EIO"))
    with pytest.raises(WriteFailedError):
        keeper.make_room(T0)


def test_the_names_of_one_event_fit_an_audit_entry(world) -> None:
    fill(world).close()
    folder = world.store_root / "images"
    for n in range(SEGMENTS_AN_EVENT + 5):
        (folder / f"{HOUR - 1}-images-{n:0>40}.wseg").write_bytes(b"")
    keeper = giving_way(world, world.store(), [10_000])
    first = keeper.make_room(T0)
    assert first is not None
    assert len(first.segments) == SEGMENTS_AN_EVENT
    second = keeper.make_room(T0)
    assert second is not None
    assert hours_of(world, IMAGES) == [2, 3]


class Sticky(Files):
    """A disk that removes no file whose name is among `stuck`."""

    def __init__(self) -> None:
        self.stuck = ""

    def unlink(self, path: Path) -> None:
        if self.stuck and self.stuck in path.name:
            raise OSError(errno.EIO, "EIO")
        super().unlink(path)


def test_a_segment_that_cannot_be_removed_keeps_no_other_from_giving_way(world) -> None:
    store, files, free = fill(world), Sticky(), [29_000]
    room = giving_way(world, store, free, files)
    files.stuck = f"{HOUR}-images"
    gone = room.make_room(T0)
    assert gone is not None
    assert (len(gone.segments), gone.records) == (1, 1)  # the second one; the first is passed over
    free[0] = 59_000
    assert room.make_room(T0) is not None
    assert room.make_room(T0) is not None
    assert hours_of(world, IMAGES) == [0]
    for _ in range(10):
        with pytest.raises(WriteFailedError):
            room.make_room(T0)
    assert len(events(world)) == 3  # none for what was named before
    files.stuck = ""
    gone = room.make_room(T0)
    assert gone is not None
    assert hours_of(world, IMAGES) == []
    assert len(events(world)) == 3
    assert {id_ for event in events(world) for id_ in event["segments"]} == gave_way(audit_path(world))


def test_where_nothing_can_be_removed_it_is_said_and_written_down_once(world) -> None:
    store, files = fill(world), Sticky()
    room = giving_way(world, store, [29_000], files)
    files.stuck = "images"
    for _ in range(5):
        with pytest.raises(WriteFailedError):
            room.make_room(T0)
    assert hours_of(world, IMAGES) == [0, 1, 2, 3]
    assert len(events(world)) <= 2
    files.stuck = ""
    assert room.make_room(T0) is not None
    assert hours_of(world, IMAGES) != [0, 1, 2, 3]
