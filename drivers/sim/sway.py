# SPDX-License-Identifier: Apache-2.0
"""The pole's swing: gusts and passing trucks push it, and it comes to rest as a damped oscillation does."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.optics import View

Picture = NDArray[np.uint8]

REMEMBERED: Final = 6.0  # time constants after which a push is forgotten
ASIDE: Final = 0.7  # how much of the swing is sideways, against up and down


class Sway:
    """`.at(t)` gives the picture's shift in pixels (x, y); a pure function of seed and time."""

    def __init__(self, view: View, seed: int) -> None:
        self._seed, self._mount, self._focal = seed, view.mount, view.focal
        self._omega = 2.0 * math.pi * self._mount.sway_hz
        self._decay = self._omega * self._mount.sway_damping

    def at(self, at_s: float) -> tuple[int, int]:
        """Sum of the pushes that still swing, in whole pixels."""
        every = self._mount.gust_every_s
        if every <= 0.0 or self._mount.gust_mrad <= 0.0:
            return (0, 0)
        last = int(at_s // every)
        first = last - math.ceil(REMEMBERED / self._decay / every)
        pushes = [self._push(number, at_s) for number in range(max(0, first), last + 1)]
        return round(sum(x for x, _ in pushes) * self._focal), round(sum(y for _, y in pushes) * self._focal)

    def _push(self, number: int, at_s: float) -> tuple[float, float]:
        rng = np.random.default_rng([self._seed, 10, number])
        since = at_s - (number + float(rng.random())) * self._mount.gust_every_s
        if since <= 0.0:
            return (0.0, 0.0)
        swing = self._mount.gust_mrad / 1e3 * float(rng.uniform(0.3, 1.0))
        swing *= math.exp(-self._decay * since) * math.sin(self._omega * since)
        turn = float(rng.normal(0.0, 0.5)) + math.pi * float(rng.integers(2))
        return swing * ASIDE * math.cos(turn), swing * (ASIDE * abs(math.sin(turn)) + 1.0 - ASIDE)


def shifted(frame: Picture, x: int, y: int) -> Picture:
    """A frame whose content has moved right and down by whole pixels; what comes in repeats the edge."""
    if (x, y) == (0, 0):
        return frame
    grown = cv2.copyMakeBorder(frame, max(y, 0), max(-y, 0), max(x, 0), max(-x, 0), cv2.BORDER_REPLICATE)
    top, left = max(-y, 0), max(-x, 0)
    return np.ascontiguousarray(grown[top : top + frame.shape[0], left : left + frame.shape[1]])
