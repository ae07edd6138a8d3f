# SPDX-License-Identifier: Apache-2.0
"""Weather, dirt, stills and plate-free scenes of the simulated road."""

from __future__ import annotations

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest

from drivers.sim.designs import DESIGNS
from drivers.sim.distractors import plate_free_scenes
from drivers.sim.optics import View
from drivers.sim.plates import draw_plate
from drivers.sim.stills import stills
from drivers.sim.traffic import Scenario
from drivers.sim.truth import MIN_VISIBLE_PX
from drivers.sim.weather import CLEAR, SEVERITIES, Weather, mud
from drivers.sim.world import SimWorld

VIEW = View(640, 360)


def picture(weather: Weather, at_s: float = 4.0, *, night: bool = False) -> np.ndarray:
    scenario = Scenario(every_s=1.0, day_seconds=0.0 if night else 1e6)
    return SimWorld(3, scenario, view=VIEW, weather=weather).frame(at_s, 7, 0)[0]


def grainless(weather: Weather) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(picture(weather), (0, 0), 1.0), np.float32)


def test_weather_is_repeatable_and_a_clear_road_has_none() -> None:
    bad = SEVERITIES[3]
    assert np.array_equal(picture(bad), picture(bad))
    assert not np.array_equal(picture(bad), picture(CLEAR))
    assert SEVERITIES[0] == CLEAR == Weather()


def test_rain_is_another_in_every_frame_and_veils() -> None:
    world = SimWorld(3, Scenario(every_s=3600.0, day_seconds=1e6), view=VIEW, weather=Weather(rain=0.8))
    first, second = (world.frame(1.0, index, 0)[0].astype(int) for index in (1, 2))
    assert (np.abs(first - second) > 30).sum() > 500
    assert grainless(Weather(rain=0.8)).std() < 0.9 * grainless(CLEAR).std()


def test_defocus_takes_sharpness() -> None:
    def edges(weather: Weather) -> float:
        return float(cv2.Laplacian(grainless(weather), cv2.CV_32F).std())

    assert edges(Weather(defocus_px=2.0)) < 0.6 * edges(CLEAR)


def test_overdriven_light_spreads() -> None:
    frame = np.zeros((360, 640), np.uint8)
    frame[170:190, 300:340] = 255
    Weather(bloom=0.3).lay(frame, 500, np.random.default_rng(1))
    assert frame[165, 320] > 10
    assert frame[20, 20] == 0
    dim = np.full((360, 640), 200, np.uint8)
    Weather(bloom=0.3).lay(dim, 500, np.random.default_rng(1))
    assert (dim == 200).all()


@pytest.mark.parametrize("light", ["day", "night"])
def test_dirt_takes_contrast_from_a_plate(light: str) -> None:
    def contrast(dirt: float) -> float:
        pictures = draw_plate(DESIGNS[0], "AB12345", np.random.default_rng(2), dirt=dirt)
        texture = getattr(pictures, light)[0]
        return float(texture[120:230, 60:-60].std())

    assert contrast(0.7) < 0.75 * contrast(0.0)
    assert contrast(0.0) == contrast(0.0)


def test_mud_is_a_cover_and_more_is_more() -> None:
    little, much = (mud((90, 180), amount, np.random.default_rng(1)) for amount in (0.1, 0.7))
    assert little.min() >= 0
    assert much.max() <= 0.95
    assert much.mean() > 3 * little.mean()


def test_the_world_tells_where_its_plates_are() -> None:
    world = SimWorld(3, Scenario(every_s=1.0, day_seconds=1e6), view=VIEW)
    seen = list(itertools.chain.from_iterable(world.plates(step / 5) for step in range(10, 40)))
    assert any(plate.visible for plate in seen)
    assert all(not (plate.visible and plate.hidden) for plate in seen)
    for plate in seen:
        if plate.visible:
            assert np.linalg.norm(plate.corners[1] - plate.corners[0]) >= MIN_VISIBLE_PX


def test_stills_are_repeatable_and_show_a_plate_each_once() -> None:
    made = list(stills(5, 2, night=True))
    assert np.array_equal(made[0].pixels, next(stills(5, 2, night=True)).pixels)
    assert len(made) == 2
    assert all(any(plate.visible for plate in still.plates) for still in made)
    assert all(still.night and still.lamp > 0 for still in made)
    by_road: dict[int, list[int]] = {}
    for still in made:
        by_road.setdefault(still.severity, []).append(
            next(p.vehicle.number for p in still.plates if p.visible)
        )
    assert all(len(set(numbers)) == len(numbers) for numbers in by_road.values())


def test_plate_free_scenes_are_repeatable_and_full_of_things() -> None:
    (first, night), (second, _) = itertools.islice(plate_free_scenes(4, 2), 2)
    (again, _), *_ = itertools.islice(plate_free_scenes(4, 2), 1)
    assert np.array_equal(first, again)
    assert first.shape == (720, 1280, 3)
    assert not night
    assert not np.array_equal(first, second)


def test_severities_only_get_worse() -> None:
    for milder, harder in itertools.pairwise(SEVERITIES):
        assert replace(milder, rain=harder.rain) != harder
        assert harder.rain >= milder.rain
        assert harder.defocus_px > milder.defocus_px
        assert harder.dirt > milder.dirt
