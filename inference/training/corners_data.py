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

from inference.preprocess import corner_crop, cut

from .corners_augment import Box, near, off, tone, widen
from .detector_data import read_grey
from .render_pool import Shard, load_shard, read_manifest, unit
from .render_scene import SCENE_MARGIN, SCENE_SHAPE

MIN_BOX_WIDTH = 28.0  # px, smaller real boxes teach nothing about corners
NEGATIVES_PER_IMAGE = 2
WIDE_MARGIN = 0.9  # of the box, on every side of a piece of a real picture
SHARES = {"rendered": 0.52, "real": 0.3, "other": 0.18}  # of a batch
MINED_SHARES = {"rendered": 0.38, "real": 0.14, "found": 0.16, "other": 0.08, "mistake": 0.24}
WIDENED = 0.4  # with mistakes: share of the rendered scenes that are turned and set into other surroundings
BADLY_OFF = 0.25  # with mistakes: share of the boxes that are far off; it costs the corners precision
_WHOLE = (0.0, 0.0, 1.0, 1.0)
_SCENE_SIZE = np.array(SCENE_SHAPE[::-1], np.float32)
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
    """Pieces of real pictures, (n, 128, 256) uint8, each a box with WIDE_MARGIN around it."""

    images: NDArray[np.uint8]
    is_plate: NDArray[np.bool_]
    two_rows: NDArray[np.float32]  # 0, 1, or nan where unknown
    plates: NDArray[np.float32] | None = None  # (n, 4) x, y, w, h of the plate in units of the box; nan: none
    mined: NDArray[np.bool_] | None = None  # the box is the detector's
    draws: NDArray[np.int64] | None = None  # how often a piece is in the hat; once if not told


def region_of(
    grey: NDArray[np.uint8], box: tuple[float, float, float, float], margin: float = SCENE_MARGIN
) -> NDArray[np.uint8]:
    """The box x, y, w, h with `margin` of its size on every side, at the size of a stored scene."""
    x, y, w, h = box
    x0, y0 = round(x - w * margin), round(y - h * margin)
    size = (max(2, round(w * (1 + 2 * margin))), max(2, round(h * (1 + 2 * margin))))
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
            found.append(region_of(grey, box, WIDE_MARGIN))
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
        grey = read_grey(data / row["image"])
        boxes: list[list[float]] = [p["box"] for p in plates]
        for i, (plate, (x0, y0, x1, y1)) in enumerate(zip(plates, boxes, strict=True)):
            if x1 - x0 >= MIN_BOX_WIDTH:
                images.append(region_of(grey, (x0, y0, x1 - x0, y1 - y0), WIDE_MARGIN))
                flags.append(plate.get("quality") != "notplate")
                doubles.append(float(known.get(f"{row['image']}#{i}", math.nan)))
        patches = _negatives(rng, grey, boxes)
        images += patches
        flags += [False] * len(patches)
        doubles += [math.nan] * len(patches)
    return Regions(np.stack(images), np.array(flags), np.array(doubles, np.float32))


class CornerFeed:
    """Draws batches; rendered shards are taken from `pool` as they appear."""

    def __init__(self, pool: Path, regions: Regions, seed: int, shards: int = 12) -> None:
        self._pool, self._regions, self._rng = pool, regions, np.random.default_rng(seed)
        self._shards: list[Shard] = []
        self._limit = shards
        mined = np.zeros(len(regions.images), np.bool_) if regions.mined is None else regions.mined
        self._kinds = {
            "real": np.flatnonzero(regions.is_plate & ~mined),
            "found": np.flatnonzero(regions.is_plate & mined),
            "other": np.flatnonzero(~regions.is_plate & ~mined),
            "mistake": np.flatnonzero(~regions.is_plate & mined),
        }
        if regions.draws is not None:
            self._kinds = {
                kind: np.repeat(chosen, regions.draws[chosen]) for kind, chosen in self._kinds.items()
            }
        self._shares, self._widened, self._off = SHARES, 0.0, 0.0
        if mined.any():
            self._shares, self._widened, self._off = MINED_SHARES, WIDENED, BADLY_OFF
        self.refresh()

    def refresh(self) -> None:
        """Loads newer shards up to the limit, dropping the oldest."""
        paths = sorted(self._pool.glob("shard_*.npz"))
        picked = self._rng.choice(len(paths), min(self._limit, len(paths)), replace=False)
        self._shards = [load_shard(paths[int(i)]) for i in picked]

    def _draw(self, kind: str) -> int:
        chosen = self._kinds[kind]
        return int(chosen[self._rng.integers(len(chosen))])

    def _rendered(self) -> tuple[NDArray[np.uint8], NDArray[np.float32], float]:
        """A rendered scene, its corners px, and whether it has two rows."""
        shard = self._shards[int(self._rng.integers(len(self._shards)))]
        i = int(self._rng.integers(len(shard.images)))
        image, corners = shard.images[i], shard.corners[i] * _SCENE_SIZE
        if self._rng.random() < self._widened:
            around = self._regions.images[self._draw("other" if self._rng.random() < 0.7 else "real")]
            image, corners = widen(self._rng, image, corners, around)
        return image, corners, float(shard.two_rows[i])

    def _real(self, kind: str) -> tuple[NDArray[np.uint8], NDArray[np.float32], float]:
        """A piece of a picture, the corners px of the box that is known, and whether it has two rows."""
        regions = self._regions
        i = self._draw(kind)
        x, y, w, h = _WHOLE if regions.plates is None or kind != "found" else regions.plates[i]
        box = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], np.float32)
        corners = (box + np.float32(WIDE_MARGIN)) / np.float32(1 + 2 * WIDE_MARGIN) * _SCENE_SIZE
        return regions.images[i], corners, float(regions.two_rows[i])

    def _look(self, kind: str, pixels: NDArray[np.float32]) -> Box:
        """The box that the net is given for corners px: near, badly off, or just what the detector gave."""
        rng = self._rng
        if kind == "found" and rng.random() < 0.6:
            whole = (np.array([[0, 0], [1, 1]], np.float32) + WIDE_MARGIN) / (1 + 2 * WIDE_MARGIN)
            low, high = whole * _SCENE_SIZE
            grow = rng.normal(0, 0.03, 2) * (high - low)
            return (*(low + grow).tolist(), *(high - low).tolist())
        jitter = off if rng.random() < self._off else near
        return jitter(rng, pixels.min(0), pixels.max(0))

    def _sample(self, kind: str) -> tuple[NDArray[np.uint8], NDArray[np.float32], tuple[float, ...], float]:
        rng = self._rng
        image, pixels, two_rows = self._rendered() if kind == "rendered" else self._real(kind)
        box = self._look(kind, pixels)
        if rng.random() < 0.4:
            image = np.ascontiguousarray(image[:, ::-1])
            pixels = pixels[_ORDER_FLIPPED] * np.array([-1, 1], np.float32) + np.array(
                [image.shape[1], 0], np.float32
            )
            box = (image.shape[1] - box[0] - box[2], *box[1:])
        crop, (x0, y0, w, h) = corner_crop(image, box)
        placed = ((pixels - np.array([x0, y0], np.float32)) / np.array([w, h], np.float32)).astype(np.float32)
        return tone(rng, crop), placed, (*placed.min(0), *placed.max(0)), two_rows

    def batch(self, size: int) -> Batch:
        """A batch of rendered plates, real ones, and what is none, in the shares of this feed."""
        kinds = self._rng.choice(list(self._shares), size, p=list(self._shares.values()))
        samples = [self._sample(str(kind)) for kind in kinds]
        return Batch(
            unit(np.stack([s[0] for s in samples])[:, None]),
            np.stack([s[1] for s in samples]),
            np.array([s[2] for s in samples], np.float32),
            kinds == "rendered",
            np.isin(kinds, ["rendered", "real", "found"]),
            np.array([s[3] for s in samples], np.float32),
        )
