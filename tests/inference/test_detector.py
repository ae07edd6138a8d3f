# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hand_nets import HandNet, detector_outputs, quantised

from inference.detector import decode, detect, iou, suppress
from inference.errors import ModelMismatchError


def test_boxes_come_from_the_cell_centre() -> None:
    outputs = {n: quantised(v, 0.05) for n, v in detector_outputs((100, 60, 180, 90, 3.0)).items()}
    boxes, scores = decode(outputs, 0.5, "detector")
    assert boxes[0] == pytest.approx([100, 60, 180, 90], abs=2.0)
    assert scores == pytest.approx([0.953], abs=0.01)


def test_the_threshold_is_a_score_not_a_logit() -> None:
    outputs = {n: quantised(v) for n, v in detector_outputs((100, 60, 180, 90, -1.0)).items()}
    assert len(decode(outputs, 0.2, "detector")[0]) == 1
    assert len(decode(outputs, 0.3, "detector")[0]) == 0


def test_detect_answers_in_px_of_the_picture() -> None:
    net = HandNet("detector", lambda _: detector_outputs((100, 60, 180, 90, 3.0)), scale=0.05)
    found = detect(net, np.zeros((768, 1280), dtype=np.uint8), 0.3)
    assert found[0].box == pytest.approx((200, 120, 160, 60), abs=4)
    found = detect(net, np.zeros((768, 1280), dtype=np.uint8), 0.3, shrink=0.5)
    assert found[0].box == pytest.approx((400, 240, 320, 120), abs=8)


def test_suppression_drops_a_box_around_a_better_one_but_not_around_a_mere_part() -> None:
    plate, around, sign = [100, 100, 180, 140], [85, 90, 205, 155], [0, 0, 400, 300]
    boxes = np.array([plate, around, sign], dtype=np.float32)
    assert suppress(boxes, np.array([0.9, 0.4, 0.5], dtype=np.float32)) == [0, 2]


def test_suppression_drops_overlaps_and_boxes_inside_better_ones() -> None:
    boxes = np.array(
        [[0, 0, 100, 50], [5, 2, 102, 50], [10, 10, 30, 20], [200, 0, 300, 50]], dtype=np.float32
    )
    assert suppress(boxes, np.array([0.9, 0.8, 0.7, 0.6], dtype=np.float32)) == [0, 3]
    assert suppress(boxes, np.array([0.7, 0.8, 0.9, 0.6], dtype=np.float32)) == [2, 1, 3]
    assert suppress(np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.float32)) == []


def test_iou_of_boxes() -> None:
    assert iou((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert iou((0, 0, 10, 10), (20, 0, 10, 10)) == 0.0
    assert iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0.0


def test_a_net_of_another_shape_is_refused() -> None:
    with pytest.raises(ModelMismatchError, match="outputs of shape"):
        decode({"cls": quantised(np.zeros((1, 2, 2, 1)))}, 0.5, "detector")
