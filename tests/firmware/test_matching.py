# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from firmware.matching import US_PER_HOUR, Watch
from sync.errors import BadList
from sync.hotlists.entry import Category, ListEntry
from sync.hotlists.listfile import HotList, ListDocument
from sync.hotlists.policy import MatchPolicy
from sync.schema import MatchKind, ReadRecord

NOW_US = 1_800_000_000_000_000


def make_read(
    text: str = "AB12345", read_id: str = "r1", captured_us: int = NOW_US, **more: Any
) -> ReadRecord:
    fields: dict[str, Any] = {
        "read_id": read_id,
        "device_id": "dev-1",
        "camera": "cam0",
        "captured_us": captured_us,
        "time_uncertainty_us": 1000,
        "text": text,
        "confidence": 0.97,
        "frames_seen": 5,
        "frames_agreed": 5,
        "box": (1.0, 2.0, 100.0, 50.0),
        "corners": ((1.0, 2.0), (101.0, 2.0), (101.0, 52.0), (1.0, 52.0)),
        "width_px": 100.0,
        "ir": False,
    }
    return ReadRecord(**{**fields, **more})


def make_list(*plates: str, version: int = 1) -> HotList:
    entries = tuple(ListEntry(f"e{n}", p, "IL", Category.STOLEN_VEHICLE) for n, p in enumerate(plates))
    document = ListDocument("leads", version, NOW_US, NOW_US, NOW_US + 24 * US_PER_HOUR, entries)
    return HotList(document, "0" * 16, "0" * 64, 100)


class Lists:
    """Lists that a test installs."""

    def __init__(self) -> None:
        self.lists: list[HotList] = []
        self.generation = "none"
        self.broken = False

    def load(self) -> list[HotList]:
        if self.broken:
            raise BadList("damaged")
        return self.lists

    def watch(self, ring_reads: int = 10) -> Watch:
        return Watch(self.load, lambda: self.generation, MatchPolicy(), ring_reads=ring_reads, ring_hours=24)


@pytest.fixture
def lists() -> Lists:
    return Lists()


def test_a_hit_carries_read_entry_and_reason(lists: Lists) -> None:
    watch = lists.watch()
    lists.lists, lists.generation = [make_list("AB12345", "AB1234S")], "1"
    assert watch.refresh(NOW_US) == []
    exact, folded = watch.hits_of(make_read(), b"jpeg", NOW_US)
    assert (exact.match.kind, exact.entry.plate, exact.crop_jpeg) == (MatchKind.EXACT, "AB12345", b"jpeg")
    assert folded.match.kind is MatchKind.FOLDED
    assert folded.match.differences[0].listed == "S"
    assert exact.hit_id != folded.hit_id
    assert exact.advice == "verify before acting"


def test_a_late_list_meets_the_reads_in_ram_once(lists: Lists) -> None:
    watch = lists.watch()
    watch.refresh(NOW_US)
    watch.remember(make_read())
    watch.remember(make_read("GONE99", "r2", NOW_US - 25 * US_PER_HOUR))
    lists.lists, lists.generation = [make_list("AB12345", "GONE99")], "1"
    assert [hit.read.text for hit in watch.refresh(NOW_US)] == ["AB12345"]
    assert watch.refresh(NOW_US) == []


def test_the_ring_is_bounded(lists: Lists) -> None:
    watch = lists.watch(ring_reads=2)
    for number in range(5):
        watch.remember(make_read(f"AB1234{number}", f"r{number}"))
    lists.lists, lists.generation = [make_list("AB12340", "AB12344")], "1"
    assert [hit.entry.plate for hit in watch.refresh(NOW_US)] == ["AB12344"]


class Ticks:
    """A monotonic clock that a test moves, seconds."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(("retention_s", "kept_s"), [(float("inf"), 24 * 3600), (180.0, 180)])
def test_no_read_stays_in_the_ring_for_longer_than_a_day_or_the_retention(
    lists: Lists, retention_s: float, kept_s: int
) -> None:
    """Also while no vehicle comes, and on a device whose clock stands still."""
    ticks = Ticks()
    watch = Watch(
        lists.load,
        lambda: lists.generation,
        MatchPolicy(),
        ring_reads=10,
        ring_hours=24,
        retention_s=lambda: retention_s,
        monotonic=ticks,
    )
    read = make_read()
    watch.remember(read)
    held = weakref.ref(read)
    del read
    ticks.now_s += kept_s - 1
    watch.refresh(NOW_US)
    assert held() is not None
    ticks.now_s += 1
    watch.refresh(NOW_US)
    gc.collect()
    assert held() is None


def test_a_ring_of_no_hours_keeps_nothing(lists: Lists) -> None:
    watch = Watch(lists.load, lambda: lists.generation, MatchPolicy(), ring_reads=10, ring_hours=0)
    read = make_read()
    watch.remember(read)
    held = weakref.ref(read)
    del read
    watch.refresh(NOW_US)
    assert held() is None


def test_lists_that_cannot_be_read_leave_the_old_ones_in_use(lists: Lists) -> None:
    watch = lists.watch()
    lists.lists, lists.generation = [make_list("AB12345")], "1"
    watch.refresh(NOW_US)
    lists.broken, lists.generation = True, "2"
    assert watch.refresh(NOW_US) == []
    assert watch.listed("AB12345", None, NOW_US)
