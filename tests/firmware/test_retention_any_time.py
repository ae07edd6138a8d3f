# SPDX-License-Identifier: Apache-2.0
"""Any life of a unit, with one source that lies at a time: nothing is deleted early, and lateness has its bound."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.firmware.retention_unit import DAY, HOUR, KEEP, YEAR, S, Unit
from tests.firmware.test_retention_time import Step, off, play, rtc, run

CLOCKS = [
    None,
    0,
    40 * S,
    -6 * HOUR,
    7 * HOUR,
    -DAY,
    -100 * DAY,
    YEAR + 3 * DAY,
]  # none lies as a forged source does
LIES = ["", "g", "o", "go", "G", "Go", "b", "bo", "w", "wo", "O", "gO", "p", "gp"]
STEPS = st.one_of(
    st.builds(run, st.sampled_from([0.05, 0.3, 0.8]), st.sampled_from(LIES)),
    st.builds(off, st.sampled_from([0.001, 0.1, 1.0, 40.0])),
    st.builds(rtc, st.sampled_from(CLOCKS[1:])),
    st.just(("start", 0.0)),
    st.builds(lambda days: ("suspend", days), st.sampled_from([0.01, 2.0])),
)
LIVES = st.lists(STEPS, min_size=1, max_size=8)


def live(steps: list[Step], rtc_us: int | None) -> Unit:
    with tempfile.TemporaryDirectory() as folder:
        unit = Unit(Path(folder), rtc_us)
        if rtc_us is None:
            steps = [step for step in steps if step[0] != "rtc"]
        play(unit, (*steps, run(2 * KEEP / DAY, "go")))
        return unit


def check(steps: list[Step], rtc_us: int | None) -> None:
    unit = live(steps, rtc_us)
    assert unit.early_us == 0
    late_h = unit.late_us / HOUR
    dark = sum(step[0] in ("off", "suspend", "start") for step in steps)
    assert late_h <= KEEP / HOUR + 4 + 2 * dark


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LIVES, st.sampled_from(CLOCKS))
def test_any_life(steps, rtc_us) -> None:
    check(steps, rtc_us)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LIVES, st.sampled_from(CLOCKS))
def test_a_thousand_lives(steps, rtc_us) -> None:
    check(steps, rtc_us)
