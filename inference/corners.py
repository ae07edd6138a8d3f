# SPDX-License-Identifier: Apache-2.0
"""The corner stage: a box -> the plate's four corners, whether it is a plate, whether it has two rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from inference.detector import sigmoid
from inference.preprocess import CORNER_MARGIN, CORNERS_SIZE, Floats, Grey, Region, corner_crop, normalise
from inference.runtime import Net, Output, by_shape
from inference.types import Box, Corners

MIN_AREA: Final = 0.02  # of the expanded crop; a smaller quad is a failure of the net
MAX_REACH: Final = 0.5  # corners may lie this far outside the crop, in crop sizes
MIN_TILT: Final = 6.0  # degrees; a plate that is turned further is looked at again, upright
MAX_FINER: Final = 8  # the upright crop is drawn at most so much larger, then shrunk by area
UNIT: Final = (0, 0, 1, 1)


@dataclass(frozen=True, slots=True)
class Located:
    """Corners (4, 2) px of the picture and the net's two flags (0..1)."""

    corners: Corners
    plate_score: float
    two_rows: float


@dataclass(frozen=True, slots=True)
class PlateFrame:
    """A plate's own axes with the corner net's margin: origin (2,) px, `across` and `down` (2,) px span the crop."""

    origin: Floats
    across: Floats
    down: Floats


def locate(net: Net, grey: Grey, box: Box) -> Located:
    """Box px of the (H, W) picture -> corners; the box's own corners when the net's make no quad.

    The corners of a tilted plate are those of a second look, at the plate set upright by the first.
    """
    crop, region = corner_crop(grey, box)
    corners, plate, rows = decode(net.run(normalise(crop)), region, net.name)
    if not plausible(corners, region):
        corners = from_box(box)
    elif tilt(corners) >= MIN_TILT:
        corners = look_upright(net, grey, corners)
    return Located(corners, plate, rows)


def look_upright(net: Net, grey: Grey, corners: Corners) -> Corners:
    """Corners found again in a crop along the plate's own axes; the same ones when those make no quad."""
    frame = frame_of(corners)
    unit, _, _ = decode(net.run(normalise(upright_crop(grey, frame))), UNIT, net.name)
    if not plausible(unit, UNIT):
        return corners
    found = frame.origin + unit[:, :1] * frame.across + unit[:, 1:] * frame.down
    return np.asarray(found, dtype=np.float32)


def frame_of(corners: Corners) -> PlateFrame:
    """The parallelogram nearest to the corners (4, 2), grown by the corner net's margin on every side."""
    tl, tr, br, bl = corners
    across, down = (tr + br - tl - bl) / 2, (bl + br - tl - tr) / 2
    reach = 1 + 2 * CORNER_MARGIN
    origin = corners.mean(axis=0) - (across + down) * (reach / 2)
    return PlateFrame(origin, across * np.float32(reach), down * np.float32(reach))


def upright_crop(grey: Grey, frame: PlateFrame) -> Grey:
    """(H, W) px -> (64, 128) what lies in the frame; outside the picture its border is repeated."""
    width, height = CORNERS_SIZE
    shrink = max(float(np.hypot(*frame.across)) / width, float(np.hypot(*frame.down)) / height)
    finer = min(max(int(np.ceil(shrink)), 1), MAX_FINER)
    size = (width * finer, height * finer)
    here = np.stack([frame.origin, frame.origin + frame.across, frame.origin + frame.down]) - 0.5
    there = np.array([[0, 0], [size[0], 0], [0, size[1]]], dtype=np.float32) - 0.5
    matrix = cv2.getAffineTransform(here.astype(np.float32), there.astype(np.float32))
    out = cv2.warpAffine(grey, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(
        out if finer == 1 else cv2.resize(out, CORNERS_SIZE, interpolation=cv2.INTER_AREA), np.uint8
    )


def tilt(corners: Corners) -> float:
    """How far the plate's long side is turned from level, in degrees."""
    tl, tr, br, bl = corners
    x, y = tr + br - tl - bl
    return float(np.degrees(np.arctan2(abs(y), abs(x))))


def decode(outputs: dict[str, Output], region: Region, model: str) -> tuple[Corners, float, float]:
    """Output tensors and the crop's region px -> corners (4, 2) px, plate score, two-rows score."""
    x0, y0, w, h = region
    unit = by_shape(outputs, (1, 8), model).values.reshape(4, 2)
    corners = unit * np.array([w, h], dtype=np.float32) + np.array([x0, y0], dtype=np.float32)
    plate, rows = (float(p) for p in sigmoid(by_shape(outputs, (1, 2), model).values[0]))
    return corners, plate, rows


def plausible(corners: Corners, region: Region) -> bool:
    """Whether four points are a convex quad near the region, clockwise from its top left: never upside down."""
    x0, y0, w, h = region
    unit = (corners - np.array([x0, y0])) / np.array([w, h])
    if unit.min() < -MAX_REACH or unit.max() > 1 + MAX_REACH:
        return False
    sides = np.roll(unit, -1, axis=0) - unit
    if min(sides[0, 0], sides[1, 1], -sides[2, 0], -sides[3, 1]) <= 0:
        return False
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
