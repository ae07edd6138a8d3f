# SPDX-License-Identifier: Apache-2.0
"""One frame on its way through the nets: its pixels, its limits, and the time that each stage takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.errors import BadPictureError
from inference.preprocess import Grey

MIN_SIDE: Final = 32  # px, of a picture
MAX_SIDE: Final = 16384
MAX_PIXELS: Final = 64_000_000


@dataclass(frozen=True, slots=True)
class Frame:
    """What is asked of while one frame is read: (H, W[, 3]), (H, W), and the clock that runs."""

    pixels: NDArray[np.uint8]
    grey: Grey
    watch: Stopwatch


class Stopwatch:
    """Milliseconds per stage, and of the whole since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of its body to a stage."""
        start = time.perf_counter()
        yield
        self._stages[name] = self._stages.get(name, 0.0) + (time.perf_counter() - start) * 1e3

    def finish(self) -> dict[str, float]:
        """Stage -> ms, with "total"."""
        return {**self._stages, "total": (time.perf_counter() - self._start) * 1e3}


def check_picture(pixels: NDArray[np.uint8]) -> None:
    """Raises BadPictureError unless it is a (H, W[, 1 or 3]) uint8 picture within the limits."""
    if pixels.dtype != np.uint8 or pixels.ndim not in {2, 3}:
        raise BadPictureError(f"a picture is (H, W) or (H, W, 3) uint8, not {pixels.shape} {pixels.dtype}")
    if pixels.ndim == 3 and pixels.shape[2] not in {1, 3}:
        raise BadPictureError(f"a picture has 1 or 3 channels, not {pixels.shape[2]}")
    h, w = pixels.shape[:2]
    if min(h, w) < MIN_SIDE or max(h, w) > MAX_SIDE or h * w > MAX_PIXELS:
        raise BadPictureError(f"a picture of {w}x{h} px is outside {MIN_SIDE}..{MAX_SIDE} px a side")
