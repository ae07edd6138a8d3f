# SPDX-License-Identifier: Apache-2.0
"""The empty road in the light of one frame: what does not change is computed once, the rest is scaled."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.air import WHITE, Air, sun_pixel, sun_veil
from drivers.sim.light import Light, lamp_lux
from drivers.sim.optics import View
from drivers.sim.scenario import Road
from drivers.sim.scene import Picture, draw_scene

TREES_M: Final = 90.0  # what stands above the horizon is taken to be so far away
BEADS: Final = (
    0.15 * math.pi
)  # of a perfect white surface's light: markings of 150 mcd/lx/m2 (EN 1436, class R3)
SKY_INFRARED: Final = 0.2  # of the drawn grey: a clear sky is dark in infrared
Plane = NDArray[np.float32]


class Backdrop:
    """Grey levels of the road, band by band, and the light that the air adds before it."""

    def __init__(self, view: View, seed: int, road: Road) -> None:
        self._view, self._road = view, road
        self.air = Air(road.weather.visibility_m, road.lamp)
        scene = draw_scene(view, seed, grass=road.traffic.parked_cars > 0)
        ground = np.isfinite(scene.z)
        away = np.where(ground, np.maximum(scene.z, 1.0), TREES_M).astype(np.float32)
        through = np.exp(-away * (0.0 if self.air.clear else self.air.loss))
        self._day = _scaled(scene.day, np.sqrt(through))
        points = np.stack([scene.x, np.zeros_like(away), away], -1)
        lamp = lamp_lux(road.lamp, view, points)
        slope = np.where(ground, view.mount.height_m / np.maximum(away, view.mount.height_m), 1.0)
        albedo = (scene.infrared.astype(np.float32) / 255.0) ** 2
        sky = ~ground & (scene.day[..., 0] > scene.day[..., 1])
        self._sunlit = np.asarray(albedo * np.where(sky, SKY_INFRARED**2, 1.0) * through * WHITE, np.float32)
        lit = np.where(sky, 0.0, (albedo * slope + scene.beads * BEADS) * lamp * through**2)
        self._lamplit = np.asarray(lit * WHITE, np.float32)
        self._lamplit_root = np.asarray(np.sqrt(self._lamplit), np.float32)
        hazy, own = self.air.own(away)
        self._hazy, self._own = hazy * WHITE, own * WHITE

    def colour(self, light: Light) -> Picture:
        """The visible band (H, W, 3), to be drawn into."""
        return np.asarray(cv2.convertScaleAbs(self._day, alpha=math.sqrt(light.visible)), np.uint8)

    def grey(self, light: Light) -> Picture:
        """The infrared band (H, W), to be drawn into."""
        lamp = light.lit(1.0)
        if light.infrared <= 0.0:
            return np.asarray(cv2.convertScaleAbs(self._lamplit_root, alpha=math.sqrt(lamp)), np.uint8)
        both = cv2.addWeighted(self._sunlit, light.infrared, self._lamplit, lamp, 0.0)
        return np.asarray(cv2.convertScaleAbs(cv2.sqrt(both)), np.uint8)

    def haze(self, light: Light) -> Plane | None:
        """Squared grey levels (H, W) of the air before the empty road, to be drawn into; None where it is clear."""
        if self.air.clear:
            return None
        ambient = light.visible + light.infrared
        return np.asarray(cv2.addWeighted(self._hazy, ambient, self._own, light.lit(1.0), 0.0), np.float32)

    def sun(self, light: Light, at_s: float) -> Plane | None:
        """Squared grey levels (H, W) that a sun before the camera adds; None where there is none."""
        sky = self._road.light
        if self._road.weather.glare <= 0.0 or sky.sun_deg(at_s) <= 0.0:
            return None
        sun = sun_pixel(self._view, sky.sun_deg(at_s), sky.sun_azimuth_deg)
        if sun is None:
            return None
        veil = sun_veil(self._view, sun, sky.beam_lux(at_s), self._road.weather.glare)
        return np.asarray(veil * np.float32(light.per_lux * WHITE), np.float32)


def _scaled(picture: Picture, factor: Plane) -> Picture:
    weights = factor.astype(np.float32)
    return np.asarray(cv2.multiply(picture, cv2.merge([weights] * 3), dtype=cv2.CV_8U), np.uint8)
