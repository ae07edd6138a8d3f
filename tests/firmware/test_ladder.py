# SPDX-License-Identifier: Apache-2.0
"""What is given up when the unit is hot, starved of power or its battery runs down, and how it comes back."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.types import PowerReading
from firmware.health import Condition
from firmware.ladder import (
    BATTERIES,
    BUDGETS,
    EMPTY_AFTER_S,
    UNREADABLE_AFTER_S,
    Ladder,
    LadderSettings,
    Measure,
    Rung,
    steps_of,
)

WELL = PowerReading(45.0, undervoltage=False, throttled=False, battery_v=12.8)
POLL_S = 2.0


def reading(**said: object) -> PowerReading:
    fields = {"temperature_c": 45.0, "undervoltage": False, "throttled": False, "battery_v": 12.8}
    return PowerReading(**(fields | said))  # type: ignore[arg-type]


class Run:
    """A ladder and its clock, asked every two seconds."""

    def __init__(self, ladder: Ladder | None = None) -> None:
        self.ladder = ladder or Ladder()
        self.now_s = 1_000.0

    def hold(self, what: PowerReading | None, seconds: float) -> Rung:
        end = self.now_s + seconds
        rung = self.ladder.step(what, self.now_s)
        while self.now_s + POLL_S <= end:
            self.now_s += POLL_S
            rung = self.ladder.step(what, self.now_s)
        return rung

    @property
    def code(self) -> str:
        (finding,) = self.ladder.findings()
        assert finding.part == "power"
        return finding.code


@pytest.fixture
def run() -> Run:
    return Run()


def test_a_unit_that_is_well_gives_up_nothing(run: Run) -> None:
    assert run.hold(WELL, 3600) is Rung.FULL
    (finding,) = run.ladder.findings()
    assert finding.condition is Condition.OK
    assert not run.ladder.empty


def test_each_rung_keeps_hits_and_gives_up_more_than_the_one_before() -> None:
    assert [rung.name for rung in Rung] == ["FULL", "NO_SCENES", "SLOW_FRAMES", "NO_IR"]
    budgets = [BUDGETS[rung] for rung in Rung]
    assert [b.scenes for b in budgets] == [True, False, False, False]
    assert [b.ir for b in budgets] == [True, True, True, False]
    assert [b.frame_share for b in budgets] == [1.0, 1.0, 0.5, 0.5]  # never none: reads and hits go on


@pytest.mark.parametrize(
    ("what", "seconds", "rung", "code"),
    [
        (reading(temperature_c=74.9), 3600, Rung.FULL, ""),
        (reading(temperature_c=75.0), 8, Rung.FULL, ""),
        (reading(temperature_c=75.0), 10, Rung.NO_SCENES, "hot"),
        (reading(temperature_c=80.0), 10, Rung.SLOW_FRAMES, "hot"),
        (reading(temperature_c=84.0), 10, Rung.NO_IR, "hot"),
        (reading(throttled=True), 28, Rung.FULL, ""),
        (reading(throttled=True), 30, Rung.NO_SCENES, "throttled"),
        (reading(throttled=True), 120, Rung.SLOW_FRAMES, "throttled"),
        (reading(throttled=True), 3600, Rung.SLOW_FRAMES, "throttled"),
        (reading(undervoltage=True), 4, Rung.FULL, ""),
        (reading(undervoltage=True), 6, Rung.NO_SCENES, "undervoltage"),
        (reading(undervoltage=True), 30, Rung.SLOW_FRAMES, "undervoltage"),
        (reading(undervoltage=True), 120, Rung.NO_IR, "undervoltage"),
        (reading(battery_v=12.35), 3600, Rung.FULL, ""),
        (reading(battery_v=12.3), 58, Rung.FULL, ""),
        (reading(battery_v=12.3), 60, Rung.NO_SCENES, "battery_low"),
        (reading(battery_v=12.1), 60, Rung.SLOW_FRAMES, "battery_low"),
        (reading(battery_v=11.9), 60, Rung.NO_IR, "battery_low"),
    ],
)
def test_the_table(run: Run, what: PowerReading, seconds: float, rung: Rung, code: str) -> None:
    assert run.hold(what, seconds) is rung
    assert run.code == code


@pytest.mark.parametrize(
    ("bad", "still_bad", "good", "after_s"),
    [
        (reading(temperature_c=75.0), reading(temperature_c=70.1), reading(temperature_c=70.0), 60),
        (reading(battery_v=12.3), reading(battery_v=12.69), reading(battery_v=12.7), 300),
        (reading(throttled=True), reading(throttled=True), reading(), 240),
        (reading(undervoltage=True), reading(undervoltage=True), reading(), 1500),
    ],
)
def test_it_comes_back_late_and_not_at_the_threshold_that_sent_it_down(
    run: Run, bad: PowerReading, still_bad: PowerReading, good: PowerReading, after_s: float
) -> None:
    run.hold(bad, 62)
    run.hold(still_bad, 3600)
    assert run.code != ""
    run.hold(good, after_s - POLL_S)
    assert run.code != ""
    assert run.hold(good, POLL_S) is Rung.FULL
    assert run.code == ""


def test_it_climbs_rung_by_rung(run: Run) -> None:
    """What was given up last comes back first."""
    run.hold(reading(undervoltage=True), 200)
    rungs = [run.hold(WELL, POLL_S) for _ in range(800)]
    assert [rung for at, rung in enumerate(rungs) if at == 0 or rungs[at - 1] is not rung] == [
        Rung.NO_IR,
        Rung.SLOW_FRAMES,
        Rung.NO_SCENES,
        Rung.FULL,
    ]


def test_a_reading_that_swings_about_a_threshold_changes_nothing_twice(run: Run) -> None:
    run.hold(reading(temperature_c=76.0), 20)
    changes = 0
    before = Rung.NO_SCENES
    for at in range(2000):
        now = run.hold(reading(temperature_c=73.0 + 4.0 * (at % 2)), POLL_S)
        changes += now is not before
        before = now
    assert changes == 0


def test_the_worst_cause_decides_and_is_told(run: Run) -> None:
    assert run.hold(reading(temperature_c=76.0, undervoltage=True, throttled=True), 300) is Rung.NO_IR
    assert run.code == "undervoltage"


def test_the_finding_stands_still_while_the_rung_changes(run: Run) -> None:
    run.hold(reading(temperature_c=76.0), 20)
    before = run.ladder.findings()
    run.hold(reading(temperature_c=90.0), 20)
    assert run.ladder.findings() == before


# --- the empty battery -----------------------------------------------------------------------------


def test_an_empty_battery_asks_for_an_orderly_end_and_sticks_to_it(run: Run) -> None:
    run.hold(reading(battery_v=11.5), EMPTY_AFTER_S - POLL_S)
    assert not run.ladder.empty
    run.hold(reading(battery_v=11.5), POLL_S)
    assert run.ladder.empty
    (finding,) = run.ladder.findings()
    assert (finding.condition, finding.code) == (Condition.FAILED, "battery_low")
    run.hold(WELL, 3600)
    assert run.ladder.empty  # an end that was asked for is not taken back half way


@pytest.mark.parametrize("volts", [0.0, 3.3, 5.9, 19.0])
def test_a_loose_wire_is_no_empty_battery(run: Run, volts: float) -> None:
    run.hold(reading(battery_v=volts), 3600)
    assert not run.ladder.empty
    assert run.ladder.rung is Rung.FULL
    assert run.code == "unreadable"


@pytest.mark.parametrize("name", BATTERIES)
def test_every_battery_steps_down_in_order_and_recovers_below_a_full_charge(name: str) -> None:
    levels = BATTERIES[name]
    assert levels.low > levels.lower > levels.lowest > levels.empty
    assert levels.full >= round(levels.low + levels.margin, 3)
    run = Run(Ladder(LadderSettings(battery=name)))
    full = reading(battery_v=levels.full)
    assert run.hold(full, 3600) is Rung.FULL
    assert run.hold(reading(battery_v=levels.lowest), 120) is Rung.NO_IR
    assert run.hold(full, 3600) is Rung.FULL


def test_a_battery_of_twenty_four_volts_is_two_of_twelve() -> None:
    one, two = BATTERIES["lead-12"], BATTERIES["lead-24"]
    assert (two.low, two.empty) == (2 * one.low, 2 * one.empty)


# --- what cannot be read ---------------------------------------------------------------------------


def test_what_the_board_does_not_have_is_no_fault(run: Run) -> None:
    assert run.hold(PowerReading(None, None, None, None), 3600) is Rung.FULL
    assert run.code == ""


def test_no_reading_at_all_is_told_after_a_while(run: Run) -> None:
    run.hold(None, UNREADABLE_AFTER_S - POLL_S)
    assert run.code == ""
    run.hold(None, POLL_S)
    assert run.code == "unreadable"
    run.hold(WELL, UNREADABLE_AFTER_S)
    assert run.code == ""


def test_a_sensor_that_fails_is_told_by_name(run: Run) -> None:
    run.hold(reading(battery_v=None, unreadable=("battery",)), 60)
    (finding,) = run.ladder.findings()
    assert (finding.code, finding.condition) == ("unreadable", Condition.DEGRADED)
    assert "battery" in finding.advice


@pytest.mark.parametrize("celsius", [-60.0, 200.0, float("nan")])
def test_an_impossible_temperature_is_none(run: Run, celsius: float) -> None:
    assert run.hold(reading(temperature_c=celsius), 60) is Rung.FULL
    assert run.code == "unreadable"


def test_a_sensor_that_goes_blind_neither_raises_nor_lowers(run: Run) -> None:
    """Not knowing is no reason to heat up again, nor to give up more."""
    run.hold(reading(temperature_c=81.0), 30)
    assert run.hold(None, 3600) is Rung.SLOW_FRAMES
    assert run.code == "hot"
    assert run.hold(WELL, 3600) is Rung.FULL


def test_a_sensor_that_fails_now_and_then_still_counts(run: Run) -> None:
    for _ in range(10):
        run.hold(reading(temperature_c=81.0), POLL_S)
        run.hold(reading(temperature_c=None), POLL_S)
    assert run.ladder.rung is Rung.SLOW_FRAMES


def test_two_moments_far_apart_are_no_duration(run: Run) -> None:
    run.hold(reading(battery_v=11.4), POLL_S)
    run.hold(None, 3600)
    run.hold(reading(battery_v=11.4), POLL_S)
    assert not run.ladder.empty


# --- settings --------------------------------------------------------------------------------------


def test_a_jetson_stands_more_heat() -> None:
    run = Run(Ladder(LadderSettings(hot_c=90.0)))
    assert run.hold(reading(temperature_c=89.0), 60) is Rung.FULL
    assert run.hold(reading(temperature_c=99.0), 60) is Rung.NO_IR


@pytest.mark.parametrize("given", [{"hot_c": 39.0}, {"hot_c": 101.0}, {"battery": "nickel"}])
def test_settings_have_bounds(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"hot_c|battery"):
        LadderSettings(**given)  # type: ignore[arg-type]


def test_every_measure_has_steps_that_nest() -> None:
    """A deeper rung needs a worse value or a longer time, and is left no later than the one above it."""
    steps = steps_of(LadderSettings())
    for measure in Measure:
        mine = sorted((step for step in steps if step.measure is measure), key=lambda step: step.rung)
        assert mine
        for above, below in pairwise(mine):
            worse = (
                (below.enter - above.enter) * (1 if below.rising else -1),
                below.enter_after_s - above.enter_after_s,
            )
            assert all(w >= 0 for w in worse)
            assert any(w > 0 for w in worse)
            assert below.leave_after_s <= above.leave_after_s


VALUES = st.builds(
    PowerReading,
    st.one_of(st.none(), st.floats(-100, 200)),
    st.one_of(st.none(), st.booleans()),
    st.one_of(st.none(), st.booleans()),
    st.one_of(st.none(), st.floats(0, 60)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), VALUES), st.floats(0.1, 1000)), max_size=60))
def test_whatever_it_is_told_there_is_one_rung_and_one_finding(
    told: list[tuple[PowerReading | None, float]],
) -> None:
    ladder, now_s = Ladder(), 0.0
    for what, pause_s in told:
        now_s += pause_s
        rung = ladder.step(what, now_s)
        assert rung is ladder.rung
        assert ladder.budget == BUDGETS[rung]
        (finding,) = ladder.findings()
        assert (finding.code == "") == (finding.condition is Condition.OK)
        assert rung is Rung.FULL or finding.code in {"hot", "throttled", "undervoltage", "battery_low"}
