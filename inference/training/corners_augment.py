# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="call-overload"
"""What the corner net has to bear: boxes that are off, turned plates, other surroundings, other light."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.preprocess import normalise

from .render_scene import SCENE_MARGIN, SCENE_SHAPE

Box = tuple[float, float, float, float]  # x, y, w, h px
Points = NDArray[np.float32]  # (4, 2) px
Picture = NDArray[np.uint8]

WIDER = (224, 448)  # px, height and width of a scene with more around it
MAX_TURN = 30.0  # degrees
TURNED = 0.25  # share of the scenes that are turned as far as that; the others up to a few degrees
MAX_SHIFT = 0.25  # of the box
SCALES = (0.7, 1.5)
ERROR_SCALES = (
    0.7,
    1.5,
)  # of a detector's errors: on new pictures they are larger than on those it was trained on
_KEEP = 0.14  # of the plate's box: the least margin that stays of a rendered scene
_PLATE = np.array([SCENE_SHAPE[1], SCENE_SHAPE[0]]) / (1 + 2 * SCENE_MARGIN)  # px, the plate's box in a scene


def near(rng: np.random.Generator, low: Points, high: Points) -> Box:
    """A box around low..high (2,) px with the small errors of a detector: up to 17 % at each side."""
    size = high - low
    grow = np.clip(rng.normal(0.02, 0.06, 4), -0.15, 0.17)
    x0, y0 = low - size * grow[:2]
    x1, y1 = high + size * grow[2:]
    return float(x0), float(y0), float(x1 - x0), float(y1 - y0)


def off(rng: np.random.Generator, low: Points, high: Points) -> Box:
    """A box that is badly off: SCALES, MAX_SHIFT, and another aspect."""
    size = high - low
    centre = (low + high) / 2 + size * np.clip(rng.normal(0, 0.11, 2), -MAX_SHIFT, MAX_SHIFT)
    scale = np.exp(rng.uniform(*np.log(SCALES))) * np.exp(rng.normal(0, 0.1) * np.array([1, -1]))
    w, h = size * np.clip(scale, *SCALES)
    return float(centre[0] - w / 2), float(centre[1] - h / 2), float(w), float(h)


def as_detected(rng: np.random.Generator, errors: NDArray[np.float32], low: Points, high: Points) -> Box:
    """A box around low..high (2,) px, off as a detector was: `errors` (n, 4) as corners_mine.box_errors has them."""
    left, top, right, bottom = errors[rng.integers(len(errors))] * rng.uniform(*ERROR_SCALES)
    if rng.random() < 0.5:
        left, right = right, left
    w, h = high - low
    x, y = low[0] - left * w, low[1] - top * h
    return float(x), float(y), float(w * (1 + left + right)), float(h * (1 + top + bottom))


def lean(
    rng: np.random.Generator, picture: Picture, corners: Points, box: Box
) -> tuple[Picture, Points, Box]:
    """A picture sheared a little along both sides; its corners px follow, the box keeps its distance to them."""
    height, width = picture.shape
    across, down = rng.normal(0, 0.12) * width / height, rng.normal(0, 0.05) * height / width
    linear = np.array([[1, across], [down, 1]])
    centre = np.array([width, height]) / 2
    matrix = np.column_stack([linear, centre - linear @ centre])
    moved = (corners @ linear.T + matrix[:, 2]).astype(np.float32)
    bent = cv2.warpAffine(
        picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    low = np.array(box[:2]) - corners.min(0) + moved.min(0)
    high = np.array(box[:2]) + box[2:] - corners.max(0) + moved.max(0)
    x0, y0, x1, y1 = (float(v) for v in (*low, *high))
    return np.asarray(bent, np.uint8), moved, (x0, y0, x1 - x0, y1 - y0)


def turn(rng: np.random.Generator, corners: Points) -> NDArray[np.float64]:
    """A (2, 3) matrix that turns a plate of a scene (px) and sets its box into the middle of a WIDER picture.

    Scenes are stretched to one shape, so the plate's true aspect is not known: a likely one is drawn.
    """
    aspect = 2.0 if rng.random() < 0.5 else float(rng.uniform(1.4, 4.6))
    degrees = rng.uniform(-MAX_TURN, MAX_TURN) if rng.random() < TURNED else rng.normal(0, 2)
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    stretch = np.diag([aspect * _PLATE[1] / _PLATE[0], 1.0])
    linear = np.linalg.inv(stretch) @ np.array([[c, -s], [s, c]]) @ stretch
    turned = corners @ linear.T
    low, high = turned.min(0), turned.max(0)
    linear = np.diag(_PLATE / (high - low)) @ linear
    turned = corners @ linear.T
    offset = np.array(WIDER[::-1]) / 2 - (turned.min(0) + turned.max(0)) / 2
    return np.column_stack([linear, offset])


def widen(
    rng: np.random.Generator, scene: Picture, corners: Points, around: Picture
) -> tuple[Picture, Points]:
    """A scene with its corners px -> a WIDER picture of it, turned, with another picture around it, and corners.

    The scene is trimmed by chance, or the seam would tell where the plate is.
    """
    matrix = turn(rng, corners)
    height, width = SCENE_SHAPE
    cut = rng.uniform(0, SCENE_MARGIN - _KEEP, 4) / (1 + 2 * SCENE_MARGIN)
    mask = np.zeros(SCENE_SHAPE, np.uint8)
    mask[
        round(cut[1] * height) : round((1 - cut[3]) * height),
        round(cut[0] * width) : round((1 - cut[2]) * width),
    ] = 255
    size = WIDER[::-1]
    inner = cv2.warpAffine(scene, matrix, size, flags=cv2.INTER_LINEAR)
    shape = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST)
    outer = cv2.resize(around, size, interpolation=cv2.INTER_LINEAR)
    levels = np.clip(np.arange(256) + float(scene.mean()) - float(around.mean()), 0, 255).astype(np.uint8)
    outer = cv2.LUT(outer, levels)
    cv2.copyTo(inner, shape, outer)
    moved = corners @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(outer, np.uint8), moved.astype(np.float32)


def tone(rng: np.random.Generator, crop: Picture) -> Picture:
    """Other light and focus, then the device's normalisation."""
    if rng.random() < 0.3:
        gamma = float(np.exp(rng.normal(0, 0.35)))
        crop = (((crop / 255.0) ** gamma) * 255).astype(np.uint8)
    if rng.random() < 0.15:
        crop = np.asarray(cv2.GaussianBlur(crop, (0, 0), float(rng.uniform(0.4, 1.3))), np.uint8)
    if rng.random() < 0.05:
        crop = 255 - crop
    return normalise(crop)
