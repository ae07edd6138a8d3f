# SPDX-License-Identifier: Apache-2.0
"""Exposure for plates, with the loop really closed: each command acts on a later frame of the simulated road."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from drivers.sim.optics import View
from drivers.sim.scenario import load_scenario
from drivers.sim.traffic import Scenario
from drivers.sim.world import LampLine, SimWorld
from drivers.types import CameraCaps, Exposure, Frame, FrameMetadata, IlluminatorState
from firmware.exposure import BAND, MOST_LONG, Command, ExposureControl
from firmware.exposure_settings import ExposureSettings
from tests.firmware.light_loops import APPLIED, CAPS, FPS, FlatLoop, Loop

CONVERGED_FRAMES = 30  # from any start, with three frames of delay


def road_loop(
    *,
    day_seconds: float,
    seed: int = 3,
    delay: int = 2,
    settings: ExposureSettings | None = None,
    **scenario: object,
) -> Loop:
    given: dict[str, object] = {"every_s": 1.2, "speed_mps": (22.0, 26.0)} | scenario
    world = SimWorld(
        seed,
        Scenario(day_seconds=day_seconds, **given),
        view=View(640, 360),
        lamp=LampLine(0.0),  # type: ignore[arg-type]
    )
    return Loop(world, ExposureControl(CAPS, settings or ExposureSettings()), delay)


def day_loop(**scenario: object) -> Loop:
    return road_loop(day_seconds=1e9, **scenario)  # type: ignore[arg-type]


def night_loop(**scenario: object) -> Loop:
    return road_loop(day_seconds=0.0, **scenario)  # type: ignore[arg-type]


def in_band(loop: Loop, since: int) -> float:
    shown = [level for index, level in loop.plates if index >= since]
    assert len(shown) > 20, "the road must show plates"
    return sum(BAND[0] - 0.15 <= level <= BAND[1] + 0.15 for level in shown) / len(shown)


def signal(command: Command) -> float:
    return math.log2(command.exposure.exposure_us * command.exposure.gain * (command.lamp_power or 1.0))


ABSURD = [Exposure(30, 1.0), Exposure(60_000, 16.0), Exposure(1010, 16.0), Exposure(30, 16.0)]
STARTS = list(zip(ABSURD, [3, 0, 3, 1], strict=True))  # ... and the frames of delay


@pytest.mark.parametrize(("start", "delay"), STARTS)
def test_by_day_it_converges_from_absurd_starts(start: Exposure, delay: int) -> None:
    loop = day_loop(delay=delay)
    loop.start(start)
    loop.run(8.0)
    settled = [signal(command) for command in loop.commands[CONVERGED_FRAMES:]]
    assert max(settled) - min(settled) < 2.0
    assert in_band(loop, CONVERGED_FRAMES) > 0.9


@pytest.mark.parametrize(("start", "delay"), STARTS)
def test_by_night_it_finds_the_lamp_and_converges(start: Exposure, delay: int) -> None:
    loop = night_loop(delay=delay)
    loop.start(start)
    loop.run(9.0)
    night = next(index for index, command in enumerate(loop.commands) if command.night)
    assert night / FPS < 3.0
    assert in_band(loop, night + CONVERGED_FRAMES) > 0.8  # the rest: the first frames of a plate very near
    assert all(not command.filter_in for command in loop.commands[night:])


def test_it_does_not_swing_once_it_has_settled() -> None:
    loop = day_loop(every_s=3600.0, delay=3)
    loop.start(Exposure(60_000, 16.0))
    loop.run(2.0)
    assert len({signal(command) for command in loop.run(6.0)}) <= 2


def test_the_shutter_is_bound_by_speed() -> None:
    for mph in (25.0, 70.0):
        loop = night_loop(settings=ExposureSettings(road_speed_mph=mph))
        bound = 1e6 / (18.0 * mph)
        short = [c.exposure.exposure_us for c in loop.run(4.0) if not c.long]
        assert max(short) <= bound
        assert short[-1] == math.floor(bound)


def test_a_measured_speed_only_shortens_the_shutter() -> None:
    loop = night_loop(every_s=3600.0, settings=ExposureSettings(scene_every=0))
    for mph, bound in ((20.0, 55.0), (math.nan, 55.0), (90.0, 90.0), (1e9, 150.0), (None, 55.0)):
        loop.control.faster(mph)
        loop.run(4.0)
        assert loop.commands[-1].exposure.exposure_us == math.floor(1e6 / (18.0 * bound))


def scenario_loop(name: str, begin_s: float = 0.0, width: int = 640, **weather: float) -> Loop:
    """A shipped scenario in small, with probes as often as can be."""
    road = load_scenario(name)
    camera = replace(road.camera, width_px=width, height_px=max(240, width * 9 // 16))
    road = replace(road, camera=camera, weather=replace(road.weather, **weather))
    chosen = ExposureSettings(road_speed_mph=road.speed_mph, probe_s=10)
    world = SimWorld(3, road, lamp=LampLine(0.0))
    return Loop(world, ExposureControl(CAPS, chosen), begin_s=begin_s)


def test_dusk_in_rain_turns_once_and_plates_stay_readable() -> None:
    loop = scenario_loop("dusk-rain", begin_s=25.0)
    loop.run(15.0)
    assert loop.turns == 1
    assert in_band(loop, 0) > 0.9


def test_a_low_sun_pulls_the_exposure_down_by_less_than_a_stop() -> None:
    glaring, clear = scenario_loop("glare"), scenario_loop("glare", glare=0.0)
    for loop in (glaring, clear):
        loop.run(7.0)
    assert in_band(glaring, 0) > 0.95
    assert (
        np.median([signal(c) for c in glaring.commands])
        > np.median([signal(c) for c in clear.commands]) - 1.0
    )
    assert glaring.turns == 0


def test_an_empty_night_raises_no_alarm_of_the_lamp_and_a_dead_one_is_found() -> None:
    loop = scenario_loop("empty-night", width=320)
    loop.run(34.0)
    assert loop.codes == {""}
    assert sum(command.probe is not None for command in loop.commands) >= 3
    loop.lamp_works = False
    loop.run(36.0)
    assert loop.codes == {"", "dead"}
    assert loop.turns == 1


def test_head_lamps_pull_the_exposure_down_by_less_than_a_stop() -> None:
    """Cars towards the camera, their plates not found: only the meter sees their lamps."""
    loop = night_loop(every_s=3600.0)
    loop.run(3.5)
    quiet = signal([c for c in loop.commands if not c.long][-1])

    def with_lamps(frame: Frame, at_s: float) -> Frame:
        pixels = frame.pixels.copy()
        for x in (220, 330):
            y = 150 + int(at_s * 50) % 100
            yy, xx = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
            glow = 900.0 * np.exp(-(((yy - y) / 30.0) ** 2 + ((xx - x) / 30.0) ** 2))
            pixels = np.minimum(255, pixels + glow[..., None]).astype(np.uint8)
        return replace(frame, pixels=pixels)

    loop.change = with_lamps
    assert all(signal(c) > quiet - 1.0 for c in loop.run(3.5) if not c.long and c.lamp_power)


def test_by_night_every_nth_frame_is_long_and_marked() -> None:
    loop = night_loop(settings=ExposureSettings(scene_every=10), delay=3)
    marked = []
    for _ in range(100):
        frame = loop.step()
        if loop.control.is_long(frame):
            marked.append((loop.index, float(np.median(frame.pixels[180:])), frame.exposure.exposure_us))
    assert len(marked) >= 5
    assert {b[0] - a[0] for a, b in pairwise(marked)} == {10}
    assert all(exposure_us > 1.5 * 1010 for _, _, exposure_us in marked)
    short = [float(np.median(loop.step().pixels[180:])) for _ in range(5)]
    assert marked[-1][1] > 1.5 * np.median(short)  # the scene shows more of the road
    assert not any(c.long for c in day_loop().run(3.0))


@pytest.mark.parametrize("own_us", [5000, 33_000, 59_000])
def test_a_camera_that_keeps_its_own_shutter_is_read_all_night(own_us: int) -> None:
    loop = FlatLoop(ambient=1e-8, lamp_gives=1e-6, settings=ExposureSettings())
    loop.obeys = lambda asked: Exposure(own_us, asked.gain)
    commands = loop.run(60.0)
    assert commands[-1].night
    assert 1 <= loop.long_frames <= 2 * MOST_LONG  # of 900
    assert sum(command.long for command in commands) <= 2


def test_a_camera_that_obeys_again_has_long_frames_again() -> None:
    loop = FlatLoop(ambient=1e-8, lamp_gives=1e-6, settings=ExposureSettings())
    loop.obeys = lambda asked: Exposure(33_000, asked.gain)
    loop.run(30.0)
    loop.obeys, loop.long_frames = lambda asked: asked, 0
    loop.run(20.0)
    assert loop.long_frames >= 10


@pytest.mark.parametrize(
    ("caps", "metadata"), [(replace(CAPS, per_frame=False), APPLIED), (CAPS, FrameMetadata(applied=False))]
)
def test_without_a_shutter_for_each_frame_or_its_word_nothing_is_long(
    caps: CameraCaps, metadata: FrameMetadata
) -> None:
    loop = FlatLoop(ambient=1e-8, lamp_gives=1e-6, settings=ExposureSettings(), caps=caps, metadata=metadata)
    commands = loop.run(30.0)
    assert commands[-1].night
    assert loop.long_frames == 0
    assert not any(command.long for command in commands)


def test_without_a_lamp_gain_does_it_and_the_lamp_stays_dark() -> None:
    loop = night_loop(settings=ExposureSettings(lamp=False))
    commands = loop.run(4.0)
    assert commands[-1].night
    assert all(command.lamp_power == 0.0 for command in commands)


def test_a_lamp_that_can_only_be_on_or_off_is_on() -> None:
    loop = FlatLoop(ambient=1e-8, lamp_gives=1e-4)
    loop.state = lambda power: IlluminatorState(float(power >= 0.5), power, limited=False, dimmable=False)
    assert {c.lamp_power for c in loop.run(20.0)[100:]} <= {0.0, 1.0}


def test_what_the_interlock_takes_gain_gives() -> None:
    loop = FlatLoop(ambient=1e-8, lamp_gives=2e-5)
    loop.run(10.0)
    free = loop.level()
    loop.state = lambda power: IlluminatorState(min(power, 0.2), power, limited=power > 0.2)
    commands = loop.run(10.0)
    assert abs(loop.level() - free) < 0.6
    assert commands[-1].lamp_power == 0.2  # no use asking for more


def test_a_lamp_that_refuses_is_made_up_for_and_taken_back() -> None:
    """No current to spare, or too hot: it is dark although it is asked for."""
    loop = FlatLoop(ambient=3e-8, lamp_gives=2e-5)
    loop.run(10.0)
    loop.state = lambda power: IlluminatorState(0.0, power, limited=True, hot=True)
    commands = loop.run(10.0)
    assert commands[-1].night
    assert commands[-1].exposure.gain == 16.0
    assert commands[-1].lamp_power > 0.0
    loop.state = lambda power: IlluminatorState(power, power, limited=False)
    assert loop.run(10.0)[-1].exposure.gain < 4.0
    assert loop.turns == 1


@settings(max_examples=25, deadline=None)
@given(
    ambient=st.floats(-26.0, -7.0),
    lamp=st.floats(-18.0, -10.0),
    tone=st.floats(1.6, 2.8),
    delay=st.integers(0, 3),
)
def test_no_light_makes_it_swing(ambient: float, lamp: float, tone: float, delay: int) -> None:
    loop = FlatLoop(2.0**ambient, 2.0**lamp, tone, delay)
    loop.run(12.0)
    settled = {signal(c) for c in loop.run(8.0) if c.lamp_power or not c.night}
    assert max(settled) - min(settled) < 0.8
    assert loop.turns <= 1


def test_dusk_and_dawn_pass_without_flapping() -> None:
    loop = FlatLoop(2e-4, 1e-5, settings=ExposureSettings(scene_every=0, probe_s=10), fps=5.0)
    levels = []
    for step in range(2 * 1200):  # 20 minutes from full day to night, 20 back, clouds over it
        phase = min(step, 2400 - step) / 1200
        cloud = 2.0 ** (0.7 * math.sin(step / 7.0))
        loop.ambient = 2e-4 * 2.0 ** (-14.0 * phase) * cloud
        loop.run(1.0 / 5.0 if step % 2 else 0.8)
        if loop.given or not loop.commands[-1].night:  # not while the lamp is probed
            levels.append(loop.level())
    assert loop.turns == 2
    assert not loop.commands[-1].night
    assert all(-7.0 < level < -0.5 for level in levels)
    assert len(levels) > 2000


def test_a_photodiode_knows_night_by_the_sky() -> None:
    """A bright road (of street lamps, of snow) under a dark sky is night; day needs both."""
    loop = FlatLoop(2e-4, settings=ExposureSettings(dwell_s=5.0, probe_s=10.0))
    loop.lux = 5000.0
    assert not loop.run(3.0)[-1].night
    loop.lux = 10.0
    assert not loop.run(3.0)[-1].night  # it has to last
    assert loop.run(4.0)[-1].night
    loop.lux = 100.0  # between the thresholds
    assert loop.run(15.0)[-1].night
    loop.lux = 500.0
    assert not loop.run(15.0)[-1].night


def test_a_photodiode_does_not_keep_the_lamp_dark_when_plates_need_it() -> None:
    loop = FlatLoop(4e-6, 2e-5, settings=ExposureSettings(dwell_s=5.0, probe_s=10.0))
    loop.lux = 5000.0  # rain on the road, a bright sky
    assert loop.run(10.0)[-1].night
    assert loop.run(30.0)[-1].night
    assert loop.turns == 1


@pytest.mark.parametrize("lux", [math.nan, math.inf, None])
def test_a_photodiode_without_a_value_leaves_it_to_the_picture(lux: float | None) -> None:
    bright, dark = FlatLoop(2e-4, 1e-5), FlatLoop(1e-8, 1e-5)
    for loop in (bright, dark):
        loop.lux = lux
        loop.run(15.0)
    assert (bright.turns, dark.turns) == (0, 1)


def test_a_frozen_camera_holds_the_exposure_and_recovers() -> None:
    loop = day_loop(every_s=3600.0)
    loop.run(4.0)
    good = signal(loop.commands[-1])
    stuck: list[Frame] = []

    def frozen(frame: Frame, _at_s: float) -> Frame:
        stuck.append(frame)
        return replace(frame, pixels=np.zeros_like(frame.pixels) + stuck[0].pixels)

    loop.change = frozen
    assert {signal(c) for c in loop.run(6.0)} == {good}
    loop.change = lambda frame, _at_s: frame
    loop.run(3.0)
    assert abs(signal(loop.commands[-1]) - good) < 0.3


@pytest.mark.parametrize(
    "exposure", [Exposure(0, 1.0), Exposure(-5, 1.0), Exposure(1000, math.nan), Exposure(1000, math.inf)]
)
def test_an_exposure_that_is_no_number_changes_nothing(exposure: Exposure) -> None:
    control = ExposureControl(CAPS, ExposureSettings())
    noise = np.random.default_rng(1)
    for index in range(20):
        frame = Frame(noise.integers(0, 255, (90, 160, 3), np.uint8), 0, index + 1, index, exposure, ir=False)
        command = control.after(frame, [], index + 1)
        assert command.exposure == control.first().exposure


NO_CORNERS = [
    np.full((4, 2), np.nan),
    np.full((4, 2), np.inf),
    np.full((4, 2), 1e30),
    np.full((4, 2), -50.0),
    np.zeros((3, 2)),
    np.zeros((0,)),
]


@pytest.mark.parametrize(
    "pixels", [np.zeros((0, 0, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((90, 160))]
)
def test_no_picture_changes_nothing(pixels: NDArray[np.uint8]) -> None:
    control = ExposureControl(CAPS, ExposureSettings())
    command = control.after(Frame(pixels, 0, 1, 0, Exposure(500, 1.0), ir=False), [], 1)
    assert command == control.first()


def test_corners_that_are_none_are_left_out_and_clocks_may_go_back() -> None:
    control = ExposureControl(CAPS, ExposureSettings())
    noise = np.random.default_rng(1)
    for index, now_ns in enumerate([10**9, 0, -5, 2 * 10**9, 10**18, 3]):
        frame = Frame(
            noise.integers(0, 255, (90, 160, 3), np.uint8), 0, now_ns, index, Exposure(500, 1.0), ir=False
        )
        command = control.after(frame, NO_CORNERS, now_ns)
        assert math.isfinite(signal(command))


def test_what_a_camera_cannot_do_is_not_asked_for() -> None:
    for caps in (
        CameraCaps((100, 100), (1.0, 1.0), 15.0, (640, 360)),
        CameraCaps((5000, 60_000), (2.0, 4.0), 15.0, (640, 360)),
        CameraCaps((30, 60_000), (1.0, 4.0), 240.0, (640, 360)),
    ):
        control = ExposureControl(caps, ExposureSettings())
        noise = np.random.default_rng(1)
        for index in range(60):
            pixels = noise.integers(0, 30, (90, 160, 3), np.uint8)
            frame = Frame(pixels, 0, index * 10**8 + 1, index, control.first().exposure, ir=False)
            exposure = control.after(frame, [], index * 10**8 + 1).exposure
            assert caps.bounded(exposure) == exposure
            assert exposure.exposure_us <= 1e6 / caps.fps


def test_settings_that_would_flap_or_mean_nothing_are_refused() -> None:
    for bad in (
        {"night_lux": 100.0},
        {"lamp_min": 0.9, "lamp_max": 0.5},
        {"road_speed_mph": math.nan},
        {"speed": 3},
    ):
        with pytest.raises(ValueError, match=r"lux|lamp_min|road_speed_mph|speed"):
            ExposureSettings(**bad)  # type: ignore[arg-type]
