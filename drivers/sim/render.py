# SPDX-License-Identifier: Apache-2.0
"""Turns the world at one moment into a frame: road, vehicles from far to near, lamps, air, lens, noise."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.air import WHITE
from drivers.sim.art import Gallery, Picture, Sprite, VehicleArt, lay, pick, sprite, warp
from drivers.sim.backdrop import Backdrop
from drivers.sim.lamps import Lamps, add_glow, glow_sprite
from drivers.sim.light import Light, lamp_lux
from drivers.sim.lot import LotGround
from drivers.sim.motion import smear
from drivers.sim.optics import View
from drivers.sim.places import before, faces, moving, plate_corners, post
from drivers.sim.roadside import Boards
from drivers.sim.scenario import Road
from drivers.sim.sensor import Grain, Mixer, Squares
from drivers.sim.shading import Shading
from drivers.sim.sway import Sway, shifted
from drivers.sim.traffic import FADE_M, FARTHEST_M, Vehicle

ROOF_MARGIN_M: Final = 0.05  # a roof this far below the camera is seen
POST_GREY: Final = 92.0
SPRAY_M: Final = 9.0  # where its light is taken
DROPS_M: Final = 3.0  # where the drops are that are seen
INSTEAD_HALF_M: Final = 0.19  # half the width of what hangs in a plate's place


def _shadow_sprite() -> Sprite:
    bgra = np.zeros((128, 64, 4), np.uint8)
    bgra[12:-12, 8:-8, 3] = 165
    return sprite(np.asarray(cv2.GaussianBlur(bgra, (0, 0), 4.0), dtype=np.uint8), grey=False)


class Renderer:
    """Draws frames of one view; the empty road and every vehicle's pictures are drawn once."""

    def __init__(self, view: View, seed: int, road: Road) -> None:
        self._view, self._seed, self._road = view, seed, road
        self._backdrop = Backdrop(view, seed, road)
        self._lot = LotGround(view, seed, road.traffic) if road.traffic.parked_cars else None
        self._boards = Boards(view, seed, road.traffic.signs)
        self._gallery = Gallery(seed, road.weather.dirt)
        self._lamps = Lamps(view, road.weather.rain)
        self._glow, self._shadow = glow_sprite(), _shadow_sprite()
        self._mixer = Mixer()
        self._grain = Grain(view, seed, self._mixer)
        ahead = view.eye + view.rotation()[2] * DROPS_M
        self._drops_lux = float(lamp_lux(road.lamp, view, ahead))
        self.sway = Sway(view, seed)

    def draw(
        self, vehicles: list[Vehicle], coming: list[Vehicle], light: Light, at_s: float, index: int
    ) -> Picture:
        """A frame (H, W, 3) BGR; `vehicles` come farthest first. `index` seeds the noise."""
        shading = Shading(self._view, self._road.lamp, self._backdrop.air, light)
        seen = [vehicle for vehicle in vehicles if before(self._view, vehicle, at_s)]
        colour = self._band(seen, shading, at_s, grey=False) if light.shows_colour else None
        grey = None if light.filter_in else self._band(seen, shading, at_s, grey=True)
        for night in (False, True):
            if (grey if night else colour) is not None:
                self._gallery.prepare(coming, night=night)
        if grey is not None and light.rows:
            grey = self._by_rows(grey, light.rows)
        frame = self._mixer.add(colour, grey, self._veil(seen, light, at_s))
        rng = np.random.default_rng([self._seed, 6, index])
        frame = self._lens(frame, light, at_s, rng)
        frame = self._grain.lay(frame, light.exposure, index)
        return np.asarray(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR), np.uint8) if frame.ndim == 2 else frame

    def _by_rows(self, grey: Picture, rows: tuple[float, ...]) -> Picture:
        """A rolling shutter's rows got the lamp's flash in part."""
        column = np.sqrt(np.array(rows, np.float32))[:, None]
        shares = cv2.resize(column, (self._view.width, self._view.height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.multiply(grey, shares, dtype=cv2.CV_8U), np.uint8)

    def _band(self, vehicles: list[Vehicle], shading: Shading, at_s: float, *, grey: bool) -> Picture:
        """The road with its vehicles in one band."""
        light, plan = shading.light, self._road.traffic
        frame = self._backdrop.grey(light) if grey else self._backdrop.colour(light)
        if self._lot is not None:
            bright = shading.flat((0.0, 0.0, plan.parked_m), grey=grey)
            self._lot.lay(frame, plan.patrol_mps * at_s, bright)
        self._boards.lay(frame, shading)
        for vehicle in vehicles:
            self._vehicle(frame, vehicle, shading, at_s)
        if self._road.weather.rain > 0.0:
            self._spray(frame, vehicles, shading, at_s)
        quad = post(self._view)
        if quad is not None:
            at = (self._view.mount.right_m, self._view.mount.height_m, self._view.mount.post_m)
            bright = POST_GREY * shading.paint(at, grey=grey)
            cv2.fillConvexPoly(frame, _fixed(quad), (bright,) * 3, cv2.LINE_AA, 4)
        return frame

    def _veil(self, vehicles: list[Vehicle], light: Light, at_s: float) -> Squares | None:
        """The air's own light, of which less lies before what is near, and the sun's in the lens."""
        haze, sun = self._backdrop.haze(light), self._backdrop.sun(light, at_s)
        if haze is not None:
            for vehicle in vehicles:
                value = self._backdrop.air.value(vehicle.place(at_s)[1], light) * WHITE
                for face in faces(self._view, vehicle, at_s):
                    cv2.fillConvexPoly(haze, _fixed(face), (value,), cv2.LINE_8, 4)
        both = cv2.add(haze, sun) if haze is not None and sun is not None else haze if sun is None else sun
        return None if both is None else np.asarray(np.minimum(both, WHITE), np.uint16)

    def _lens(self, frame: Picture, light: Light, at_s: float, rng: np.random.Generator) -> Picture:
        """Drops before the lens, its faults, and the pole's swing."""
        glint = math.sqrt(min(1.5, light.visible + light.infrared + light.lit(self._drops_lux)))
        self._road.weather.lay(frame, light.exposure.exposure_us, rng, bright=glint)
        return shifted(frame, *self.sway.at(at_s))

    def _vehicle(self, frame: Picture, vehicle: Vehicle, shading: Shading, at_s: float) -> None:
        grey = frame.ndim == 2
        art = self._gallery.of(vehicle, night=grey)
        (x, z), body = vehicle.place(at_s), vehicle.body
        opacity = min(1.0, max(0.0, (FARTHEST_M - z) / FADE_M))
        w, h = body.half_w, body.height
        bright = shading.paint((x, h / 2, z), grey=grey)
        if not grey:
            ground = [
                (-w, 0.0, body.length),
                (w + 0.7, 0.0, body.length),
                (w + 0.7, 0.0, -0.2),
                (-w, 0.0, -0.2),
            ]
            lay(frame, self._shadow, moving(self._view, vehicle, ground, at_s), bright=0.0, opacity=opacity)
        aside = x - self._view.mount.right_m
        if abs(aside) > w:
            self._side(frame, art, vehicle, at_s, (bright, opacity, math.copysign(1.0, -aside)))
        if h < self._view.mount.height_m - ROOF_MARGIN_M:
            self._roof(frame, vehicle, at_s, shading.flat((x, h, z), grey=grey) * opacity)
        end = [(-w, h, 0.0), (w, h, 0.0), (w, 0.0, 0.0), (-w, 0.0, 0.0)]
        lay(frame, art.end, moving(self._view, vehicle, end, at_s), bright=bright, opacity=opacity)
        if art.instead is not None:
            self._instead(frame, art.instead, vehicle, bright, at_s)
        else:
            self._plate(frame, art.plate, vehicle, shading, at_s)
        self._lamps.lay(frame, vehicle, shading, at_s)

    def _side(
        self,
        frame: Picture,
        art: VehicleArt,
        vehicle: Vehicle,
        at_s: float,
        shown: tuple[float, float, float],
    ) -> None:
        body, back, side = vehicle.body, vehicle.body.length, shown[2]
        low, high = side * body.half_w, side * body.roof_half_w
        y, top = body.belt_y, body.height - 0.01
        upper = [(high, top, 0.0), (high, top, back), (low, y, back), (low, y, 0.0)]
        lower = [(low, y, 0.0), (low, y, back), (low, 0.0, back), (low, 0.0, 0.0)]
        for layer, points in ((art.side_lower, lower), (art.side_upper, upper)):
            quad = moving(self._view, vehicle, points, at_s)
            lay(frame, layer, quad, bright=shown[0], opacity=shown[1])

    def _roof(self, frame: Picture, vehicle: Vehicle, at_s: float, bright: float) -> None:
        body = vehicle.body
        w, h = body.roof_half_w, body.height - 0.012
        far = body.length - body.far_slope_m(rear=vehicle.near_lane)
        points = moving(self._view, vehicle, [(-w, h, far), (w, h, far), (w, h, 0.0), (-w, h, 0.0)], at_s)
        paint = (vehicle.infrared,) * 3 if frame.ndim == 2 else vehicle.paint
        colour = tuple(min(255.0, channel * 1.12 * bright) for channel in paint)
        cv2.fillConvexPoly(frame, _fixed(points), colour, cv2.LINE_AA, 4)

    def _instead(self, frame: Picture, layer: Sprite, vehicle: Vehicle, bright: float, at_s: float) -> None:
        """What a vehicle without a plate has there."""
        height, width = layer.levels[0].shape[:2]
        w = INSTEAD_HALF_M
        h, y = w * height / width, vehicle.plate_y_m
        quad = moving(
            self._view,
            vehicle,
            [(-w, y + h, -0.02), (w, y + h, -0.02), (w, y - h, -0.02), (-w, y - h, -0.02)],
            at_s,
        )
        lay(frame, layer, quad, bright=bright)

    def _plate(
        self, frame: Picture, textures: tuple[Picture, ...], vehicle: Vehicle, shading: Shading, at_s: float
    ) -> None:
        corners = plate_corners(self._view, vehicle, at_s)
        texture = pick(textures, float(np.linalg.norm(corners[1] - corners[0])))
        placed = warp(texture, corners, frame.shape)
        cover = warp(np.full(texture.shape[:2], 255, np.uint8), corners, frame.shape)
        if placed is None or cover is None:
            return
        x, z = vehicle.place(at_s)
        bright = shading.plate((x, vehicle.plate_y_m, z), grey=frame.ndim == 2)
        shown = cv2.convertScaleAbs(placed[0], alpha=bright)
        alpha = cover[0].astype(np.float32) / 255.0
        alpha = alpha[..., None] if frame.ndim == 3 else alpha
        part = frame[placed[1]]
        part[:] = np.round(part * (1.0 - alpha) + np.asarray(shown) * alpha).astype(np.uint8)
        later = plate_corners(self._view, vehicle, at_s + shading.light.smear_us / 1e6)
        smear(frame, placed[1], (later - corners).mean(axis=0))

    def _spray(self, frame: Picture, vehicles: list[Vehicle], shading: Shading, at_s: float) -> None:
        """Water thrown up behind the wheels of what drives away: another cloud in every frame."""
        rng = np.random.default_rng([self._seed, 12, round(at_s * 1e3)])
        lit = shading.paint((-1.75, 0.5, SPRAY_M), grey=frame.ndim == 2)
        for vehicle in (v for v in vehicles if v.near_lane):
            strength = 0.4 * self._road.weather.rain * lit * min(1.0, vehicle.speed_mps / 30.0)
            for side in (-1, 1):
                x, y = side * rng.uniform(0.2, 0.9), rng.uniform(0.2, 0.8)
                r = rng.uniform(0.5, 1.0)
                square = [(x - r, y + r, 0.0), (x + r, y + r, 0.0), (x + r, y - r, 0.0), (x - r, y - r, 0.0)]
                add_glow(
                    frame, self._glow, moving(self._view, vehicle, square, at_s), strength, (1.0, 1.0, 1.0)
                )


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Pixels with four binary places."""
    return np.round(points * 16).astype(np.int32)
