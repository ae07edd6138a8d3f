# SPDX-License-Identifier: Apache-2.0
"""The parts of exposure control, each by itself: sharing, metering, day and night, probing, the lamp's account."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drivers.types import Exposure, Frame, IlluminatorState
from firmware.daynight import DAY_STOPS, NIGHT_STOPS, DayNight, by_lux, by_need, told
from firmware.exposure_settings import ExposureSettings
from firmware.exposure_stops import Stops, stops
from firmware.lamp_account import HELD_BACK_NS, REFUSED_NS, LampAccount
from firmware.lamp_probe import DARK_FRAMES, LIT_FRAMES, PATIENCE, Prober
from firmware.metering import FLOOR, OVERDRIVEN, Road, level, plate_levels, road, sample, usable
from firmware.road_light import JUMP_FRAMES, RoadLight

NIGHT = Stops((100.0, 1000.0), (1.0, 16.0), (0.1, 0.8))
S = 1_000_000_000  # nanoseconds a second


def test_the_shutter_opens_first_then_the_lamp_then_gain() -> None:
    shutter, lamp = math.log2(10.0), math.log2(8.0)
    shares = [
        NIGHT.share(NIGHT.lowest + step) for step in (0.0, shutter, shutter + lamp, shutter + lamp + 4.0)
    ]
    rounded = [(round(s.shutter_us), round(s.lamp, 3), round(s.gain, 3)) for s in shares]
    assert rounded == [(100, 0.1, 1.0), (1000, 0.1, 1.0), (1000, 0.8, 1.0), (1000, 0.8, 16.0)]


@given(st.floats(-5.0, 30.0), st.booleans())
def test_a_share_gives_what_was_wanted_within_the_range(wanted: float, by_night: bool) -> None:
    reach = NIGHT if by_night else Stops(NIGHT.shutter_us, NIGHT.gain)
    share = reach.share(wanted)
    assert stops(share.shutter_us, share.gain, share.lamp or 1.0) == pytest.approx(reach.clamped(wanted))
    assert (share.lamp > 0.0) == by_night
    assert share.gain == 1.0 or share.shutter_us == pytest.approx(1000.0)  # gain comes last


def plate(ground: int, ink: int, corners: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A picture with a plate of bars in it, everything else overdriven."""
    picture = np.full((120, 200), 255, np.uint8)
    (left, top), (right, bottom) = corners.min(axis=0).astype(int), corners.max(axis=0).astype(int)
    picture[top : bottom + 1, left : right + 1] = ground
    picture[top + 6 : bottom - 5, left + 8 : right - 8 : 6] = ink
    picture[top + 6 : bottom - 5, left + 9 : right - 8 : 6] = ink
    return picture


CORNERS = np.array([[40.0, 40.0], [120.0, 40.0], [120.0, 80.0], [40.0, 80.0]])


def test_plates_are_metered_inside_their_corners() -> None:
    assert plate_levels(plate(150, 20, CORNERS), [CORNERS]) == [pytest.approx(level(150), abs=0.01)]
    coloured = np.dstack([plate(150, 20, CORNERS)] * 3)
    assert plate_levels(coloured, [CORNERS, CORNERS + 500.0]) == [pytest.approx(level(150), abs=0.01)]
    washed_out, burnt = plate(255, 60, CORNERS), plate(255, 230, CORNERS)
    assert 0.0 <= plate_levels(washed_out, [CORNERS])[0] < plate_levels(burnt, [CORNERS])[0]


def test_the_road_is_metered_without_lamps_and_knows_its_bounds() -> None:
    picture = np.full((180, 320), 60, np.uint8)
    plain = road(sample(picture))
    picture[90:110, 50:90] = 255
    lamps = road(sample(picture))
    assert (plain.level, lamps.level) == (level(60), level(60))
    assert not lamps.washed_out
    assert lamps.near_grey == pytest.approx(60.0)
    assert road(sample(np.full((180, 320), 252, np.uint8))).washed_out
    assert road(sample(np.full((180, 320), 2, np.uint8))).floor
    assert level(0) == level(FLOOR)
    assert OVERDRIVEN < 255


@pytest.mark.parametrize("shape", [(0, 0), (8, 100), (100, 8, 3), (100, 100, 0), (100,)])
def test_what_is_no_picture_is_not_usable(shape: tuple[int, ...]) -> None:
    assert not usable(np.zeros(shape, np.uint8))


def test_a_passing_lorry_does_not_move_the_roads_light_and_a_cloud_does() -> None:
    light = RoadLight()

    def look(found: float, times: int) -> float:
        for _ in range(times):
            light.see(Road(found, floor=False, washed_out=False, near_grey=60.0), 10.0, 1 / 15)
        assert light.value is not None
        return light.value

    assert look(-3.0, 1) == -13.0
    assert look(-5.0, JUMP_FRAMES - 1) == -13.0
    assert look(-3.0, 1) == -13.0
    assert look(-5.0, JUMP_FRAMES) == -15.0


def test_day_and_night_need_lasting_evidence() -> None:
    modes = DayNight(10.0)
    assert not modes.see(False, 0.0)
    assert not modes.see(True, 1.0)
    assert modes.doubted
    assert not modes.see(None, 5.0)  # in between: the dwell begins anew
    assert not modes.see(True, 6.0)
    assert not modes.see(True, 15.9)
    assert modes.see(True, 16.0)
    assert modes.night
    assert not modes.see(True, 100.0)


def test_the_first_look_decides_within_a_second() -> None:
    modes = DayNight(600.0)
    assert not modes.see(True, 0.0)
    assert modes.see(True, 1.0)


def test_evidence_has_a_band_in_which_it_says_nothing() -> None:
    assert [by_need(need) for need in (NIGHT_STOPS + 0.1, NIGHT_STOPS, DAY_STOPS, DAY_STOPS - 0.1)] == [
        True,
        None,
        None,
        False,
    ]
    assert [by_lux(lux, 40.0, 160.0) for lux in (10.0, 40.0, 160.0, 200.0)] == [True, None, None, False]
    assert by_lux(None, 40.0, 160.0) is by_lux(math.nan, 40.0, 160.0) is by_need(math.nan) is None


@pytest.mark.parametrize(
    ("sky", "lux", "need", "dark"),
    [
        (True, 5.0, -3.0, True),  # street lamps
        (False, 900.0, 5.0, True),  # rain under a bright sky
        (False, 900.0, -3.0, False),
        (False, 900.0, None, None),
        (None, 80.0, -3.0, None),  # between: the picture alone does not make it day
        (None, 80.0, 5.0, True),
        (None, None, -3.0, False),  # no photodiode
        (None, math.nan, -3.0, False),
    ],
)
def test_sky_and_picture_together(
    sky: bool | None, lux: float | None, need: float | None, dark: bool | None
) -> None:
    assert told(sky, lux, need) is dark


LIT = Road(-4.0, floor=False, washed_out=False, near_grey=30.0)
DARK = Road(-8.0, floor=False, washed_out=False, near_grey=5.0)
E1 = Exposure(1000, 4.0)


def frame(at_ns: int, exposure: Exposure = E1) -> Frame:
    return Frame(np.zeros((1, 1), np.uint8), 0, at_ns, 0, exposure, ir=True)


def probed(prober: Prober, after: Exposure = E1) -> list[object]:
    prober.begin(LIT, E1, 0.6, 0)
    results: list[object] = [
        prober.take(frame(at), LIT if at < 3 else DARK, at) for at in range(1, DARK_FRAMES + 1)
    ]
    assert not prober.dark
    begun = DARK_FRAMES + 1
    return results + [prober.take(frame(at, after), LIT, at) for at in range(begun, begun + LIT_FRAMES)]


def test_a_probe_compares_lit_dark_and_lit_again() -> None:
    prober = Prober(60.0)
    *before, probe = probed(prober)
    assert before == [None] * (DARK_FRAMES + LIT_FRAMES - 1)
    assert (probe.before, probe.dark, probe.after, probe.power) == (30.0, 5.0, 30.0, 0.6)  # type: ignore[attr-defined]
    assert not prober.running


def test_a_probe_under_two_exposures_says_nothing() -> None:
    assert probed(Prober(60.0), after=Exposure(2000, 4.0))[-1] is None


def test_a_probe_without_frames_is_given_up_and_the_lamp_lit_again() -> None:
    prober = Prober(60.0)
    prober.begin(LIT, E1, 0.6, 0)
    assert prober.dark
    assert prober.take(frame(20 * S), DARK, 20 * S) is None
    assert not prober.dark


def test_plates_put_a_probe_off_but_not_for_ever() -> None:
    prober = Prober(60.0)
    assert not prober.due(0, hurry=False)
    prober.plate_seen(60 * S)
    assert not prober.due(61 * S, hurry=False)
    assert prober.due(62 * S, hurry=False)
    assert prober.due(3 * S, hurry=True) is False  # a plate is in sight (the clock of this test went back)
    last = 60 * PATIENCE * S + S
    prober.plate_seen(last)
    assert prober.due(last, hurry=False)


def test_the_lamps_account() -> None:
    account = LampAccount(ExposureSettings(lamp_min=0.1, lamp_max=0.9))
    assert account.range == (0.1, 0.9)
    account.asked(0.9, 10)
    account.heed(IlluminatorState(0.9, 0.9, limited=False, sustained=0.6), 20, wanted=True)
    assert account.range == (0.1, 0.6)
    account.heed(IlluminatorState(0.3, 0.6, limited=True, sustained=0.6), 30, wanted=True)
    assert account.range == (0.1, 0.3)
    assert [account.at(5, 0.5), account.at(11, 0.5)] == [0.5, 0.3]
    free = IlluminatorState(0.3, 0.3, limited=False, sustained=0.6)
    account.heed(free, HELD_BACK_NS, wanted=True)
    assert account.range == (0.1, 0.3)
    account.heed(free, 2 * HELD_BACK_NS, wanted=True)
    assert account.range == (0.1, 0.6)
    account.heed(IlluminatorState(1.0, 1.0, limited=False, dimmable=False), 2 * HELD_BACK_NS, wanted=True)
    assert account.range == (1.0, 1.0)


def test_a_lamp_is_out_when_it_stays_dark_and_back_when_it_shines() -> None:
    account = LampAccount(ExposureSettings())
    dark, lit = IlluminatorState(0.0, 0.6, limited=True), IlluminatorState(0.6, 0.6, limited=False)
    assert not account.heed(dark, 0, wanted=False)
    assert not account.heed(dark, REFUSED_NS, wanted=True)
    assert not account.out
    assert account.heed(dark, REFUSED_NS + 1, wanted=True)
    assert account.out
    assert not account.heed(dark, 9 * REFUSED_NS, wanted=False)
    assert account.out
    assert account.heed(lit, 10 * REFUSED_NS, wanted=True)
    assert not account.out
