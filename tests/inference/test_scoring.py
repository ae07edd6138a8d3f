# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.scoring import (
    Predicted,
    Tally,
    Truth,
    calibration_error,
    coverage_at,
    match,
    risk_coverage,
)

A = (0.0, 0.0, 100.0, 50.0)
B = (200.0, 0.0, 100.0, 50.0)
NEAR_A = (0.0, 0.0, 100.0, 35.0)  # IoU 0.7
FAR_A = (0.0, 0.0, 40.0, 50.0)  # IoU 0.4
OFF_A = (60.0, 0.0, 100.0, 50.0)  # IoU 0.25


def tally(truths: list[Truth], *predictions: Predicted) -> Tally:
    out = Tally()
    out.add(truths, predictions, 24.0)
    return out


def test_recall_at_two_ious() -> None:
    both = [Truth(A, None), Truth(B, None)]
    got = tally(both, Predicted(FAR_A, "", 0.9), Predicted(B, "", 0.8))
    assert (got.plates, got.found_30, got.found_50, got.false_plates) == (2, 2, 1, 0)


def test_below_the_iou_is_missed_and_false() -> None:
    got = tally([Truth(A, None)], Predicted(OFF_A, "", 0.9))
    assert (got.found_30, got.false_plates) == (0, 1)


def test_one_plate_takes_one_prediction_the_surest() -> None:
    pairs = match([A], [Predicted(NEAR_A, "", 0.5), Predicted(FAR_A, "", 0.9)])
    assert pairs == {0: 1}
    assert tally([Truth(A, None)], Predicted(NEAR_A, "", 0.5), Predicted(FAR_A, "", 0.9)).false_plates == 1


def test_what_is_no_plate_neither_counts_nor_excuses() -> None:
    got = tally([Truth(A, None, is_plate=False)], Predicted(A, "SIGN", 0.9))
    assert (got.plates, got.found_30, got.false_plates) == (0, 0, 1)


def test_plates_left_out_by_a_filter_excuse_and_do_not_count() -> None:
    got = tally([Truth(A, "ABC", counted=False)], Predicted(A, "ABC", 0.9))
    assert (got.plates, got.texts, got.false_plates) == (0, 0, 0)


def test_unlabelled_text_counts_for_detection_only() -> None:
    got = tally([Truth(A, None), Truth(B, "AB1")], Predicted(A, "XYZ", 0.9), Predicted(B, "AB1", 0.9))
    assert (got.plates, got.texts, got.exact, got.characters, got.edits) == (2, 1, 1, 3, 0)


def test_missed_plates_are_all_deletions() -> None:
    got = tally([Truth(A, "ABC123"), Truth(B, "XY")], Predicted(B, "XYZ", 0.9))
    assert (got.texts, got.exact, got.edits, got.characters) == (2, 0, 7, 8)


def test_folding_is_for_the_second_figure() -> None:
    got = tally([Truth(A, "O1")], Predicted(A, "0I", 0.9))
    assert (got.exact, got.exact_folded, got.edits) == (0, 1, 2)


def test_width_at_the_input_restricts_the_second_recall() -> None:
    truths = [Truth(A, None, width_at_input=23.9), Truth(B, None, width_at_input=24.0)]
    got = tally(truths, Predicted(A, "", 0.9), Predicted(B, "", 0.9))
    assert (got.found_30, got.wide, got.wide_found_30, got.wide_found_50) == (2, 1, 1, 1)


def test_texts_without_boxes_take_the_nearest_read() -> None:
    got = Tally()
    got.add_unboxed(["ABC123", "XYZ"], [Predicted(A, "XYZ", 0.5), Predicted(B, "ABC128", 0.9)])
    assert (got.texts, got.exact, got.edits) == (2, 1, 1)


def test_what_was_read_is_judged_and_what_was_missed_is_not() -> None:
    got = tally([Truth(A, "O1"), Truth(B, "XYZ")], Predicted(A, "0I", 0.9, 0.7), Predicted(B, "", 0.9, 0.0))
    assert got.judged == [(0.7, True)]
    assert tally([Truth(A, "AB1")]).judged == []


def test_calibration_error_is_how_far_bins_are_off() -> None:
    honest = [(0.8, i % 5 > 0) for i in range(100)]
    assert calibration_error(honest, 1) == pytest.approx(0.0)
    assert calibration_error([(0.9, False)] * 10 + [(0.1, False)] * 10, 2) == pytest.approx(0.5)
    assert calibration_error([(1.0, True)], 12) == pytest.approx(0.0)
    assert calibration_error([]) is None


def test_coverage_is_the_share_of_all_plates_above_a_threshold() -> None:
    judged = [(0.9, True), (0.8, True), (0.7, False), (0.6, True)]
    assert risk_coverage(judged, 8) == [
        (0.9, 0.125, 1.0),
        (0.8, 0.25, 1.0),
        (0.7, 0.375, pytest.approx(2 / 3)),
        (0.6, 0.5, 0.75),
    ]
    assert coverage_at(judged, 8, 0.99) == 0.25
    assert coverage_at(judged, 8, 0.75) == 0.5
    assert coverage_at([(0.9, False)], 8, 0.75) == 0.0
    assert coverage_at([], 0, 0.75) is None


def test_reads_of_equal_confidence_come_together_or_not_at_all() -> None:
    assert coverage_at([(0.9, True), (0.9, False)], 2, 0.99) == 0.0


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_figures_of_any_judgement_are_shares(judged: list[tuple[float, bool]]) -> None:
    assert 0.0 <= (calibration_error(judged) or 0.0) <= 1.0
    curve = risk_coverage(judged, len(judged))
    assert curve[-1][1] == 1.0
    assert all(0.0 <= right <= 1.0 for _, _, right in curve)
