# SPDX-License-Identifier: Apache-2.0
"""What lies between the camera and the road: mist and fog, the lamp's light on them, and the sun in the lens."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.light import DRAWN_LUX, LUX_PER_W_M2, Light, response, watts_per_sr
from drivers.sim.optics import Lamp, View

CLEAR_ABOVE_M: Final = 30_000.0  # of visibility: such air is not drawn
CONTRAST: Final = 3.912  # -ln 0.02: contrast that is just seen (H. Koschmieder, 1924)
LIDAR_RATIO_SR: Final = 18.0  # extinction over backscatter of water droplets
MEET_M: Final = 2.0  # from where the lamp's beam and the camera's view overlap
STEPS: Final = 400
FARTHEST_M: Final = 400.0
GLARE_SHRINK: Final = 8  # the veil is smooth: an eighth of the pixels will do
SUN_RADIUS_DEG: Final = 0.27
NEAREST_DEG: Final = 1.0  # Stiles and Holladay's rule holds from here on
VEIL_AT_1_DEG: Final = 10.0  # cd/m2 for each lux at one degree (Stiles and Holladay; CIE 31-1976)
WHITE: Final = 65025.0  # squared grey levels of signal 1.0

Plane = NDArray[np.float32]


class Air:
    """How much light of things at a distance comes through, and how much the air itself adds."""

    def __init__(self, visibility_m: float, lamp: Lamp) -> None:
        self.clear = visibility_m >= CLEAR_ABOVE_M
        self.loss = CONTRAST / visibility_m
        reach = np.geomspace(MEET_M, FARTHEST_M, STEPS)
        back = np.exp(-2.0 * self.loss * reach) / reach**2
        summed = np.concatenate([[0.0], np.cumsum((back[1:] + back[:-1]) / 2 * np.diff(reach))])
        lux_1m = watts_per_sr(lamp) * response(lamp.wavelength_nm) * LUX_PER_W_M2
        self._reach, self._back = reach, summed * self.loss * math.pi / LIDAR_RATIO_SR * lux_1m

    def through(self, distance_m: float) -> float:
        """Share of a thing's light that arrives."""
        return 1.0 if self.clear else math.exp(-self.loss * distance_m)

    def own(self, distances_m: NDArray[np.floating]) -> tuple[Plane, Plane]:
        """What the air before things adds: share of a white surface's light by day, and lux under the full lamp."""
        far = np.minimum(np.asarray(distances_m, np.float64), FARTHEST_M)
        hazy = 1.0 - np.exp(-self.loss * far)
        lamp = np.interp(far, self._reach, self._back)
        return np.asarray(hazy, np.float32), np.asarray(lamp, np.float32)

    def value(self, distance_m: float, light: Light) -> float:
        """The air before one thing, as signal."""
        hazy, lamp = (float(part[0]) for part in self.own(np.array([distance_m])))
        return hazy * (light.visible + light.infrared) + light.lit(lamp)


def sun_pixel(view: View, height_deg: float, azimuth_deg: float) -> tuple[float, float] | None:
    """Where the sun stands in the picture's plane, perhaps beside the picture; None: behind the camera."""
    height, side = math.radians(height_deg), math.radians(azimuth_deg)
    away = np.array([math.sin(side) * math.cos(height), math.sin(height), math.cos(side) * math.cos(height)])
    if float(view.rotation()[2] @ away) < 0.2:
        return None
    x, y = view.project((view.eye + away * 1e6)[None])[0]
    return float(x), float(y)


def sun_veil(view: View, sun: tuple[float, float], beam_lux: float, glare: float) -> Plane:
    """Signal for each unit of `Light.per_lux` (H, W) that the sun adds: disc and stray light."""
    width, height = view.width // GLARE_SHRINK, view.height // GLARE_SHRINK
    u, v = np.meshgrid(np.arange(width) * GLARE_SHRINK + 4.0, np.arange(height) * GLARE_SHRINK + 4.0)
    angle = np.degrees(np.hypot(u - sun[0], v - sun[1]) / view.focal)
    veil = glare * VEIL_AT_1_DEG * math.pi * beam_lux / np.maximum(angle, NEAREST_DEG) ** 2
    full = cv2.resize(veil.astype(np.float32), (view.width, view.height), interpolation=cv2.INTER_LINEAR)
    disc = (round(sun[0]), round(sun[1]))
    if beam_lux > DRAWN_LUX / 500 and abs(disc[0]) < 1e5 and abs(disc[1]) < 1e5:
        radius = max(2, round(math.radians(SUN_RADIUS_DEG) * view.focal))
        cv2.circle(full, disc, radius, (1e9,), -1, cv2.LINE_AA)
    return np.asarray(full, np.float32)
