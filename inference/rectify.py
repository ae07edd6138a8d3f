# SPDX-License-Identifier: Apache-2.0
"""From corners to what the reader sees, and how good that picture is."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from inference.preprocess import Grey
from inference.types import Corners

ROW_SPLIT: Final = 0.48  # where two rows meet, of the plate's height
ROW_OVERLAP: Final = 0.1  # each half reaches this far over the split


def rows_of(corners: Corners) -> tuple[Corners, Corners]:
    """Corners (4, 2) of a plate with two rows -> corners of the upper and of the lower row."""
    tl, tr, br, bl = corners
    down, up = ROW_SPLIT + ROW_OVERLAP, ROW_SPLIT - ROW_OVERLAP
    upper = np.stack([tl, tr, tr + (br - tr) * down, tl + (bl - tl) * down])
    lower = np.stack([tl + (bl - tl) * up, tr + (br - tr) * up, br, bl])
    return upper.astype(np.float32), lower.astype(np.float32)


def grown(corners: Corners, width: float, height: float) -> Corners:
    """Corners (4, 2) moved outwards by these shares of the plate's width and height, each side."""
    tl, tr, br, bl = corners
    sides = np.stack([tl - tr, tr - tl, br - bl, bl - br]) * width
    ends = np.stack([tl - bl, tr - br, br - tr, bl - tl]) * height
    return np.asarray(corners + sides + ends, dtype=np.float32)


def shifted(corners: Corners, down: float) -> Corners:
    """Corners (4, 2) moved down by this share of the plate's height."""
    tl, tr, br, bl = corners
    sides = np.stack([bl - tl, br - tr, br - tr, bl - tl])
    return np.asarray(corners + sides * down, dtype=np.float32)


def sharpness(crop: Grey) -> float:
    """Variance of the Laplacian of a normalised (48, 144) crop: higher is sharper."""
    return float(cv2.Laplacian(crop, cv2.CV_32F).var())
