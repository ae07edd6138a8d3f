# SPDX-License-Identifier: Apache-2.0
"""Geometry of the detector's training pictures: crops at many scales, whole frames, mosaics, perspective."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.training.detector_data import Boxes, Cache, Gray, as_boxes
from inference.training.detector_paste import Textures, lettering, swap
from inference.training.detector_photometry import disturb

PAD = 114
SQUASHED = {"chirag-rf300": (1.15, 1.9), "kaggle-433": (1.1, 1.6)}  # horizontal un-stretching, factors
SOURCE_WEIGHT = {  # the shares of a mixed street rather than those of the collection
    "openimages-gp": 1.9,
    "openimages-rf": 1.9,
    "kaggle-433": 2.0,
    "chirag-rf300": 1.6,
    "robertlucian-eu": 0.5,
}
LEAST_PX = (9.0, 4.0)  # a narrower or flatter plate at the network's input is an ignore region
WHOLE, GONE = 0.8, 0.08  # visible share: above a plate, between them ignored, below background
SHARPEN_LIMIT = 2.2  # greatest enlargement of a picture

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How often (shares of 1) and how far (px at the network's input) the pictures are changed."""

    mosaic: float
    whole: float
    negative: float
    least_plate: float = 13.0
    usual_plate: float = 150.0
    large: float = 0.25
    bend: float = 0.35
    turned: float = 0.12  # of the bent ones, turned up to 30 degrees
    swap: float = 0.2
    lettering: float = 0.15
    light: float = 1.0  # factor on how often light, optics and noise change


PHASE_A = Recipe(mosaic=0.35, whole=0.25, negative=0.08)
PHASE_B = Recipe(mosaic=0.12, whole=0.55, negative=0.06, large=0.5)
# As on the device: whole frames, milder light.
FINAL = Recipe(
    mosaic=0.0, whole=0.75, negative=0.03, large=0.5, bend=0.15, swap=0.1, lettering=0.1, light=0.5
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A training picture (H, W) with plates and ignored regions in its px."""

    image: Gray
    plates: Boxes
    ignore: Boxes


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(max(high, low * 1.01)))))


def _whole_scale(shape: tuple[float, float], size: tuple[int, int], rng: np.random.Generator) -> float:
    fit = min(size[0] / shape[0], size[1] / shape[1], 1.0)
    return fit if rng.random() < 0.35 else fit * _log_uniform(rng, 0.7, 1.6)


def _focus_scale(plate: Boxes, size: tuple[int, int], recipe: Recipe, rng: np.random.Generator) -> float:
    """Scale that gives a plate (width, height) a width drawn evenly on a log scale."""
    room = min(0.97 * size[0], 0.93 * size[1] / plate[1] * plate[0])
    if rng.random() < recipe.large:
        wanted = _log_uniform(rng, 60, room)
    else:
        wanted = min(_log_uniform(rng, recipe.least_plate, recipe.usual_plate), room)
    return float(wanted / plate[0])


def _linear(scale: float, stretch: float, recipe: Recipe, rng: np.random.Generator) -> Matrix:
    """3x3 matrix about the origin: flip, stretch, scale, and sometimes rotation, shear and perspective."""
    m = np.diag([scale * stretch, scale, 1.0])
    if rng.random() < 0.5:
        m = np.diag([-1.0, 1.0, 1.0]) @ m
    if rng.random() < recipe.bend:
        far = rng.random() < recipe.turned
        angle = np.deg2rad(_uniform(rng, -30, 30) if far else rng.normal(0, 4))
        shear = rng.normal(0, 0.05)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
        lean = np.array([[1, shear, 0], [rng.normal(0, 0.04), _uniform(rng, 0.85, 1.15), 0], [0, 0, 1.0]])
        m = turn @ lean @ m
        m[2, :2] = rng.normal(0, 0.00012, 2) * scale
    return m


def project(m: Matrix, boxes: Boxes) -> Boxes:
    """The upright hulls of boxes (N, 4) under a homography."""
    if len(boxes) == 0:
        return boxes
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 1, 2).astype(np.float64)
    moved = cv2.perspectiveTransform(corners, m).reshape(-1, 4, 2)
    return np.asarray(np.concatenate([moved.min(1), moved.max(1)], 1), np.float32)


def _shift(m: Matrix, x: float, y: float) -> Matrix:
    return np.asarray(np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]]) @ m, np.float64)


def _rest(m: Matrix, shape: tuple[int, int], size: tuple[int, int], rng: np.random.Generator) -> Matrix:
    """Put a whole picture on the canvas: top-left as on the device, or anywhere that wastes least."""
    hull = project(m, as_boxes([[0, 0, shape[0], shape[1]]]))[0]
    corner = rng.random() < 0.5
    offset = []
    for low, high, room in ((hull[0], hull[2], size[0]), (hull[1], hull[3], size[1])):
        spare = room - (high - low)
        place = 0.0 if corner and spare > 0 else spare * rng.random()
        offset.append(float(place - low))
    return _shift(m, *offset)


def _aim(m: Matrix, plate: Boxes, size: tuple[int, int], rng: np.random.Generator) -> Matrix:
    """Put a plate somewhere inside the canvas (one time in ten anywhere, cut or not)."""
    hull = project(m, plate[None])[0]
    margin = -0.6 if rng.random() < 0.1 else 0.0
    offset = []
    for low, high, room in ((hull[0], hull[2], size[0]), (hull[1], hull[3], size[1])):
        edge = margin * (high - low)
        end = max(room - (high - low) - edge, edge)
        offset.append(_uniform(rng, edge, end) - float(low))
    return _shift(m, *offset)


def warp(image: Gray, m: Matrix, size: tuple[int, int], fill: int) -> Gray:
    """Perspective warp; area-averaged first where it shrinks, as on the device."""
    sx, sy = float(np.hypot(m[0, 0], m[1, 0])), float(np.hypot(m[0, 1], m[1, 1]))
    if max(sx, sy) < 0.85:
        small = cv2.resize(image, None, fx=sx, fy=sy, interpolation=cv2.INTER_AREA)
        m = m @ np.diag([image.shape[1] / small.shape[1], image.shape[0] / small.shape[0], 1.0])
    else:
        small = image
    flat = cv2.warpPerspective(small, m, size, flags=cv2.INTER_LINEAR, borderValue=(fill,))
    return np.asarray(flat, np.uint8)


def sort_boxes(plates: Boxes, size: tuple[int, int]) -> tuple[Boxes, Boxes]:
    """Clip to the canvas; split into plates to find and regions to ignore (cut or tiny)."""
    if len(plates) == 0:
        return plates, plates
    limits = np.asarray([size[0], size[1]] * 2, np.float32)
    cut = np.clip(plates, 0, limits)
    area = np.prod(plates[:, 2:] - plates[:, :2], axis=1)
    side = cut[:, 2:] - cut[:, :2]
    share = np.prod(side, axis=1) / np.maximum(area, 1e-6)
    large = (side[:, 0] >= LEAST_PX[0]) & (side[:, 1] >= LEAST_PX[1])
    good = (share >= WHOLE) & large
    return cut[good], cut[~good & (share > GONE)]


class Augmenter:
    """Draws training samples from the cache."""

    def __init__(
        self, cache: Cache, recipe: Recipe, rng: np.random.Generator, textures: Textures | None = None
    ) -> None:
        self.cache, self.recipe, self.rng, self.textures = cache, recipe, rng, textures
        weights = np.asarray([SOURCE_WEIGHT.get(x.source, 1.0) for x in cache.labels])
        self._share = np.cumsum(weights / weights.sum())

    def sample(self, size: tuple[int, int]) -> Sample:
        """A picture of (width, height), alone or a mosaic of four, with its light changed."""
        made = self._mosaic(size) if self.rng.random() < self.recipe.mosaic else self._view(size)
        image = made.image
        if self.rng.random() < self.recipe.lettering:
            image = lettering(image, np.concatenate([made.plates, made.ignore]), self.rng)
        image = disturb(image, made.plates, self.rng, self.recipe.light)
        return Sample(image, made.plates, made.ignore)

    def _draw(self) -> int:
        return min(int(np.searchsorted(self._share, self.rng.random())), len(self._share) - 1)

    def _matrix(self, index: int, size: tuple[int, int]) -> Matrix:
        labels, rng, recipe = self.cache.labels[index], self.rng, self.recipe
        stretch = 1.0
        if labels.source in SQUASHED and rng.random() < 0.55:
            stretch = _uniform(rng, *SQUASHED[labels.source])
        shape, kind = (labels.width * stretch, float(labels.height)), rng.random()
        if kind < recipe.whole or len(labels.plates) == 0:
            m = _linear(_whole_scale(shape, size, rng), stretch, recipe, rng)
            return _rest(m, (labels.width, labels.height), size, rng)
        if kind < recipe.whole + recipe.negative:
            fit = max(size[0] / shape[0], size[1] / shape[1])
            m = _linear(fit * _log_uniform(rng, 1.0, 2.0), stretch, recipe, rng)
            return _rest(m, (labels.width, labels.height), size, rng)
        plate = labels.plates[int(rng.integers(len(labels.plates)))]
        sides = np.asarray([(plate[2] - plate[0]) * stretch, plate[3] - plate[1]], np.float32)
        least = 0.55 * min(size[0] / shape[0], size[1] / shape[1])
        scale = float(np.clip(_focus_scale(sides, size, recipe, rng), least, SHARPEN_LIMIT))
        return _aim(_linear(scale, stretch, recipe, rng), plate, size, rng)

    def _view(self, size: tuple[int, int]) -> Sample:
        index = self._draw()
        labels, m = self.cache.labels[index], self._matrix(index, size)
        fill = PAD if self.rng.random() < 0.75 else int(self.rng.integers(256))
        plane = int(self.rng.random() < 0.2)
        image = self.cache.image(index, plane)
        if self.textures is not None:
            image = swap(image, labels.plates, self.textures, self.rng, self.recipe.swap)
        image = warp(image, m, size, fill)
        plates, ignore = sort_boxes(project(m, labels.plates), size)
        return Sample(image, plates, np.concatenate([ignore, project(m, labels.ignore)]))

    def _mosaic(self, size: tuple[int, int]) -> Sample:
        width, height = size
        x, y = int(width * self.rng.uniform(0.3, 0.7)), int(height * self.rng.uniform(0.3, 0.7))
        canvas = np.empty((height, width), np.uint8)
        plates, ignore = [as_boxes([])], [as_boxes([])]
        for x1, y1, x2, y2 in ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)):
            part = self._view((x2 - x1, y2 - y1))
            canvas[y1:y2, x1:x2] = part.image
            corner = np.asarray([x1, y1, x1, y1], np.float32)
            edge = np.asarray([x2 - x1, y2 - y1] * 2, np.float32)
            plates.append(part.plates + corner)
            ignore.append(np.clip(part.ignore, 0, edge) + corner)
        return Sample(canvas, np.concatenate(plates), np.concatenate(ignore))
