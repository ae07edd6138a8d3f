# SPDX-License-Identifier: Apache-2.0
"""How bright one thing of the road comes out in one band: the light on it, what it sends back, the air before it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from drivers.sim.air import Air
from drivers.sim.light import Light, lamp_lux
from drivers.sim.optics import Lamp, View


@dataclass(frozen=True, slots=True)
class Shading:
    """Factors on drawn grey levels at points (x, y, z) m; `grey`: in the infrared band, else in the visible one."""

    view: View
    lamp: Lamp
    air: Air
    light: Light

    def paint(self, point: tuple[float, float, float], *, grey: bool) -> float:
        """For what faces the camera and scatters light to all sides."""
        return self._root(point, self.light.facing, 1.0, grey=grey)

    def flat(self, point: tuple[float, float, float], *, grey: bool) -> float:
        """For what faces the sky: the lamp, as low as the camera, hardly lights it."""
        return self._root(point, 1.0, 0.2, grey=grey)

    def plate(self, point: tuple[float, float, float], *, grey: bool) -> float:
        """For a retroreflective sheet: by day like paint; the lamp's light comes back to where it came from."""
        return self._root(point, self.light.facing, math.pi * self.lamp.retro_cd_lx_m2, grey=grey)

    def _root(
        self, point: tuple[float, float, float], daylight: float, lamplight: float, *, grey: bool
    ) -> float:
        """`daylight`, `lamplight`: what a white surface there gets and sends to the camera, of one that faces both."""
        through = self.air.through(point[2])
        if not grey:
            return math.sqrt(self.light.visible * daylight * through)
        lamp = float(lamp_lux(self.lamp, self.view, np.array(point))) if self.light.ir else 0.0
        signal = self.light.infrared * daylight + self.light.lit(lamp) * lamplight * through
        return math.sqrt(signal * through)
