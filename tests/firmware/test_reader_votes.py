# SPDX-License-Identifier: Apache-2.0
"""The reader on scripted reads: what it makes of signs, of early hits that don't hold, of a pass cut in two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.types import Exposure, Frame
from firmware.alerts import Alerts
from firmware.clock import DeviceClock
from firmware.config import EyeConfig
from firmware.ledger import Ledger
from firmware.reader import Reader
from firmware.records import Origin
from firmware.tap import Tap
from inference.tracker import Track, Tracker
from inference.types import CharRead, FrameResult, PlateRead, VotedRead
from inference.vote import vote
from storage.errors import DiskFullError
from storage.types import SealedRecordRef
from sync.schema import HitRecord, Position, ReadRecord, RecordRef

from .test_matching import Lists, make_list

CORNERS = np.array([[300, 300], [400, 300], [400, 350], [300, 350]], np.float32)
MS = 1_000_000


def plate(text: str, confidence: float = 0.99, x: float = 300.0) -> PlateRead:
    chars = tuple(CharRead(c, 0.99) for c in text)
    box = (x, 300.0, 100.0, 50.0)
    return PlateRead(
        text, confidence, chars, None, 0.0, "not read", CORNERS, box, 0.9, 0.9, 100.0, 50.0, 500.0
    )


class ScriptedPipeline:
    """Gives the reads of a script, one a frame."""

    def __init__(self) -> None:
        self.next: list[PlateRead] = []

    def process(self, _pixels: object) -> FrameResult:
        return FrameResult(self.next, [])


class KeptVault:
    """Keeps what is given in memory, unless it is `full`."""

    def __init__(self) -> None:
        self.hits: dict[str, HitRecord] = {}
        self.reads: list[ReadRecord] = []
        self.full = False

    def raise_hit(self, hit: HitRecord) -> bool:
        if self.full:
            raise DiskFullError("full")
        fresh = hit.hit_id not in self.hits
        self.hits.setdefault(hit.hit_id, hit)
        return fresh

    def keep_images(self, images: list[Any], at_us: int) -> dict[Any, RecordRef]:
        ref = SealedRecordRef("seg-1", 0)
        return {image.kind: RecordRef(segment=ref.segment, index=ref.index) for image in images}

    def keep_read(self, read: ReadRecord) -> None:
        if self.full:
            raise DiskFullError("full")
        self.reads.append(read)


class Road:
    """Drives a reader with scripted plates; each call of `see` is one frame, 66 ms after the last."""

    def __init__(self, folder: Path, *listed: str) -> None:
        lists = Lists()
        lists.lists, lists.generation = [make_list(*listed)], "1"
        self.vault, self.pipeline = KeptVault(), ScriptedPipeline()
        clock = DeviceClock(folder / "clock.json")
        self.ledger = Ledger(folder / "ledger.json")
        vault: Any = self.vault
        pipeline: Any = self.pipeline
        watch = lists.watch()
        watch.refresh(clock.now_us())
        self.alerts = Alerts(vault, self.ledger, Tap(None), folder / "alerts.json", 30.0)
        self.reader = Reader(
            pipeline,
            Tracker(),
            vault,
            watch,
            self.alerts,
            clock=clock,
            ledger=self.ledger,
            tap=Tap(None),
            origin=Origin("dev-1", "cam0"),
            settings=EyeConfig(),
            place=lambda _at_us: self.place,
        )
        self.place: Position | None = None
        self.sequence = 0

    def see(self, text: str | None, frames: int = 1, x: float = 300.0) -> None:
        for _ in range(frames):
            self.show([] if text is None else [plate(text, x=x)])

    def show(self, plates: list[PlateRead]) -> None:
        self.sequence += 1
        self.pipeline.next = plates
        pixels = np.full((720, 1280, 3), 90, np.uint8)
        at_ns = self.sequence * 66 * MS
        self.reader.take(Frame(pixels, 0, at_ns, self.sequence, Exposure(1000, 1.0), ir=False))

    def wait(self, seconds: float) -> None:
        """Nothing is in sight for so long."""
        self.sequence += round(seconds * 1000 / 66)
        self.see(None)


@pytest.fixture
def road(tmp_path: Path) -> Road:
    return Road(tmp_path, "ABC1234")


def test_a_sign_is_no_plate(road: Road) -> None:
    road.see("CONSTRUCTIONX", 6)
    road.reader.flush()
    assert road.vault.reads == []
    assert road.ledger.totals()["unread: too long for a plate"] == 1


def test_an_early_hit_that_holds_is_sent_once(road: Road) -> None:
    road.see("ABC1234", 10)
    (early,) = road.vault.hits.values()
    assert early.preliminary
    road.reader.flush()
    assert len(road.vault.hits) == 1
    assert [read.text for read in road.vault.reads] == ["ABC1234"]


def test_an_early_hit_that_does_not_hold_is_taken_back(road: Road) -> None:
    road.see("ABC1234", 3)
    road.see("ABC1237", 15)
    road.reader.flush()
    early, correction = road.vault.hits.values()
    assert correction.supersedes == early.hit_id
    assert correction.read.text == "ABC1237"
    assert "not the listed plate" in correction.correction
    assert road.ledger.totals()["early hit taken back"] == 1
    assert [read.text for read in road.vault.reads] == ["ABC1237"]


def test_a_pass_cut_in_two_is_one_read_and_one_alert(road: Road) -> None:
    road.see("ABC1234", 6)
    road.see(None, 14)  # hidden behind a truck for a second
    road.see("ABC1234", 6)
    road.reader.flush()
    assert len(road.vault.reads) == 1
    assert len(road.vault.hits) == 1
    assert road.ledger.totals()["repeated: same pass"] == 1


def test_a_vehicle_that_stands_is_one_read_an_hour_and_one_alert(road: Road) -> None:
    for _ in range(45):
        road.see("ABC1234", 1)
        road.wait(70.0)  # nobody reads it at night, say: each look is a track of its own
        road.see("ABC1234", 6)
    road.reader.flush()
    assert len(road.vault.reads) == 1
    assert len(road.vault.hits) == 1
    assert road.ledger.totals()["repeated: standing vehicle"] >= 44
    road.wait(600.0)
    road.see("ABC1234", 6)
    road.reader.flush()
    assert len(road.vault.reads) == 2  # the hour is over


def test_a_vehicle_that_comes_back_is_read_again(road: Road) -> None:
    road.see("ABC1234", 6)
    road.see("ABC1234", 6, x=380.0)  # drives away
    road.wait(120.0)
    road.see("ABC1234", 6, x=300.0)  # comes in where it did before
    road.reader.flush()
    assert [read.text for read in road.vault.reads] == ["ABC1234"] * 2


def _laps(road: Road, text: str, *moved_deg: float) -> None:
    """A patrol drives past a plate every two minutes, each time so far north of where it began."""
    for moved in moved_deg:
        road.place = Position(lat=40.0 + moved, lon=-88.0, source="gnss")
        for x in (300.0, 360.0, 420.0):
            road.see(text, 3, x=x)
        road.wait(120.0)
    road.reader.flush()


@pytest.mark.parametrize(("moved_deg", "reads"), [(0.0003, 1), (0.003, 3)])  # 33 m, 330 m
def test_a_patrol_reads_a_parked_car_once_an_hour(road: Road, moved_deg: float, reads: int) -> None:
    _laps(road, "XYZ9876", 0.0, moved_deg, 0.0)
    assert len(road.vault.reads) == reads


def test_a_unit_that_waits_takes_two_passes_for_two(road: Road) -> None:
    _laps(road, "XYZ9876", 0.0, 0.00003, -0.00003)  # 3 m: the receiver's error
    assert len(road.vault.reads) == 3


def test_a_patrol_that_meets_a_listed_vehicle_again_is_told_again(road: Road) -> None:
    _laps(road, "ABC1234", 0.0, 0.0003, 0.0)
    assert len(road.vault.hits) == 3  # whether it is parked or drives around, nobody knows
    assert len(road.vault.reads) == 3


@pytest.mark.parametrize("first_to_end", [0, 1])
def test_two_boxes_on_one_plate_are_one_read(road: Road, first_to_end: int) -> None:
    both = [plate("ABC1234", x=300.0), plate("ABC1234", x=700.0)]
    for shown in [both] * 6 + [[both[1 - first_to_end]]] * 40:
        road.show(shown)
    road.reader.flush()
    assert [read.text for read in road.vault.reads] == ["ABC1234"]
    assert len(road.vault.hits) == 1


def test_an_early_hit_is_taken_back_also_where_the_pass_was_read_before(road: Road) -> None:
    road.see("ABC1237", 10)
    road.see(None, 14)  # hidden behind a truck for a second
    road.see("ABC1234", 3)
    road.see("ABC1237", 15)
    road.reader.flush()
    early, correction = road.vault.hits.values()
    assert correction.supersedes == early.hit_id
    assert len(road.vault.reads) == 1


def test_a_fixed_unit_takes_two_passes_for_two(road: Road) -> None:
    road.place = Position(lat=40.0, lon=-88.0, source="surveyed")
    for _ in range(2):
        for x in (300.0, 360.0, 420.0):
            road.see("ABC1234", 3, x=x)
        road.wait(120.0)
    road.reader.flush()
    assert len(road.vault.reads) == 2


def test_a_long_stay_costs_few_votes(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    votes = 0

    def counted(track: Track) -> VotedRead:
        nonlocal votes
        votes += 1
        return vote(track)

    monkeypatch.setattr("firmware.reader.vote", counted)
    road.see("XYZ9876", 400)
    road.reader.flush()
    assert votes <= 12 + 400 // 8 + 1


def test_a_crash_in_mid_pass_does_not_alert_twice(tmp_path: Path) -> None:
    before = Road(tmp_path, "ABC1234")
    before.see("ABC1234", 6)
    assert len(before.vault.hits) == 1
    after = Road(tmp_path, "ABC1234")  # kill -9: the track is gone, the memory of alerts is not
    after.see("ABC1234", 6)
    after.reader.flush()
    assert after.vault.hits == {}
    assert after.ledger.totals()["repeated: same alert"] >= 1
    assert len(after.vault.reads) == 1


def test_owed_hits_are_retried_in_order_and_once_each(road: Road) -> None:
    road.vault.full = True
    road.see("ABC1234", 6)
    road.reader.flush()
    assert road.alerts.owed == 1
    road.alerts.retry_owed()
    assert road.alerts.owed == 1
    road.vault.full = False
    road.alerts.retry_owed()
    assert road.alerts.owed == 0
    assert len(road.vault.hits) == 1


def test_a_vehicle_whose_read_was_lost_is_read_again(road: Road) -> None:
    """It stands there while the disk refuses: once that takes reads again, it is no repeat of one that is not there."""
    road.vault.full = True
    road.see("XYZ9876", 6)
    road.wait(5.0)
    assert road.vault.reads == []
    road.vault.full = False
    for _ in range(2):
        road.see("XYZ9876", 6)
        road.wait(5.0)
    assert len(road.vault.reads) == 1
    assert road.ledger.totals()["lost: reads the disk refused"] == 1
    assert sum(n for what, n in road.ledger.totals().items() if what.startswith("repeated")) == 1
