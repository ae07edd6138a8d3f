# SPDX-License-Identifier: Apache-2.0
"""Nothing is deleted early because one source jumped, nothing is kept late because a clock stood still.

The table of docs/security/retention.md, played through the real clock, retention and keyring. Lateness counts in time
with power, and is in hours: reads are looked at hourly here, and an hour's key dies as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.firmware.retention_unit import DAY, HOUR, KEEP, YEAR, S, Unit

SURE_H = 2.0  # the key's hour, and the hour between two looks
UNSURE_H = 3.4  # the same, with what an hour of an unsure clock counts longer
ALONE_H = KEEP / HOUR + UNSURE_H  # the time without power is made up for by one retention of running time
NONE, LATE, ALONE = "", "late", "time_not_agreed"

Step = tuple[str, float] | tuple[str, float, str]


def run(days: float, sources: str = "") -> Step:
    return "run", days, sources


def off(days: float) -> Step:
    return "off", days


def rtc(ahead_us: float) -> Step:
    return "rtc", ahead_us


@dataclass(frozen=True, slots=True)
class Row:
    """A unit's life; `rtc_us` None is a dead battery clock. What it may be late by, and what health must have said."""

    name: str
    steps: tuple[Step, ...]
    late_h: float = SURE_H
    told: frozenset[str] = frozenset({NONE})
    rtc_us: int | None = 0


def told(*codes: str) -> frozenset[str]:
    return frozenset({NONE, *codes})


WELL = run(0.7, "go")
LONG = (run(1, "go"),)
TABLE = [
    Row("all is well", (WELL, WELL, WELL)),
    Row("battery clock 30 s off", (WELL, WELL), rtc_us=30 * S),
    Row(
        "dead battery clock, GNSS a day later, then both",
        (run(0.9), run(1, "g"), WELL),
        SURE_H,
        told(LATE),
        None,
    ),
    Row("dead battery clock, never a source", (run(2),), UNSURE_H, told(ALONE), None),
    Row("battery clock alone, for ever", (run(2),), UNSURE_H, told(ALONE)),
    Row("GNSS alone, for ever", (run(2, "g"),), UNSURE_H, told(ALONE), None),
    Row("office alone, for ever", (run(2, "o"),), UNSURE_H, told(ALONE), None),
    Row("battery clock a year ahead from the first day", (run(0.7), run(1, "go")), UNSURE_H, rtc_us=YEAR),
    Row("battery clock behind from the first day", (run(0.7), run(1, "go")), UNSURE_H, rtc_us=-200 * DAY),
    Row("battery clock in local time", (run(0.7), run(1, "go")), UNSURE_H, rtc_us=-6 * HOUR),
    Row("clock set back a day", (WELL, rtc(-DAY), run(0.7, "go"), off(0.01), run(0.7), WELL), UNSURE_H),
    Row(
        "clock set back a year", (WELL, rtc(-280 * DAY), run(0.7, "go"), off(0.01), run(0.7), WELL), UNSURE_H
    ),
    Row(
        "clock set back a day, nobody ever agrees",
        (run(0.7), rtc(-DAY), off(0.01), run(0.7)),
        UNSURE_H,
        told(ALONE),
    ),
    Row("clock forward a year, others there", (WELL, rtc(YEAR), run(0.7, "go"), WELL), UNSURE_H),
    Row("clock forward a year, alone", (WELL, rtc(YEAR), run(0.7), WELL), UNSURE_H),
    Row(
        "clock forward a year over a restart, alone",
        (WELL, rtc(YEAR), off(0.01), run(0.7), WELL),
        UNSURE_H,
        told(LATE),
    ),
    Row("GNSS a year ahead, office there", (WELL, run(0.7, "Go"), WELL)),
    Row("GNSS a year ahead, no office", (WELL, run(0.7, "G"), WELL), UNSURE_H),
    Row("GNSS a year ahead from the first day", (run(0.7, "G"), WELL), UNSURE_H, rtc_us=None),
    Row(
        "GNSS a year ahead after a restart",
        (WELL, off(0.01), run(0.7, "G"), WELL),
        UNSURE_H,
        told(LATE),
        None,
    ),
    Row("GNSS a year behind, office there", (WELL, run(0.7, "bo"), WELL)),
    Row("GNSS a year behind, no office", (WELL, run(0.7, "b"), WELL), UNSURE_H),
    Row("GNSS a year behind from the first day", (run(0.7, "b"), WELL), UNSURE_H, rtc_us=None),
    Row(
        "GNSS walks ahead, two minutes a look",
        (run(0.7, "g"), run(4, "w"), WELL),
        UNSURE_H + 1,  # the bound loses 43 s a day while it goes alone, and looks come hourly
        told(LATE, ALONE),
        None,
    ),
    Row("office a year ahead alone", (WELL, run(0.7, "gO"), WELL)),
    Row(
        "office a year ahead after a restart",
        (WELL, off(0.01), run(0.7, "O"), WELL),
        UNSURE_H,
        told(LATE),
        None,
    ),
    Row("office a year behind alone", (WELL, run(0.7, "gp"), WELL)),
    Row("40 days without power, battery clock and both", (WELL, off(40), WELL), UNSURE_H),
    Row(
        "40 days without power, battery clock and GNSS", (WELL, off(40), run(1, "g")), UNSURE_H, rtc_us=60 * S
    ),
    Row(
        "40 days without power, battery clock and office",
        (WELL, off(40), run(1, "o")),
        UNSURE_H,
        rtc_us=60 * S,
    ),
    Row("40 days without power, battery clock alone", (WELL, off(40), run(1)), ALONE_H, told(LATE)),
    Row("40 days without power, no battery clock, both", (WELL, off(40), WELL), UNSURE_H, rtc_us=None),
    Row("40 days without power, GNSS alone", (WELL, off(40), run(1, "g")), ALONE_H, told(LATE), None),
    Row("40 days without power, office alone", (WELL, off(40), run(1, "o")), ALONE_H, told(LATE), None),
    Row("40 days without power, nobody", (WELL, off(40), run(2)), ALONE_H, told(ALONE), None),
    Row(
        "40 days without power, reads before anybody says the time",
        (WELL, off(40), run(0.2), run(0.2, "g"), *LONG),
        ALONE_H,
        told(LATE),
        None,
    ),
    Row(
        "40 days without power, again and again",
        (WELL, off(40), run(0.2), off(40), run(0.2), *LONG),
        ALONE_H,
        told(LATE),
    ),
    Row(
        "the service starts again every few hours",
        (WELL, *[("start", 0.0), run(0.2)] * 6),
        UNSURE_H,
        told(ALONE),
    ),
    Row(
        "the state lost while GNSS is a year ahead",
        (WELL, off(0.01), run(0.3, "G"), ("lost", 0.0), run(0.7, "G"), WELL),
        KEEP / HOUR + 24 + UNSURE_H,  # what has the liar's name is dated once two agree
        told(LATE),
        None,
    ),
    Row(
        "the state lost as the battery clock leaps a year",
        (WELL, rtc(YEAR), off(0.01), ("lost", 0.0), run(0.7), WELL),
        ALONE_H,
        told(LATE),
    ),
    Row("the state lost, one source", (run(1), ("lost", 0.0), run(1)), ALONE_H, told(LATE)),
    Row("the state lost, two sources", (WELL, ("lost", 0.0), WELL)),
    Row(
        "a fresh unit, a clock that was never set, two sources with the next look",
        (run(0), WELL, WELL),
        UNSURE_H,
        rtc_us=None,
    ),
    Row("suspended for two days, alone", (run(0.7), ("suspend", 2.0), run(0.7)), ALONE_H, told(ALONE)),
    Row("suspended for two days, then both", (WELL, ("suspend", 2.0), WELL), UNSURE_H),
    Row("a leap second", (WELL, ("step", -S), WELL)),
]


def play(unit: Unit, steps: tuple[Step, ...]) -> None:
    for what, amount, *sources in steps:
        match what:
            case "run":
                unit.run(amount, *sources)
            case "off":
                unit.off(amount)
            case "rtc":
                unit.rtc_us = int(amount)
            case "start":
                unit.start()
            case "lost":
                unit.lose_state()
            case "suspend":
                unit.suspend(amount)
            case "step":
                unit.step(int(amount))
    unit.check_what_is_left()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_never_early_never_late_never_silent(row: Row, tmp_path: Path) -> None:
    unit = Unit(tmp_path, row.rtc_us)
    play(unit, row.steps)
    assert unit.early_us == 0
    assert unit.late_us / HOUR <= row.late_h
    assert unit.told == row.told
    assert len(unit.deaths) > 2


def reboots(folder: Path, count: int, sources: str, rtc_us: int | None) -> Unit:
    """A unit that has power for ten minutes at a time."""
    unit = Unit(folder, rtc_us)
    for _ in range(count):
        unit.loop(10, sources)
    unit.check_what_is_left()
    return unit


@pytest.mark.parametrize(("sources", "rtc_us"), [("", None), ("", 0), ("g", None), ("go", None)])
def test_a_unit_that_starts_again_every_ten_minutes_still_deletes(sources, rtc_us, tmp_path: Path) -> None:
    unit = reboots(tmp_path, 90, sources, rtc_us)
    assert unit.early_us == 0
    assert unit.late_us / HOUR <= UNSURE_H
    assert len(unit.deaths) > 3


@pytest.mark.slow
@pytest.mark.parametrize(("sources", "rtc_us"), [("", None), ("", 0), ("g", None)])
def test_forty_days_of_starting_again_every_ten_minutes(sources, rtc_us, tmp_path: Path) -> None:
    unit = reboots(tmp_path, 40 * 144, sources, rtc_us)
    assert unit.early_us == 0
    assert unit.late_us / HOUR <= UNSURE_H
    assert ALONE in unit.told
