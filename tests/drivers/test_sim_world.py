# SPDX-License-Identifier: Apache-2.0
"""The simulated road: determinism, truth, light, and commands that change the next frame."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from drivers.errors import CameraLost, CameraTimeout
from drivers.registry import open_illuminator
from drivers.sim.camera import SimCamera, open_sim
from drivers.sim.designs import DESIGNS, fits, listed_plate, random_plate, separated
from drivers.sim.glyphs import DRAWABLE
from drivers.sim.optics import DAY_REFERENCE, View
from drivers.sim.plates import HEIGHT_PX, WIDTH_PX, draw_plate
from drivers.sim.traffic import NEAREST_M, Scenario, Traffic
from drivers.sim.truth import MIN_VISIBLE_PX, visible_plates
from drivers.types import Exposure, Frame

FAST: dict[str, Any] = {"pace": "max", "start_us": 1_700_000_000_000_000, "fps": 5.0}
SMALL = {"width": 640, "height": 360}


def _run(options: dict[str, Any]) -> tuple[list[Frame], SimCamera]:
    camera = open_sim({**FAST, **options})
    frames = []
    while (frame := camera.capture(1.0)) is not None:
        frames.append(frame)
    camera.close()
    return frames, camera


def _truth(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    options = {**SMALL, "duration_s": 5, "day_seconds": 3}
    first, _ = _run({**options, "truth_path": tmp_path / "a"})
    again, _ = _run({**options, "truth_path": tmp_path / "b"})
    other, _ = _run({**options, "truth_path": tmp_path / "c", "seed": 2})
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, again, strict=True))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert not np.array_equal(first[-1].pixels, other[-1].pixels)


def test_a_minute_has_its_vehicles_half_by_night(tmp_path: Path) -> None:
    world = open_sim(
        {**FAST, "truth_path": tmp_path / "truth", "listed": ["AB12345", "XYZ987@WI"], "fps": 15.0}
    )
    view, traffic = world.world.view, Traffic(1, world.world.road.traffic)
    for step in range(60 * 15):  # the same schedule without drawing
        at_s = step / 15
        world.world.truth.see(
            traffic.present(at_s), at_s, step, step, night=world.world.road.light.is_night(at_s)
        )
    world.close()
    truth = _truth(tmp_path / "truth")
    assert 14 <= len(truth) <= 20
    assert 5 <= sum(record["night"] for record in truth) <= len(truth) - 5
    listed = [record for record in truth if record["plate"] in ("AB12345", "XYZ987")]
    assert [record["plate"] for record in listed[:2]] == ["AB12345", "XYZ987"]
    assert len(listed) >= 3
    assert listed[1]["state"] == "WI"
    for record in truth:
        assert re.fullmatch(r"[A-Z0-9]{2,8}", record["plate"])
        assert record["max_plate_width_px"] >= (60 if record["complete"] else MIN_VISIBLE_PX)
        assert record["visible_frames"] >= (8 if record["complete"] else 1)
        corners = np.array(record["corners"])
        assert corners.shape == (4, 2)
        assert (corners >= 0).all()
        assert (corners < [view.width, view.height]).all()
        assert corners[0, 0] < corners[1, 0]
        assert corners[0, 1] < corners[3, 1]
        assert record["first_seen_us"] <= record["last_seen_us"]
    assert max(record["max_plate_width_px"] for record in truth) > 140


def test_the_truth_is_flushed_at_close_in_the_middle_of_a_pass(tmp_path: Path) -> None:
    _, camera = _run({"duration_s": 6.0, "truth_path": tmp_path / "truth"})
    records = _truth(tmp_path / "truth")
    assert records
    assert [record["vehicle_id"] for record in records] == [s.vehicle_id for s in camera.world.truth.finished]
    assert not records[-1]["complete"]


def test_the_plate_is_where_the_truth_says(tmp_path: Path) -> None:
    frames, camera = _run({"duration_s": 10, "day_seconds": 1000, "fps": 10.0})
    record = max(camera.world.truth.finished, key=lambda sight: sight.max_plate_width_px)
    pixels = frames[record.best_frame].pixels
    mask = np.zeros(pixels.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.array(record.corners).astype(np.int32), (255,))
    ring = cv2.dilate(mask, np.ones((15, 15), np.uint8)) - cv2.dilate(mask, np.ones((5, 5), np.uint8))
    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)
    assert np.std(grey[mask > 0]) > np.std(grey[ring > 0]) + 15  # characters inside, plain body around


def test_exposure_changes_the_next_frame() -> None:
    camera = open_sim({**FAST, **SMALL, "day_seconds": 1000})
    bright = camera.capture(1.0)
    camera.configure(Exposure(DAY_REFERENCE.exposure_us // 8, 1.0))
    dark = camera.capture(1.0)
    assert bright is not None
    assert dark is not None
    assert dark.exposure == Exposure(62, 1.0)
    assert dark.pixels.mean() < 0.55 * bright.pixels.mean()
    assert not dark.ir
    camera.close()


def test_gain_brings_noise() -> None:
    camera = open_sim({**FAST, **SMALL, "day_seconds": 1000})

    def grain(exposure: Exposure) -> float:
        camera.configure(exposure)
        frames = [camera.capture(1.0) for _ in range(2)]
        pictures = [frame.pixels[300:, 450:].astype(float) for frame in frames if frame]
        return float(np.std(pictures[0] - pictures[1]))

    assert grain(Exposure(50, 10.0)) > 2 * grain(Exposure(500, 1.0))
    camera.close()


def test_the_lamp_lights_the_night_and_only_the_night() -> None:
    lamp = open_illuminator("sim", {"world": "lamp-and-road"})
    camera = open_sim({**FAST, **SMALL, "world": "lamp-and-road", "day_seconds": 0.0})
    dark = camera.capture(1.0)
    lamp.set_power(1.0)
    lit = camera.capture(1.0)
    lamp.set_power(0.25)
    dim = camera.capture(1.0)
    assert dark is not None
    assert lit is not None
    assert dim is not None
    assert (dark.ir, lit.ir, dim.ir) == (False, True, True)
    assert dark.pixels.mean() < dim.pixels.mean() < lit.pixels.mean()
    assert np.ptp(lit.pixels.reshape(-1, 3).astype(int), axis=1).max() == 0  # grey
    lamp.close()
    camera.close()


def test_without_an_illuminator_the_lamp_switches_itself() -> None:
    frames, _ = _run({"world": "alone", "duration_s": 2.0, "day_seconds": 1.0, **SMALL})
    assert [frame.ir for frame in frames] == [False] * 5 + [True] * 5


def test_speed_and_shutter_smear_the_plate() -> None:
    def sharpness(exposure_us: int) -> float:
        camera = open_sim({**FAST, "day_seconds": 1000, "seed": 3})
        camera.configure(Exposure(exposure_us, 500 / exposure_us))
        world, index = camera.world, 0
        while not (
            seen := [
                (v, c)
                for v, c in visible_plates(world.view, world._traffic.present(index / 30), index / 30)
                if c[1, 0] - c[0, 0] > 120
            ]
        ):
            index += 1
        (x0, y0), (x1, y1) = (
            edge.astype(int).tolist() for edge in (seen[0][1].min(axis=0), seen[0][1].max(axis=0))
        )
        pixels, _ = world.frame(index / 30, index, 0)
        grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.0), np.uint8)  # less of the noise
        return float(cv2.Laplacian(grey[y0:y1, x0:x1], cv2.CV_64F).std())

    assert sharpness(250) > 1.3 * sharpness(4000)


@pytest.mark.parametrize(("letter", "expected"), [("u", CameraLost), ("t", CameraTimeout)])
def test_scripted_loss_and_recovery(letter: str, expected: type[Exception]) -> None:
    camera = open_sim({**FAST, "faults": f".{letter}.", "width": 640, "height": 360})
    seen: list[str] = []
    for _ in range(15):
        try:
            frame = camera.capture(1.0)
            seen.append("frame" if frame else "end")
        except expected:
            seen.append("fault")
    assert seen == ["frame"] * 5 + ["fault"] * 5 + ["frame"] * 5
    camera.close()


def test_scripted_pictures() -> None:
    frames, _ = _run({"faults": ".fdb.", "duration_s": 5, "width": 640, "height": 360})
    assert all(np.array_equal(frame.pixels, frames[4].pixels) for frame in frames[5:10])
    assert not np.array_equal(frames[3].pixels, frames[4].pixels)
    assert frames[12].pixels.max() < 10
    assert frames[17].pixels.min() > 240
    assert 20 < frames[-1].pixels.mean() < 235


def test_serials_have_their_states_formats() -> None:
    rng = np.random.default_rng(1)
    seen = [random_plate(rng) for _ in range(500)]
    assert all(fits(design, serial) for design, serial in seen)
    assert not any(set(serial) & set("IOQ") for _, serial in seen)
    assert len({design.state for design, _ in seen}) >= 10
    illinois = next(design for design in DESIGNS if design.state == "IL")
    assert separated(illinois, "AB12345") == "AB 12345"
    assert separated(illinois, "VANITY") == "VANITY"


def test_listed_plates_find_a_design() -> None:
    assert listed_plate("AB12345")[0].state == "IL"
    assert listed_plate("abc1234@oh") == (next(d for d in DESIGNS if d.state == "OH"), "ABC1234")


def test_every_text_on_a_plate_can_be_drawn() -> None:
    for design in DESIGNS:
        assert set(design.name + design.slogan + design.pattern) <= DRAWABLE


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.state)
def test_a_plates_serial_stands_out_by_day_and_under_the_lamp(design: Any) -> None:
    serial = separated(
        design, "".join(c for c in design.pattern if c.isalnum()).replace("L", "H").replace("D", "8")
    )
    pictures = draw_plate(design, serial.replace(" ", "").replace("-", ""), np.random.default_rng(4))
    assert pictures.day[0].shape == (HEIGHT_PX, WIDTH_PX, 3)
    by_day = np.asarray(cv2.cvtColor(pictures.day[0], cv2.COLOR_BGR2GRAY), np.uint8)
    for picture in (by_day, pictures.night[0]):
        middle = picture[HEIGHT_PX // 3 : 2 * HEIGHT_PX // 3, WIDTH_PX // 10 : -WIDTH_PX // 10]
        if design.share > 0:
            assert np.percentile(middle, 90) - np.percentile(middle, 5) > 90


def test_the_view_sees_a_plate_from_forty_to_two_hundred_pixels() -> None:
    view = View(1280, 720)

    def width(z: float) -> float:
        ends = view.project(np.array([[-1.9, 0.85, z], [-1.5952, 0.85, z]]))
        return float(np.linalg.norm(ends[1] - ends[0]))

    assert width(24.0) < 42.0
    assert width(4.1) > 190.0


def test_ground_and_projection_agree() -> None:
    view = View(320, 180)
    x, z = view.ground()
    points = np.array([[x[r, c], 0.0, z[r, c]] for r, c in ((60, 40), (120, 200), (179, 319))], dtype=float)
    assert view.project(points) == pytest.approx(np.array([[40, 60], [200, 120], [319, 179]]), abs=0.01)


def test_traffic_keeps_its_distance_and_comes_in_order() -> None:
    traffic = Traffic(9, Scenario(every_s=3.5))
    made = {v.number: v for step in range(400) for v in traffic.present(step * 0.5)}
    ordered = [made[number] for number in sorted(made)]
    gaps = np.diff([vehicle.central_s for vehicle in ordered])
    assert 3.2 < gaps.mean() < 3.8
    assert gaps.min() > 2.5
    assert {vehicle.near_lane for vehicle in ordered} == {True, False}
    for vehicle in ordered:
        assert vehicle.distance_m(
            vehicle.enters_s if vehicle.near_lane else vehicle.leaves_s
        ) == pytest.approx(NEAREST_M)
