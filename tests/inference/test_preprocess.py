# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest

from inference.preprocess import (
    PAD_VALUE,
    READER_MARGIN,
    READER_SIZE,
    corner_crop,
    cut,
    letterbox,
    normalise,
    quad_size,
    rectify,
    to_grey,
)


def flat(h: int, w: int, value: int = 50) -> np.ndarray:
    return np.full((h, w), value, dtype=np.uint8)


@pytest.mark.parametrize(
    ("h", "w", "scale"),
    [(768, 1280, 0.5), (384, 640, 1.0), (300, 300, 1.0), (1280, 959, 0.3), (100, 2000, 0.32)],
)
def test_letterbox_fits_top_left_and_never_enlarges(h: int, w: int, scale: float) -> None:
    out, got = letterbox(flat(h, w))
    assert out.shape == (384, 640)
    assert got == pytest.approx(scale)
    nw, nh = round(w * scale), round(h * scale)
    assert np.all(out[:nh, :nw] == 50)
    assert np.all(out[nh:] == PAD_VALUE)
    assert np.all(out[:, nw:] == PAD_VALUE)


def test_letterbox_shrinks_further_when_asked() -> None:
    out, scale = letterbox(flat(768, 1280), 0.5)
    assert scale == 0.25
    assert np.count_nonzero(out == 50) == 320 * 192


def test_corner_crop_spans_the_grown_box() -> None:
    grey = flat(200, 400)
    grey[80:100, 100:160] = 200
    crop, region = corner_crop(grey, (100.0, 80.0, 60.0, 20.0))
    assert region == (85, 75, 90, 30)
    assert crop.shape == (64, 128)
    assert crop[32, 64] == 200
    assert crop[2, 64] == 50
    assert abs(int(np.count_nonzero(crop[32] > 125)) - 128 * 60 / 90) <= 1.5


def test_corner_crop_repeats_the_border_outside_the_picture() -> None:
    grey = np.tile(np.arange(100, dtype=np.uint8), (50, 1))
    crop, region = corner_crop(grey, (-10.0, -5.0, 40.0, 20.0))
    assert region == (-20, -10, 60, 30)
    assert np.all(crop[:, 0] == 0)
    assert cut(grey, (95, 0, 10, 5))[0, -1] == 99


@pytest.mark.parametrize("scale", [0.15, 0.5, 1.0, 3.0])
def test_rectify_puts_the_corners_where_the_margins_say(scale: float) -> None:
    big = flat(int(400 * scale), int(800 * scale), 90)
    x0, y0, x1, y1 = (int(v * scale) for v in (200, 100, 600, 240))
    big[y0:y1, x0:x1] = 220
    out = rectify(big, [[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    assert out.shape == (48, 144)
    left = READER_SIZE[0] * READER_MARGIN[0] / (1 + 2 * READER_MARGIN[0])
    top = READER_SIZE[1] * READER_MARGIN[1] / (1 + 2 * READER_MARGIN[1])
    row = (out[24].astype(float) - 90) / 130
    column = (out[:, 72].astype(float) - 90) / 130
    assert row[:72].sum() == pytest.approx(72 - left, abs=0.6)
    assert row[72:].sum() == pytest.approx(72 - left, abs=0.6)
    assert column[:24].sum() == pytest.approx(24 - top, abs=0.6)


def test_rectify_uprights_a_turned_plate() -> None:
    upright = flat(240, 480, 90)
    cv2.rectangle(upright, (120, 80), (359, 159), 230, -1)
    cv2.rectangle(upright, (120, 80), (159, 159), 10, -1)
    corners = np.array([[120, 80], [360, 80], [360, 160], [120, 160]], dtype=np.float32)
    turn = cv2.getRotationMatrix2D((240, 120), 12, 1.0)
    turned = cv2.warpAffine(upright, turn, (480, 240), borderValue=90)
    moved = np.asarray(cv2.transform(corners[None], turn)[0])
    difference = rectify(turned, moved).astype(int) - rectify(upright, corners).astype(int)
    assert np.abs(difference).mean() < 6


def test_normalise_centres_and_limits_the_stretch() -> None:
    rng = np.random.default_rng(0)
    noisy = rng.normal(70, 15, (48, 144)).clip(0, 255).astype(np.uint8)
    out = normalise(noisy).astype(float)
    assert out.mean() == pytest.approx(128, abs=2)
    assert out.std() == pytest.approx(56, abs=3)
    almost_flat = flat(48, 144)
    almost_flat[0, 0] = 51
    assert np.ptp(normalise(almost_flat)) <= 8


def test_to_grey_takes_grey_one_channel_and_colour() -> None:
    grey = flat(40, 50)
    assert to_grey(grey) is grey
    assert np.array_equal(to_grey(grey[:, :, None]), grey)
    assert np.array_equal(to_grey(np.repeat(grey[:, :, None], 3, axis=2)), grey)


def test_quad_size_is_the_mean_of_opposite_sides() -> None:
    assert quad_size([[0, 0], [10, 0], [12, 4], [0, 4]]) == pytest.approx((11.0, (4 + np.hypot(2, 4)) / 2))
