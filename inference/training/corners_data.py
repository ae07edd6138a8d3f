# SPDX-License-Identifier: Apache-2.0
"""Batches for the corner net: rendered scenes with corners, real boxes without, and patches without a plate."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.preprocess import corner_crop, cut, normalise

from .render_pool import Shard, load_grey, load_shard, read_manifest, unit
from .render_scene import SCENE_MARGIN, SCENE_SHAPE

MIN_BOX_WIDTH = 28.0  # px, smaller real boxes teach nothing about corners
NEGATIVES_PER_IMAGE = 2
_ORDER_FLIPPED = [1, 0, 3, 2]  # TL TR BR BL after mirroring


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures (n, 1, 64, 128) 0..1, corners (n, 4, 2) 0..1, boxes (n, 4) x0 y0 x1 y1, and what is known."""

    pictures: NDArray[np.float32]
    corners: NDArray[np.float32]
    boxes: NDArray[np.float32]
    has_corners: NDArray[np.bool_]
    is_plate: NDArray[np.bool_]
    two_rows: NDArray[np.float32]  # 0, 1, or nan where unknown


@dataclass(frozen=True, slots=True)
class Regions:
    """Pieces of real pictures, (n, 128, 256) uint8, each a box with SCENE_MARGIN around it."""

    images: NDArray[np.uint8]
    is_plate: NDArray[np.bool_]
    two_rows: NDArray[np.float32]  # 0, 1, or nan where unknown


def region_of(grey: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    """The box x, y, w, h with SCENE_MARGIN on every side, at the size of a stored scene."""
    x, y, w, h = box
    x0, y0 = round(x - w * SCENE_MARGIN), round(y - h * SCENE_MARGIN)
    size = (max(2, round(w * (1 + 2 * SCENE_MARGIN))), max(2, round(h * (1 + 2 * SCENE_MARGIN))))
    piece = cut(grey, (x0, y0, *size))
    method = cv2.INTER_AREA if size[0] > SCENE_SHAPE[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(piece, SCENE_SHAPE[::-1], interpolation=method), np.uint8)


def _overlaps(box: tuple[float, float, float, float], boxes: list[list[float]]) -> bool:
    x, y, w, h = box
    return any(x < b[2] and x + w > b[0] and y < b[3] and y + h > b[1] for b in boxes)


def _negatives(
    rng: np.random.Generator, grey: NDArray[np.uint8], boxes: list[list[float]]
) -> list[NDArray[np.uint8]]:
    found: list[NDArray[np.uint8]] = []
    for _ in range(NEGATIVES_PER_IMAGE * 3):
        w = float(np.exp(rng.uniform(np.log(30), np.log(250))))
        h = w / float(rng.uniform(1.2, 5))
        if w >= grey.shape[1] or h >= grey.shape[0]:
            continue
        box = (rng.uniform(0, grey.shape[1] - w), rng.uniform(0, grey.shape[0] - h), w, h)
        if not _overlaps(box, boxes) and len(found) < NEGATIVES_PER_IMAGE:
            found.append(region_of(grey, box))
    return found


def load_regions(data: Path, seed: int, rows: Path | None = None) -> Regions:
    """Real plates (boxes only) and plate-free patches of the training pictures; `rows` as reader_corners writes it."""
    known: dict[str, bool] = json.loads(rows.read_text()) if rows is not None and rows.exists() else {}
    rng = np.random.default_rng(seed)
    images: list[NDArray[np.uint8]] = []
    flags: list[bool] = []
    doubles: list[float] = []
    for row in read_manifest(data / "train.jsonl"):
        plates = row["plates"]
        grey = load_grey(data / row["image"])
        boxes: list[list[float]] = [p["box"] for p in plates]
        for i, (plate, (x0, y0, x1, y1)) in enumerate(zip(plates, boxes, strict=True)):
            if x1 - x0 >= MIN_BOX_WIDTH:
                images.append(region_of(grey, (x0, y0, x1 - x0, y1 - y0)))
                flags.append(plate.get("quality") != "notplate")
                doubles.append(float(known.get(f"{row['image']}#{i}", math.nan)))
        patches = _negatives(rng, grey, boxes)
        images += patches
        flags += [False] * len(patches)
        doubles += [math.nan] * len(patches)
    return Regions(np.stack(images), np.array(flags), np.array(doubles, np.float32))


def _jittered(
    rng: np.random.Generator, low: NDArray[np.float32], high: NDArray[np.float32]
) -> tuple[float, float, float, float]:
    """A box around low..high (px) with the errors of a detector: up to 15 % at each side."""
    size = high - low
    grow = np.clip(rng.normal(0.02, 0.06, 4), -0.15, 0.17)
    x0, y0 = low - size * grow[:2]
    x1, y1 = high + size * grow[2:]
    return float(x0), float(y0), float(x1 - x0), float(y1 - y0)


def _tone(rng: np.random.Generator, crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if rng.random() < 0.3:
        gamma = float(np.exp(rng.normal(0, 0.35)))
        crop = (((crop / 255.0) ** gamma) * 255).astype(np.uint8)
    if rng.random() < 0.15:
        crop = np.asarray(cv2.GaussianBlur(crop, (0, 0), float(rng.uniform(0.4, 1.3))), np.uint8)
    if rng.random() < 0.05:
        crop = 255 - crop
    return normalise(crop)


class CornerFeed:
    """Draws batches; rendered shards are taken from `pool` as they appear."""

    def __init__(self, pool: Path, regions: Regions, seed: int, shards: int = 12) -> None:
        self._pool, self._regions, self._rng = pool, regions, np.random.default_rng(seed)
        self._shards: list[Shard] = []
        self._limit = shards
        self._plates = np.flatnonzero(regions.is_plate)
        self._others = np.flatnonzero(~regions.is_plate)
        self.refresh()

    def refresh(self) -> None:
        """Loads newer shards up to the limit, dropping the oldest."""
        paths = sorted(self._pool.glob("shard_*.npz"))
        picked = self._rng.choice(len(paths), min(self._limit, len(paths)), replace=False)
        self._shards = [load_shard(paths[int(i)]) for i in picked]

    def _rendered(self) -> tuple[NDArray[np.uint8], NDArray[np.float32], float]:
        shard = self._shards[int(self._rng.integers(len(self._shards)))]
        i = int(self._rng.integers(len(shard.images)))
        return shard.images[i], shard.corners[i].copy(), float(shard.two_rows[i])

    def _sample(self, kind: str) -> tuple[NDArray[np.uint8], NDArray[np.float32], tuple[float, ...], float]:
        rng = self._rng
        height, width = SCENE_SHAPE
        inner = np.float32(SCENE_MARGIN / (1 + 2 * SCENE_MARGIN))
        corners = np.array(
            [[inner, inner], [1 - inner, inner], [1 - inner, 1 - inner], [inner, 1 - inner]], np.float32
        )
        two_rows = float("nan")
        if kind == "rendered":
            image, corners, two_rows = self._rendered()
        else:
            pool = self._plates if kind == "real" else self._others
            i = int(pool[rng.integers(len(pool))])
            image, two_rows = self._regions.images[i], float(self._regions.two_rows[i])
        if rng.random() < 0.4:
            image = np.ascontiguousarray(image[:, ::-1])
            corners = corners[_ORDER_FLIPPED] * np.array([-1, 1], np.float32) + np.array([1, 0], np.float32)
        pixels = corners * np.array([width, height], np.float32)
        crop, (x0, y0, w, h) = corner_crop(image, _jittered(rng, pixels.min(0), pixels.max(0)))
        placed = (pixels - np.array([x0, y0], np.float32)) / np.array([w, h], np.float32)
        box = (*placed.min(0), *placed.max(0))
        return _tone(rng, crop), placed.astype(np.float32), box, two_rows

    def batch(self, size: int) -> Batch:
        """A batch of half rendered, a third real, a sixth plate-free pictures."""
        kinds = self._rng.choice(["rendered", "real", "other"], size, p=[0.52, 0.3, 0.18])
        samples = [self._sample(str(kind)) for kind in kinds]
        pictures = unit(np.stack([s[0] for s in samples])[:, None])
        return Batch(
            pictures,
            np.stack([s[1] for s in samples]),
            np.array([s[2] for s in samples], np.float32),
            kinds == "rendered",
            kinds != "other",
            np.array([s[3] for s in samples], np.float32),
        )
