# SPDX-License-Identifier: Apache-2.0
"""Headlights and tail lamps: when they are switched on, their glow, and its image in a wet road."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from drivers.sim.art import Picture, Quad, warp
from drivers.sim.optics import View
from drivers.sim.places import moving
from drivers.sim.shading import Shading
from drivers.sim.traffic import Vehicle

HALO_M: Final = 0.45  # how far a lamp's halo reaches around it
ON_BELOW_LUX: Final = (400.0, 3200.0)  # drivers switch on somewhere between
ON_IN_RAIN: Final = 0.2  # of the heaviest rain: everybody drives with lamps on
REAR: Final = (0.6, 0.8, (0.25, 0.25, 1.0))  # strength, reach, and colour (blue, green, red)
FRONT: Final = (1.15, 1.3, (1.0, 0.98, 0.95))
WET: Final = 0.45  # strength of the image in the heaviest rain's wet road


def glow_sprite() -> Picture:
    """Light around a point (129, 129)."""
    axis = np.linspace(-1, 1, 129)
    r = np.hypot(*np.meshgrid(axis, axis))
    glow = 1.3 * np.exp(-((r / 0.16) ** 2)) + 0.35 * np.exp(-((r / 0.4) ** 2)) - 0.004
    return np.asarray(np.clip(glow * np.clip((1 - r) * 4, 0, 1) * 200, 0, 255), dtype=np.uint8)


def add_glow(frame: Picture, glow: Picture, quad: Quad, strength: float, colour: tuple[float, ...]) -> None:
    """Adds a glow of a colour to a frame (H, W, 3), or in grey to (H, W), in place."""
    placed = warp(glow, quad, frame.shape)
    if placed is None or strength <= 0.0:
        return
    light = cv2.convertScaleAbs(placed[0], alpha=strength)
    if frame.ndim == 3:
        light = cv2.merge([cv2.convertScaleAbs(light, alpha=share) for share in colour])
    frame[placed[1]] = cv2.add(frame[placed[1]], light)


class Lamps:
    """Draws the lamps of vehicles in the light of a moment."""

    def __init__(self, view: View, rain: float) -> None:
        self._view, self._rain, self._glow = view, rain, glow_sprite()

    def burn(self, vehicle: Vehicle, lux: float) -> bool:
        """Whether its driver has switched them on."""
        if not vehicle.drives:
            return False
        low, high = ON_BELOW_LUX
        own = math.exp(math.log(low) + (vehicle.number * 0.618034 % 1.0) * math.log(high / low))
        return lux < own or self._rain >= ON_IN_RAIN

    def lay(self, frame: Picture, vehicle: Vehicle, shading: Shading, at_s: float) -> None:
        """Onto a frame in place, over the vehicle's end."""
        light, z = shading.light, vehicle.place(at_s)[1]
        if not self.burn(vehicle, light.lux):
            return
        strong, far, colour = REAR if vehicle.near_lane else FRONT
        strength = strong * light.source() * math.sqrt(shading.air.through(z))
        y, r = vehicle.body.lamp_y - (0.0 if vehicle.near_lane else 0.1), HALO_M * far
        for x in (0.14 - vehicle.body.half_w, vehicle.body.half_w - 0.14):
            square = [(x - r, y + r, 0.0), (x + r, y + r, 0.0), (x + r, y - r, 0.0), (x - r, y - r, 0.0)]
            add_glow(frame, self._glow, moving(self._view, vehicle, square, at_s), strength, colour)
            if self._rain > 0.0:
                top, low, w = -0.2 * y, -1.9 * y, r * 0.5
                image = [(x - w, top, 0.0), (x + w, top, 0.0), (x + w, low, 0.0), (x - w, low, 0.0)]
                quad = moving(self._view, vehicle, image, at_s)
                add_glow(frame, self._glow, quad, strength * WET * self._rain, colour)
