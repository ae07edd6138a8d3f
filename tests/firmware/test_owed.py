# SPDX-License-Identifier: Apache-2.0
"""Hits that the disk has not taken: nothing forgets them before it has, and what never gets there is counted."""

from __future__ import annotations

import errno
from pathlib import Path

from firmware.alerts import Alerts
from firmware.tap import Tap
from sync.schema import HitRecord
from tests.sync.factories import entry, hit_record

from .disk_rig import DiskRig, TroubledFiles

ENTRY = entry(entry_id="e1")


def again(rig: DiskRig) -> Alerts:
    """The alerts of the eye that starts after a crash of this one: RAM is gone, files are not."""
    memory = rig.layout.run / "alerts.json"
    return Alerts(rig.vault, rig.ledger, Tap(None), memory, 30.0, lambda _hit: None, rig.keeper)


def hit(number: int) -> HitRecord:
    return hit_record(hit_id=f"{number:032x}", entry=ENTRY)


def test_a_hit_that_was_owed_when_the_eye_fell_is_raised_by_the_next_read_of_the_vehicle(
    tmp_path: Path,
) -> None:
    spool = TroubledFiles()
    rig = DiskRig(tmp_path, spool_files=spool)
    spool.refuse = errno.ENOSPC
    rig.alerts.raise_all([hit(1)])
    rig.keeper.work()
    assert rig.alerts.owed == 1
    spool.refuse = None
    after = again(rig)
    assert len(after.raise_all([hit(2)])) == 1
    rig.keeper.work()
    assert rig.hits.count() == 1


def test_a_hit_that_was_stored_late_is_not_raised_again_by_the_next_start(tmp_path: Path) -> None:
    spool = TroubledFiles()
    rig = DiskRig(tmp_path, spool_files=spool)
    spool.refuse = errno.ENOSPC
    rig.alerts.raise_all([hit(1)])
    rig.keeper.work()
    spool.refuse = None
    rig.alerts.retry_owed()
    rig.keeper.work()
    assert again(rig).raise_all([hit(2)]) == []
    assert rig.counted()["repeated: same alert"] == 1


def test_each_owed_hit_is_a_job_of_its_own(tmp_path: Path) -> None:
    """A slow disk with many owed hits is seen to advance: it is no disk that hangs."""
    spool = TroubledFiles()
    rig = DiskRig(tmp_path, spool_files=spool)
    spool.refuse = errno.EROFS
    for number in range(40):
        rig.hit(number)
    rig.keeper.work()
    spool.refuse = None
    stored: list[int] = []
    rig.alerts.retry_owed()
    rig.keeper.close()
    rig.keeper.run(lambda: stored.append(rig.hits.count()))
    assert stored[:40] == list(range(1, 41))
    assert rig.alerts.owed == 0


def test_hits_still_owed_at_the_end_are_counted_once(tmp_path: Path) -> None:
    spool = TroubledFiles()
    rig = DiskRig(tmp_path, spool_files=spool)
    spool.refuse = errno.EIO
    for number in range(3):
        rig.hit(number)
    rig.keeper.work()
    rig.alerts.end()
    assert rig.alerts.owed == 0
    assert rig.counted()["lost: hits owed at the end"] == 3
    rig.alerts.end()
    assert rig.counted()["lost: hits owed at the end"] == 3
