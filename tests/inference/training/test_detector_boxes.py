# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from inference.training.detector_boxes import Found, decode_maps, overlaps, suppress, to_picture
from inference.training.detector_data import Labels, as_boxes
from inference.training.detector_eval import Tally, at, by_source, by_width, choose, match


def _found(*rows: tuple[list[float], float]) -> Found:
    return Found(as_boxes([r[0] for r in rows]), np.asarray([r[1] for r in rows], np.float32))


def _labels(*boxes: list[float]) -> Labels:
    return Labels("a", 640, 384, "s", as_boxes(list(boxes)), as_boxes([]))


def test_overlap_of_halves() -> None:
    iou, inside = overlaps(as_boxes([[0, 0, 10, 10]]), as_boxes([[5, 0, 15, 10]]))
    assert iou[0, 0] == pytest.approx(1 / 3)
    assert inside[0, 0] == pytest.approx(0.5)


def test_suppression_drops_duplicates_and_nested_boxes() -> None:
    kept = suppress(
        _found(
            ([0, 0, 100, 50], 0.9), ([2, 0, 102, 50], 0.8), ([10, 10, 30, 30], 0.7), ([200, 0, 260, 30], 0.3)
        )
    )
    assert kept.scores.tolist() == pytest.approx([0.9, 0.3])


def test_a_cell_decodes_to_its_box() -> None:
    logits = np.full((48, 80), -9, np.float32)
    raw = np.zeros((48, 80, 4), np.float32)
    logits[3, 10], raw[3, 10] = 4.0, np.log([2, 1, 3, 1.5])
    found = decode_maps([(logits, raw)], 0.5)
    assert found.boxes.tolist() == [pytest.approx([84 - 16, 28 - 8, 84 + 24, 28 + 12], abs=1e-3)]
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-5)


def test_boxes_go_back_to_the_picture_and_stay_in_it() -> None:
    found = to_picture(_found(([-5, 10, 50, 400], 0.5)), 0.5, (300, 90))
    assert found.boxes.tolist() == [[0, 20, 90, 300]]


def test_each_plate_is_found_once_and_the_second_box_is_false() -> None:
    found = _found(([0, 0, 100, 50], 0.9), ([0, 0, 100, 40], 0.8), ([300, 0, 340, 20], 0.4))
    hit, false = match(found, _labels([0, 0, 100, 50], [200, 200, 300, 240]))
    assert hit == pytest.approx([0.9, 0.0])
    assert false == pytest.approx([0.8, 0.4])


def _tally() -> Tally:
    widths, scores = np.asarray([10, 30, 60, 200], np.float32), np.asarray([0, 0.3, 0.6, 0.9], np.float32)
    return Tally(widths, scores, ("a", "a", "b", "b"), np.asarray([0.2, 0.5], np.float32), 10)


def test_narrow_plates_don_t_count() -> None:
    point = at(_tally(), 0.25)
    assert point.recall == 1.0
    assert point.false == pytest.approx(0.1)


def test_the_lowest_threshold_within_the_target_is_chosen() -> None:
    assert choose(_tally(), 0.1).threshold == pytest.approx(0.22)
    assert choose(_tally(), 0.0).threshold == pytest.approx(0.52)


def test_reports_by_width_and_source() -> None:
    assert by_width(_tally(), 0.5) == {
        "0-16": (0.0, 1), "24-32": (0.0, 1), "48-80": (1.0, 1), "160-2000": (1.0, 1)
    }  # fmt: skip
    assert by_source(_tally(), 0.5) == {"a": (0.0, 1), "b": (1.0, 2)}
