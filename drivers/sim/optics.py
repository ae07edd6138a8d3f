# SPDX-License-Identifier: Apache-2.0
"""The simulated camera and its lamp: where they hang, what they are, and how the camera projects."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray

from drivers.sim.tables import Bounds, Words
from drivers.types import Exposure

DAY_REFERENCE: Final = Exposure(500, 1.0)  # gives the drawn colours in sunlight
NIGHT_REFERENCE: Final = Exposure(1000, 4.0)  # gives a plate its drawn grey at some 9 m under full lamp


Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a camera hangs and what it is: by default low beside the road, its end in the picture's upper right.

    `shutter` rolling: the last row is read `readout_ms` after the first. A gust or a truck sets the pole swinging each
    `gust_every_s` seconds (0: never) by `gust_mrad`, at `sway_hz`, dying out by `sway_damping` (of critical).
    """

    width_px: Annotated[int, Bounds(320, 4096)] = 1280
    height_px: Annotated[int, Bounds(240, 2160)] = 720
    height_m: Annotated[float, Bounds(0.5, 12.0)] = 1.9  # above the road
    right_m: Annotated[float, Bounds(-6.0, 8.0)] = 0.0  # of the right edge of the near lane
    yaw_left_deg: Annotated[float, Bounds(-60.0, 60.0)] = 11.12  # off the road's direction
    tilt_down_deg: Annotated[float, Bounds(-5.0, 60.0)] = 5.725
    focal_mm: Annotated[float, Bounds(2.0, 100.0)] = 11.7
    sensor_width_mm: Annotated[float, Bounds(2.0, 36.0)] = 5.0  # IMX296: 5.0, IMX477: 6.3
    shutter: Annotated[str, Words(("global", "rolling"))] = "global"
    readout_ms: Annotated[float, Bounds(0.0, 60.0)] = 15.0
    max_exposure_us: Annotated[int, Bounds(20, 1_000_000)] = 33_000
    full_well_e: Annotated[float, Bounds(1000.0, 100_000.0)] = (
        10_000.0  # electrons of a white pixel at gain 1
    )
    read_noise_e: Annotated[float, Bounds(0.0, 50.0)] = 3.0
    gust_every_s: Annotated[float, Bounds(0.0, 3600.0)] = 0.0
    gust_mrad: Annotated[float, Bounds(0.0, 20.0)] = 1.0
    sway_hz: Annotated[float, Bounds(0.2, 20.0)] = 3.0
    sway_damping: Annotated[float, Bounds(0.005, 0.5)] = 0.04
    post_m: Annotated[float, Bounds(0.0, 3.0)] = (
        0.0  # how far away a post stands before the near lane; 0: none
    )

    @property
    def rolling_s(self) -> float:
        """Seconds from the first row's exposure to the last one's."""
        return self.readout_ms / 1e3 if self.shutter == "rolling" else 0.0


ROADSIDE: Final = Mount()


@dataclass(frozen=True, slots=True)
class Lamp:
    """An infrared illuminator that points where the camera looks; its beam is that to half of its intensity.

    `pulse_us` > 0: it flashes in step with the shutter, or with a rate of its own (`pulse_hz` > 0).
    """

    power_w: Annotated[float, Bounds(0.1, 500.0)] = 12.5  # light, not current, at full power
    wavelength_nm: Annotated[float, Bounds(700.0, 1000.0)] = 850.0
    half_angle_deg: Annotated[float, Bounds(2.0, 60.0)] = 15.0
    level: Annotated[float, Bounds(0.0, 1.0)] = 1.0  # of its power, when nobody drives it, by night
    pulse_us: Annotated[float, Bounds(0.0, 100_000.0)] = 0.0
    pulse_hz: Annotated[float, Bounds(0.0, 10_000.0)] = 0.0
    delay_us: Annotated[float, Bounds(0.0, 100_000.0)] = 0.0
    retro_cd_lx_m2: Annotated[float, Bounds(0.3, 200.0)] = 8.0  # what plates send back


BESIDE: Final = Lamp()


@lru_cache(maxsize=64)
def _pose(mount: Mount) -> tuple[Points, Points]:
    """A camera's place and its turn, which nobody may change."""
    yaw, pitch = math.radians(mount.yaw_left_deg), -math.radians(mount.tilt_down_deg)
    turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    tilt = np.array(
        [[1, 0, 0], [0, math.cos(pitch), math.sin(pitch)], [0, -math.sin(pitch), math.cos(pitch)]]
    )
    return np.array([mount.right_m, mount.height_m, 0.0]), tilt @ turn @ np.diag([1.0, -1.0, 1.0])


@dataclass(frozen=True, slots=True)
class View:
    """A pinhole camera beside the road; world x right, y up from the road, z along it, in metres."""

    width: int
    height: int
    mount: Mount = ROADSIDE
    shift: tuple[float, float] = (0.0, 0.0)  # pixels by which the pole's swing has moved the picture

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return self.mount.focal_mm / self.mount.sensor_width_mm * self.width

    @property
    def eye(self) -> Points:
        """Where the camera is, in metres."""
        return _pose(self.mount)[0]

    def rotation(self) -> Points:
        """World to camera (x right, y down, z forward)."""
        return _pose(self.mount)[1]

    def project(self, points: Points) -> Points:
        """(N, 3) metres to (N, 2) pixels; points must lie before the camera."""
        local = (np.asarray(points, dtype=np.float64) - self.eye) @ self.rotation().T
        centre = np.array([self.width / 2, self.height / 2]) + self.shift
        return np.asarray(local[:, :2] / local[:, 2:] * self.focal + centre, dtype=np.float64)

    def ground(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where each pixel's ray meets the road: x and z in metres (H, W); z is inf above the horizon."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        rays = np.stack(
            [(u - self.width / 2) / self.focal, (v - self.height / 2) / self.focal, np.ones(u.shape)], -1
        )
        world = rays @ self.rotation()
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.where(world[..., 1] < -1e-6, -self.mount.height_m / world[..., 1], np.inf)
            x = np.where(np.isfinite(reach), self.mount.right_m + world[..., 0] * reach, 0.0)
            z = np.where(np.isfinite(reach), world[..., 2] * reach, np.inf)
        return x.astype(np.float32), z.astype(np.float32)
