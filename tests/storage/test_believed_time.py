# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.believed_time import DRIFT_PPM, SLACK_US, Believed, believe
from storage.epoch_dates import ROUND_US, SPARE_US, EpochDates, end_us
from storage.retention_schedule import Calendar, RetentionPolicy, RetentionSchedule, expired_epochs
from storage.types import EPOCH_US, TimeEvidence, epoch_of

S = 1_000_000
DAY = 86_400 * S
YEAR = 365 * DAY
NOW = 500_000 * EPOCH_US
ONE, TWO, NONE = ("gnss",), ("gnss", "office"), ()


def drift(elapsed_us: int) -> int:
    return elapsed_us * DRIFT_PPM // 1_000_000


def carried(elapsed_us: int) -> int:
    return NOW + elapsed_us - drift(elapsed_us)


def after(elapsed_us: int) -> Believed:
    """What was agreed to be NOW, that much later."""
    return Believed(NOW, NOW + SLACK_US, NOW).after(elapsed_us)


@pytest.mark.parametrize(
    ("what", "elapsed", "now", "sources", "bound"),
    [
        ("the clock runs", 60 * S, NOW + 60 * S, ONE, NOW + 60 * S),
        ("a small step, one source", 60 * S, NOW + 180 * S, ONE, NOW + 180 * S),
        ("a small step too far", 60 * S, NOW + 181 * S, ONE, carried(60 * S)),
        ("a year ahead, one source (GNSS spoofed)", 60 * S, NOW + YEAR, ONE, carried(60 * S)),
        ("a year ahead, the same source twice", 0, NOW + YEAR, ("gnss", "gnss"), NOW),
        ("a year ahead, no source", 60 * S, NOW + YEAR, NONE, carried(60 * S)),
        ("40 days without power, two sources", 0, NOW + 40 * DAY, TWO, NOW + 40 * DAY),
        ("40 days without power, one source: late, never early", 0, NOW + 40 * DAY, ONE, NOW),
        ("the clock set back, one source", 60 * S, NOW - YEAR, ONE, carried(60 * S)),
        ("two sources a year behind set it back", 60 * S, NOW - YEAR, TWO, NOW - YEAR),
        ("two sources a minute behind do not", 60 * S, NOW, TWO, carried(60 * S)),
        ("a dead clock at 1970", 3600 * S, 0, NONE, carried(3600 * S)),
        ("the clock stands still for a day", DAY, NOW, ONE, carried(DAY)),
    ],
)
def test_the_rules(what, elapsed, now, sources, bound) -> None:
    believed = believe(after(elapsed), TimeEvidence(now, 0, sources), None)
    assert believed is not None
    assert believed.bound_us == bound, what
    assert believed.since_us == (bound if sources == TWO else NOW)


@pytest.mark.parametrize(
    ("sources", "oldest", "bound"),
    [
        (TWO, 490_000, NOW),
        (ONE, 490_000, 490_001 * EPOCH_US),
        (ONE, 600_000, NOW),
        (ONE, None, None),
        (TWO, None, NOW),
        (NONE, 490_000, 490_001 * EPOCH_US),
        (NONE, None, None),
    ],
)
def test_the_first_time(sources, oldest, bound) -> None:
    believed = believe(None, TimeEvidence(NOW, 0, sources), oldest)
    assert (believed and believed.bound_us) == bound


def test_what_is_not_agreed_or_too_vague_sets_nothing_back() -> None:
    bound = after(0)

    def set_back(by_us: int, uncertainty_us: int, sources: tuple[str, ...]) -> bool:
        believed = believe(bound, TimeEvidence(NOW - by_us, uncertainty_us, sources), None)
        return believed is not None and believed.bound_us < NOW

    assert set_back(SLACK_US + 1, 0, TWO)
    assert not set_back(SLACK_US, 0, TWO)
    assert not set_back(YEAR, 0, ONE)
    assert not set_back(YEAR, YEAR, TWO)


def test_uncertainty_is_taken_off() -> None:
    believed = believe(after(0), TimeEvidence(NOW + DAY, 3600 * S, TWO), None)
    assert believed is not None
    assert believed.bound_us == NOW + DAY - 3600 * S
    assert TimeEvidence(NOW, -5, ONE).earliest_us == NOW


STEPS = st.lists(st.tuples(st.integers(0, DAY), st.integers(-YEAR, YEAR)), max_size=8)


@settings(max_examples=50)
@given(STEPS)
def test_one_source_wins_no_more_than_the_slack_in_all_and_it_never_goes_back(steps) -> None:
    true, believed = NOW, after(0)
    for elapsed, lie in steps:
        true += elapsed
        before = believed.after(elapsed)
        new = believe(before, TimeEvidence(true + lie, 0, ONE), None)
        assert new is not None
        assert before.bound_us <= new.bound_us <= true + SLACK_US + drift(true - NOW) + len(steps)
        believed = new


def test_a_source_that_lies_a_little_at_each_look_does_not_walk_away() -> None:
    believed, true = after(0), NOW
    for _ in range(1000):
        true += 30 * S
        ahead = TimeEvidence(believed.bound_us + 30 * S + 119 * S, 0, ONE)
        new = believe(believed.after(30 * S), ahead, None)
        assert new is not None
        believed = new
    assert believed.bound_us <= true + SLACK_US + drift(true - NOW) + 1000


def test_an_epoch_expires_only_when_its_last_record_has() -> None:
    calendar = Calendar(RetentionSchedule.of(RetentionPolicy(seconds=30 * 86_400, version="30d")))
    end = 500_001 * EPOCH_US + 30 * DAY

    def expired(now_us: int, uncertainty_us: int = 0) -> list[int]:
        return expired_epochs([500_000, 500_001], TimeEvidence(now_us, uncertainty_us, TWO), calendar)

    assert expired(end - 1) == []
    assert expired(end) == [500_000]
    assert expired(end + 5, 10) == []
    assert expired(end + EPOCH_US) == [500_000, 500_001]


HOUR = 500_000
LATEST = EPOCH_US + 2 * SPARE_US  # how long after it was first met an undated epoch ends; NOW is a round time


@pytest.mark.parametrize("named", [HOUR, HOUR - 9000, HOUR + 9000])
def test_an_undated_epoch_ends_by_the_units_own_time_whatever_it_is_called(named) -> None:
    dates = EpochDates().written({named}, NOW)
    for minute in range(61):
        dates = dates.written({named}, NOW + minute * 60 * S)
        assert (
            dates.ends_us(named) >= NOW + minute * 60 * S + SPARE_US
        )  # never before what is still to be written
    assert dates.ends_us(named) == NOW + LATEST


def test_hours_in_a_row_end_an_hour_apart_whenever_they_are_looked_at() -> None:
    dates = EpochDates()
    for hour in range(100):
        dates = dates.written({HOUR + hour}, NOW + hour * EPOCH_US + hour * 4 * S)  # looks drift
    ends = [dates.ends_us(HOUR + hour) for hour in range(100)]
    assert sum(b - a != EPOCH_US for a, b in pairwise(ends)) == 1 + 99 * 4 // (ROUND_US // S)
    assert max(end - NOW - hour * EPOCH_US for hour, end in enumerate(ends)) <= LATEST + ROUND_US


def test_undated_epochs_move_with_the_bound_and_are_then_settled() -> None:
    behind, right, ahead = HOUR - 960, HOUR, HOUR + 9000
    dates = EpochDates().written({behind, ahead}, NOW - 40 * DAY).written({right}, NOW)
    moved = dates.agreed(NOW, 40 * DAY, {behind, ahead})
    assert moved.undated == {}
    assert moved.ends_us(behind) == moved.ends_us(ahead) == NOW + LATEST
    assert moved.agreed(NOW + DAY, 40 * DAY, {behind, ahead}).settled == moved.settled  # once is enough
    here = EpochDates().written({right}, NOW).agreed(NOW + 60 * S, 0, {right})
    assert here.ends_us(right) == NOW + LATEST >= end_us(right)


def test_an_epoch_of_the_future_ends_now_until_its_hour_comes() -> None:
    dates = EpochDates().agreed(NOW, 0, {HOUR - 5, HOUR, HOUR + 9000})
    assert [dates.ends_us(epoch) for epoch in (HOUR - 5, HOUR)] == [end_us(HOUR - 5), end_us(HOUR)]
    assert dates.ends_us(HOUR + 9000) == NOW + EPOCH_US
    come = dates.agreed((HOUR + 9000) * EPOCH_US, 0, {HOUR + 9000})
    assert come.ends_us(HOUR + 9000) == end_us(HOUR + 9000)
    assert dates.only_for({HOUR}).settled == {}
    assert epoch_of(NOW) == HOUR
