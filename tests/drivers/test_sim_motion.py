# SPDX-License-Identifier: Apache-2.0
"""What moves on the simulated road: queues, parked rows, the pole, rows read one after another, and the truth of it."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.errors import CameraLost
from drivers.sim.camera import open_sim
from drivers.sim.motion import kernel, smear
from drivers.sim.optics import Mount, View
from drivers.sim.places import before, plate_corners, post
from drivers.sim.scenario import load_scenario
from drivers.sim.sway import Sway, shifted
from drivers.sim.traffic import Scenario, Traffic, Vehicle
from drivers.sim.truth import visible_plates
from drivers.sim.waves import Wave
from drivers.sim.world import SimWorld

VIEW = View(1280, 720)
FAST: dict[str, Any] = {"pace": "max", "start_us": 0, "width": 640, "height": 360}


def passing(scenario: Scenario, seconds: float, step_s: float = 0.5) -> list[Vehicle]:
    traffic = Traffic(5, scenario)
    made = {v.number: v for step in range(int(seconds / step_s)) for v in traffic.present(step * step_s)}
    return [made[number] for number in sorted(made)]


def test_a_wave_and_its_inverse() -> None:
    wave = Wave(20.0, 0.4, 6.0)
    times = np.linspace(0.0, 100.0, 300)
    ways = [wave.way_m(float(t)) for t in times]
    assert all(b > a for a, b in itertools.pairwise(ways))
    assert [wave.when_s(way) for way in ways] == pytest.approx(list(times), abs=0.05)
    assert wave.way_m(8.0) - wave.way_m(0.0) < 0.05  # stands
    assert (wave.way_m(14.01) - wave.way_m(13.99)) / 0.02 == pytest.approx(6.0, rel=0.02)  # the fastest


def test_a_queue_stops_and_goes_and_nobody_runs_into_anybody() -> None:
    road = load_scenario("trailer-stop-and-go")
    near = [v for v in passing(road.traffic, 120.0) if v.near_lane]
    assert len(near) > 20
    speeds, gaps = [], []
    for at_s in np.arange(10.0, 120.0, 0.5):
        here = sorted(
            (v for v in near if v.enters_s <= at_s <= v.leaves_s), key=lambda v: -v.distance_m(at_s)
        )
        speeds += [(v.distance_m(at_s + 0.1) - v.distance_m(at_s)) / 0.1 for v in here]
        gaps += [
            ahead.distance_m(at_s) - behind.distance_m(at_s) - behind.body.length
            for ahead, behind in itertools.pairwise(here)
        ]
        assert [v.number for v in here] == sorted(v.number for v in here)
    assert min(gaps) > 1.0
    assert 0.2 < np.mean(np.array(speeds) < 0.05) < 0.6
    assert max(speeds) == pytest.approx(road.traffic.speed_mps[1], rel=0.05)


def test_vehicles_of_a_lane_keep_their_gap() -> None:
    scenario = Scenario(every_s=1.2, speed_mps=(12.0, 30.0), min_gap_m=10.0)
    lanes: dict[bool, list[Vehicle]] = {True: [], False: []}
    for vehicle in passing(scenario, 120.0):
        lanes[vehicle.near_lane].append(vehicle)
    for lane in lanes.values():
        for ahead, behind in itertools.pairwise(lane):
            for at_s in np.linspace(behind.enters_s, max(behind.enters_s, ahead.leaves_s), 9):
                gap = abs(ahead.distance_m(float(at_s)) - behind.distance_m(float(at_s)))
                assert gap > 10.0


def test_a_parked_row_stands_and_comes_again_each_lap() -> None:
    plan = replace(load_scenario("parked-lot-patrol").traffic, parked_cars=12, empty_share=0.0)
    traffic = Traffic(5, plan)
    lap_s = 12 * plan.stall_m / plan.patrol_mps
    first, again = ({v.number: v for v in traffic.present(t)} for t in (3 * lap_s, 4 * lap_s))
    assert set(first) == set(again)
    for number, vehicle in first.items():
        assert vehicle.plate == again[number].plate
        assert not vehicle.drives
        x, z = vehicle.place(3 * lap_s)
        later = vehicle.place(3 * lap_s + 0.5)
        assert z == later[1] == plan.parked_m
        assert x - later[0] == pytest.approx(plan.patrol_mps * 0.5)
    half = Traffic(5, replace(plan, parked_cars=400, empty_share=0.5))
    seen = {v.number for t in range(200) for v in half.present(t * 1.0)}
    assert 120 < len(seen) < 230


def test_rows_read_one_after_another_shear_what_moves() -> None:
    road = load_scenario("parked-lot-patrol")
    rolling, still = road.view, replace(road.view, mount=replace(road.camera, shutter="global"))
    sim = SimWorld(3, road)
    seen = next(p for t in range(20, 60) for p in sim.plates(t / 4) if p.visible)
    at_s = next(
        t / 4 for t in range(20, 60) if any(p.vehicle is seen.vehicle or p.visible for p in sim.plates(t / 4))
    )
    vehicle = next(p.vehicle for p in sim.plates(at_s) if p.visible)
    skewed, straight = plate_corners(rolling, vehicle, at_s), plate_corners(still, vehicle, at_s)
    speed_px = (plate_corners(still, vehicle, at_s + 0.01) - straight)[:, 0].mean() / 0.01
    shift = skewed[:, 0] - straight[:, 0]
    rows = straight[:, 1] / rolling.height - 0.5
    assert shift == pytest.approx(rows * rolling.mount.rolling_s * speed_px, abs=0.3)
    assert abs(shift[0] - shift[3]) > 0.5  # the plate's lower edge has gone on
    assert Mount(shutter="global", readout_ms=30.0).rolling_s == 0.0


def test_the_pole_swings_and_comes_to_rest() -> None:
    mount = Mount(gust_every_s=30.0, gust_mrad=2.0, sway_hz=2.0, sway_damping=0.05)
    sway = Sway(View(1280, 720, mount), 4)
    push = next(t for t in np.arange(0.0, 31.0, 0.05) if sway.at(float(t)) != (0, 0))
    early, late = (
        max(np.hypot(*sway.at(float(push + t))) for t in np.arange(start, start + 1.0, 0.02))
        for start in (0.0, 4.0)
    )
    assert 1.0 <= early <= 2.0e-3 * 1280 * 2.34 * 1.5
    assert late < 0.35 * early
    xs = [sway.at(float(push + t))[0] + sway.at(float(push + t))[1] for t in np.arange(0.0, 2.0, 0.01)]
    swings = np.flatnonzero(np.diff(np.sign([x for x in xs if x != 0])))
    assert 3 <= len(swings) + 1 <= 10  # 2 Hz: four half turns a second
    assert sway.at(12.3) == Sway(View(1280, 720, mount), 4).at(12.3)
    assert Sway(VIEW, 4).at(5.0) == (0, 0)


def test_the_picture_and_the_truth_swing_together() -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(6, 8)
    moved = shifted(picture, 2, -1)
    assert np.array_equal(moved[:-1, 2:], picture[1:, :-2])
    assert shifted(picture, 0, 0) is picture
    road = load_scenario("trailer-stop-and-go")
    sim, quiet = SimWorld(3, road), SimWorld(3, replace(road, camera=replace(road.camera, gust_every_s=0.0)))
    at_s = next(t / 10 for t in range(100, 600) if sim.shown(t / 10).shift != (0, 0) and sim.plates(t / 10))
    ours, theirs = sim.plates(at_s)[0], quiet.plates(at_s)[0]
    assert ours.corners - theirs.corners == pytest.approx(np.tile(sim.shown(at_s).shift, (4, 1)), abs=0.02)


def test_a_trace_is_as_long_as_speed_times_time_and_loses_no_light() -> None:
    line = kernel(np.array([10.0, 0.0]), 10.0)
    assert line.sum() == pytest.approx(1.0)
    assert line.sum(axis=0).astype(bool).sum() in (10, 11)
    frame = np.zeros((60, 80), np.uint8)
    frame[30, 40] = 250
    light = float((frame.astype(float) ** 2).sum())
    smear(frame, (slice(10, 50), slice(10, 70)), np.array([9.0, 0.0]))
    assert (frame.astype(float) ** 2).sum() == pytest.approx(light, rel=0.1)
    assert 9 <= (frame[30] > 20).sum() <= 13


def test_a_post_and_the_next_vehicle_hide_plates() -> None:
    road = load_scenario("trailer-stop-and-go")
    quad = post(road.view)
    assert quad is not None
    sim = SimWorld(3, road)
    hidden = [p for t in range(50, 250) for p in sim.plates(t / 4) if p.hidden]
    behind_post = [
        p
        for p in hidden
        if quad[:, 0].min() < p.corners[:, 0].mean() < quad[:, 0].max() and p.vehicle.near_lane
    ]
    assert behind_post
    assert len(behind_post) < len(hidden)
    assert not any(p.visible for p in hidden)


def test_what_has_no_plate_is_never_in_the_truth() -> None:
    sim = SimWorld(3, load_scenario("decoy-night"))
    seen = 0
    for step in range(2400):
        vehicles = sim._traffic.present(step / 4)
        seen += any(before(sim.view, v, step / 4) for v in vehicles)
        assert not visible_plates(sim.view, vehicles, step / 4)
    assert seen > 20
    assert not sim.plates(30.0)


def test_the_truth_tells_hidden_frames_and_parked_vehicles(tmp_path: Path) -> None:
    def truth(name: str, seconds: float) -> list[dict[str, Any]]:
        road = load_scenario(name)
        sim = SimWorld(3, road, truth_path=tmp_path / name)
        for step in range(int(seconds * 5)):
            sim.truth.see(sim._traffic.present(step / 5), step / 5, step, step, night=False)
        sim.close()
        return [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]

    queue = truth("trailer-stop-and-go", 60)
    assert sum(record["hidden_frames"] > 0 for record in queue) >= 3
    assert not any(record["parked"] for record in queue)
    parked = truth("parked-lot-patrol", 30)
    assert len(parked) > 20
    assert all(record["parked"] and record["max_plate_width_px"] > 60 for record in parked)


def test_an_unplugged_camera_goes_on_in_the_scripts_time() -> None:
    options = {**FAST, "faults": ".uu..", "fps": 5.0, "world": "cut", "seed": 4, "frames": 25}
    seen: list[Any] = []
    camera = open_sim(options)
    whole = open_sim({**options, "faults": "", "world": "whole"})
    frames = list(iter(lambda: whole.capture(1.0), None))
    while len(seen) < 25:
        try:
            frame = camera.capture(1.0)
            assert frame is not None
            seen.append(frame.sequence)
            assert np.array_equal(frame.pixels, frames[frame.sequence].pixels)
        except CameraLost:
            seen.append("lost")
            camera.close()
            camera = open_sim(options)  # as the eye does
    assert seen == [0, 1, 2, 3, 4] + ["lost"] * 10 + list(range(15, 25))
    assert camera.capture(1.0) is None
    camera.close()
    fresh = open_sim(options)  # not after a loss: from the start
    first = fresh.capture(1.0)
    assert first is not None
    assert first.sequence == 0
    fresh.close()


def test_pictures_out_of_focus_and_turned_away() -> None:
    camera = open_sim({**FAST, "faults": ".oa.", "fps": 2.0, "frames": 8, "day_seconds": 1000, "seed": 4})
    frames = [frame.pixels for frame in iter(lambda: camera.capture(1.0), None)]
    camera.close()

    def edges(picture: np.ndarray) -> float:
        return float(np.abs(np.diff(picture.astype(float), axis=1)).mean())

    assert edges(frames[2]) < 0.5 * edges(frames[1])
    away = np.abs(frames[4].astype(float) - frames[1].astype(float)).mean()
    usual = np.abs(frames[7].astype(float) - frames[1].astype(float)).mean()
    assert away > 1.5 * usual
    assert frames[4].std() > 10  # a picture all the same
