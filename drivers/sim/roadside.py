# SPDX-License-Identifier: Apache-2.0
"""Boards with words beside the road: retroreflective like plates, and no plates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from drivers.sim.art import Picture, Quad, Sprite, lay, sprite
from drivers.sim.optics import View
from drivers.sim.shading import Shading
from drivers.sim.signs import board

BESIDE_M: Final = (-7.6, -11.5)  # x: behind the far lane's edge
DEPTH_M: Final = (19.0, 60.0)
WIDTH_M: Final = (0.6, 1.6)
FOOT_M: Final = (1.0, 1.9)
SHEET_TO_PLATE: Final = 0.55  # grey levels of a weathered board against a plate's sheet


@dataclass(frozen=True, slots=True)
class _Board:
    corners: Quad  # (4, 2) px
    centre: tuple[float, float, float]
    colour: Sprite
    grey: Sprite


class Boards:
    """`count` boards, where and what the seed says, drawn into each frame before the vehicles."""

    def __init__(self, view: View, seed: int, count: int) -> None:
        rng = np.random.default_rng([seed, 11])
        self._boards = sorted((_make(view, rng) for _ in range(count)), key=lambda made: -made.centre[2])

    def lay(self, frame: Picture, shading: Shading) -> None:
        """Onto a frame (H, W, 3) or, in infrared, (H, W), in place."""
        grey = frame.ndim == 2
        for made in self._boards:
            bright = shading.plate(made.centre, grey=grey) * (SHEET_TO_PLATE if grey else 1.0)
            lay(frame, made.grey if grey else made.colour, made.corners, bright=bright)


def _make(view: View, rng: np.random.Generator) -> _Board:
    drawing = board(rng)
    x, z = float(rng.uniform(*BESIDE_M[::-1])), float(rng.uniform(*DEPTH_M))
    width, foot = float(rng.uniform(*WIDTH_M)), float(rng.uniform(*FOOT_M))
    top = foot + width * drawing.shape[0] / drawing.shape[1]
    low, high = x - width / 2, x + width / 2
    quad = view.project(np.array([[low, top, z], [high, top, z], [high, foot, z], [low, foot, z]]))
    return _Board(quad, (x, (foot + top) / 2, z), sprite(drawing, grey=False), sprite(drawing, grey=True))
