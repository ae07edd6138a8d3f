# SPDX-License-Identifier: Apache-2.0
"""Where a unit was between its fixes, and which fixes are not believed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.types import Fix
from firmware.track import KEPT_S, REACH_S, SETTLED_FIXES, Track, metres

S = 1_000_000_000
NORTH_10_M = 10 / 111_195
HERE = Fix(40.0, -88.0, 10.0, None, 4.0, "gnss", course_deg=0.0, time_uncertainty_us=0)


def fix(at_s: float, north_m: float, **changes: object) -> Fix:
    lat = 40.0 + north_m * NORTH_10_M / 10
    return replace(HERE, lat=lat, monotonic_ns=round(at_s * S), **changes)  # type: ignore[arg-type]


def driven(*seconds: float) -> Track:
    """A track at 10 m/s to the north."""
    track = Track()
    for second in seconds:
        assert track.add(fix(second, 10 * second))
    return track


def test_distances() -> None:
    assert metres((40.0, -88.0), (41.0, -88.0)) == pytest.approx(111_195, rel=1e-3)
    assert metres((0.0, 179.999), (0.0, -179.999)) == pytest.approx(222.4, rel=1e-2)
    assert metres((40.0, -88.0), (40.0, -88.0)) == 0.0


def test_between_two_fixes_it_is_interpolated() -> None:
    seen = driven(100, 101).at(round(100.3 * S))
    assert seen is not None
    assert metres((seen.lat, seen.lon), (40.0, -88.0)) == pytest.approx(1003, abs=0.5)
    assert seen.age_s == pytest.approx(0.3)
    assert seen.accuracy_m >= 4.0


def test_after_the_last_fix_it_is_reckoned_and_less_sure() -> None:
    track = driven(100, 101)
    seen, later = track.at(102 * S), track.at(104 * S)
    assert seen is not None
    assert later is not None
    assert metres((seen.lat, seen.lon), (40.0, -88.0)) == pytest.approx(1020, abs=0.5)
    assert 4.0 < seen.accuracy_m < later.accuracy_m
    assert later.age_s == pytest.approx(3.0)


def test_without_a_course_it_stays_and_the_way_is_doubt() -> None:
    track = Track()
    track.add(fix(100, 0, course_deg=None))
    seen = track.at(102 * S)
    assert seen is not None
    assert (seen.lat, seen.lon) == (40.0, -88.0)
    assert seen.accuracy_m >= 24.0


@pytest.mark.parametrize("at_s", [100 - REACH_S - 1, 101 + REACH_S + 1])
def test_too_old_is_none(at_s: float) -> None:
    assert driven(100, 101).at(round(at_s * S)) is None


def test_a_long_gap_is_not_bridged() -> None:
    track = driven(100, 100 + 2 * REACH_S + 10)
    assert track.at(round((100 + REACH_S + 5) * S)) is None
    assert track.at(round((100 + REACH_S - 1) * S)) is not None


def test_nothing_known() -> None:
    assert Track().at(S) is None


def test_what_is_long_ago_is_forgotten() -> None:
    track = driven(*range(int(KEPT_S) + 20))
    assert track.at(5 * S) is None
    assert track.at(30 * S) is not None


def test_a_jump_is_not_believed_and_does_not_bend_the_way() -> None:
    track = driven(100, 101)
    assert not track.add(fix(102, 30_000))
    assert track.add(fix(103, 1030))
    seen = track.at(102 * S)
    assert seen is not None
    assert metres((seen.lat, seen.lon), (40.0, -88.0)) == pytest.approx(1020, abs=0.5)


def test_a_jump_that_settles_is_believed() -> None:
    track = driven(100, 101)
    told = [track.add(fix(102 + second, 30_000)) for second in range(SETTLED_FIXES)]
    assert told == [False] * (SETTLED_FIXES - 1) + [True]
    seen = track.at((101 + SETTLED_FIXES) * S)
    assert seen is not None
    assert metres((seen.lat, seen.lon), (40.0, -88.0)) == pytest.approx(30_000, abs=1)
    between = track.at(round(101.4 * S))
    assert between is None or metres((between.lat, between.lon), (40.0, -88.0)) < 1100


def test_scattered_jumps_never_settle() -> None:
    track = driven(100, 101)
    for second in range(4 * SETTLED_FIXES):
        assert not track.add(fix(102 + second, 30_000 * (1 + second % 2)))


def test_a_receiver_that_repeats_itself_adds_nothing() -> None:
    track = driven(100)
    assert not track.add(fix(100, 1000))
    assert not track.add(fix(99, 990))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), max_size=30), st.integers(0, 60))
def test_any_fixes_give_a_place_on_earth(places: list[tuple[float, float]], at_s: int) -> None:
    track = Track()
    for second, (lat, lon) in enumerate(places):
        track.add(replace(HERE, lat=lat, lon=lon, monotonic_ns=second * S))
    seen = track.at(at_s * S)
    if seen is not None:
        assert -90 <= seen.lat <= 90
        assert -180 <= seen.lon <= 180
        assert 0 < seen.accuracy_m < 1e6
