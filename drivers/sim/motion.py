# SPDX-License-Identifier: Apache-2.0
"""The trace that a moving plate leaves while light falls on it: speed times time, through the perspective."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.art import Picture

LENS_SIGMA: Final = 0.55  # pixels
MIN_MOTION_PX: Final = 0.7  # shorter traces are not drawn
MAX_MOTION_PX: Final = 61.0
MARGIN: Final = 8


def smear(frame: Picture, part: tuple[slice, slice], move: NDArray[np.float64]) -> None:
    """Blurs a part of the frame in place along `move` (x, y) px; light is averaged, not grey levels."""
    rows, columns = part
    area = frame[
        max(0, rows.start - MARGIN) : rows.stop + MARGIN,
        max(0, columns.start - MARGIN) : columns.stop + MARGIN,
    ]
    length = min(MAX_MOTION_PX, float(np.hypot(*move)))
    light = np.asarray(area, np.float32) ** 2
    light = np.asarray(cv2.GaussianBlur(light, (0, 0), LENS_SIGMA), np.float32)
    if length > MIN_MOTION_PX:
        light = np.asarray(cv2.filter2D(light, -1, kernel(move, length)), np.float32)
    area[:] = cv2.convertScaleAbs(cv2.sqrt(np.maximum(light, 0.0)))


def kernel(move: NDArray[np.float64], length: float) -> NDArray[np.float32]:
    """A line of the movement's direction and of so many pixels, whose sum is one."""
    size = int(np.ceil(length)) | 1
    line = np.zeros((size, size), np.float32)
    centre, half = size / 2 - 0.5, move / np.hypot(*move) * (length - 1.0) / 2
    for t in np.linspace(-1, 1, size * 4):
        x, y = centre + half * t
        left, top = int(np.clip(np.floor(x), 0, size - 1)), int(np.clip(np.floor(y), 0, size - 1))
        fx, fy = x - left, y - top
        for dx, dy, weight in (
            (0, 0, (1 - fx) * (1 - fy)),
            (1, 0, fx * (1 - fy)),
            (0, 1, (1 - fx) * fy),
            (1, 1, fx * fy),
        ):
            line[min(size - 1, top + dy), min(size - 1, left + dx)] += weight
    return np.asarray(line / line.sum(), dtype=np.float32)
