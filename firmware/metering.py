# SPDX-License-Identifier: Apache-2.0
"""How bright plates and road come out in a frame, in stops below full scale (0 = white, negative = darker).

Plates are measured inside the corners that the detector found. The road is measured on a coarse grid in the lower part
of the picture; small overdriven patches there (head lamps, the sun's reflections) are left out with their halo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.types import Pixels

TONE: Final = 2.2  # grey levels to light: the exponent of the usual tone curve (sRGB, BT.709)
OVERDRIVEN: Final = 245  # grey level from which more light shows no more
FLOOR: Final = 4.0  # grey level below which there is only noise
PLATE_PERCENTILES: Final = (10, 75)  # its dark and its light part, whichever is the ground
CONTRAST: Final = 2.5  # stops between them: an overdriven plate is measured by its dark part
INSET: Final = 0.12  # of the plate's sides: frames, bolts and what lies around it
GRID: Final = (10, 20)  # samples down and across a plate
ROAD_ROWS: Final = (0.35, 0.95)  # of the picture's height
NEAR_ROWS: Final = (0.6, 0.95)  # where the lamp lights the ground
ROAD_SAMPLES: Final = 96  # across the picture
BEYOND: Final = 1.0  # stops: an overdriven road may well be that bright
WASHED_OUT: Final = 0.4  # share of overdriven samples above which it is the exposure, not a lamp

Grey = NDArray[np.uint8]


def light(grey: float) -> float:
    """Light 0..1 of full scale of a grey level."""
    return math.pow(max(0.0, grey) / 255.0, TONE)


def level(grey: float) -> float:
    """Stops below full scale of a grey level; the noise's floor below FLOOR."""
    return TONE * math.log2(max(grey, FLOOR) / 255.0)


@dataclass(frozen=True, slots=True)
class Road:
    """`level` in stops; `floor`: darker than can be seen; `washed_out`: brighter than can be seen.

    `near_grey` is the mean grey level of the near field without overdriven patches, to fractions of a level.
    """

    level: float
    floor: bool
    washed_out: bool
    near_grey: float


def usable(pixels: Pixels) -> bool:
    """Whether this is a picture at all."""
    return pixels.dtype == np.uint8 and pixels.ndim in (2, 3) and min(pixels.shape) > 0 and _big(pixels)


def _big(pixels: Pixels) -> bool:
    return pixels.shape[0] >= 16 and pixels.shape[1] >= 16


def _grey(pixels: Pixels) -> Grey:
    """Green stands for all: it has most of the light by day, and infrared lights all three alike."""
    return pixels[:, :, min(1, pixels.shape[2] - 1)] if pixels.ndim == 3 else pixels


def plate_levels(pixels: Pixels, plates: Sequence[NDArray[Any]]) -> list[float]:
    """The level of each plate by its corners (4, 2: TL, TR, BR, BL in pixels); those out of the picture don't count."""
    grey = _grey(pixels)
    return [found for corners in plates if (found := _plate_level(grey, corners)) is not None]


def _plate_level(grey: Grey, corners: NDArray[Any]) -> float | None:
    quad = np.asarray(corners, dtype=np.float64)
    if quad.shape != (4, 2) or not np.isfinite(quad).all():
        return None
    down = np.linspace(INSET, 1.0 - INSET, GRID[0])[:, None, None]
    across = np.linspace(INSET, 1.0 - INSET, GRID[1])[None, :, None]
    top, bottom = quad[0] + (quad[1] - quad[0]) * across, quad[3] + (quad[2] - quad[3]) * across
    points = np.round(top + (bottom - top) * down).reshape(-1, 2)
    height, width = grey.shape
    inside = ((points >= 0) & (points < (width, height))).all(axis=1)
    if inside.mean() < 0.5:
        return None
    x, y = points[inside].astype(np.intp).T
    dark, ground = (float(value) for value in np.percentile(grey[y, x], PLATE_PERCENTILES))
    return level(ground) if ground < OVERDRIVEN else max(0.0, level(dark) + CONTRAST)


def sample(pixels: Pixels) -> Grey:
    """The road's part of the picture on a coarse grid (what `road` and `near` measure), about 96 samples wide."""
    grey = _grey(pixels)
    height, width = grey.shape
    step = max(1, width // ROAD_SAMPLES)
    return grey[int(height * ROAD_ROWS[0]) : max(1, int(height * ROAD_ROWS[1])) : step, ::step].copy()


def _middle(values: Grey) -> float:
    """The median to fractions of a grey level: the mean of the middle third."""
    ordered = np.sort(values, axis=None)
    third = max(1, len(ordered) // 3)
    return float(ordered[(len(ordered) - third) // 2 :][:third].mean())


def road(samples: Grey) -> Road:
    """How bright the road is, from `sample`."""
    hot = samples >= OVERDRIVEN
    near = samples[int(len(samples) * (NEAR_ROWS[0] - ROAD_ROWS[0]) / (ROAD_ROWS[1] - ROAD_ROWS[0])) :]
    if hot.mean() > WASHED_OUT:
        return Road(BEYOND, floor=False, washed_out=True, near_grey=float(near.mean()))
    halo = np.asarray(cv2.dilate(hot.astype(np.uint8), np.ones((5, 5), np.uint8)), dtype=bool)
    left = samples[~halo] if not halo.all() else samples[~hot]
    middle = _middle(left)
    dim = near[near < OVERDRIVEN]
    return Road(
        level(middle),
        floor=middle < FLOOR,
        washed_out=False,
        near_grey=float(dim.mean()) if dim.size else 255.0,
    )
