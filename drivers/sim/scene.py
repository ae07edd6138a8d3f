# SPDX-License-Identifier: Apache-2.0
"""The road without vehicles, drawn once: sky, trees, grass, shoulder, two lanes and their lines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.optics import View

NEAR_LANE_X_M: Final = -1.75
FAR_LANE_X_M: Final = -4.75
EDGE_X_M: Final = -0.25  # white line at the right edge of the near lane
CENTRE_X_M: Final = -3.25  # double yellow line
FAR_EDGE_X_M: Final = -6.3
LINES: Final = (  # middle in metres, colour
    (EDGE_X_M, (226.0, 228.0, 228.0)),
    (FAR_EDGE_X_M, (226.0, 228.0, 228.0)),
    (CENTRE_X_M - 0.11, (60.0, 178.0, 214.0)),
    (CENTRE_X_M + 0.11, (60.0, 178.0, 214.0)),
)
Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]


def _texture(rng: np.random.Generator, x: Plane, z: Plane, per_m: float, size: int = 1024) -> Plane:
    """Noise of zero mean fixed to the ground, in the road's perspective; fades with distance."""
    tile = rng.normal(0.0, 1.0, (size, size)).astype(np.float32)
    tile = np.asarray(cv2.GaussianBlur(tile, (0, 0), 1.2), dtype=np.float32)
    tile /= tile.std()
    far = ~np.isfinite(z)
    map_x = np.mod(np.where(far, 0, x) * per_m, size).astype(np.float32)
    map_z = np.mod(np.where(far, 0, z) * per_m * 0.35, size).astype(np.float32)
    noise = cv2.remap(tile, map_x, map_z, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(
        noise * np.where(far, 0.0, np.clip(14.0 / np.where(far, 1.0, z), 0.12, 1.0)), np.float32
    )


def _stripe(x: Plane, z: Plane, centre: float, half_m: float) -> Plane:
    """Coverage of a painted line; never thinner than its blur in the picture."""
    soft = 0.012 + np.where(np.isfinite(z), z, 0.0) * 0.0009
    return np.asarray(np.clip((half_m - np.abs(x - centre)) / soft + 0.5, 0.0, 1.0), dtype=np.float32)


def _lay(picture: Plane, cover: Plane, colour: tuple[float, float, float]) -> None:
    picture += cover[..., None] * (np.array(colour, np.float32) - picture)


def _sky_and_trees(view: View, rng: np.random.Generator) -> Plane:
    rows = np.linspace(0, 1, view.height, dtype=np.float32)[:, None, None]
    sky = np.array([236, 206, 170], np.float32) + rows * 6 * np.array([14, 26, 44], np.float32)
    picture = np.broadcast_to(sky, (view.height, view.width, 3)).copy()
    horizon = view.project(np.array([[0.0, 0.0, 2000.0]]))[0, 1]
    columns = np.arange(view.width)
    coarse = rng.normal(0, 1, view.width // 24 + 2).astype(np.float32)
    tops = np.interp(columns, np.arange(coarse.size) * 24, coarse) * 7 + rng.normal(0, 1.5, view.width)
    crown = horizon - 26.0 * view.height / 720 - tops
    y = np.arange(view.height)[:, None]
    leaf = (60 + rng.normal(0, 9, (view.height, view.width))).astype(np.float32)
    leaf = np.asarray(cv2.GaussianBlur(leaf, (0, 0), 1.5), dtype=np.float32)
    trees = np.stack([leaf * 0.55, leaf * 1.05, leaf * 0.75], -1)
    return np.where((y > crown)[..., None], trees, picture).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Scene:
    """The empty road: `day` (H, W, 3) BGR in sunlight; `infrared` (H, W) grey in the same light's infrared.

    `beads` (H, W): cover 0..1 of painted lines, whose glass beads send a lamp's light back. `z` (H, W): metres along
    the road, inf above the horizon; `x` metres to the right. `ground`: whether there is road or grass.
    """

    day: Picture
    infrared: Picture
    beads: Plane
    x: Plane
    z: Plane


@lru_cache(maxsize=2)  # a camera that is opened again sees the same road; nobody draws into it
def draw_scene(view: View, seed: int, *, grass: bool = False) -> Scene:
    """The empty road of this seed; `grass`: a meadow without a road."""
    rng = np.random.default_rng([seed, 0x0AD])
    x, z = view.ground()
    picture = _sky_and_trees(view, rng)
    land = np.isfinite(z) & (z < 600)
    fine, coarse = _texture(rng, x, z, 160.0), _texture(rng, x, z, 9.0)
    meadow = np.array([52, 104, 88], np.float32) + (15 * fine + 10 * coarse)[..., None] * [0.6, 1.0, 0.8]
    asphalt = np.array([112, 110, 108], np.float32) + (7 * fine + 4 * coarse)[..., None]
    wear = sum(
        np.exp(-(((x - lane - side) / 0.32) ** 2))
        for lane in (NEAR_LANE_X_M, FAR_LANE_X_M)
        for side in (-0.8, 0.8)
    )
    asphalt -= (9.0 * wear)[..., None]
    gravel = np.array([118, 132, 140], np.float32) + (16 * fine)[..., None]
    road = (x > FAR_EDGE_X_M - 0.5) & (x < EDGE_X_M + 0.45)
    shoulder = (x > FAR_EDGE_X_M - 1.3) & (x < EDGE_X_M + 1.1)
    ground = np.where(road[..., None], asphalt, np.where(shoulder[..., None], gravel, meadow))
    if grass:
        ground = meadow
    haze = np.clip(np.where(land, z, 0.0) / 600.0, 0.0, 0.6)[..., None]
    ground = ground * (1 - haze) + np.array([190, 182, 170]) * haze
    picture = np.where(land[..., None], ground, picture).astype(np.float32)
    beads = np.zeros(x.shape, np.float32)
    for centre, colour in () if grass else LINES:
        cover = _stripe(x, z, centre, 0.055) * land * 0.85
        beads = np.maximum(beads, cover)
        _lay(picture, cover, colour)
    day = np.asarray(cv2.GaussianBlur(np.clip(picture, 0, 255), (0, 0), 0.7), np.float32)
    return Scene(np.asarray(np.round(day), np.uint8), infrared(day), np.asarray(beads, np.float32), x, z)


def infrared(day: Plane) -> Picture:
    """What a drawing in colour (H, W, 3) is in near infrared: grey, foliage bright."""
    blue, green, red = day[..., 0], day[..., 1], day[..., 2]
    grey = 0.25 * blue + 0.45 * green + 0.3 * red + 0.8 * np.clip(green - red, 0, 60)
    return np.asarray(np.clip(grey, 0, 255), dtype=np.uint8)
