# SPDX-License-Identifier: Apache-2.0
"""Retention over a test's store: two hours that have expired at NOW and one that has not."""

from __future__ import annotations

from storage_world import DEVICE_KEY, T0, World

from storage.audit import AuditLog
from storage.files import OS_FILES, Files
from storage.receipts import Receipt
from storage.retention import Retention, RetentionPolicy, read_receipts
from storage.types import EPOCH_US, SegmentKind, TimeEvidence

READS, IMAGES = SegmentKind
DAY = 86_400
POLICY = RetentionPolicy(30 * DAY, "30d-1")
TWO = ("gnss", "office")
NOW = T0 + 31 * DAY * 1_000_000  # the first two hours have expired, later ones not
PUBLIC = DEVICE_KEY.public_key()


def evidence(now_us: int = NOW, sources: tuple[str, ...] = TWO) -> TimeEvidence:
    return TimeEvidence(now_us, 1000, sources)


def retention(world: World, files: Files = OS_FILES, **more) -> Retention:
    return Retention(
        world.store_root,
        world.root / "retention",
        keyring=world.keyring(files),
        policy=more.pop("policy", POLICY),
        signer=DEVICE_KEY,
        device_id="pole-7",
        audit=AuditLog.open(world.root / "audit.jsonl", DEVICE_KEY, files=files),
        files=files,
        ballast_bytes=more.pop("ballast_bytes", 4096),
        **more,
    )


def fill(world: World) -> None:
    """Two hours that have expired at NOW, one that has not; reads and images."""
    store = world.store()
    for epoch_us in (T0, T0 + EPOCH_US, NOW):
        for n in range(3):
            store.append(READS, b"read %d" % n, at_us=epoch_us)
        store.append(IMAGES, b"jpeg", at_us=epoch_us)
    store.close()


def receipts_of(world: World) -> list[Receipt]:
    return read_receipts(world.root / "retention" / "receipts.jsonl")
