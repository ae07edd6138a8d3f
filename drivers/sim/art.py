# SPDX-License-Identifier: Apache-2.0
"""The pictures of one vehicle, drawn when it comes into sight, and how a picture is laid into a frame."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.bodies import day_palette, draw_end, draw_side, night_palette
from drivers.sim.plates import PlatePictures, draw_plate
from drivers.sim.signs import ON_VEHICLES
from drivers.sim.traffic import Vehicle

KEPT: Final = 48  # pictures that are kept, of both bands: more are never in sight
SMALLEST_LEVEL_PX: Final = 24
MUDDIEST: Final = 0.8  # of a plate's dirt: more, and nobody could read it
Picture = NDArray[np.uint8]
Quad = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sprite:
    """A picture (H, W, 4) with its alpha multiplied in, and the alpha; each level half the size of the one before."""

    levels: tuple[Picture, ...]


def _levels(picture: Picture) -> tuple[Picture, ...]:
    levels = [picture]
    while min(levels[-1].shape[:2]) > SMALLEST_LEVEL_PX:
        height, width = levels[-1].shape[:2]
        half = cv2.resize(levels[-1], (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(half, dtype=np.uint8))
    return tuple(levels)


def sprite(bgra: Picture, *, grey: bool) -> Sprite:
    """Makes the levels of a drawing; `grey` keeps its first channel (infrared)."""
    alpha = np.ascontiguousarray(bgra[..., 3])
    colour = [np.ascontiguousarray(bgra[..., 0 if grey else channel]) for channel in range(3)]
    ready = [cv2.multiply(channel, alpha, scale=1 / 255) for channel in colour]
    return Sprite(_levels(np.asarray(cv2.merge([*ready, alpha]), dtype=np.uint8)))


def pick(levels: tuple[Picture, ...], wanted_px: float) -> Picture:
    """The smallest level that is at least as wide as it will be shown."""
    return next((level for level in reversed(levels) if level.shape[1] >= wanted_px), levels[0])


def warp(
    picture: Picture, quad: Quad, frame_shape: tuple[int, ...]
) -> tuple[Picture, tuple[slice, slice]] | None:
    """The picture in perspective, and the part of the frame that it falls on; None when it is outside."""
    x0, y0 = np.maximum(np.floor(quad.min(axis=0)).astype(int) - 1, 0)
    x1, y1 = np.ceil(quad.max(axis=0)).astype(int) + 2
    x1, y1 = min(int(x1), frame_shape[1]), min(int(y1), frame_shape[0])
    if x1 <= x0 or y1 <= y0:
        return None
    height, width = picture.shape[:2]
    edges = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]])
    matrix = cv2.getPerspectiveTransform(edges.astype(np.float32), (quad - [x0, y0]).astype(np.float32))
    out = cv2.warpPerspective(picture, matrix, (x1 - int(x0), y1 - int(y0)), flags=cv2.INTER_LINEAR)
    return np.asarray(out, dtype=np.uint8), (slice(int(y0), y1), slice(int(x0), x1))


def lay(frame: Picture, layer: Sprite, quad: Quad, *, bright: float, opacity: float = 1.0) -> None:
    """Blends a sprite into the frame in place; `bright` scales its light, `opacity` fades it."""
    placed = warp(pick(layer.levels, float(np.linalg.norm(quad[1] - quad[0]))), quad, frame.shape)
    if placed is None:
        return
    warped, part = placed
    clear = cv2.convertScaleAbs(cv2.extractChannel(warped, 3), alpha=-opacity, beta=255.0)
    grey = frame.ndim == 2
    if not grey:
        clear = cv2.merge([clear, clear, clear])
    behind = cv2.multiply(frame[part], clear, scale=1 / 255)
    if bright * opacity > 0.0:
        colour = cv2.extractChannel(warped, 0) if grey else cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR)
        behind = cv2.add(behind, cv2.convertScaleAbs(colour, alpha=bright * opacity))
    frame[part] = behind


class VehicleArt:
    """Everything that is drawn of one vehicle in one light."""

    def __init__(self, vehicle: Vehicle, plate: PlatePictures, *, night: bool) -> None:
        rear = vehicle.near_lane
        palette = night_palette(vehicle.infrared) if night else day_palette(vehicle.paint, rear=rear)
        self.end = sprite(draw_end(vehicle.body, palette, rear=rear), grey=night)
        upper, lower = draw_side(vehicle.body, palette, rear=rear)
        self.side_upper, self.side_lower = sprite(upper, grey=night), sprite(lower, grey=night)
        self.plate = plate.night if night else plate.day
        self.instead = _instead(vehicle, grey=night) if vehicle.plateless else None


def _instead(vehicle: Vehicle, *, grey: bool) -> Sprite:
    """A badge, a sticker or a grille where the plate would be."""
    rng = np.random.default_rng([vehicle.number, vehicle.infrared])
    return sprite(ON_VEHICLES[int(rng.integers(len(ON_VEHICLES)))](rng), grey=grey)


class Gallery:
    """Keeps the pictures of the vehicles in sight."""

    def __init__(self, seed: int, dirt: float = 0.0) -> None:
        self._seed, self._dirt = seed, dirt
        self._plates: OrderedDict[int, PlatePictures] = OrderedDict()
        self._art: OrderedDict[tuple[int, bool], VehicleArt] = OrderedDict()

    def of(self, vehicle: Vehicle, *, night: bool) -> VehicleArt:
        """The vehicle's pictures in this light, drawn on first use."""
        key = (vehicle.number, night)
        if key not in self._art:
            self._art[key] = VehicleArt(vehicle, self._plate(vehicle), night=night)
            if len(self._art) > KEPT:
                self._art.popitem(last=False)
        return self._art[key]

    def prepare(self, coming: list[Vehicle], *, night: bool) -> None:
        """Draws one picture of a vehicle that is not in sight yet, so that no frame has to draw many."""
        for vehicle in coming:
            if vehicle.number not in self._plates:
                self._plate(vehicle)
                return
            if (vehicle.number, night) not in self._art:
                self.of(vehicle, night=night)
                return

    def _plate(self, vehicle: Vehicle) -> PlatePictures:
        if vehicle.number not in self._plates:
            rng = np.random.default_rng([self._seed, 2, vehicle.number])
            dirt = min(
                MUDDIEST,
                self._dirt * float(np.random.default_rng([self._seed, 5, vehicle.number]).exponential()),
            )
            self._plates[vehicle.number] = draw_plate(vehicle.design, vehicle.plate, rng, dirt=dirt)
            if len(self._plates) > KEPT:
                self._plates.popitem(last=False)
        return self._plates[vehicle.number]
