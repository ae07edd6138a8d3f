# SPDX-License-Identifier: Apache-2.0
"""A device that writes, deletes and is copied, and a thief: the independent reader, and every key that is found."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import independent_reader as other
from cryptography.hazmat.primitives.asymmetric import ec
from storage_world import DEVICE_KEY, HOUR, T0, World

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


def shares_in(disks: Sequence[Path], chip: Sequence[bytes] = ()) -> list[bytes]:
    """Every share that any keyring on these disks gives up to any slot on them, or to a secret out of a chip."""
    slots = [*chip, *(path.read_bytes() for disk in disks for path in disk.rglob("*.slot"))]
    found = []
    for keyring in (path.read_bytes() for disk in disks for path in disk.rglob("*.wkr")):
        for slot in slots:
            try:
                _, scopes = other.open_keyring(keyring, slot)
            except other.Refused:
                continue
            found += [share for shares in scopes.values() for share in shares.values()]
    return found


def loot(disks: Sequence[Path], *keys: ec.EllipticCurvePrivateKey, chip: Sequence[bytes] = ()) -> set[bytes]:
    """Every record that opens with any of the keys and any share on these disks."""
    opened: set[bytes] = set()
    for segment in (path.read_bytes() for disk in disks for path in disk.rglob("*.wseg")):
        for key in keys:
            for share in [*shares_in(disks, chip), bytes(32)]:
                try:
                    opened |= set(other.open_segment(segment, share, key, None).records)
                except other.Refused:
                    continue
    return opened
