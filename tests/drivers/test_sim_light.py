# SPDX-License-Identifier: Apache-2.0
"""The simulated light: what the lamp, the filter, the strobe, the air and the sun do to the next frame."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from drivers.sim.air import Air, sun_pixel, sun_veil
from drivers.sim.light import Light, auto_exposure, lamp_lux, response, watts_per_sr
from drivers.sim.lines import LampLine, Wires, filter_line, lamp_line, photo_line, wires
from drivers.sim.optics import BESIDE, DAY_REFERENCE, NIGHT_REFERENCE, Mount, View
from drivers.sim.scenario import Road, load_scenario, plain
from drivers.sim.sensor import Mixer
from drivers.sim.shading import Shading
from drivers.sim.sky import Daylight
from drivers.sim.traffic import Scenario
from drivers.sim.weather import Weather
from drivers.sim.world import SimWorld
from drivers.types import Exposure

VIEW = View(640, 360)
QUIET = View(640, 360, Mount(read_noise_e=0.0, full_well_e=100_000.0))
NIGHT = plain(Scenario(every_s=1.0, day_seconds=0.0))
DAY = plain(Scenario(every_s=1.0, day_seconds=1e9))
POINT = (-1.75, 0.8, 9.0)


def world(road: Road, **changes: Any) -> SimWorld:
    return SimWorld(3, replace(road, **changes), view=QUIET)


def mean(sim: SimWorld, at_s: float = 4.0, index: int = 1) -> float:
    return float(sim.frame(at_s, index, 0)[0].mean())


@pytest.mark.parametrize("road", [DAY, NIGHT], ids=["day", "night"])
def test_exposure_and_gain_change_the_next_frame_as_the_root_of_the_light(road: Road) -> None:
    sim = world(road)
    reference = DAY_REFERENCE if road is DAY else NIGHT_REFERENCE
    sim.exposure = reference
    first = mean(sim)
    sim.exposure = replace(reference, exposure_us=reference.exposure_us // 4)
    assert mean(sim) == pytest.approx(first / 2, rel=0.2)
    sim.exposure = Exposure(reference.exposure_us // 4, reference.gain * 4)
    assert mean(sim) == pytest.approx(first, rel=0.2)


def test_lamp_power_changes_the_next_frame_by_night() -> None:
    sim = world(NIGHT, light=Daylight(sun_elevation_deg=-20, street_lux=0.0))
    levels = []
    for power in (0.0, 0.25, 1.0, 0.25):
        sim.lamp.power = power
        levels.append(mean(sim))
    assert levels[0] < levels[1] < levels[2]
    assert levels[3] == levels[1]


def test_the_loop_closes() -> None:
    """A controller that sees nothing but pictures brings a plate to the grey it wants, by gain and by lamp."""
    sim = world(NIGHT)
    at_s, plate = next(
        (step / 10, plates[0])
        for step in range(20, 200)
        if (plates := [p for p in sim.plates(step / 10) if p.visible and p.vehicle.near_lane])
    )
    (x0, y0), (x1, y1) = plate.corners.min(axis=0).astype(int), plate.corners.max(axis=0).astype(int)

    def sheet() -> float:
        return float(np.percentile(sim.frame(at_s, 1, 0)[0][y0:y1, x0:x1, 0], 80))

    sim.lamp.power, exposure = 1.0, Exposure(400, 1.0)
    for _ in range(12):
        sim.exposure = exposure
        exposure = replace(exposure, gain=min(16.0, exposure.gain * (180 / max(sheet(), 1.0)) ** 2))
    assert sheet() == pytest.approx(180, abs=12)
    sim.exposure = Exposure(1000, 8.0)
    for _ in range(12):
        sim.lamp.power = min(1.0, sim.lamp.power * (180 / sheet()) ** 2)
    assert sheet() == pytest.approx(180, abs=12)
    assert sim.lamp.power < 1.0


def test_the_lamps_light_falls_with_the_square_of_the_distance_and_with_its_beam() -> None:
    axis = VIEW.rotation()[2]
    near, far = (float(lamp_lux(BESIDE, VIEW, VIEW.eye + axis * m)) for m in (5.0, 10.0))
    assert near / far == pytest.approx(4.0)
    turned = Mount(yaw_left_deg=ROADSIDE_YAW + BESIDE.half_angle_deg)
    edge = float(lamp_lux(BESIDE, View(640, 360, turned), VIEW.eye + axis * 10.0))
    assert edge == pytest.approx(far / 2, rel=0.02)
    assert watts_per_sr(replace(BESIDE, power_w=25.0)) == pytest.approx(2 * watts_per_sr(BESIDE))


ROADSIDE_YAW = Mount().yaw_left_deg


def test_a_lamp_that_nobody_sees_needs_more_light() -> None:
    assert response(850) == pytest.approx(1.0)
    assert 0.3 < response(940) < 0.6
    assert all(a > b for a, b in itertools.pairwise(response(nm) for nm in range(700, 1001, 50)))
    visible, hidden = world(NIGHT), world(NIGHT, lamp=replace(BESIDE, wavelength_nm=940.0))
    assert mean(hidden) < mean(visible)


def test_a_plate_sends_the_lamp_back_and_the_sun_like_paint() -> None:
    def ratio(light: Light, *, grey: bool) -> float:
        shading = Shading(VIEW, BESIDE, Air(50_000.0, BESIDE), light)
        return (shading.plate(POINT, grey=grey) / shading.paint(POINT, grey=grey)) ** 2

    night = Light(night=True, lamp=1.0, exposure=NIGHT_REFERENCE, lux=0.0, filter_in=False)
    assert ratio(night, grey=True) == pytest.approx(np.pi * BESIDE.retro_cd_lx_m2)
    day = Light(night=False, lamp=0.0, exposure=DAY_REFERENCE)
    assert ratio(day, grey=False) == pytest.approx(1.0)
    sheet = Shading(VIEW, BESIDE, Air(50_000.0, BESIDE), night).plate(POINT, grey=True)
    assert sheet == pytest.approx(1.0, abs=0.2)  # what NIGHT_REFERENCE is for


def test_light_fades_from_day_into_night_without_a_step() -> None:
    sim = world(plain(Scenario(every_s=3600.0)), light=Daylight(sun_elevation_deg=8.0, sun_deg_per_min=-12.0))
    sim.wires.filter.filter_in, sim.lamp.power = True, 0.0
    sim.exposure = DAY_REFERENCE
    levels = [mean(sim, step) for step in range(0, 70, 2)]
    assert levels[0] > 15 * max(levels[-1], 0.5)
    assert max(a - b for a, b in itertools.pairwise(levels)) < 0.2 * levels[0]
    assert min(a - b for a, b in itertools.pairwise(levels)) > -1.0


def test_the_filter_makes_the_difference_between_colour_and_grey() -> None:
    dusk = Daylight(sun_elevation_deg=-5.5, street_lux=0.0)
    sim = world(DAY, light=dusk)
    sim.exposure, sim.lamp.power = Exposure(4000, 8.0), 1.0

    def colourful(*, filter_in: bool) -> tuple[float, bool]:
        sim.wires.filter.filter_in = filter_in
        pixels, light = sim.frame(4.0, 1, 0)
        return float(np.ptp(pixels.astype(int), axis=2).mean()), light.ir

    inside, outside = colourful(filter_in=True), colourful(filter_in=False)
    assert not inside[1]
    assert outside[1]
    lamp = sim.frame(4.0, 1, 0)[0].mean()
    sim.lamp.power = 0.0
    assert sim.frame(4.0, 1, 0)[0].mean() < lamp  # the lamp is seen without the filter
    sim.wires.filter.filter_in = True
    dark = sim.frame(4.0, 1, 0)[0]
    sim.lamp.power = 1.0
    assert np.array_equal(sim.frame(4.0, 1, 0)[0], dark)  # and not with it
    sim.road = replace(sim.road, light=Daylight(sun_elevation_deg=-15.0, street_lux=0.0))
    assert colourful(filter_in=False)[0] == 0.0


def test_nobody_drives_the_lines_then_the_world_does() -> None:
    day, night = world(DAY).light(0.0), world(NIGHT).light(0.0)
    assert (day.filter_in, day.lamp, day.ir) == (True, 0.0, False)
    assert (night.filter_in, night.lamp, night.ir) == (False, 1.0, True)
    sim = SimWorld(1, NIGHT, view=VIEW, wires=wires("wired"))
    lamp_line("wired").power, filter_line("wired").filter_in = 0.5, True
    assert not sim.light(0.0).ir
    filter_line("wired").filter_in = False
    assert sim.light(0.0).lamp == 0.5
    sim.frame(0.0, 0, 0)
    assert photo_line("wired").lux == pytest.approx(NIGHT.light.lux(0.0))


def test_a_strobe_in_step_lights_the_exposure_and_one_out_of_step_lights_less() -> None:
    in_step = LampLine(1.0, pulse_us=500.0)
    assert in_step.lit_share(0.0, 500.0) == 1.0
    assert in_step.lit_share(7.123, 1000.0) == 0.5
    assert LampLine(1.0, pulse_us=500.0, delay_us=400.0).lit_share(0.0, 500.0) == pytest.approx(0.2)
    assert LampLine(1.0, pulse_us=500.0, delay_us=600.0).lit_share(0.0, 500.0) == 0.0
    free = LampLine(1.0, pulse_us=500.0, rate_hz=29.171)
    shares = [free.lit_share(frame / 30.0, 500.0) for frame in range(1000)]
    assert max(shares) > 0.9
    assert np.mean(shares) == pytest.approx(500e-6 * 29.171, rel=0.3)
    fast = LampLine(1.0, pulse_us=100.0, rate_hz=5000.0)  # a dimmed lamp: half of the time, whenever
    assert [fast.lit_share(t / 997, 1000.0) for t in range(5)] == pytest.approx([0.5] * 5)
    assert LampLine(1.0).lit_share(0.0, 500.0) == 1.0


def test_a_strobe_out_of_step_darkens_the_next_frame() -> None:
    road = plain(Scenario(every_s=3600.0, day_seconds=0.0))
    sim = SimWorld(3, road, view=QUIET, wires=Wires(LampLine(1.0, pulse_us=1000.0)))
    sim.exposure = NIGHT_REFERENCE
    lit = mean(sim)
    sim.lamp.delay_us = 900.0
    assert mean(sim) < 0.6 * lit
    assert sim.light(4.0).smear_us == pytest.approx(100.0)  # and leaves a shorter trace
    road = load_scenario("night-highway-70mph")
    assert SimWorld(1, road, view=VIEW).light(0.0).lamp == pytest.approx(0.8)  # 800 of 1000 us


def test_fog_takes_contrast_by_distance() -> None:
    air = Air(200.0, BESIDE)
    assert air.through(200.0) == pytest.approx(0.02, rel=0.01)
    hazy, lamp = air.own(np.array([3.0, 10.0, 50.0, 300.0]))
    assert all(a < b for a, b in itertools.pairwise(hazy))
    assert all(a <= b for a, b in itertools.pairwise(lamp))
    assert lamp[3] - lamp[1] < lamp[1] - lamp[0]  # most of what comes back comes from near the lamp
    clear, foggy = (world(DAY, weather=Weather(visibility_m=m)) for m in (50_000.0, 60.0))

    def contrast(sim: SimWorld, rows: slice) -> float:
        return float(sim.frame(0.0, 1, 0)[0][rows].astype(float).std())

    near, far = slice(260, 350), slice(45, 80)
    assert contrast(foggy, near) / contrast(clear, near) > 1.5 * contrast(foggy, far) / contrast(clear, far)


def test_fog_shines_in_the_lamps_light() -> None:
    clear, foggy = (world(NIGHT, weather=Weather(visibility_m=m)) for m in (50_000.0, 80.0))
    for sim in (clear, foggy):
        sim.exposure = Exposure(1000, 8.0)
    dark = slice(0, 15)  # the sky, which no lamp lights
    assert foggy.frame(0.0, 1, 0)[0][dark].mean() > 3 * max(1.0, clear.frame(0.0, 1, 0)[0][dark].mean())


def test_a_low_sun_veils_what_is_around_it() -> None:
    ahead = sun_pixel(VIEW, 9.0, -6.0)
    assert ahead is not None
    assert sun_pixel(VIEW, 9.0, 170.0) is None
    veil = sun_veil(VIEW, ahead, 20_000.0, 0.5)
    corners = veil[10, 600], veil[350, 20]
    assert corners[0] > 3 * corners[1] > 0
    glaring = load_scenario("glare")
    clean = replace(glaring, weather=replace(glaring.weather, glare=0.0))
    frames = [SimWorld(3, road, view=VIEW).frame(0.5, 1, 0)[0].astype(float) for road in (glaring, clean)]
    assert frames[0].mean() > frames[1].mean() + 5
    assert frames[0][150:].std() < frames[1][150:].std()


def test_rear_plates_lie_in_shade_with_the_sun_ahead() -> None:
    ahead, behind = (Daylight(sun_elevation_deg=20.0, sun_azimuth_deg=az).facing(0.0) for az in (0.0, 150.0))
    assert ahead < 0.4
    assert behind > 1.0
    assert Daylight(sun_elevation_deg=20.0, cloud=0.9).facing(0.0) < 0.7  # no sun, no shadow


def test_a_camera_that_nobody_tells_exposes_by_itself_within_bounds() -> None:
    assert auto_exposure(50_000.0, 33_000) == DAY_REFERENCE
    assert auto_exposure(1.0, 33_000) == NIGHT_REFERENCE
    assert auto_exposure(1.0, 200).exposure_us == 200
    assert auto_exposure(100_000.0, 33_000).exposure_us == 250


def test_lights_add_as_squares() -> None:
    mixer = Mixer()
    grey = np.full((4, 6), 30, np.uint8)
    veil = np.full((4, 6), 40 * 40, np.uint16)
    assert (mixer.add(None, grey, veil) == 50).all()
    colour = np.dstack([np.full((4, 6), level, np.uint8) for level in (0, 40, 255)])
    assert mixer.add(colour, grey, None)[0, 0].tolist() == [30, 50, 255]
    assert mixer.add(colour, None, None) is colour


def test_noise_is_shot_noise_in_the_light_and_read_noise_in_the_dark() -> None:
    def spread(level_lux: float, gain: float) -> float:
        road = plain(Scenario(every_s=3600.0))
        road = replace(road, light=Daylight(sun_elevation_deg=-30.0, street_lux=level_lux))
        sim = SimWorld(3, road, view=VIEW)
        sim.wires.filter.filter_in, sim.exposure = True, Exposure(500, gain)
        first, second = (sim.frame(0.0, index, 0)[0].astype(float)[250:, 100:300] for index in (1, 2))
        return float(np.std(first - second) / np.sqrt(2))

    bright, louder = spread(50_000.0, 1.0), spread(50_000.0 / 16, 16.0)
    assert bright == pytest.approx(127.5 / 100.0, rel=0.3)  # 127.5 / sqrt(10 000 electrons)
    assert louder == pytest.approx(4 * bright, rel=0.3)
    assert spread(10.0, 16.0) > 1.2 * louder


def test_a_flash_under_a_rolling_shutter_lights_only_the_rows_that_are_open() -> None:
    line = LampLine(1.0, pulse_us=1000.0)
    assert [line.lit_share(0.0, 1000.0, late_us=late) for late in (0.0, 500.0, 1500.0)] == [1.0, 0.5, 0.0]
    road = plain(Scenario(every_s=3600.0, day_seconds=0.0))
    rolling = Mount(shutter="rolling", readout_ms=15.0, read_noise_e=0.0)
    halves = {}
    for name, mount in (("rolling", rolling), ("global", replace(rolling, shutter="global"))):
        sim = SimWorld(3, road, view=View(640, 360, mount), wires=Wires(LampLine(1.0, pulse_us=4000.0)))
        sim.exposure = Exposure(8000, 8.0)
        pixels = sim.frame(4.0, 1, 0)[0].astype(float)
        halves[name] = pixels[60:150].mean() / pixels[300:].mean()
    assert halves["rolling"] > 2.0 * halves["global"]
    steady = SimWorld(3, road, view=View(640, 360, rolling), wires=Wires(LampLine(1.0)))
    assert steady.light(4.0).rows == ()
