# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.report import figures
from inference.report.figures import Share
from inference.report.records import (
    Case,
    Seen,
    Shot,
    TruePlate,
    cases,
    false_reads,
    marked_two_rows,
    truths_of,
)
from inference.scoring import ECE_BINS, calibration_error, coverage_at
from inference.types import Box

BOX: Box = (100.0, 50.0, 80.0, 40.0)


def plate(text: str | None = "ABC123", box: Box = BOX, **more: Any) -> TruePlate:
    return TruePlate(box, text, **{"country": "US", "quality": "clear", "width_at_input": box[2], **more})


def read(text: str = "ABC123", confidence: float = 0.9, box: Box = BOX, **more: Any) -> Seen:
    return Seen(text, confidence, box, **more)


def case(text: str = "ABC123", got: Seen | None = None, **more: Any) -> Case:
    return Case("a.webp", "here", plate(text, **more), got)


def test_a_share_knows_its_interval() -> None:
    low, high = Share(66, 74).interval()
    assert (low, high) == (pytest.approx(0.8004, abs=1e-3), pytest.approx(0.9445, abs=1e-3))
    assert Share(0, 0).interval() == (0.0, 1.0)
    assert Share(0, 0).as_json()["value"] is None
    assert Share(3, 3).interval()[1] == pytest.approx(1.0)


def test_letters_and_digits_that_look_alike_are_one_when_folded() -> None:
    found = [case("AB1O", read("ABI0")), case("AB1O", read("AB1O")), case("AB1O", read("AB18")), case("AB1O")]
    assert figures.exact(found) == Share(2, 4)
    assert figures.exact(found, folded=False) == Share(1, 4)


def test_clear_us_plates_are_those_of_the_goal() -> None:
    wide = (0.0, 0.0, 60.0, 30.0)
    found = [
        case(box=wide),
        case(box=(0.0, 0.0, 59.0, 30.0)),
        case(box=wide, country="GB"),
        case(box=wide, quality="hard"),
        Case("a", "b", plate(None, wide), None),
    ]
    assert figures.us_clear(found) == found[:1]


def test_recall_counts_plates_wide_enough_and_boxes_near_enough() -> None:
    near = read(box=(100.0, 50.0, 80.0, 22.0))  # IoU 0.55
    far = read(box=(100.0, 50.0, 80.0, 14.0))  # IoU 0.35
    found = [case(got=near), case(got=far), case(), case(got=near, width_at_input=20.0)]
    assert figures.recall(found, 0.3) == Share(2, 3)
    assert figures.recall(found, 0.5) == Share(1, 3)
    assert figures.recall(found, 0.5, 0.0) == Share(2, 4)


def test_every_plate_has_its_read_and_the_rest_is_false() -> None:
    elsewhere = read("X", box=(400.0, 400.0, 50.0, 20.0))
    sign = TruePlate((400.0, 400.0, 50.0, 20.0), None, is_plate=False)
    shot = Shot("a", "s", (plate(), plate("ZZZ", (300.0, 50.0, 80.0, 40.0)), sign), (elsewhere, read()))
    assert [(c.truth.text, c.read and c.read.text) for c in cases([shot])] == [
        ("ABC123", "ABC123"),
        ("ZZZ", None),
    ]
    assert false_reads([shot]) == [(shot, elsewhere)]


pairs = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


@given(pairs)
def test_calibration_and_coverage_are_those_of_the_accuracy(judged: list[tuple[float, bool]]) -> None:
    confidences = np.array([c for c, _ in judged])
    right = np.array([r for _, r in judged], dtype=np.bool_)
    ours = figures.coverage_at(confidences, right, len(judged) + 3)
    assert ours == pytest.approx(coverage_at(judged, len(judged) + 3, 0.99))
    if len(set(confidences)) == len(judged):  # equal confidences may fall into either bin
        expected = calibration_error(judged)
        assert figures.calibration(confidences, right).error == pytest.approx(expected)


def test_perfect_confidences_show_no_more_than_the_noise() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.random(400)
    fair = figures.calibration(confidences, rng.random(400) < confidences)
    assert fair.error < 2 * fair.noise
    assert figures.calibration(confidences, np.zeros(400, np.bool_)).error == pytest.approx(0.5, abs=0.05)
    assert sum(n for _, _, n in fair.bins) == fair.reads == 400
    assert len(fair.bins) == ECE_BINS


def test_reads_of_unknown_texts_are_not_judged() -> None:
    found = [case(got=read()), case(), Case("a", "b", plate(None), read()), case(got=read(""))]
    confidences, right = figures.read_pairs(found)
    assert (list(confidences), list(right)) == ([0.9], [True])


def test_a_mended_label_makes_a_wrong_read_right() -> None:
    found = [case("UZ579", read("UZ579ICT")), case("ABC123", read())]
    shown = figures.with_labels_mended(found, {("a.webp", "UZ579"): "UZ579ICT", ("b.webp", "ABC123"): "X"})
    assert [c.right() for c in found] == [False, True]
    assert [c.right() for c in shown] == [True, True]


def test_risk_falls_with_coverage_when_confidence_is_worth_something() -> None:
    curve = figures.risk_coverage(np.array([0.9, 0.8, 0.8, 0.1]), np.array([1, 1, 0, 0], np.bool_), 8)
    assert curve == [(1 / 8, 0.0), (3 / 8, pytest.approx(1 / 3)), (4 / 8, 0.5)]


def test_precision_and_recall_follow_the_score() -> None:
    small = plate("S", (500.0, 0.0, 20.0, 10.0))
    candidates = (
        read(score=0.9),
        read("?", box=(300.0, 300.0, 50.0, 20.0), score=0.6),
        read(box=(500.0, 0.0, 20.0, 10.0), score=0.5),  # on a plate too small to count
        read(box=(700.0, 0.0, 80.0, 14.0), score=0.4),  # IoU 0.35
    )
    shot = Shot("a", "s", (plate(), small, plate("B", (700.0, 0.0, 80.0, 40.0))), (), candidates)
    assert figures.precision_recall([shot], 0.3) == [
        (0.5, 1.0, 0.9),
        (0.5, 0.5, 0.6),
        (1.0, pytest.approx(2 / 3), 0.4),
    ]
    assert [r for r, _, _ in figures.precision_recall([shot], 0.5)] == [0.5, 0.5, 0.5]


def test_states_are_guessed_told_or_kept_quiet() -> None:
    found = [
        case(got=read(state="IL", state_guess="IL", state_probability=0.9), state="IL"),
        case(got=read(state=None, state_guess="OH", state_probability=0.4), state="OH"),
        case(got=read(state="TX", state_guess="TX", state_probability=0.6), state="CA"),
        case(state="NY"),
        case(got=read(), state="ON", country="CA"),
        case(got=read(state_guess="ME"), state=None),
    ]
    got = figures.state_figures(found)
    assert (got["plates"], got["read"]) == (4, 3)
    assert (got["top1"]["value"], got["top1_of_read"]["value"]) == (0.5, pytest.approx(0.6667))
    assert (got["told"]["value"], got["told_right"]["value"]) == (0.5, 0.5)
    assert got["right_at_60"]["of"] == 3
    assert figures.state_figures([case(got=read(), state="IL")])["any"] is False


def test_too_few_guesses_reach_no_coverage() -> None:
    found = [case(got=read(state_guess="IL", state_probability=0.9), state="IL"), case(state="IL")]
    assert figures.state_figures(found)["right_at_60"] is None


def test_confusions_are_counted_where_a_text_is_half_right() -> None:
    found = [
        case("ABC8", read("ABCB")),
        case("ABC8", read("ABC")),
        case("ABC8", read("XYZW")),
        case("AB", read("AB1")),
    ]
    counts = figures.confusions(found)
    assert counts == Counter(
        {("A", "A"): 3, ("B", "B"): 3, ("C", "C"): 2, ("8", "B"): 1, ("8", "-"): 1, ("-", "1"): 1}
    )


def test_bins_and_names_hold_every_plate_once() -> None:
    found = [case(box=(0.0, 0.0, w, 20.0), country=c) for w, c in ((20.0, "US"), (40.0, "US"), (300.0, "GB"))]
    assert [(n, s.whole) for n, s in figures.by_bins(found, (0, 40, 80), lambda c: c.truth.width)] == [
        ("0-40", 1),
        ("40-80", 1),
        ("80 and more", 1),
    ]
    named = figures.by_name(found, lambda c: c.truth.country or "", least=2)
    assert [(n, s.whole) for n, s in named] == [("US", 2), ("others", 1)]


def test_failures_come_worst_first() -> None:
    found = [
        case(got=read("AAA", 0.2)),
        case(got=read("BBB", 0.9)),
        case(got=read()),
        case(box=(0.0, 0.0, 30.0, 10.0)),
        case(box=(0.0, 0.0, 90.0, 30.0)),
    ]
    wrong, missed = figures.failures(found)
    assert [c.read.text for c in wrong if c.read] == ["BBB", "AAA"]
    assert [c.truth.width for c in missed] == [90.0, 30.0]


def test_annotated_plates_are_taken_over() -> None:
    raw = [
        {"box": None},
        {"box": [0, 0, 100, 50], "text": "a-1", "quality": "clear", "state": "IL"},
        {"box": [0, 0, 9, 9], "quality": "notplate"},
    ]
    first, second = truths_of(raw, 0.5, [1])
    assert (first.text, first.state, first.width_at_input, first.two_rows) == ("A1", "IL", 50.0, True)
    assert (second.is_plate, second.two_rows) == (False, False)


def test_the_marked_plates_are_named_by_picture() -> None:
    marked = marked_two_rows()
    assert sum(len(places) for places in marked.values()) == 37
    assert all(name.startswith("val/") for name in marked)


def test_noise_is_the_same_in_every_run() -> None:
    confidences = np.linspace(0.05, 0.95, 50)
    one, other = (figures.calibration(confidences, confidences > 0.5) for _ in range(2))
    assert one == other
    assert math.isfinite(one.noise)
