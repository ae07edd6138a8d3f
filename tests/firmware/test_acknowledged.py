# SPDX-License-Identifier: Apache-2.0
"""Acknowledged means durable, also while one thread seals, another commits, and the disk breaks again and again."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import random
import threading
import time
from pathlib import Path

import pytest

from firmware.sealing import Acknowledged
from storage.errors import StorageError
from storage.keyring import Keyring
from storage.reader import read_segment
from storage.recovery import list_segments
from storage.root_of_trust import FileRootOfTrust
from storage.types import StoreLimits

from .disk_rig import HOUR_US, T0_US, DiskRig, TroubledFiles

SECONDS = 0.7
SMALL = StoreLimits(write_buffer_bytes=2_000, max_uncommitted_bytes=20_000, max_segment_bytes=60_000)


def on_disk(rig: DiskRig) -> dict[tuple[str, int], str]:
    """SHA-256 of every record that opens, by where it lies."""
    ring = Keyring.open(rig.layout.keyring, FileRootOfTrust(rig.layout.trust), read_only=True)
    found = {}
    for info in list_segments(rig.layout.store):
        share = ring.peek(info.epoch)
        assert share is not None
        content = read_segment(info.path.read_bytes(), share=share, private_key=rig.agency, verify_key=None)
        for index, record in enumerate(content.records):
            found[info.segment_id, index] = hashlib.sha256(record).hexdigest()
    return found


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_what_was_acknowledged_is_there_and_what_was_not_is_counted(
    tmp_path: Path, seed: int, error: int
) -> None:
    files, chance = TroubledFiles(), random.Random(seed)
    rig = DiskRig(tmp_path, files, limits=SMALL)
    files.refused_calls = ("write", "fsync") if error == errno.EIO else ("write",)
    acked: list[Acknowledged] = []
    until_s = time.monotonic() + SECONDS

    def commit() -> None:
        while time.monotonic() < until_s:
            with contextlib.suppress(StorageError):
                acked.extend(rig.vault.commit())
            with contextlib.suppress(StorageError):
                rig.store.roll(T0_US + HOUR_US)

    def trouble() -> None:
        while time.monotonic() < until_s:
            time.sleep(chance.uniform(0, 0.02))
            files.refuse = error
            time.sleep(chance.uniform(0, 0.01))
            files.refuse = None

    threads = [threading.Thread(target=commit), threading.Thread(target=trouble)]
    for thread in threads:
        thread.start()
    while time.monotonic() < until_s:
        rig.see(T0_US + chance.choice([0, HOUR_US]), scene=bytes(chance.randrange(3_000)))
        rig.keeper.work()
    for thread in threads:
        thread.join()
    files.refuse = None
    acked.extend(rig.vault.close())

    held = on_disk(rig)
    assert len(acked) > 10
    assert [record for record in acked if held.get((record.segment, record.index)) != record.sha256] == []
    assert len({(record.segment, record.index) for record in acked}) == len(acked) == rig.vault.sealed
    reads = sum(record.kind == "reads" for record in acked)
    counted = rig.counted()
    lost = counted.get("lost: reads on a broken part of the disk", 0)
    assert reads + lost == counted["reads"]
    assert counted["reads"] + counted.get("lost: reads the disk refused", 0) == rig.passes
