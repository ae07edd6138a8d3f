# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.believed_time import SLACK_US, believe, disputed
from storage.retention import RetentionPolicy, expired_epochs
from storage.types import EPOCH_US, TimeEvidence

S = 1_000_000
DAY = 86_400 * S
YEAR = 365 * DAY
NOW = 500_000 * EPOCH_US
ONE, TWO, NONE = ("gnss",), ("gnss", "office"), ()


def drifted(elapsed_us: int) -> int:
    return elapsed_us - elapsed_us * 500 // 1_000_000


@pytest.mark.parametrize(
    ("what", "last", "elapsed", "now", "sources", "believed"),
    [
        ("the clock runs", NOW, 60 * S, NOW + 60 * S, ONE, NOW + 60 * S),
        ("a small step, one source", NOW, 60 * S, NOW + 61 * S + 119 * S, ONE, NOW + 180 * S),
        ("a year ahead, one source (GNSS spoofed)", NOW, 60 * S, NOW + YEAR, ONE, NOW + drifted(60 * S)),
        ("a year ahead, the same source twice", NOW, 0, NOW + YEAR, ("gnss", "gnss"), NOW),
        ("a year ahead, no source", NOW, 60 * S, NOW + YEAR, NONE, NOW + drifted(60 * S)),
        ("40 days without power, two sources", NOW, 0, NOW + 40 * DAY, TWO, NOW + 40 * DAY),
        ("40 days without power, one source: late, never early", NOW, 0, NOW + 40 * DAY, ONE, NOW),
        ("the clock set back, one source", NOW, 60 * S, NOW - YEAR, ONE, NOW + drifted(60 * S)),
        ("two sources a year behind stop it", NOW, 60 * S, NOW - YEAR, TWO, NOW),
        ("two sources a minute behind do not", NOW, 60 * S, NOW, TWO, NOW + drifted(60 * S)),
        ("a dead clock at 1970", NOW, 3600 * S, 0, NONE, NOW + drifted(3600 * S)),
        ("the clock stands still for a day", NOW, DAY, NOW, ONE, NOW + drifted(DAY)),
    ],
)
def test_the_rules(what, last, elapsed, now, sources, believed) -> None:
    assert believe(last, elapsed, TimeEvidence(now, 0, sources), None) == believed, what


@pytest.mark.parametrize(
    ("sources", "newest", "believed"),
    [
        (TWO, 490_000, NOW),
        (ONE, 490_000, 490_001 * EPOCH_US),
        (ONE, 600_000, NOW),
        (ONE, None, None),
        (TWO, None, NOW),
        (NONE, 490_000, None),
        (NONE, None, None),
    ],
)
def test_the_first_time(sources, newest, believed) -> None:
    assert believe(None, 0, TimeEvidence(NOW, 0, sources), newest) == believed


def test_only_two_sources_dispute_the_bound() -> None:
    assert disputed(NOW, TimeEvidence(NOW - SLACK_US - 1, 0, TWO))
    assert not disputed(NOW, TimeEvidence(NOW - SLACK_US, 0, TWO))
    assert not disputed(NOW, TimeEvidence(NOW - YEAR, 0, ONE))
    assert not disputed(NOW, TimeEvidence(NOW - YEAR, YEAR, TWO))  # that unsure it says nothing
    assert not disputed(None, TimeEvidence(0, 0, TWO))


def test_uncertainty_is_taken_off() -> None:
    assert believe(NOW, 0, TimeEvidence(NOW + DAY, 3600 * S, TWO), None) == NOW + DAY - 3600 * S
    assert TimeEvidence(NOW, -5, ONE).earliest_us == NOW


STEPS = st.lists(st.tuples(st.integers(0, DAY), st.integers(-YEAR, YEAR)), max_size=8)


@settings(max_examples=50)
@given(STEPS)
def test_one_source_can_never_win_more_than_the_slack_a_step_and_it_never_goes_back(steps) -> None:
    true = last = NOW
    for n, (elapsed, lie) in enumerate(steps, 1):
        true += elapsed
        new = believe(last, elapsed, TimeEvidence(true + lie, 0, ONE), None)
        assert new is not None
        assert last <= new <= true + n * SLACK_US
        last = new


def test_an_epoch_expires_only_when_its_last_record_has() -> None:
    policy = RetentionPolicy(seconds=30 * 86_400, version="30d")
    end = 500_001 * EPOCH_US + 30 * DAY

    def expired(now_us: int, uncertainty_us: int = 0) -> list[int]:
        return expired_epochs([500_000, 500_001], TimeEvidence(now_us, uncertainty_us, TWO), policy)

    assert expired(end - 1) == []
    assert expired(end) == [500_000]
    assert expired(end + 5, 10) == []
    assert expired(end + EPOCH_US) == [500_000, 500_001]
