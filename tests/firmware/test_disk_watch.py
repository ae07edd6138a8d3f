# SPDX-License-Identifier: Apache-2.0
"""The disk: room with hysteresis, refusals, and records that were lost stay told."""

from __future__ import annotations

import errno
from pathlib import Path

from firmware.disk_watch import DiskWatch
from firmware.health import Condition, Finding
from storage.types import StoreLimits

LIMITS = StoreLimits()
MB = 1 << 20


class Disk:
    """As much free space as the test says; None: it cannot be asked."""

    def __init__(self) -> None:
        self.free: int | None = 1000 * MB

    def __call__(self, _root: Path) -> int:
        if self.free is None:
            raise OSError(errno.EIO, "Input/output error")
        return self.free


def _watch(tmp_path: Path) -> tuple[Disk, DiskWatch]:
    disk = Disk()
    return disk, DiskWatch(tmp_path, LIMITS, disk)


def _look(watch: DiskWatch) -> Finding:
    return watch.finding(lost=0, refused=False)


def test_pictures_give_way_first_then_reads_and_room_comes_back_with_a_margin(tmp_path: Path) -> None:
    disk, watch = _watch(tmp_path)
    assert _look(watch).condition is Condition.OK
    disk.free = LIMITS.min_free_for_images_bytes - 1
    assert _look(watch).code == "nearly_full"
    disk.free = LIMITS.min_free_for_images_bytes + 1
    assert _look(watch).code == "nearly_full"  # a picture more or less does not flap
    disk.free = LIMITS.min_free_for_reads_bytes - 1
    assert _look(watch) == watch.finding(lost=0, refused=True)  # full explains the refusal
    assert _look(watch).condition is Condition.FAILED
    disk.free = 1000 * MB
    assert _look(watch).condition is Condition.OK


def test_a_disk_that_refuses_or_cannot_be_asked_has_failed(tmp_path: Path) -> None:
    disk, watch = _watch(tmp_path)
    assert watch.finding(lost=0, refused=True).code == "refused"
    assert _look(watch).condition is Condition.OK
    disk.free = None
    assert _look(watch).code == "refused"
    assert watch.free is None


def test_lost_records_stay_told(tmp_path: Path) -> None:
    _, watch = _watch(tmp_path)
    assert watch.finding(lost=3, refused=False).code == "records_lost"
    assert watch.finding(lost=3, refused=False).advice.startswith("reads were lost")
