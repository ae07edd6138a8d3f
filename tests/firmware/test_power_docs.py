# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/hardware say what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware.alarm_patterns import PATTERNS, Pattern
from firmware.ladder import BATTERIES, LadderSettings, Measure, Step, steps_of

HARDWARE = Path(__file__).parents[2] / "docs/hardware"
POWER = (HARDWARE / "power.md").read_text(encoding="utf-8")
ALERTS = (HARDWARE / "alerts.md").read_text(encoding="utf-8")
UNITS = {Measure.TEMPERATURE: "{:.0f} °C", Measure.BATTERY: "{:.1f} V"}


@pytest.mark.parametrize("step", steps_of(LadderSettings()))
def test_every_step_is_in_the_table(step: Step) -> None:
    unit = UNITS.get(step.measure)
    enter, leave = (unit.format(v) for v in (step.enter, step.leave)) if unit else ("now", "no more")
    cells = f"| `{step.rung.name}` | {enter} | {step.enter_after_s:.0f} s | {leave} | {step.leave_after_s:.0f} s |"
    assert cells in POWER


def test_the_table_has_no_other_step() -> None:
    rows = [line for line in POWER.splitlines() if line.startswith("| ") and line.count(" s |") == 2]
    assert len(rows) == len(steps_of(LadderSettings()))


@pytest.mark.parametrize("name", BATTERIES)
def test_every_battery_is_in_the_table(name: str) -> None:
    of = BATTERIES[name]
    rungs = ", ".join(f"{volts:.1f}" for volts in (of.low, of.lower, of.lowest))
    assert (
        f"| `{name}` | {rungs} V | {of.empty:.1f} V | {of.margin:.1f} V above it | {of.full:.1f} V |" in POWER
    )


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pattern_is_in_the_table(pattern: Pattern) -> None:
    (row,) = [line for line in ALERTS.splitlines() if line.startswith(f"| {pattern.name} |")]
    once, times = row.split("|")[3].strip().strip("`"), int(row.split("|")[4])
    assert once * times == pattern.slots
