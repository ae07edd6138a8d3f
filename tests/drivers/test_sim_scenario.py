# SPDX-License-Identifier: Apache-2.0
"""Scenario files: all that ship load, and whatever is wrong in one is an error that names it."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import numpy as np
import pytest

from drivers.errors import BadOption
from drivers.sim.camera import open_sim
from drivers.sim.scenario import FOLDER, MAX_BYTES, Road, load_scenario, names, parse
from drivers.sim.sky import Daylight, clear_sky_lux
from drivers.sim.tables import BadScenario

SHIPPED = {
    "day-2-lanes",
    "dusk-rain",
    "decoy-night",
    "empty-night",
    "glare",
    "night-highway-70mph",
    "parked-lot-patrol",
    "trailer-stop-and-go",
}


def test_the_shipped_scenarios_all_load() -> None:
    assert set(names()) == SHIPPED
    for name in names():
        road = load_scenario(name)
        assert road.name == name
        assert road.title
        assert 0.5 <= road.minutes <= 60
    assert load_scenario("night-highway-70mph").speed_mph > 70
    assert load_scenario("empty-night").traffic.plateless_share == 1.0


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_every_key_of_a_shipped_file_is_in_the_road(name: str) -> None:
    road, data = load_scenario(name), tomllib.loads((FOLDER / f"{name}.toml").read_text())
    for key, value in data.items():
        if not isinstance(value, dict):
            assert getattr(road, key) == value
            continue
        for field, said in value.items():
            got = getattr(getattr(road, key), field)
            assert (list(got) if isinstance(got, tuple) else got) == said


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "minutes = 2\n[traffic]\nlisted = ['AB12345']\nspeed_mps = [10, 20.5]\n[weather]\nrain = 1\n"
    )
    road = load_scenario(path)
    assert (road.name, road.minutes, road.weather.rain) == ("mine", 2.0, 1.0)
    assert road.traffic.listed == ("AB12345",)
    assert road.traffic.speed_mps == (10.0, 20.5)
    assert parse("", "nothing").traffic == Road().traffic


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "minuts = 1",
            "unknown key 'minuts'; there are: camera, fps, lamp, light, minutes, title, traffic, weather",
        ),
        ("[weather]\nfog = 1", r"\[weather\]: unknown key 'fog'; there are: bloom, defocus_px, dirt,"),
        ("[traffic]\nday_seconds = 5", "unknown key 'day_seconds'"),
        ("[light]\nturns_s = 5", "unknown key 'turns_s'"),
        ("[weather]\nrain = 2", "rain must be from 0 to 1, not 2"),
        ("[weather]\nrain = nan", "rain must be from 0 to 1"),
        ("[weather]\nrain = true", "rain must be a number, not True"),
        ("[weather]\nrain = '1'", "rain must be a number"),
        ("[traffic]\nsigns = 1.5", "signs must be a whole number"),
        ("[traffic]\nspeed_mps = 5", "speed_mps must be two numbers"),
        ("[traffic]\nspeed_mps = [20, 10]", "the lowest, 20, is above the highest, 10"),
        ("[traffic]\nspeed_mps = [20, 46]", "speed_mps must be from 0.5 to 45"),
        ("[traffic]\nlisted = 'AB1'", "listed must be a list"),
        ("[camera]\nshutter = 'fast'", "shutter must be one of global, rolling, not 'fast'"),
        ("weather = 3", r"\[weather\] must be a table"),
        ("minutes = 0", "minutes must be from 0.05 to 1440"),
        ("fps = 500", "fps must be from 1 to 120"),
        ("title = 3", "title must be a text"),
        ("a = [", "not TOML"),
    ],
)
def test_what_is_wrong_is_named(text: str, told: str) -> None:
    with pytest.raises(BadScenario, match=told) as caught:
        parse(text, "mine")
    assert caught.value.permanent


def test_a_scenario_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        BadScenario, match=r"no scenario 'nite'; there are: day-2-lanes, decoy-night, dusk-rain"
    ):
        load_scenario("nite")
    with pytest.raises(BadScenario, match=r"no scenario '\.\./x'"):
        load_scenario("../x")
    with pytest.raises(BadScenario, match="cannot be read"):
        load_scenario(tmp_path / "none.toml")
    (tmp_path / "big.toml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(BadScenario, match="at most 65536 bytes"):
        load_scenario(tmp_path / "big.toml")
    (tmp_path / "raw.toml").write_bytes(b"\xff")
    with pytest.raises(BadScenario, match="not UTF-8"):
        load_scenario(tmp_path / "raw.toml")


def test_the_camera_takes_a_scenario_and_other_options_stand_in_for_its_keys() -> None:
    plain = open_sim({"scenario": "dusk-rain"})
    assert plain.world.road == load_scenario("dusk-rain")
    assert plain.capabilities().fps == 15.0
    other = open_sim(
        {
            "scenario": "dusk-rain",
            "width": 640,
            "height": 360,
            "fps": 4,
            "every_s": 9,
            "listed": ["AB1"],
            "day_seconds": 0,
        }
    )
    assert (other.world.view.width, other.capabilities().fps) == (640, 4.0)
    assert other.world.road.traffic.every_s == 9.0
    assert other.world.road.traffic.listed == ("AB1",)
    assert other.world.road.traffic.speed_mps == plain.world.road.traffic.speed_mps
    assert other.world.light(0.0).night
    for camera in (plain, other):
        camera.close()
    with pytest.raises(BadOption, match="no scenario"):
        open_sim({"scenario": "nowhere"})


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_every_scenario_gives_the_same_frames_by_seed(name: str) -> None:
    def shot(seed: int) -> list[np.ndarray]:
        camera = open_sim(
            {
                "scenario": name,
                "seed": seed,
                "width": 640,
                "height": 360,
                "pace": "max",
                "start_us": 0,
                "frames": 3,
                "fps": 1,
            }
        )
        frames = [frame.pixels for frame in iter(lambda: camera.capture(1.0), None)]
        camera.close()
        return frames

    first, again, other = shot(1), shot(1), shot(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[2], other[2])


def test_light_goes_from_sun_to_night_without_a_step() -> None:
    heights = np.arange(60, -30, -0.25)
    lux = [clear_sky_lux(float(height)) for height in heights]
    assert lux[0] > 1e5
    assert lux[-1] < 1e-3
    assert all(b <= a for a, b in itertools.pairwise(lux))
    assert max(a / b for a, b in itertools.pairwise(lux)) < 1.4
    assert clear_sky_lux(-6.0) == pytest.approx(3.4)
    light = Daylight(sun_elevation_deg=5.0, sun_deg_per_min=-1.0, street_lux=1.0)
    assert [light.is_night(minute * 60.0) for minute in (0, 4, 5, 6, 12)] == [False, False, False, True, True]
    assert light.sun_deg(300.0) == 0.0
