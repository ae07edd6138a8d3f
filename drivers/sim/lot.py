# SPDX-License-Identifier: Apache-2.0
"""The ground of a car park that the camera drives along: drawn once from above, laid into frames."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from drivers.sim.optics import View
from drivers.sim.scene import Picture
from drivers.sim.traffic import Scenario

PX_PER_M: Final = 40
SIDE_M: Final = 26.0  # to both sides of the camera
NEAR_M: Final = 1.5  # the ground is drawn from here ...
KERB_M: Final = 6.2  # ... and it ends so far behind the seen ends of the parked vehicles
KERB_WIDE_M: Final = 0.2
TINT: Final = (1.0, 0.985, 0.96)  # blue, green, red of its grey
SHRINK: Final = 2  # the ground is coarser than the picture: it is laid at half its size
LINE_M: Final = 0.10
PERIODS: Final = 4  # stalls after which the ground repeats itself


class LotGround:
    """`.lay(frame, way)` draws the ground as it lies after so many metres."""

    def __init__(self, view: View, seed: int, plan: Scenario) -> None:
        self._view, self._period = view, PERIODS * plan.stall_m
        rng = np.random.default_rng([seed, 0x107])
        self._far_m = plan.parked_m + KERB_M + KERB_WIDE_M
        width, height = (
            round((2 * SIDE_M + self._period) * PX_PER_M),
            round((self._far_m - NEAR_M) * PX_PER_M),
        )
        span = round(self._period * PX_PER_M)
        noise = np.asarray(rng.normal(0, 9, (height, span)), np.float32)
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.9), np.float32) * 1.6
        stains = np.asarray(
            cv2.resize(rng.normal(0, 5, (height // 60, span // 60)).astype(np.float32), (span, height))
        )
        tile = np.clip(104.0 + noise + stains, 0, 255)
        kerb = round((plan.parked_m + KERB_M - NEAR_M) * PX_PER_M)
        tile[kerb:] = 176.0
        first = round((plan.parked_m - 0.4 - NEAR_M) * PX_PER_M)
        for stall in range(PERIODS):
            x = round((stall + 0.5) * plan.stall_m * PX_PER_M)
            half = round(LINE_M * PX_PER_M / 2)
            tile[first:kerb, x - half : x + half] = 214.0
        repeats = int(np.ceil(width / span)) + 1
        whole = np.tile(np.clip(tile, 0, 255).astype(np.uint8), (1, repeats))[:, :width]
        self._tile = np.ascontiguousarray(whole[::-1])  # far at the top, as in the picture
        self._mask = self._ground_mask()

    def _ground_mask(self) -> Picture:
        _, z = self._view.ground()
        return np.asarray((np.isfinite(z) & (z < self._far_m) & (z > NEAR_M)).astype(np.uint8) * 255)

    def lay(self, frame: Picture, way_m: float, bright: float) -> None:
        """Onto a frame (H, W, 3) or (H, W) in place; `bright` scales the drawn colours."""
        left = -SIDE_M - way_m % self._period
        # the ground's corners may lie behind the camera: the map is made from four points well before it
        probe = np.array([[-3.0, 0, self._far_m], [3.0, 0, self._far_m], [1.0, 0, 5.0], [-1.0, 0, 5.0]])
        inside = np.stack([(probe[:, 0] - left) * PX_PER_M, (self._far_m - probe[:, 2]) * PX_PER_M], 1)
        matrix = cv2.getPerspectiveTransform(
            inside.astype(np.float32), (self._view.project(probe) / SHRINK).astype(np.float32)
        )
        size = (self._view.width, self._view.height)
        small = cv2.warpPerspective(self._tile, matrix, (size[0] // SHRINK, size[1] // SHRINK))
        ground = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
        if frame.ndim == 3:
            ground = cv2.merge([cv2.convertScaleAbs(ground, alpha=bright * share) for share in TINT])
        else:
            ground = cv2.convertScaleAbs(ground, alpha=bright)
        cv2.copyTo(ground, self._mask, frame)
