# SPDX-License-Identifier: Apache-2.0
"""Turns the world at one moment into a frame: road, vehicles from far to near, lamps, blur, noise."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.art import Gallery, Picture, Quad, Sprite, VehicleArt, lay, pick, sprite, warp
from drivers.sim.optics import HEIGHT_M, REFERENCE_M, Light, View
from drivers.sim.scene import draw_scene
from drivers.sim.traffic import FADE_M, FARTHEST_M, PLATE_H_M, PLATE_W_M, Vehicle
from drivers.sim.weather import CLEAR, Weather

PSF_SIGMA: Final = 0.55  # pixels: the lens
MIN_MOTION_PX: Final = 0.7  # shorter smears are not drawn
MAX_MOTION_PX: Final = 61.0
GLOW_HALO_M: Final = 0.45  # how far a lamp's halo reaches around it
NOISE_MARGIN: Final = 96  # pixels by which the noise tile can be shifted
ROOF_SEEN_BELOW_M: Final = HEIGHT_M - 0.05


def _glow_sprite() -> Picture:
    axis = np.linspace(-1, 1, 129)
    r = np.hypot(*np.meshgrid(axis, axis))
    glow = 1.3 * np.exp(-((r / 0.16) ** 2)) + 0.35 * np.exp(-((r / 0.4) ** 2)) - 0.004
    return np.asarray(np.clip(glow * np.clip((1 - r) * 4, 0, 1) * 200, 0, 255), dtype=np.uint8)


def _shadow_sprite() -> Sprite:
    bgra = np.zeros((128, 64, 4), np.uint8)
    bgra[12:-12, 8:-8, 3] = 165
    return sprite(np.asarray(cv2.GaussianBlur(bgra, (0, 0), 4.0), dtype=np.uint8), grey=False)


def _quad(view: View, points: list[tuple[float, float, float]]) -> Quad:
    return view.project(np.array(points))


def plate_corners(view: View, vehicle: Vehicle, at_s: float) -> Quad:
    """The plate's corners in pixels: top left, top right, bottom right, bottom left."""
    x, y, z = vehicle.lane_x_m, vehicle.plate_y_m, vehicle.distance_m(at_s) - 0.02
    w, h = PLATE_W_M / 2, PLATE_H_M / 2
    return _quad(view, [(x - w, y + h, z), (x + w, y + h, z), (x + w, y - h, z), (x - w, y - h, z)])


def outline(view: View, vehicle: Vehicle, at_s: float) -> Quad:
    """The convex hull in pixels of the vehicle's box."""
    x, z, body = vehicle.lane_x_m, vehicle.distance_m(at_s), vehicle.body
    corners = [
        (x + side * body.half_w * 0.93, y, depth)
        for side in (-1, 1)
        for y in (0.1, body.height)
        for depth in (z, z + body.length * 0.8)
    ]
    return np.asarray(
        cv2.convexHull(_quad(view, corners).astype(np.float32)).reshape(-1, 2), dtype=np.float64
    )


class Renderer:
    """Draws frames of one view; the empty road and every vehicle's pictures are drawn once."""

    def __init__(self, view: View, seed: int, weather: Weather = CLEAR) -> None:
        self._view, self._seed, self._weather = view, seed, weather
        self._day, self._night = draw_scene(view, seed)
        self._gallery = Gallery(seed, weather.dirt)
        self._glow, self._shadow = _glow_sprite(), _shadow_sprite()
        self._scene: tuple[tuple[bool, float], Picture] | None = None
        self._noise: dict[tuple[bool, float], tuple[Picture, Picture]] = {}

    def draw(
        self, vehicles: list[Vehicle], coming: list[Vehicle], light: Light, at_s: float, index: int
    ) -> Picture:
        """A frame (H, W, 3) BGR; `vehicles` come farthest first. `index` seeds the noise."""
        frame = self._road(light).copy()
        for vehicle in vehicles:
            self._vehicle(frame, vehicle, light, at_s)
        self._gallery.prepare(coming, night=light.night)
        if self._weather != CLEAR:
            rng = np.random.default_rng([self._seed, 6, index])
            self._spray(frame, vehicles, light, at_s, rng)
            self._weather.lay(frame, light.exposure.exposure_us, rng)
        self._grain(frame, light, index)
        if light.night:
            return np.asarray(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
        return frame

    def _road(self, light: Light) -> Picture:
        drawn = self._night if light.night else self._day
        factor = light.road()
        key = (light.night, round(factor, 4))
        if self._scene is None or self._scene[0] != key:
            self._scene = (key, np.asarray(cv2.convertScaleAbs(drawn, alpha=factor), dtype=np.uint8))
        return self._scene[1]

    def _vehicle(self, frame: Picture, vehicle: Vehicle, light: Light, at_s: float) -> None:
        art = self._gallery.of(vehicle, night=light.night)
        x, z, body = vehicle.lane_x_m, vehicle.distance_m(at_s), vehicle.body
        opacity = min(1.0, max(0.0, (FARTHEST_M - z) / FADE_M))
        w, h, back = body.half_w, body.height, z + body.length
        bright = light.surface(z)
        if not light.night:
            ground = [
                (x - w, 0.0, back),
                (x + w + 0.7, 0.0, back),
                (x + w + 0.7, 0.0, z - 0.2),
                (x - w, 0.0, z - 0.2),
            ]
            lay(frame, self._shadow, _quad(self._view, ground), bright=0.0, opacity=opacity)
        if x + w < 0.0:
            self._side(frame, art, vehicle, z, (bright, opacity))
        if h < ROOF_SEEN_BELOW_M:
            self._roof(frame, vehicle, z, bright * opacity)
        end = [(x - w, h, z), (x + w, h, z), (x + w, 0.0, z), (x - w, 0.0, z)]
        lay(frame, art.end, _quad(self._view, end), bright=bright, opacity=opacity)
        self._plate(frame, art.plate, vehicle, light, at_s)
        if light.night:
            self._lamps(frame, vehicle, light, z)

    def _side(
        self, frame: Picture, art: VehicleArt, vehicle: Vehicle, z: float, shown: tuple[float, float]
    ) -> None:
        body, back = vehicle.body, z + vehicle.body.length
        low, high = vehicle.lane_x_m + body.half_w, vehicle.lane_x_m + body.roof_half_w
        y, top = body.belt_y, body.height - 0.01
        upper = [(high, top, z), (high, top, back), (low, y, back), (low, y, z)]
        lower = [(low, y, z), (low, y, back), (low, 0.0, back), (low, 0.0, z)]
        for layer, points in ((art.side_lower, lower), (art.side_upper, upper)):
            lay(frame, layer, _quad(self._view, points), bright=shown[0], opacity=shown[1])

    def _roof(self, frame: Picture, vehicle: Vehicle, z: float, bright: float) -> None:
        x, body = vehicle.lane_x_m, vehicle.body
        w, h = body.roof_half_w, body.height - 0.012
        far = z + body.length - body.far_slope_m(rear=vehicle.near_lane)
        points = _quad(self._view, [(x - w, h, far), (x + w, h, far), (x + w, h, z), (x - w, h, z)])
        paint = (vehicle.infrared,) * 3 if frame.ndim == 2 else vehicle.paint
        colour = tuple(min(255.0, channel * 1.12 * bright) for channel in paint)
        cv2.fillConvexPoly(frame, np.round(points * 16).astype(np.int32), colour, cv2.LINE_AA, 4)

    def _plate(
        self, frame: Picture, textures: tuple[Picture, ...], vehicle: Vehicle, light: Light, at_s: float
    ) -> None:
        corners = plate_corners(self._view, vehicle, at_s)
        texture = pick(textures, float(np.linalg.norm(corners[1] - corners[0])))
        placed = warp(texture, corners, frame.shape)
        cover = warp(np.full(texture.shape[:2], 255, np.uint8), corners, frame.shape)
        if placed is None or cover is None:
            return
        shown = cv2.convertScaleAbs(placed[0], alpha=light.retro(vehicle.distance_m(at_s)))
        alpha = cover[0].astype(np.float32) / 255.0
        alpha = alpha[..., None] if frame.ndim == 3 else alpha
        part = frame[placed[1]]
        part[:] = np.round(part * (1.0 - alpha) + np.asarray(shown) * alpha).astype(np.uint8)
        self._smear(frame, placed[1], vehicle, light, at_s)

    def _smear(
        self, frame: Picture, part: tuple[slice, slice], vehicle: Vehicle, light: Light, at_s: float
    ) -> None:
        """The lens, and the way that the plate makes while the shutter is open."""
        rows, columns = part
        margin = 8
        area = frame[
            max(0, rows.start - margin) : rows.stop + margin,
            max(0, columns.start - margin) : columns.stop + margin,
        ]
        later = at_s + light.exposure.exposure_us / 1e6
        move = (plate_corners(self._view, vehicle, later) - plate_corners(self._view, vehicle, at_s)).mean(
            axis=0
        )
        length = min(MAX_MOTION_PX, float(np.hypot(*move)))
        blurred = cv2.GaussianBlur(area, (0, 0), PSF_SIGMA)
        if length > MIN_MOTION_PX:
            blurred = cv2.filter2D(blurred, -1, _motion_kernel(move, length))
        area[:] = blurred

    def _lamps(self, frame: Picture, vehicle: Vehicle, light: Light, z: float) -> None:
        body, strength = vehicle.body, light.source() * (0.6 if vehicle.near_lane else 1.15)
        reach = GLOW_HALO_M * (0.8 if vehicle.near_lane else 1.3)
        y = body.lamp_y - (0.0 if vehicle.near_lane else 0.1)
        for side in (-1, 1):
            x = vehicle.lane_x_m + side * (body.half_w - 0.14)
            square = [(x - reach, y + reach, z), (x + reach, y + reach, z), (x + reach, y - reach, z)]
            placed = warp(self._glow, _quad(self._view, [*square, (x - reach, y - reach, z)]), frame.shape)
            if placed is not None:
                glow = cv2.convertScaleAbs(placed[0], alpha=strength)
                frame[placed[1]] = cv2.add(frame[placed[1]], glow)

    def _spray(
        self, frame: Picture, vehicles: list[Vehicle], light: Light, at_s: float, rng: np.random.Generator
    ) -> None:
        """Water thrown up behind the wheels of what drives away: another cloud in every frame."""
        strength = self._weather.rain * (light.surface(REFERENCE_M) if light.night else 0.8)
        for vehicle in (v for v in vehicles if v.near_lane and strength > 0):
            z, speed = vehicle.distance_m(at_s), min(1.0, vehicle.speed_mps / 30.0)
            for side in (-1, 1):
                x = vehicle.lane_x_m + side * rng.uniform(0.2, 0.9)
                y, reach = rng.uniform(0.2, 0.8), rng.uniform(0.5, 1.0)
                square = [(x - reach, y + reach, z), (x + reach, y + reach, z), (x + reach, y - reach, z)]
                placed = warp(
                    self._glow, _quad(self._view, [*square, (x - reach, y - reach, z)]), frame.shape
                )
                if placed is not None:
                    cloud = cv2.convertScaleAbs(placed[0], alpha=0.5 * strength * speed)
                    layer = cloud if frame.ndim == 2 else cv2.merge([cloud, cloud, cloud])
                    frame[placed[1]] = cv2.add(frame[placed[1]], layer)

    def _grain(self, frame: Picture, light: Light, index: int) -> None:
        """Sensor noise: a tile of it, shifted anew for each frame."""
        plus, minus = self._noise_tile(light.night, round(light.noise() * 4) / 4)
        rng = np.random.default_rng([self._seed, 3, index])
        y, x = (int(value) for value in rng.integers(0, NOISE_MARGIN, 2))
        height, width = frame.shape[:2]
        part = (slice(y, y + height), slice(x, x + width))
        cv2.add(frame, plus[part], dst=frame)
        cv2.subtract(frame, minus[part], dst=frame)

    def _noise_tile(self, night: bool, sigma: float) -> tuple[Picture, Picture]:  # noqa: FBT001 - a cache key
        key = (night, sigma)
        if key not in self._noise:
            shape = (self._view.height + NOISE_MARGIN, self._view.width + NOISE_MARGIN)
            rng = np.random.default_rng([self._seed, 4])
            tile = rng.standard_normal(shape if night else (*shape, 3), dtype=np.float32) * sigma
            rounded: NDArray[np.int16] = np.round(tile).astype(np.int16)
            self._noise.clear()
            self._noise[key] = (
                np.clip(rounded, 0, 255).astype(np.uint8),
                np.clip(-rounded, 0, 255).astype(np.uint8),
            )
        return self._noise[key]


def _motion_kernel(move: NDArray[np.float64], length: float) -> NDArray[np.float32]:
    """A line of the movement's length and direction whose sum is one."""
    size = int(np.ceil(length)) | 1
    kernel = np.zeros((size, size), np.float32)
    centre, half = size / 2 - 0.5, move / np.hypot(*move) * (length - 1.0) / 2
    for t in np.linspace(-1, 1, size * 4):
        x, y = centre + half * t
        left, top = int(np.clip(np.floor(x), 0, size - 1)), int(np.clip(np.floor(y), 0, size - 1))
        fx, fy = x - left, y - top
        for dx, dy, weight in (
            (0, 0, (1 - fx) * (1 - fy)),
            (1, 0, fx * (1 - fy)),
            (0, 1, (1 - fx) * fy),
            (1, 1, fx * fy),
        ):
            kernel[min(size - 1, top + dy), min(size - 1, left + dx)] += weight
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)
