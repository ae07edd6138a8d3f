# SPDX-License-Identifier: Apache-2.0
"""What the people in a mobile unit hear and see of a hit; real time only where the thread itself is meant."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.errors import PinBusy
from drivers.ports import AlertOutput
from drivers.registry import open_alert
from drivers.sim.alert import SimAlertOutput, Switched
from firmware import alarm_patterns as patterns
from firmware.alarm_patterns import BY_CATEGORY, PATTERNS, SLOT_S, Pattern, Programme, pattern_of
from firmware.annunciator import MUTE_S, Annunciator
from firmware.health import Condition
from sync.hotlists.entry import Category, ListEntry
from sync.schema import Difference, Doubt, HitRecord, MatchKind, MatchRecord, StateAgreement

from .test_matching import NOW_US, make_read

LIMIT_S = 10.0


def make_hit(
    hit_id: str = "h1",
    category: Category = Category.STOLEN_VEHICLE,
    probability: float | None = 0.98,
    **match: Any,
) -> HitRecord:
    more = {key: match.pop(key) for key in ("preliminary", "supersedes", "correction") if key in match}
    fields: dict[str, Any] = {
        "kind": MatchKind.EXACT, "explanation": "same", "list_id": "leads", "list_version": 1, "list_age_s": 60,
        "stale": False, "state_agreement": StateAgreement.AGREES,
    }  # fmt: skip
    return HitRecord(
        hit_id=hit_id,
        read=make_read(),
        match=MatchRecord(**{**fields, **match}),
        entry=ListEntry("e1", "AB12345", "IL", category),
        raised_us=NOW_US,
        probability=probability,
        **more,
    )


# --- patterns --------------------------------------------------------------------------------------


def test_every_category_has_its_pattern() -> None:
    assert set(BY_CATEGORY) == set(Category)
    assert pattern_of(make_hit(category=Category.VIOLENT_PERSON)) is patterns.DANGER
    assert pattern_of(make_hit(category=Category.AMBER_ALERT)) is patterns.RESCUE
    assert pattern_of(make_hit()) is patterns.LISTED
    assert pattern_of(make_hit(category=Category.SCOFFLAW)) is patterns.NOTICE


@pytest.mark.parametrize(
    "hit",
    [
        make_hit(kind=MatchKind.FOLDED, differences=(Difference(pos=0, read="A", listed="4"),)),
        make_hit(kind=MatchKind.WILDCARD),
        make_hit(doubts=(Doubt(pos=1, read="B", p=0.6, other="8", other_p=0.3),)),
        make_hit(stale=True),
        make_hit(state_agreement=StateAgreement.DIFFERS),
        make_hit(preliminary=True),
        make_hit(probability=0.89),
        make_hit(category=Category.VIOLENT_PERSON, probability=0.5),
    ],
)
def test_a_read_in_doubt_says_verify(hit: HitRecord) -> None:
    assert pattern_of(hit) is patterns.VERIFY


def test_hits_that_are_no_alarm() -> None:
    assert pattern_of(make_hit(silent=True)) is None
    assert pattern_of(make_hit(silent=True, supersedes="h0")) is None
    assert pattern_of(make_hit(calibration=True)) is patterns.TEST
    assert pattern_of(make_hit(supersedes="h0", correction="not the listed plate")) is patterns.TAKEN_BACK


def test_patterns_differ_from_their_first_seconds_and_end_by_themselves() -> None:
    assert len({pattern.name for pattern in PATTERNS}) == len({pattern.urgency for pattern in PATTERNS}) == 7
    assert len({(pattern.slots * 3)[:12] for pattern in PATTERNS}) == len(PATTERNS)
    for pattern in PATTERNS:
        assert set(pattern.slots) <= set(patterns.LEVELS)
        assert pattern.seconds <= patterns.LONGEST_S
        assert pattern.slots.endswith("-")
    assert patterns.TAKEN_BACK.seconds < 2.0


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_lamp_never_flashes_faster_than_is_safe(pattern: Pattern) -> None:
    lit = [patterns.LEVELS[slot][1] for slot in "-" + pattern.slots * 2]
    flashes = [int(now and not before) for before, now in pairwise(lit)]
    second = round(1.0 / SLOT_S)
    assert max(sum(flashes[at : at + second]) for at in range(len(flashes))) <= patterns.MAX_FLASHES_A_SECOND


# --- the programme ---------------------------------------------------------------------------------


def test_a_pattern_plays_slot_by_slot_and_ends() -> None:
    programme = Programme()
    programme.add(patterns.TEST, "h1", 10.0)
    assert [programme.levels(10.0 + at * 0.1) for at in range(5)] == [(True, True)] * 2 + [(False, False)] * 3
    assert programme.playing is None


def test_the_more_urgent_interrupts_and_the_less_urgent_waits() -> None:
    programme = Programme()
    programme.add(patterns.NOTICE, "h1", 0.0)
    programme.add(patterns.VERIFY, "h2", 0.5)
    assert programme.playing is not None
    assert programme.playing.pattern is patterns.VERIFY
    programme.add(patterns.TAKEN_BACK, "h3", 0.6)
    programme.add(patterns.LISTED, "h4", 0.7)
    programme.add(patterns.NOTICE, "h5", 0.8)
    assert programme.playing.pattern is patterns.LISTED
    assert [entry.pattern.name for entry in programme.waiting] == ["verify", "notice", "taken back"]
    assert programme.waiting[1].hits == {"h1", "h5"}


def test_what_was_interrupted_is_played_afterwards() -> None:
    programme = Programme()
    programme.add(patterns.LISTED, "h1", 0.0)
    programme.add(patterns.DANGER, "h2", 0.1)
    programme.levels(0.1 + patterns.DANGER.seconds + 0.01)
    assert programme.playing is not None
    assert programme.playing.hits == {"h1"}


def test_what_has_ended_unseen_is_not_played_again() -> None:
    programme = Programme()
    programme.add(patterns.LISTED, "h1", 0.0)
    programme.add(patterns.DANGER, "h2", patterns.LISTED.seconds + 0.1)  # nobody has looked in between
    assert programme.playing is not None
    assert programme.playing.pattern is patterns.DANGER
    assert programme.waiting == []


def test_a_pattern_that_waits_already_is_not_repeated() -> None:
    programme = Programme()
    for number in range(50):
        programme.add(patterns.LISTED, f"h{number}", 0.0)
    assert len(programme.waiting) == 1
    assert programme.levels(2 * patterns.LISTED.seconds + 0.1) == (True, True)  # the waiting one follows ...
    assert programme.levels(4 * patterns.LISTED.seconds) == (False, False)  # ... and then there is quiet


def test_what_is_dropped_ends_unless_another_hit_asked_for_it_too() -> None:
    programme = Programme()
    programme.add(patterns.DANGER, "h1", 0.0)
    programme.add(patterns.LISTED, "h2", 0.0)
    programme.add(patterns.LISTED, "h3", 0.0)
    programme.drop("h2", 0.1)
    programme.drop("h1", 0.2)
    assert programme.playing is not None
    assert programme.playing.hits == {"h3"}
    programme.drop("h3", 0.3)
    assert programme.levels(0.3) == (False, False)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([*PATTERNS, None]), st.integers(0, 20), st.floats(0, 20)), max_size=50)
)
def test_whatever_happens_it_falls_silent(calls: list[tuple[Pattern | None, int, float]]) -> None:
    programme, now_s = Programme(), 0.0
    for pattern, number, pause_s in calls:
        now_s += pause_s
        if pattern is None:
            programme.drop(f"h{number}", now_s)
        else:
            programme.add(pattern, f"h{number}", now_s)
        programme.levels(now_s)
        assert len(programme.waiting) < len(PATTERNS) + 1
    for _ in range(len(PATTERNS) + 2):
        now_s += patterns.LONGEST_S
        programme.levels(now_s)
    assert programme.playing is None
    assert programme.levels(now_s) == (False, False)


# --- the thread ------------------------------------------------------------------------------------


class Unit:
    """An annunciator on a simulated output; time runs as it does."""

    def __init__(self, faults: str = "") -> None:
        self.opened: list[SimAlertOutput] = []
        self.faults = faults
        self.annunciator = Annunciator(self._open)

    def _open(self) -> AlertOutput:
        output = open_alert("sim", {"faults": self.faults if not self.opened else ""})
        assert isinstance(output, SimAlertOutput)
        self.opened.append(output)
        return output

    @property
    def output(self) -> SimAlertOutput:
        assert wait_for(lambda: bool(self.opened))
        return self.opened[-1]

    def played(self) -> list[Switched]:
        return [change for change in self.output.changes if change.buzzer or change.lamp]


def wait_for(what: Callable[[], bool], limit_s: float = LIMIT_S) -> bool:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.005)
    return what()


@pytest.fixture
def unit() -> Iterator[Unit]:
    made = Unit()
    yield made
    made.annunciator.close()


def test_a_hit_sounds_and_ends_by_itself(unit: Unit) -> None:
    began = time.monotonic()
    unit.annunciator.hit(make_hit(calibration=True))
    assert time.monotonic() - began < 0.05  # it never blocks
    assert wait_for(lambda: len(unit.output.changes) == 3)
    on, off = list(unit.output.changes)[1:]
    assert (on.buzzer, on.lamp, off.buzzer, off.lamp) == (True, True, False, False)
    assert 0.1 < off.at_s - on.at_s < 0.6
    assert unit.annunciator.finding().condition is Condition.OK


def test_a_silent_hit_does_nothing(unit: Unit) -> None:
    unit.annunciator.hit(make_hit(silent=True))
    unit.annunciator.hit(make_hit("h2", calibration=True))
    assert wait_for(lambda: len(unit.output.changes) == 3)


def test_the_button_acknowledges_and_held_it_mutes(unit: Unit) -> None:
    unit.annunciator.hit(make_hit(category=Category.VIOLENT_PERSON))
    assert wait_for(lambda: unit.output.buzzer)
    unit.output.button = True
    assert wait_for(lambda: not unit.output.buzzer and not unit.output.lamp, 1.0)
    assert not unit.annunciator.muted
    assert wait_for(lambda: unit.annunciator.muted, 4.0)
    unit.output.button = False
    unit.annunciator.hit(make_hit("h2"))
    assert wait_for(lambda: unit.output.lamp)
    assert not any(change.buzzer for change in list(unit.output.changes)[-2:])
    unit.annunciator.mute(0.0)
    assert wait_for(lambda: unit.output.buzzer)


def test_a_button_that_is_stuck_does_not_silence_hits_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware.annunciator.MUTE_HELD_S", 0.1)
    monkeypatch.setattr("firmware.annunciator.STUCK_S", 0.3)
    unit = Unit()
    unit.output.button = True
    assert wait_for(lambda: unit.annunciator.finding().code == "button_stuck")
    assert unit.annunciator.finding().condition is Condition.DEGRADED
    assert not unit.annunciator.muted
    unit.annunciator.hit(make_hit())
    assert wait_for(lambda: unit.output.buzzer)
    unit.output.button = False
    assert wait_for(lambda: unit.annunciator.finding().condition is Condition.OK)
    unit.annunciator.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_is_told() -> None:
    def broken() -> AlertOutput:
        raise ValueError("a fault of the driver's own")

    annunciator = Annunciator(broken)
    assert wait_for(lambda: annunciator.finding().condition is Condition.FAILED)
    assert annunciator.finding().code == "stopped"
    annunciator.close()


def test_a_mute_ends_by_itself() -> None:
    now = [0.0]
    annunciator = Annunciator(None, monotonic_s=lambda: now[0])
    annunciator.mute()
    for now[0], muted in ((0.0, True), (MUTE_S, False)):
        assert annunciator.muted is muted
    annunciator.close()


def test_a_hit_that_is_taken_back_falls_silent_and_says_so(unit: Unit) -> None:
    unit.annunciator.hit(make_hit("h1", category=Category.VIOLENT_PERSON))
    assert wait_for(lambda: unit.output.lamp)
    unit.annunciator.hit(make_hit("h2", supersedes="h1", category=Category.VIOLENT_PERSON))
    assert wait_for(lambda: unit.output.buzzer and not unit.output.lamp)
    assert wait_for(lambda: not unit.output.buzzer)
    assert not unit.output.lamp


def test_busy_pins_are_told_and_tried_again() -> None:
    free = threading.Event()

    def opened() -> AlertOutput:
        if not free.is_set():
            raise PinBusy("the pin is held by another program")
        return open_alert("sim", {})

    annunciator = Annunciator(opened)
    assert wait_for(lambda: annunciator.finding().code == "busy")
    finding = annunciator.finding()
    assert (finding.part, finding.condition) == ("alert_outputs", Condition.FAILED)
    assert "held by another program" in finding.advice
    annunciator.hit(make_hit())  # no error, no waiting
    free.set()
    assert wait_for(lambda: annunciator.finding().condition is Condition.OK)
    annunciator.close()


def test_pins_that_are_lost_in_the_middle_are_opened_again() -> None:
    unit = Unit(faults="...b")
    unit.annunciator.hit(make_hit(category=Category.VIOLENT_PERSON))
    assert wait_for(lambda: unit.annunciator.finding().code == "busy")
    assert not unit.opened[0].lamp
    assert wait_for(lambda: len(unit.opened) == 2 and unit.output.lamp)
    assert unit.annunciator.finding().condition is Condition.OK
    unit.annunciator.close()


def test_closing_in_the_middle_is_silent_and_dark(unit: Unit) -> None:
    unit.annunciator.hit(make_hit(category=Category.VIOLENT_PERSON))
    assert wait_for(lambda: unit.output.buzzer)
    unit.annunciator.close()
    unit.annunciator.close()
    assert not unit.output.buzzer
    assert not unit.output.lamp
    unit.annunciator.hit(make_hit("h2"))
    with pytest.raises(PinBusy):
        unit.output.pressed()


def test_a_unit_without_outputs_is_no_fault() -> None:
    annunciator = Annunciator(None)
    annunciator.hit(make_hit())
    annunciator.acknowledge()
    assert annunciator.finding().condition is Condition.ABSENT
    annunciator.close()
