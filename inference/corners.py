# SPDX-License-Identifier: Apache-2.0
"""The corner stage: a box -> the plate's four corners, whether it is a plate, whether it has two rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from inference.detector import sigmoid
from inference.preprocess import Grey, Region, corner_crop, normalise
from inference.runtime import Net, Output, by_shape
from inference.types import Box, Corners

MIN_AREA: Final = 0.02  # of the expanded crop; a smaller quad is a failure of the net
MAX_REACH: Final = 0.5  # corners may lie this far outside the crop, in crop sizes


@dataclass(frozen=True, slots=True)
class Located:
    """Corners (4, 2) px of the picture and the net's two flags (0..1)."""

    corners: Corners
    plate_score: float
    two_rows: float


def locate(net: Net, grey: Grey, box: Box) -> Located:
    """Box px of the (H, W) picture -> corners; the box's own corners when the net's make no quad."""
    crop, region = corner_crop(grey, box)
    corners, plate, rows = decode(net.run(normalise(crop)), region, net.name)
    if not plausible(corners, region):
        corners = from_box(box)
    return Located(corners, plate, rows)


def decode(outputs: dict[str, Output], region: Region, model: str) -> tuple[Corners, float, float]:
    """Output tensors and the crop's region px -> corners (4, 2) px, plate score, two-rows score."""
    x0, y0, w, h = region
    unit = by_shape(outputs, (1, 8), model).values.reshape(4, 2)
    corners = unit * np.array([w, h], dtype=np.float32) + np.array([x0, y0], dtype=np.float32)
    plate, rows = (float(p) for p in sigmoid(by_shape(outputs, (1, 2), model).values[0]))
    return corners, plate, rows


def plausible(corners: Corners, region: Region) -> bool:
    """Whether four points are a convex clockwise quad near the region."""
    x0, y0, w, h = region
    unit = (corners - np.array([x0, y0])) / np.array([w, h])
    if unit.min() < -MAX_REACH or unit.max() > 1 + MAX_REACH:
        return False
    sides = np.roll(unit, -1, axis=0) - unit
    following = np.roll(sides, -1, axis=0)
    turns = sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0]
    return bool(np.all(turns > 0)) and quad_area(unit) >= MIN_AREA


def quad_area(corners: Corners) -> float:
    """Area of a polygon (N, 2), positive when clockwise on the screen."""
    x, y = corners[:, 0], corners[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def from_box(box: Box) -> Corners:
    """(x, y, w, h) -> corners (4, 2) TL, TR, BR, BL."""
    x, y, w, h = box
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], dtype=np.float32)


def bounds(corners: Corners) -> Box:
    """Corners (4, 2) -> the box around them (x, y, w, h)."""
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    return float(x0), float(y0), float(x1 - x0), float(y1 - y0)
