# SPDX-License-Identifier: Apache-2.0
"""What a thief makes of a device's disk: the independent reader, and every key that is found there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import independent_reader as other
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from storage_world import AGENCY_KEY, DEVICE_KEY, HOUR, OTHER_KEY, T0, World

from storage.audit import AuditLog
from storage.retention import Retention, RetentionPolicy
from storage.types import EPOCH_US, SegmentKind, TimeEvidence

DAY_S = 86_400
READS = [b"a read of the first hour", b"a read of the second hour"]


def written(world: World) -> None:
    """Two hours of reads, the second still open as the power goes."""
    store = world.store()
    store.append(SegmentKind.READS, READS[0], at_us=T0)
    store.close_epochs([HOUR])
    store.append(SegmentKind.READS, READS[1], at_us=T0 + EPOCH_US)
    store.commit()


def expired(world: World) -> None:
    """The first hour's retention passes, the second's does not."""
    world.close()
    retention = Retention(
        world.store_root,
        world.root / "retention",
        keyring=world.keyring(),
        policy=RetentionPolicy(30 * DAY_S, "30-days"),
        signer=DEVICE_KEY,
        device_id="pole-7",
        audit=AuditLog.open(world.root / "audit.jsonl"),
    )
    due_us = (HOUR + 1) * EPOCH_US + 30 * DAY_S * 1_000_000
    (receipt,) = retention.run(TimeEvidence(due_us, 0, ("gnss", "office")))
    assert receipt.body.epoch == HOUR


def copied(world: World, name: str) -> Path:
    return shutil.copytree(world.root, world.root.parent / f"{world.root.name}-{name}")


def shares_in(disks: Sequence[Path]) -> list[bytes]:
    """Every share that any keyring on these disks gives up to any slot on them."""
    slots = [path.read_bytes() for disk in disks for path in disk.rglob("*.slot")]
    found = []
    for keyring in (path.read_bytes() for disk in disks for path in disk.rglob("*.wkr")):
        for slot in slots:
            try:
                _, scopes = other.open_keyring(keyring, slot)
            except other.Refused:
                continue
            found += [share for shares in scopes.values() for share in shares.values()]
    return found


def loot(disks: Sequence[Path], *keys: ec.EllipticCurvePrivateKey) -> set[bytes]:
    """Every record that opens with any of the keys and any share on these disks."""
    opened: set[bytes] = set()
    for segment in (path.read_bytes() for disk in disks for path in disk.rglob("*.wseg")):
        for key in keys:
            for share in [*shares_in(disks), bytes(32)]:
                try:
                    opened |= set(other.open_segment(segment, share, key, None).records)
                except other.Refused:
                    continue
    return opened


@pytest.fixture
def before(world) -> Path:
    written(world)
    return copied(world, "before")


def test_a_stolen_disk_opens_nothing_by_itself(before) -> None:
    assert len(shares_in([before])) == 2  # the thief does have the shares
    assert loot([before], DEVICE_KEY, OTHER_KEY) == set()
    for path in before.rglob("*"):
        assert not path.is_file() or not any(read in path.read_bytes() for read in READS)


def test_a_stolen_disk_with_the_agencys_key_opens_what_is_inside_retention(before) -> None:
    assert loot([before], AGENCY_KEY) == set(READS)


def test_a_disk_stolen_after_expiry_opens_nothing_of_the_expired_hour_even_with_the_agencys_key(
    world, before
) -> None:
    segments = list(before.rglob("*.wseg"))
    expired(world)
    after = copied(world, "after")
    for segment in segments:  # the thief kept the segment files, as a back office or a tapped line might have
        shutil.copy(segment, after / f"kept-{segment.name}")
    assert loot([after], AGENCY_KEY, DEVICE_KEY) == {READS[1]}


def test_what_a_whole_copy_from_before_expiry_still_opens_with_the_file_root_of_trust(world, before) -> None:
    """The file root's own slot is on the copy: deletion on the device cannot reach it. Its receipts say best effort."""
    expired(world)
    assert loot([before], AGENCY_KEY) == set(READS)
    assert loot([before], DEVICE_KEY) == set()


def test_a_copy_from_before_without_its_slots_is_closed_by_the_expiry(world, before) -> None:
    """The keyring and the segments were copied, the root of trust was not: what the live device holds does not fit."""
    expired(world)
    for slot in before.rglob("*.slot"):
        slot.unlink()
    after = copied(world, "after")
    assert loot([before, after], AGENCY_KEY) == {READS[1]}
