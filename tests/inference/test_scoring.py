# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from inference.scoring import Predicted, Tally, Truth, match

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
