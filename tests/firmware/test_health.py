# SPDX-License-Identifier: Apache-2.0
"""Only changes are told; the snapshot shows the worst first."""

from __future__ import annotations

import pytest

from firmware.health import MAX_PARTS, Change, Condition, Finding, Health, well

FROZEN = Finding("camera", Condition.FAILED, "frozen", "pull the camera's plug and put it back")


def test_a_change_is_told_once_and_recovery_too() -> None:
    told: list[Change] = []
    health = Health(told.append)
    health.report(well("camera"), 1)
    for at in (2, 3, 4):
        health.report(FROZEN, at)
    health.report(well("camera"), 5)
    assert [(c.finding.code, c.at_us, c.recovered) for c in told] == [("frozen", 2, False), ("", 5, True)]


def test_other_words_for_the_same_trouble_are_no_change() -> None:
    told: list[Change] = []
    health = Health(told.append)
    for at, which in enumerate(["battery", "every sensor", "battery"], 1):
        health.report(Finding("power", Condition.DEGRADED, "unreadable", f"no value of: {which}"), at)
    assert len(told) == 1
    (shown,) = health.snapshot()
    assert (shown["since_us"], shown["advice"]) == (1, "no value of: battery")
    assert health.of("power") == Finding("power", Condition.DEGRADED, "unreadable", "no value of: battery")


def test_a_part_that_is_well_or_not_there_at_the_start_is_no_news() -> None:
    told: list[Change] = []
    health = Health(told.append)
    health.report(well("camera"), 1)
    health.report(Finding("gnss", Condition.ABSENT), 1)
    assert told == []
    assert health.of("gnss") == Finding("gnss", Condition.ABSENT)
    assert health.of("modem") is None


def test_the_snapshot_shows_the_worst_first_with_since_when() -> None:
    health = Health()
    health.report(well("lamp"), 1)
    health.report(Finding("power", Condition.DEGRADED, "hot", "give it shade"), 2)
    health.report(FROZEN, 3)
    health.report(FROZEN, 9)
    assert [(e["part"], e["condition"], e["since_us"]) for e in health.snapshot()] == [
        ("camera", "failed", 3),
        ("power", "degraded", 2),
        ("lamp", "ok", 1),
    ]


def test_endless_parts_are_refused() -> None:
    health = Health()
    for number in range(MAX_PARTS):
        health.report(well(f"p{number}"), 1)
    with pytest.raises(ValueError, match="parts"):
        health.report(well("one more"), 1)
