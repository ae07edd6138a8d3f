# SPDX-License-Identifier: Apache-2.0
"""Whole passes in the geometry of a roadside camera: one track a vehicle at every speed and in every lane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hand_nets import plate_read

from inference.tracker import Track, Tracker
from inference.types import FrameResult, PlateRead

FOCAL_PX = 2995.0  # a 24 degree lens on 1280 px
FPS = 30
MPH = 0.44704
LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"


@dataclass
class Vehicle:
    """Drives along a lane `x_m` left of the camera; `away` from it or towards it."""

    text: str
    x_m: float
    mph: float
    away: bool = True
    start_s: float = 0.0

    def read(self, t_s: float, rng: np.random.Generator, misread: float) -> PlateRead | None:
        """What a frame makes of it: boxes a little off, characters wrong now and then."""
        moved = self.mph * MPH * (t_s - self.start_s)
        z = 4.0 + moved if self.away else 26.0 - moved
        if not 4.0 <= z <= 26.0:
            return None
        w = FOCAL_PX * 0.3048 / z * float(rng.normal(1.0, 0.03))
        x = 1228.0 - FOCAL_PX * self.x_m / z + float(rng.normal(0, 0.03)) * w
        y = 54.0 + FOCAL_PX * 1.05 / z + float(rng.normal(0, 0.02)) * w
        if not (x - w / 2 >= 0 and x + w / 2 < 1280 and y + w / 4 < 720):
            return None
        chars = [str(rng.choice(list(LETTERS))) if rng.random() < misread else c for c in self.text]
        return plate_read("".join(chars), x - w / 2, y - w / 4, w=w, p=0.99 if misread < 0.2 else 0.9)


def drive(vehicles: list[Vehicle], *, misread: float, lost: float = 0.05, seed: int = 1) -> list[Track]:
    """All vehicles before one tracker, frame by frame, until the last has gone."""
    rng, tracker, ended = np.random.default_rng(seed), Tracker(), list[Track]()
    for i in range(9 * FPS):
        t_s = i / FPS
        reads = [r for v in vehicles if (r := v.read(t_s, rng, misread)) is not None and rng.random() >= lost]
        ended += tracker.update(FrameResult(reads, []), t_us=round(t_s * 1e6), sequence=i)
    return ended + tracker.flush()


def long_tracks(tracks: list[Track]) -> list[Track]:
    """Those that could become reads."""
    return [t for t in tracks if len(t.observations) > 1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("misread", [0.0, 0.1, 0.25])
@pytest.mark.parametrize("away", [True, False])
@pytest.mark.parametrize("x_m", [1.75, 4.75])
@pytest.mark.parametrize("mph", [15.0, 55.0, 80.0, 100.0])
def test_one_vehicle_is_one_track(mph: float, x_m: float, away: bool, misread: float, seed: int) -> None:
    tracks = drive([Vehicle("AB12345", x_m, mph, away)], misread=misread, seed=seed)
    assert len(tracks) == 1
    assert len(tracks[0].observations) >= 3


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("other", ["XKM7788", "AB12346"])
@pytest.mark.parametrize("mph", [30.0, 80.0])
def test_side_by_side_in_two_lanes_are_two_tracks(mph: float, other: str, seed: int) -> None:
    pair = [Vehicle("AB12345", 1.75, mph), Vehicle(other, 4.75, mph * 1.05)]
    tracks = drive(pair, misread=0.1, seed=seed)
    assert len(tracks) == 2
    for track in tracks:
        lanes = {(1228.0 - o.read.box[0]) / o.read.box[2] > 10.0 for o in track.observations}
        assert len(lanes) == 1


@pytest.mark.parametrize("seed", range(4))
def test_oncoming_traffic_does_not_take_over(seed: int) -> None:
    pair = [Vehicle("AB12345", 1.75, 80.0), Vehicle("XKM7788", 4.75, 80.0, away=False)]
    tracks = drive(pair, misread=0.1, seed=seed)
    assert len(tracks) == 2


@pytest.mark.parametrize("seed", range(4))
def test_followers_at_a_second_are_tracks_of_their_own(seed: int) -> None:
    row = [
        Vehicle(t, 1.75, 80.0, start_s=s) for t, s in (("AB12345", 0.0), ("AB12346", 0.9), ("XKM7788", 1.8))
    ]
    assert len(drive(row, misread=0.1, seed=seed)) == 3
