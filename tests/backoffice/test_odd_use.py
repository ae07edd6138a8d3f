# SPDX-License-Identifier: Apache-2.0
"""The rules of the audit, each on a real chain: what gives a line, and that one less gives none."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from office_world import Clock

from backoffice.audit_rules import AuditRules
from backoffice.errors import BadRequest
from backoffice.odd_use import MAX_NAMED, Line, Period, odd_use, usage
from backoffice.office import Office

NOON = int(dt.datetime(2025, 11, 12, 12, 0, tzinfo=dt.UTC).timestamp() * 1e6)
HOUR = 3_600_000_000
RULES = AuditRules()
DAY = Period(NOON - 24 * HOUR, NOON + 24 * HOUR)


class Chain:
    """The office's own log, written as the commands and pages write it."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def add(self, event: str, user: str = "garcia", at_us: int = NOON, **fields: object) -> None:
        self._office.audit.record(event, user=user, at_us=at_us, **fields)

    def search(self, plate: str, at_us: int = NOON, user: str = "garcia", **why: object) -> None:
        given = {"purpose": "stolen-vehicle", "reason": f"asked for {plate}", "case": f"25-{plate}", **why}
        self.add("search", user, at_us, pattern=plate, **given)

    def lines(self, rules: AuditRules = RULES, period: Period = DAY) -> list[Line]:
        return odd_use(list(self._office.audit.entries()), period, rules)

    def told(self, rules: AuditRules = RULES, period: Period = DAY) -> set[str]:
        return {line.rule for line in self.lines(rules, period)}


@pytest.fixture
def chain(office: Office, clock: Clock) -> Chain:
    return Chain(office)


def test_ordinary_work_gives_no_line(chain: Chain) -> None:
    for number in range(8):
        chain.search(f"AB12{number}7", NOON + number * HOUR)
    chain.add("hit_viewed", hit="h-1")
    chain.add("hit_decided", hit="h-1")
    chain.add("login_failed")
    assert chain.lines() == []


def plate(n: int) -> str:
    return f"AB12{n:03d}"


# the n-th access that counts for a rule
ODD: dict[str, Callable[[Chain, int], None]] = {
    "same_plate": lambda chain, n: chain.search("AB1234", reason=f"for the {n}th time", case=f"25-{n}"),
    "plates_per_case": lambda chain, n: chain.search(plate(n), case="25-7"),
    "same_reason": lambda chain, n: chain.search(plate(n), reason=" Asked.  By" if n % 2 else "asked by"),
    "wide_searches": lambda chain, n: chain.search(f"A{n}*" if n % 2 else f"*{n}B?"),
    "searches_per_day": lambda chain, n: chain.search(plate(n), NOON + n),
    "without_digit": lambda chain, n: chain.search(plate(n), case="none"),
    "doubtful_purpose": lambda chain, n: chain.search(plate(n), purpose="test"),
    "opened_records": lambda chain, n: (
        chain.add("opened", records=1) if n % 2 else chain.add("searched", results=1)
    ),
    "refused": lambda chain, n: chain.add("refused", action="search"),
    "failed_logins": lambda chain, n: chain.add("login_failed"),
    "undecided_looks": lambda chain, n: chain.add("hit_viewed", hit=f"h-{n}"),
}


def repeat(chain: Chain, rule: str, times: int) -> None:
    for n in range(times):
        ODD[rule](chain, n)


@pytest.mark.parametrize("rule", ODD)
def test_a_line_comes_with_the_threshold_and_not_before(chain: Chain, rule: str) -> None:
    threshold = 4
    rules = AuditRules(**{rule: threshold})
    repeat(chain, rule, threshold - 1)
    assert rule not in chain.told(rules)
    ODD[rule](chain, threshold - 1)
    (line,) = [line for line in chain.lines(rules) if line.rule == rule]
    assert (line.person, line.count, line.threshold) == ("garcia", threshold, threshold)
    assert line.why
    assert 0 < len(line.entries) <= MAX_NAMED


def test_another_persons_accesses_do_not_add_up(chain: Chain) -> None:
    for number in range(6):
        chain.search("AB1234", user=f"officer-{number % 3}")
    assert "same_plate" not in chain.told()
    chain.search("AB1234", user="officer-1")
    assert [(line.person, line.count) for line in chain.lines() if line.rule == "same_plate"] == [
        ("officer-1", 3)
    ]


@pytest.mark.parametrize(
    ("hour", "shift", "told"),
    [
        (12, "08:00-16:00", False),
        (7, "08:00-16:00", True),
        (16, "08:00-16:00", True),
        (23, "22:00-06:00", False),
        (5, "22:00-06:00", False),
        (6, "22:00-06:00", True),
        (12, "22:00-06:00", True),
    ],
)
def test_outside_the_shift(chain: Chain, hour: int, shift: str, told: bool) -> None:
    rules = AuditRules(shifts={"*": ("00:00-00:00",), "garcia": (shift,)})
    chain.search("AB1234", NOON + (hour - 12) * HOUR)
    chain.search("AB1234", NOON + (hour - 12) * HOUR, user="another")  # "*": at any hour
    assert [line.person for line in chain.lines(rules) if line.rule == "outside_shift"] == ["garcia"] * told


def test_shifts_go_by_the_agencys_clock(chain: Chain) -> None:
    rules = AuditRules(time_zone="America/Chicago", shifts={"garcia": ("06:00-14:00",)})
    chain.search("AB1234", NOON)  # 06:00 there
    assert chain.told(rules) == set()
    chain.search("AB1235", NOON - 1)
    assert chain.told(rules) == {"outside_shift"}


def test_whose_shift_nobody_wrote_down_is_never_outside(chain: Chain) -> None:
    chain.search("AB1234", NOON - 9 * HOUR)
    assert chain.told(AuditRules(shifts={"another": ("08:00-16:00",)})) == set()


def test_a_purpose_for_the_first_time(chain: Chain) -> None:
    rules = AuditRules(first_purpose_after=3)
    for number in range(3):
        chain.search(f"AB12{number}", DAY.since_us - HOUR)
    chain.search("CD1234", purpose="scofflaw")
    chain.search("CD1235")
    (line,) = chain.lines(rules)
    assert (line.rule, line.subject, line.count) == ("first_purpose", "scofflaw", 1)
    assert chain.told(AuditRules(first_purpose_after=4)) == set()


def test_pictures_beyond_what_was_searched(chain: Chain) -> None:
    rules = AuditRules(pictures=6, pictures_per_search=3)
    chain.search("AB1234")
    chain.search("CD1234")
    for number in range(5):
        chain.add("hit_crop_viewed", hit=f"h-{number}")
    assert chain.told(rules) == set()
    chain.add("hit_crop_viewed", hit="h-5")
    (line,) = chain.lines(rules)
    assert (line.rule, line.count) == ("pictures_per_search", 3.0)


def test_a_hit_that_somebody_decided_is_no_idle_look(chain: Chain) -> None:
    rules = AuditRules(undecided_looks=1)
    chain.add("hit_viewed", hit="h-1")
    chain.add("hit_decided", user="another", hit="h-1", at_us=NOON + HOUR)
    chain.add("hit_viewed", hit="h-2", at_us=DAY.until_us - HOUR)  # may still be decided in time
    assert chain.told(rules) == set()


def test_what_is_held_or_taken_out_of_a_hold_counts_too(chain: Chain) -> None:
    why = {"case": "none", "purpose": "test", "reason": "dispatch asked"}
    chain.add("hold_request", plate="AB1234", **why)
    chain.search("AB1234")
    chain.search("AB1234")
    chain.add("hold_open", **why)
    chain.add("hold_opened", records=1000)
    chain.add("hold_export", **why)
    told = {line.rule: line.count for line in chain.lines()}
    assert told == {"same_plate": 3, "without_digit": 3, "doubtful_purpose": 3, "opened_records": 1000}
    (person,) = usage(list(chain._office.audit.entries()), DAY).values()
    assert (person.opens, person.records_opened, person.purposes["test"]) == (2, 1000, 3)


def test_only_the_period_counts_and_its_end_does_not_belong_to_it(chain: Chain) -> None:
    for at_us in (DAY.since_us - 1, DAY.since_us, DAY.until_us - 1, DAY.until_us):
        chain.search("AB1234", at_us)
    (line,) = chain.lines(AuditRules(same_plate=2))
    assert line.count == 2
    (person,) = usage(list(chain._office.audit.entries()), DAY).values()
    assert (person.searches, person.plates, person.purposes) == (2, {"AB1234"}, {"stolen-vehicle": 2})


def test_the_same_log_gives_the_same_lines(chain: Chain) -> None:
    for rule in ("same_plate", "same_reason", "without_digit"):
        repeat(chain, rule, 5)
    assert chain.lines() == chain.lines()
    order = [(line.person, line.rule, line.subject) for line in chain.lines()]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("same_plate = 0", "same_plate"),
        ("same_plat = 3", "same_plat"),
        ('time_zone = "Mars/Olympus"', "time_zone"),
        ('[shifts]\ngarcia = ["25:00-26:00"]', "shifts.garcia"),
        ("same_plate = ", "no TOML"),
        ("#" * 70_000, "over"),
    ],
)
def test_a_mistake_in_the_rules_is_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "audit-rules.toml"
    path.write_text(text)
    with pytest.raises(BadRequest, match=told):
        AuditRules.load(path)


def test_the_document_tells_every_rule_with_its_default() -> None:
    text = (Path(__file__).parents[2] / "docs" / "office" / "audit.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \| ([\d,.]+) \|", text, re.MULTILINE))
    for name, value in AuditRules():
        if name in told:
            assert float(told[name].replace(",", "")) == value
        else:
            assert f"`{name}`" in text, name
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert {*ODD, "outside_shift", "pictures_per_search", "first_purpose"} <= rows


def test_rules_are_read(tmp_path: Path) -> None:
    path = tmp_path / "audit-rules.toml"
    assert AuditRules.load(path) == AuditRules()
    path.write_text(
        'time_zone = "America/Chicago"\nsame_plate = 2\n[shifts]\ngarcia = ["06:00-14:00", "22:00-02:00"]\n'
    )
    rules = AuditRules.load(path)
    assert (rules.same_plate, rules.shifts["garcia"]) == (2, ("06:00-14:00", "22:00-02:00"))
