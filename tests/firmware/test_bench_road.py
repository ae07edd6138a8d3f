# SPDX-License-Identifier: Apache-2.0
"""The road's bench: what its sums mean, and one short drive with the real nets, tracker and vote."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from drivers.sim.bodies import BODIES
from drivers.sim.designs import DESIGNS
from drivers.sim.scenario import MPS_PER_MPH
from drivers.sim.traffic import Vehicle
from drivers.sim.world import SeenPlate
from firmware.bench_road import RoadArgs, run, told
from firmware.bench_road_score import Scorer, nearest
from inference.types import CharRead, FrameResult, PlateRead
from sync.schema import ReadRecord

from .test_matching import make_read

START_US = 1_800_000_000_000_000
FPS = 10.0


def plate(number: int, text: str, x: float, *, visible: bool = True) -> SeenPlate:
    vehicle = Vehicle(number, text, DESIGNS[0], BODIES[0], (0, 0, 0), 50, True, -1.75, 20.0, 5.0)
    corners = np.array([[x, 100], [x + 80, 100], [x + 80, 140], [x, 140]], dtype=float)
    return SeenPlate(vehicle, corners, visible, hidden=False)


def read(text: str, x: float, score: float = 0.9) -> PlateRead:
    corners = np.array([[x, 100], [x + 80, 100], [x + 80, 140], [x, 140]], np.float32)
    chars = tuple(CharRead(c, 0.9) for c in text)
    return PlateRead(
        text, 0.9, chars, None, 0.0, "", corners, (x, 100.0, 80.0, 40.0), score, 0.9, 80.0, 40.0, 900.0
    )


class Drive:
    """Feeds a scorer frame by frame."""

    def __init__(self, settle: int = 0) -> None:
        self.scorer, self.index = Scorer(FPS, START_US, settle), 0
        self.reads: list[ReadRecord] = []

    def frame(self, plates: list[SeenPlate], *reads: PlateRead) -> None:
        self.scorer.see(self.index, FrameResult(list(reads), []), plates, self.reads, (0.004, 0.003))
        self.index += 1

    def told(self, text: str, frame: int, x: float) -> None:
        box = (x, 100.0, 80.0, 40.0)
        self.reads.append(
            make_read(text, read_id=f"r{len(self.reads)}", captured_us=START_US + int(frame * 1e5), box=box)
        )

    def figures(self) -> dict[str, Any]:
        for _ in range(20):
            self.frame([])
        self.scorer.end(self.reads)
        return self.scorer.figures()


def test_single_frames_are_counted_apart_from_the_vote() -> None:
    drive = Drive()
    for text, score in (("AB12345", 0.8), ("A812345", 0.95), ("AB1234S", 0.7), ("AB12345", 0.9)):
        drive.frame([plate(0, "AB12345", 10)], read(text, 12, score))
    drive.told("AB12345", 3, 12)
    figures = drive.figures()
    assert figures["vehicles"] == 1
    assert (figures["captured_rate"], figures["exact_rate"]) == (1.0, 1.0)
    assert figures["exact_rate_single_frame"] == 0.5
    assert figures["exact_rate_best_score"] == 0.0
    assert figures["frames_read_rate"] == 1.0
    assert figures["last_sight_to_read_ms_p95"] == pytest.approx(104.0)
    assert figures["duplicates_per_vehicle"] == 0.0
    assert figures["false_reads"] == 0


def test_duplicates_misreads_misses_and_ghosts() -> None:
    drive = Drive()
    for _ in range(5):
        drive.frame([plate(0, "AB12345", 10), plate(1, "XYZ9876", 300), plate(2, "KLM555", 600)])
    drive.told("AB12345", 2, 12)
    drive.told("AB12345", 4, 14)
    drive.told("XYZ9870", 3, 302)
    drive.told("EXIT", 3, 900)
    figures = drive.figures()
    assert figures["captured_rate"] == pytest.approx(2 / 3, abs=1e-3)
    assert figures["exact_rate"] == 0.5
    assert figures["duplicates_per_vehicle"] == pytest.approx(1 / 3, abs=1e-3)
    assert figures["false_reads"] == 1
    assert figures["false_reads_per_hour"] == pytest.approx(3600 / 2.5, rel=0.01)
    assert figures["missed"] == ["KLM555"]
    assert figures["wrong"] == [{"plate": "XYZ9876", "read": "XYZ9870", "confidence": 0.97}]


def test_a_plate_may_be_read_before_it_is_near_enough_to_count() -> None:
    drive = Drive()
    drive.frame([plate(0, "AB12345", 10, visible=False)])
    drive.told("AB12345", 0, 12)
    for _ in range(5):
        drive.frame([plate(0, "AB12345", 10)])
    figures = drive.figures()
    assert (figures["vehicles"], figures["captured_rate"]) == (1, 1.0)


def test_a_glimpse_and_a_vehicle_still_in_sight_do_not_count() -> None:
    drive = Drive()
    for _ in range(2):
        drive.frame([plate(0, "AB12345", 10)])
    for _ in range(30):
        drive.frame([plate(1, "XYZ9876", 10, visible=False)])
    for _ in range(5):
        drive.frame([plate(2, "KLM555", 10)])
    drive.scorer.end([])
    assert drive.scorer.figures()["vehicles"] == 0


def test_a_read_belongs_to_the_plate_it_lies_on() -> None:
    plates = [plate(0, "AB12345", 10), plate(1, "XYZ9876", 60)]
    chosen = nearest((55.0, 100.0, 80.0, 40.0), plates)
    assert chosen is plates[1]
    assert nearest((400.0, 100.0, 80.0, 40.0), plates) is None


def test_what_is_in_sight_while_the_light_settles_does_not_count() -> None:
    drive = Drive(settle=4)
    for _ in range(6):  # begins before, ends after
        drive.frame([plate(0, "AB12345", 10)])
    drive.told("EXIT", 2, 900)
    for _ in range(5):
        drive.frame([plate(1, "XYZ9876", 300)])
    drive.told("XYZ9876", 8, 302)
    figures = drive.figures()
    assert (figures["vehicles"], figures["captured_rate"], figures["false_reads"]) == (1, 1.0, 0)
    assert figures["frames"] == 6 + 5 + 20 - 4


def test_a_severe_road_is_faster_than_its_site_says() -> None:
    args = RoadArgs(night=True, speed_mph=80.0, severity=2)
    assert args.site(args.road()).road_speed_mph == 40.0
    assert args.road().lamp.power_w < RoadArgs(night=True).road().lamp.power_w
    assert RoadArgs(speed_mph=8.0, severity=3).site(args.road()).road_speed_mph == 5.0


def test_a_scenario_says_itself_what_it_is_like() -> None:
    args = RoadArgs(scenario="night-highway-70mph", speed_mph=20.0)
    road = args.road()
    assert (road.fps, road.minutes) == (30.0, 3.0)
    assert args.site(road).road_speed_mph == pytest.approx(73.8, abs=0.1)
    shorter = replace(args, seconds=30.0, fps=12.0).road()
    assert (shorter.fps, shorter.minutes) == (12.0, 0.5)


def test_slow_traffic_is_not_bumper_to_bumper() -> None:
    args = RoadArgs(speed_mph=15.0, vehicles=10)
    assert args.every_s * 15.0 * MPS_PER_MPH == pytest.approx(18.0)
    assert args.road().minutes * 60 == pytest.approx(10 * args.every_s + 3.0)
    assert replace(args, seconds=7.0).road().minutes * 60 == pytest.approx(7.0)


def test_a_short_drive_is_read_and_told() -> None:
    args = RoadArgs(speed_mph=30.0, seconds=4.0, fps=6.0, severity=0)
    figures = run(args)
    assert {**figures, **told(args, args.road())} == figures
    assert figures["rendered"]
    assert figures["frames"] == 24
    assert figures["vehicles"] >= 1
    assert figures["captured_rate"] >= 0.5
    assert figures["false_reads"] == 0
    assert figures["cpu_ms_per_frame_p50"] > 0
    assert figures["exposure_us_p50"] <= 1e6 / (18 * 30)


def test_a_patrol_reads_each_parked_car_once() -> None:
    figures = run(RoadArgs(scenario="parked-lot-patrol", seconds=8.0, fps=6.0))
    assert figures["vehicles"] >= 3
    assert figures["captured_rate"] >= 0.5
    assert figures["duplicates_per_vehicle"] == 0.0
