# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.accept import Acceptance, kind_of, log_odds

SHARE = st.floats(0.0, 1.0)


def test_each_net_has_its_weight() -> None:
    only_detector = Acceptance(1.0, 0.0, 0.0, 0.0)
    assert only_detector.score(0.3, 1.0, 1.0) == pytest.approx(0.3)
    assert only_detector.score(0.3, 0.0, 0.0) == pytest.approx(0.3)
    assert Acceptance(1.0, 1.0, 1.0, -2.0).score(0.5, 0.5, 0.5) == pytest.approx(0.119, abs=1e-3)


def test_words_and_numbers_have_a_weight_of_their_own() -> None:
    acceptance = Acceptance(1.0, 0.0, 0.0, 0.0, accept_letters=-1.0, accept_digits=-0.5)
    usual = acceptance.score(0.5, 0.5, 0.5, "AB12CDE")
    assert usual == acceptance.score(0.5, 0.5, 0.5) == pytest.approx(0.5)
    assert acceptance.score(0.5, 0.5, 0.5, "RABBIT") == pytest.approx(0.2689, abs=1e-3)
    assert acceptance.score(0.5, 0.5, 0.5, "1995") == pytest.approx(0.3775, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("GOLFMOM", (1, 0)),
        ("R0DE0", (1, 0)),
        ("4711", (0, 1)),
        ("1O", (0, 1)),
        ("A1B", (1, 0)),
        ("A2", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_look_alikes_count_as_what_the_rest_is(text: str, kind: tuple[int, int]) -> None:
    assert kind_of(text) == kind


def test_the_manifest_has_the_last_word() -> None:
    assert Acceptance().tuned({"accept_bias": -1, "other": 3.0}) == Acceptance(accept_bias=-1.0)


@settings(max_examples=50)
@given(SHARE, SHARE, SHARE)
def test_it_is_a_probability_and_more_of_any_word_never_harms(a: float, b: float, c: float) -> None:
    score = Acceptance().score(a, b, c)
    assert 0.0 <= score <= 1.0
    assert Acceptance().score(1.0, b, c) >= score
    assert Acceptance().score(a, 1.0, c) >= score
    assert Acceptance().score(a, b, 1.0) >= score


def test_log_odds_are_clipped() -> None:
    assert log_odds(0.0) == pytest.approx(-log_odds(1.0))
    assert abs(log_odds(0.0)) < 10
