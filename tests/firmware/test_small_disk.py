# SPDX-License-Identifier: Apache-2.0
"""The eye's way to the disk for days on a real file system of 40 MiB: pictures give way, reads stay, all adds up."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from firmware.ledger import US_PER_HOUR
from storage.errors import DiskFullError, StorageError
from storage.fsck import verify_store
from storage.giving_way import gave_way
from storage.receipts import verify_receipts
from storage.retention import read_receipts
from storage.store import free_space
from storage.types import SegmentKind, StoreLimits

from .disk_rig import T0_US, DiskRig
from .test_bad_disk import disk

__all__ = ["disk"]

MB = 1 << 20
READS, IMAGES = SegmentKind
LIMITS = StoreLimits(
    max_segment_bytes=2 * MB,
    make_room_below_bytes=8 * MB,
    min_free_for_images_bytes=4 * MB,
    min_free_for_reads_bytes=2 * MB,
)
KEPT_HOURS = 12
PASSES_AN_HOUR = 60  # 4 MB of pictures: 12 hours of them do not fit
POLICY_S = (KEPT_HOURS - 1) * 3600
SCENE = os.urandom(60_000)


def drive(rig: DiskRig, hours: range) -> None:
    for hour in hours:
        start_us = T0_US + hour * US_PER_HOUR
        for number in range(PASSES_AN_HOUR):
            rig.see(start_us + number * 1_000_000, crop=SCENE[:8000], scene=SCENE)
            if number % 10 == 0:
                rig.hit(hour * PASSES_AN_HOUR + number)
            if number % 5 == 4:
                turn(rig, start_us + number * 1_000_000)


def turn(rig: DiskRig, now_us: int) -> None:
    """One turn of the disk's thread; what is refused is left for the next."""
    for work in (
        rig.commit,
        lambda: rig.vault.tend(rig.evidence(now_us)),
        lambda: rig.vault.make_room(now_us),
        rig.alerts.retry_owed,
    ):
        try:
            work()
        except StorageError:
            continue


def erased(rig: DiskRig, kind: SegmentKind) -> int:
    """Records that receipts say were deleted on time."""
    receipts = read_receipts(rig.layout.retention / "receipts.jsonl")
    segments = [segment for receipt in receipts for segment in receipt.body.segments]
    return sum(segment.records or 0 for segment in segments if segment.kind == kind.value)


def hours_held(rig: DiskRig, kind: SegmentKind) -> list[int]:
    names = (path.name for path in (rig.layout.store / kind.value).glob("*.wseg"))
    return sorted({int(name.split("-")[0]) - T0_US // US_PER_HOUR for name in names})


@pytest.mark.timeout(120)
def test_days_on_a_disk_that_is_too_small(disk: Path) -> None:
    rig = DiskRig(disk / "data", limits=LIMITS, policy_s=POLICY_S, ballast_bytes=MB)
    last = 30
    drive(rig, range(last))
    turn(rig, T0_US + last * US_PER_HOUR)
    counted = rig.counted()

    assert hours_held(rig, READS) == list(range(last - KEPT_HOURS, last))
    images = hours_held(rig, IMAGES)
    assert images == list(range(images[0], last))
    assert 3 < len(images) < KEPT_HOURS - 2
    assert free_space(disk) >= LIMITS.make_room_below_bytes * 0.9

    assert counted["reads"] == rig.passes == last * PASSES_AN_HOUR
    assert len(rig.opened(READS)) + erased(rig, READS) == rig.passes
    pictures = [counted.get(f"{what}", 0) for what in counted if "pictures" in what]
    assert counted["gave way: pictures removed to make room"] > PASSES_AN_HOUR
    assert len(rig.opened(IMAGES)) + erased(rig, IMAGES) + sum(pictures) == 2 * rig.passes
    assert len(rig.announced) == rig.hits.count() == last * PASSES_AN_HOUR // 10

    fill_up(rig, disk, last)
    rig.vault.close()
    receipts = read_receipts(rig.layout.retention / "receipts.jsonl")
    assert verify_receipts(receipts, rig.signer.public_key()).ok
    explained = gave_way(rig.layout.audit) | {s.segment_id for r in receipts for s in r.body.segments}
    report = verify_store(rig.layout.store, verify_key=rig.signer.public_key(), erased=explained)
    assert report.problems == ()


def fill_up(rig: DiskRig, disk: Path, hour: int) -> None:
    """Somebody else takes the rest of the disk: pictures go, then new reads are refused; deletion still works."""
    other = disk / "log"
    other.write_bytes(bytes(max(0, free_space(disk) - MB)))
    before, held = rig.counted()["reads"], len(rig.opened(READS))
    drive(rig, range(hour, hour + 1))
    assert hours_held(rig, IMAGES) == [] or free_space(disk) > LIMITS.min_free_for_images_bytes
    with other.open("ab") as file:
        while free_space(disk):
            file.write(bytes(4096))
            file.flush()
    drive(rig, range(hour + 1, hour + 2))
    counted = rig.counted()
    refused = counted["lost: reads the disk refused"]
    assert refused > 0
    assert counted["reads"] + refused == rig.passes
    assert len(rig.announced) == rig.hits.count() + rig.alerts.owed == (hour + 2) * PASSES_AN_HOUR // 10
    assert hours_held(rig, READS)[0] == hour + 2 - KEPT_HOURS  # deletion goes on, by its ballast
    assert len(rig.opened(READS)) + erased(rig, READS) == counted["reads"]
    assert before - held <= erased(rig, READS)
    other.unlink()
    turn(rig, T0_US + (hour + 2) * US_PER_HOUR)
    turn(rig, T0_US + (hour + 2) * US_PER_HOUR)
    assert rig.alerts.owed == 0
    assert rig.hits.count() == len(rig.announced)
    drive(rig, range(hour + 2, hour + 3))
    assert rig.counted()["reads"] + refused == rig.passes


def fill(disk: Path) -> Path:
    """Another program takes every byte."""
    other = disk / "other"
    with other.open("wb", buffering=0) as file:
        for size in (1 << 16, 512):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return other


@pytest.mark.timeout(60)
def test_deletion_goes_on_though_a_picture_in_ram_finds_no_room(disk: Path) -> None:
    rig = DiskRig(disk / "data", limits=LIMITS, policy_s=3600, ballast_bytes=8 * MB)
    for hour in range(3):
        rig.see(T0_US + hour * US_PER_HOUR)
        rig.commit()
    rig.see(T0_US + 3 * US_PER_HOUR, scene=os.urandom(700_000))
    rig.keeper.work()  # into the store's buffer
    other = fill(disk)
    for _ in range(2):
        turn(rig, T0_US + 20 * US_PER_HOUR)
    assert rig.keyring.epochs() == []
    other.unlink()
    turn(rig, T0_US + 20 * US_PER_HOUR)
    assert len(read_receipts(rig.layout.retention / "receipts.jsonl")) == 4


@pytest.mark.timeout(60)
def test_small_reads_are_durable_though_a_picture_finds_no_room(disk: Path) -> None:
    rig = DiskRig(disk / "data", limits=LIMITS, ballast_bytes=0)
    rig.see(T0_US)
    rig.commit()
    rig.see(T0_US, scene=os.urandom(700_000))
    rig.keeper.work()
    other = fill(disk)
    with other.open("r+b") as file:
        file.truncate(other.stat().st_size - 8192)
    with pytest.raises(DiskFullError):
        rig.vault.commit()
    assert len(rig.opened(READS)) == 2
    other.unlink()
    rig.commit()
    assert len(rig.opened(IMAGES)) == 3
