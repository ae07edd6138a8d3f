# SPDX-License-Identifier: Apache-2.0
"""What happens to pixels before each net; training imports these same functions, so the two can't drift.

Coordinates are continuous everywhere: pixel `i` covers `[i, i + 1)`, so a picture spans `0..width`.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

DETECTOR_SIZE: Final = (640, 384)  # width, height in px
CORNERS_SIZE: Final = (128, 64)
READER_SIZE: Final = (144, 48)
PAD_VALUE: Final = 114
CORNER_MARGIN: Final = 0.25  # of the box's width and height, each side
READER_MARGIN: Final = (0.06, 0.08)  # of the plate's width (left, right) and height (top, bottom)
SPREAD: Final = 56.0  # standard deviation after normalisation, in grey levels
MIN_SPREAD: Final = 8.0  # flatter crops are not stretched further than this allows
MAX_SHRINK: Final = 2.0  # above this, bilinear sampling would skip pixels: shrink by area first

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]
Box = tuple[float, float, float, float]  # x, y, w, h px
Region = tuple[int, int, int, int]


def to_grey(pixels: NDArray[np.uint8]) -> Grey:
    """(H, W, 3) BGR, (H, W, 1) or (H, W) uint8 -> (H, W) uint8."""
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 1:
        return np.ascontiguousarray(pixels[:, :, 0])
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def letterbox(grey: Grey, shrink: float = 1.0) -> tuple[Grey, float]:
    """(H, W) -> ((384, 640), scale); scale = min(640/W, 384/H, 1) * shrink, top-left, padded with 114."""
    width, height = DETECTOR_SIZE
    h, w = grey.shape
    scale = min(width / w, height / h, 1.0) * shrink
    nw, nh = min(width, max(1, round(w * scale))), min(height, max(1, round(h * scale)))
    out = np.full((height, width), PAD_VALUE, dtype=np.uint8)
    out[:nh, :nw] = grey if (nw, nh) == (w, h) else cv2.resize(grey, (nw, nh), interpolation=cv2.INTER_AREA)
    return out, scale


def corner_crop(grey: Grey, box: Box) -> tuple[Grey, Region]:
    """Box (x, y, w, h) px -> ((64, 128) crop of the box grown by 25 % a side, region (x0, y0, w, h) px)."""
    x, y, w, h = box
    x0, y0 = int(np.floor(x - CORNER_MARGIN * w)), int(np.floor(y - CORNER_MARGIN * h))
    x1, y1 = int(np.ceil(x + (1 + CORNER_MARGIN) * w)), int(np.ceil(y + (1 + CORNER_MARGIN) * h))
    region = (x0, y0, max(2, x1 - x0), max(2, y1 - y0))
    return _resize(cut(grey, region), CORNERS_SIZE), region


def rectify(grey: Grey, corners: ArrayLike) -> Grey:
    """Corners (4, 2) px TL, TR, BR, BL -> (48, 144) upright plate with the reader's margin around it."""
    part, quad, shrink = _shrunk(grey, np.asarray(corners, dtype=np.float32).reshape(4, 2))
    factor = 2 if shrink > 1.0 else 1
    width, height = READER_SIZE[0] * factor, READER_SIZE[1] * factor
    mx, my = (
        width * READER_MARGIN[0] / (1 + 2 * READER_MARGIN[0]),
        height * READER_MARGIN[1] / (1 + 2 * READER_MARGIN[1]),
    )
    target = np.array(
        [[mx, my], [width - mx, my], [width - mx, height - my], [mx, height - my]], dtype=np.float32
    )
    matrix = cv2.getPerspectiveTransform(quad - np.float32(0.5), target - np.float32(0.5))
    out = cv2.warpPerspective(
        part, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    if factor > 1:
        out = cv2.resize(out, READER_SIZE, interpolation=cv2.INTER_AREA)
    return np.asarray(out, dtype=np.uint8)


def normalise(crop: NDArray[np.uint8]) -> Grey:
    """Any uint8 crop -> same shape uint8 with mean 128 and a standard deviation of about 56."""
    x = crop.astype(np.float32)
    x = (x - x.mean()) / max(float(x.std()), MIN_SPREAD) * SPREAD + 128.0
    return np.asarray(np.rint(np.clip(x, 0.0, 255.0)), dtype=np.uint8)


def cut(grey: Grey, region: Region) -> Grey:
    """Region (x0, y0, w, h) px of the picture; what lies outside repeats the border."""
    x0, y0, w, h = region
    height, width = grey.shape
    if x0 >= 0 and y0 >= 0 and x0 + w <= width and y0 + h <= height:
        return grey[y0 : y0 + h, x0 : x0 + w]
    ys = np.clip(np.arange(y0, y0 + h), 0, height - 1)
    xs = np.clip(np.arange(x0, x0 + w), 0, width - 1)
    return np.ascontiguousarray(grey[ys[:, None], xs[None, :]])


def quad_size(corners: ArrayLike) -> tuple[float, float]:
    """Corners (4, 2) px -> (width, height) px: the means of opposite sides."""
    quad = np.asarray(corners, dtype=np.float32).reshape(4, 2)
    tl, tr, br, bl = quad
    width = (np.hypot(*(tr - tl)) + np.hypot(*(br - bl))) / 2
    height = (np.hypot(*(bl - tl)) + np.hypot(*(br - tr))) / 2
    return float(width), float(height)


def _resize(image: Grey, size: tuple[int, int]) -> Grey:
    """Shrink by area along the axes that shrink, then enlarge bilinearly along the others."""
    h, w = image.shape
    small = (min(w, size[0]), min(h, size[1]))
    if small != (w, h):
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    if small != size:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    return image


def _shrunk(grey: Grey, quad: Floats) -> tuple[Grey, Floats, float]:
    """The part around the quad, at most MAX_SHRINK times the reader's scale; the quad in it; what is left."""
    width, height = quad_size(quad)
    sx, sy = max(width / READER_SIZE[0], 1e-3), max(height / READER_SIZE[1], 1e-3)
    if max(sx, sy) <= MAX_SHRINK:
        return grey, quad, max(sx, sy)
    low, high = quad.min(axis=0), quad.max(axis=0)
    grow = (high - low) * 0.15 + 4.0
    x0, y0 = (int(v) for v in np.floor(low - grow))
    w, h = (int(v) for v in np.ceil(high + grow) - np.floor(low - grow))
    fx, fy = max(1.0, sx / MAX_SHRINK), max(1.0, sy / MAX_SHRINK)
    size = (max(2, round(w / fx)), max(2, round(h / fy)))
    part = _resize(cut(grey, (x0, y0, w, h)), size)
    moved = (quad - np.array([x0, y0])) * np.array([size[0] / w, size[1] / h])
    return part, moved.astype(np.float32), MAX_SHRINK
