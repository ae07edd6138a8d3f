# SPDX-License-Identifier: Apache-2.0
"""The road's bench: what its sums mean, and one short drive with the real nets, tracker and vote."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from drivers.sim.designs import DESIGNS
from drivers.sim.traffic import BODIES, Vehicle
from drivers.sim.world import SeenPlate
from firmware.bench_road import MPH, RoadArgs, run, told
from firmware.bench_road_score import Scorer, nearest
from inference.types import CharRead, FrameResult, PlateRead

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

    def __init__(self) -> None:
        self.scorer, self.reads, self.index = Scorer(FPS, START_US), [], 0

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


def test_the_shutter_follows_the_speed_and_severity_makes_it_too_long() -> None:
    slow, fast = (RoadArgs(night=True, speed_mph=mph).exposure() for mph in (30.0, 80.0))
    assert fast.exposure_us == pytest.approx(1e6 / (18 * 80), abs=1)
    assert fast.exposure_us < slow.exposure_us
    assert fast.exposure_us * fast.gain == pytest.approx(slow.exposure_us * slow.gain, rel=0.01)
    worse = RoadArgs(night=True, speed_mph=80.0, severity=2).exposure()
    assert worse.exposure_us == pytest.approx(2 * fast.exposure_us, rel=0.01)
    assert RoadArgs(night=True, speed_mph=15.0, severity=3).exposure().exposure_us == 2000


def test_slow_traffic_is_not_bumper_to_bumper() -> None:
    args = RoadArgs(speed_mph=15.0, vehicles=10)
    assert args.every_s * 15.0 * MPH == pytest.approx(18.0)
    assert args.length_s == pytest.approx(10 * args.every_s + 3.0)
    assert replace(args, seconds=7.0).length_s == 7.0


def test_a_short_drive_is_read_and_told() -> None:
    args = RoadArgs(night=True, speed_mph=55.0, seconds=5.0, fps=6.0, seed=1, severity=0)
    figures = run(args)
    assert {**figures, **told(args)} == figures
    assert figures["rendered"]
    assert figures["frames"] == 30
    assert figures["vehicles"] >= 1
    assert figures["captured_rate"] >= 0.5
    assert figures["false_reads"] == 0
    assert figures["cpu_ms_per_frame_p50"] > 0
