# SPDX-License-Identifier: Apache-2.0
"""The simulated camera: where it hangs, how it projects, and how light becomes grey levels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from drivers.types import Exposure

HEIGHT_M: Final = 1.9  # the camera above the road: a low mount at the roadside
FOCAL_PER_WIDTH: Final = 2.34  # focal length over picture width: a 24 degree lens
VANISH_X: Final = 0.96  # where the road's end lies in the picture (of its width)
VANISH_Y: Final = 0.075  # (of its height)

DAY_REFERENCE: Final = Exposure(500, 1.0)  # gives the drawn colours in sunlight
NIGHT_REFERENCE: Final = Exposure(1000, 4.0)  # gives a plate its drawn grey at REFERENCE_M under full lamp
REFERENCE_M: Final = 9.0
TONE: Final = 1.0 / 2.2  # light to grey levels
FALLOFF: Final = (
    0.72  # exponent of distance on grey levels: 1/d^2 of light through TONE, less the lamp's beam shape
)
AMBIENT_NIGHT: Final = 0.05  # grey-level factor of a lampless night
READ_NOISE: Final = 1.7  # grey levels at gain 1

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class View:
    """A pinhole camera beside the road; world x right, y up from the road, z along it, in metres."""

    width: int
    height: int

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return FOCAL_PER_WIDTH * self.width

    def rotation(self) -> Points:
        """World to camera (x right, y down, z forward) so that the road ends at the vanishing point."""
        across = (VANISH_X - 0.5) * self.width / self.focal
        down = (VANISH_Y - 0.5) * self.height / self.focal
        yaw = math.atan(across)
        pitch = math.atan(down * math.cos(yaw))
        turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
        tilt = np.array(
            [[1, 0, 0], [0, math.cos(pitch), math.sin(pitch)], [0, -math.sin(pitch), math.cos(pitch)]]
        )
        return np.asarray(tilt @ turn @ np.diag([1.0, -1.0, 1.0]), dtype=np.float64)

    def project(self, points: Points) -> Points:
        """(N, 3) metres to (N, 2) pixels; points must lie before the camera."""
        local = (np.asarray(points, dtype=np.float64) - np.array([0.0, HEIGHT_M, 0.0])) @ self.rotation().T
        centre = np.array([self.width / 2, self.height / 2])
        return np.asarray(local[:, :2] / local[:, 2:] * self.focal + centre, dtype=np.float64)

    def ground(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where each pixel's ray meets the road: x and z in metres (H, W); z is inf above the horizon."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        rays = np.stack(
            [(u - self.width / 2) / self.focal, (v - self.height / 2) / self.focal, np.ones(u.shape)], -1
        )
        world = rays @ self.rotation()
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.where(world[..., 1] < -1e-6, -HEIGHT_M / world[..., 1], np.inf)
            x = np.where(np.isfinite(reach), world[..., 0] * reach, 0.0)
            z = np.where(np.isfinite(reach), world[..., 2] * reach, np.inf)
        return x.astype(np.float32), z.astype(np.float32)


def _tone(light: float) -> float:
    return math.pow(light, TONE)


@dataclass(frozen=True, slots=True)
class Light:
    """How bright things come out at one moment; factors on drawn grey levels."""

    night: bool
    lamp: float  # 0..1 of the illuminator's power
    exposure: Exposure

    def _signal(self, reference: Exposure) -> float:
        return (self.exposure.exposure_us * self.exposure.gain) / (reference.exposure_us * reference.gain)

    def surface(self, z_m: float) -> float:
        """For paint, road and grass."""
        if not self.night:
            return _tone(self._signal(DAY_REFERENCE))
        lit = (
            _tone(self.lamp * self._signal(NIGHT_REFERENCE))
            * 0.52
            * math.pow(REFERENCE_M / max(z_m, 2.0), FALLOFF)
        )
        return lit + AMBIENT_NIGHT * _tone(self._signal(NIGHT_REFERENCE))

    def retro(self, z_m: float) -> float:
        """For a retroreflective plate: under the lamp far brighter than paint, by day like paint."""
        if not self.night:
            return _tone(self._signal(DAY_REFERENCE))
        lit = _tone(self.lamp * self._signal(NIGHT_REFERENCE)) * math.pow(
            REFERENCE_M / max(z_m, 2.0), FALLOFF
        )
        return lit + AMBIENT_NIGHT * _tone(self._signal(NIGHT_REFERENCE))

    def road(self) -> float:
        """For the empty road, whose drawing has the distance in it."""
        if not self.night:
            return _tone(self._signal(DAY_REFERENCE))
        return (_tone(self.lamp) + AMBIENT_NIGHT) * _tone(self._signal(NIGHT_REFERENCE))

    def source(self) -> float:
        """For lamps that shine by themselves."""
        return _tone(self._signal(NIGHT_REFERENCE if self.night else DAY_REFERENCE))

    def noise(self) -> float:
        """Standard deviation of the noise in grey levels."""
        return READ_NOISE * math.sqrt(self.exposure.gain)
