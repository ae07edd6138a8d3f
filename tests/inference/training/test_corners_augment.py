# SPDX-License-Identifier: Apache-2.0
"""The corner net's hardships: corners stay where the plate is."""

from __future__ import annotations

import numpy as np

from inference.training.corners_augment import (
    ERROR_SCALES,
    MAX_SHIFT,
    SCALES,
    WIDER,
    as_detected,
    lean,
    near,
    off,
    widen,
)
from inference.training.render_scene import SCENE_MARGIN, SCENE_SHAPE

LOW, HIGH = np.array([50, 40], np.float32), np.array([150, 90], np.float32)


def test_near_boxes_are_near_and_off_boxes_within_bounds() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        x, y, w, h = near(rng, LOW, HIGH)
        assert abs(x - 50) <= 17
        assert abs(x + w - 150) <= 17
        assert abs(y - 40) <= 8.5
        x, y, w, h = off(rng, LOW, HIGH)
        assert SCALES[0] * 100 <= w * 1.001
        assert w <= SCALES[1] * 100.1
        assert abs(x + w / 2 - 100) <= MAX_SHIFT * 100.1
        assert abs(y + h / 2 - 65) <= MAX_SHIFT * 50.1


def test_corners_follow_the_turned_plate() -> None:
    rng = np.random.default_rng(5)
    height, width = SCENE_SHAPE
    scene = np.full(SCENE_SHAPE, 60, np.uint8)
    inner = SCENE_MARGIN / (1 + 2 * SCENE_MARGIN)
    x, y = width * inner, height * inner
    corners = np.array([[x, y], [width - x, y], [width - x, height - y], [x, height - y]], np.float32)
    scene[round(y) : round(height - y), round(x) : round(width - x)] = 220
    for _ in range(40):
        picture, moved = widen(rng, scene, corners, np.full(SCENE_SHAPE, 90, np.uint8))
        assert picture.shape == WIDER
        centre = moved.mean(0)
        for corner in moved:  # bright a little inside of every corner, dark a little outside
            inside, outside = corner + (centre - corner) * 0.12, corner - (centre - corner) * 0.12
            assert picture[int(inside[1]), int(inside[0])] > 180
            assert picture[int(outside[1]), int(outside[0])] < 130


def test_the_seam_is_not_always_at_the_same_place() -> None:
    rng = np.random.default_rng(6)
    scene, around = np.full(SCENE_SHAPE, 10, np.uint8), np.tile(np.array([0, 200], np.uint8), (128, 128))
    corners = np.array([[60, 30], [190, 30], [190, 100], [60, 100]], np.float32)
    areas = {int((widen(rng, scene, corners, around)[0] == 10).sum()) for _ in range(5)}
    assert len(areas) == 5


def test_detected_boxes_are_off_as_the_detector_was() -> None:
    rng, errors = np.random.default_rng(7), np.array([[0.1, 0.2, 0.0, -0.1]], np.float32)
    for _ in range(50):
        x, y, w, h = as_detected(rng, errors, LOW, HIGH)
        scale = (40 - y) / (50 * 0.2)
        assert ERROR_SCALES[0] <= scale <= ERROR_SCALES[1]
        assert abs(w - 100 * (1 + 0.1 * scale)) < 0.01
        assert abs(h - 50 * (1 + 0.1 * scale)) < 0.01
        assert min(abs(x - (50 - 10 * scale)), abs(x - 50)) < 0.01  # one side or, mirrored, the other


def test_corners_and_box_follow_a_leaning_picture() -> None:
    rng = np.random.default_rng(8)
    corners = np.array([[80, 40], [180, 40], [180, 90], [80, 90]], np.float32)
    picture = np.full(SCENE_SHAPE, 20, np.uint8)
    picture[40:90, 80:180] = 220
    for _ in range(20):
        bent, moved, (x, y, w, h) = lean(rng, picture, corners, (75.0, 30.0, 110.0, 65.0))
        centre = moved.mean(0)
        for corner in moved:
            inside, outside = corner + (centre - corner) * 0.15, corner - (centre - corner) * 0.15
            assert bent[int(inside[1]), int(inside[0])] > 180
            assert bent[int(outside[1]), int(outside[0])] < 90
        assert np.allclose([moved[:, 0].min() - x, moved[:, 1].min() - y], [5, 10], atol=0.01)
        assert np.allclose([x + w - moved[:, 0].max(), y + h - moved[:, 1].max()], [5, 5], atol=0.01)
