# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, which is how a busy camera's disk ends up: deletion still works, reads outlast pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from retention_world import NOW, PUBLIC, evidence, fill, receipts_of, retention
from storage_world import T0, SmallDisk, World

from storage.audit import verify_audit
from storage.ballast import BALLAST_BYTES, BALLAST_FILE, Ballast
from storage.errors import DiskFullError, LowSpaceError, WriteFailedError
from storage.receipts import verify_receipts
from storage.store import Store, free_space
from storage.types import EPOCH_US, SegmentKind, StoreLimits

READS, IMAGES = SegmentKind
SMALL = 1 << 16


def ballast_of(world: World) -> Path:
    return world.root / "retention" / BALLAST_FILE


def test_the_ballast_is_made_at_the_start_and_really_occupies_its_size(world) -> None:
    retention(world, ballast_bytes=BALLAST_BYTES)
    stat = ballast_of(world).stat()
    assert stat.st_size == BALLAST_BYTES
    assert stat.st_blocks * 512 >= BALLAST_BYTES


def test_deletion_works_on_a_full_disk(world) -> None:
    disk = SmallDisk(world.root)
    fill(world)
    world.close()
    keeper = retention(world, disk, ballast_bytes=SMALL)
    disk.fill()
    assert len(keeper.run(evidence())) == 2
    assert world.keyring().epochs() == [NOW // EPOCH_US]
    assert verify_receipts(receipts_of(world), PUBLIC).ok
    assert verify_audit(world.root / "audit.jsonl", PUBLIC).ok


def test_the_ballast_is_made_again_when_there_is_room(world) -> None:
    disk = SmallDisk(world.root)
    fill(world)
    world.close()
    keeper = retention(world, disk, ballast_bytes=SMALL)
    disk.fill(spare=-SMALL // 2)  # others took more than there was
    keeper.run(evidence())
    assert not ballast_of(world).exists()
    disk.fill(spare=4 * SMALL)
    keeper.run(evidence())
    assert ballast_of(world).stat().st_size == SMALL


def test_full_in_the_middle_of_a_deletion(world) -> None:
    disk = SmallDisk(world.root)
    fill(world)
    world.close()
    keeper = retention(world, disk, ballast_bytes=SMALL)
    disk.fill(spare=2000)  # the plan still fits, what follows does not
    assert [receipt.body.n for receipt in keeper.run(evidence())] == [0, 1]


def test_without_ballast_a_full_disk_is_told(world) -> None:
    disk = SmallDisk(world.root)
    fill(world)
    world.close()
    keeper = retention(world, disk, ballast_bytes=0)
    disk.fill()
    with pytest.raises(WriteFailedError):
        keeper.run(evidence())
    disk.fill(spare=SMALL)
    assert len(keeper.run(evidence())) == 2


def test_a_ballast_that_a_crash_cut_short_is_made_whole(tmp_path) -> None:
    ballast = Ballast(tmp_path / BALLAST_FILE, SMALL)
    (tmp_path / BALLAST_FILE).write_bytes(b"short")
    assert ballast.hold()
    assert (tmp_path / BALLAST_FILE).stat().st_size == SMALL
    assert ballast.release()
    assert not ballast.release()
    assert not Ballast(tmp_path / BALLAST_FILE, 0).hold()


def bounded(world: World, free: list[int]) -> Store:
    limits = StoreLimits(min_free_for_images_bytes=1000, min_free_for_reads_bytes=100)
    return world.store(limits=limits, free_bytes=lambda _folder: free[0])


def test_pictures_stop_before_reads_do(world) -> None:
    free = [1000]
    store = bounded(world, free)
    store.append(IMAGES, b"jpeg", at_us=T0)
    free[0] = 999
    with pytest.raises(LowSpaceError):
        store.append(IMAGES, b"jpeg", at_us=T0)
    store.append(READS, b"read", at_us=T0)
    free[0] = 99
    with pytest.raises(DiskFullError):
        store.append(READS, b"read", at_us=T0)
    store.commit()
    free[0] = 1000
    assert store.append(IMAGES, b"jpeg", at_us=T0).index == 1  # what was refused left nothing behind
    assert store.append(READS, b"read", at_us=T0).index == 1


def test_the_free_space_is_the_disks(world) -> None:
    assert free_space(world.root) > 0
    store = world.store(limits=StoreLimits(min_free_for_images_bytes=1 << 60))
    with pytest.raises(LowSpaceError):
        store.append(IMAGES, b"jpeg", at_us=T0)
    store.append(READS, b"read", at_us=T0)
