# SPDX-License-Identifier: Apache-2.0
"""The disk: room with hysteresis, refusals, and records that were lost stay told."""

from __future__ import annotations

import errno
from pathlib import Path

from firmware.disk_watch import GAVE_WAY_KEPT_S, SLOW_KEPT_S, SLOW_S, DiskNews, DiskWatch
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
    return watch.finding(DiskNews())


def test_pictures_give_way_first_then_reads_and_room_comes_back_with_a_margin(tmp_path: Path) -> None:
    disk, watch = _watch(tmp_path)
    assert _look(watch).condition is Condition.OK
    disk.free = LIMITS.min_free_for_images_bytes - 1
    assert _look(watch).code == "nearly_full"
    disk.free = LIMITS.min_free_for_images_bytes + 1
    assert _look(watch).code == "nearly_full"  # a picture more or less does not flap
    disk.free = LIMITS.min_free_for_reads_bytes - 1
    assert _look(watch) == watch.finding(DiskNews(refused=True))  # full explains the refusal
    assert _look(watch).condition is Condition.FAILED
    disk.free = 1000 * MB
    assert _look(watch).condition is Condition.OK


def test_a_disk_that_refuses_or_cannot_be_asked_has_failed(tmp_path: Path) -> None:
    disk, watch = _watch(tmp_path)
    assert watch.finding(DiskNews(refused=True)).code == "refused"
    assert _look(watch).condition is Condition.OK
    disk.free = None
    assert _look(watch).code == "refused"
    assert watch.free is None


def test_a_disk_that_went_read_only_is_told_before_anything_is_written(tmp_path: Path) -> None:
    read_only = [True]
    watch = DiskWatch(tmp_path, LIMITS, Disk(), read_only=lambda _root: read_only[0])
    found = _look(watch)
    assert (found.code, found.condition) == ("read_only", Condition.FAILED)
    read_only[0] = False
    assert _look(watch).condition is Condition.OK


def test_lost_records_stay_told(tmp_path: Path) -> None:
    _, watch = _watch(tmp_path)
    assert watch.finding(DiskNews(lost=3)).code == "records_lost"
    assert watch.finding(DiskNews(lost=3)).advice.startswith("reads were lost")
    assert watch.finding(DiskNews(lost=3, refused=True)).code == "refused"  # the more urgent of the two


def test_a_slow_disk_is_told_for_a_while_after_its_last_slow_write(tmp_path: Path) -> None:
    now = [0.0]
    watch = DiskWatch(tmp_path, LIMITS, Disk(), lambda: now[0])
    assert watch.finding(DiskNews(slow_s=SLOW_S - 0.1)).condition is Condition.OK
    found = watch.finding(DiskNews(slow_s=31.2))
    assert (found.code, found.condition) == ("slow", Condition.DEGRADED)
    assert "31 s" in found.advice
    now[0] = SLOW_KEPT_S - 1
    assert _look(watch).code == "slow"
    now[0] = SLOW_KEPT_S + 1
    assert _look(watch).condition is Condition.OK


def test_pictures_that_gave_way_are_told_for_an_hour_and_worse_goes_before(tmp_path: Path) -> None:
    now = [0.0]
    disk = Disk()
    watch = DiskWatch(tmp_path, LIMITS, disk, lambda: now[0])
    assert watch.finding(DiskNews(gave_way=40)).code == "pictures_gave_way"
    disk.free = LIMITS.min_free_for_images_bytes - 1
    assert watch.finding(DiskNews(gave_way=40)).code == "nearly_full"
    disk.free = 1000 * MB
    now[0] = GAVE_WAY_KEPT_S + 1
    assert watch.finding(DiskNews(gave_way=40)).condition is Condition.OK
    assert watch.finding(DiskNews(gave_way=41)).code == "pictures_gave_way"
