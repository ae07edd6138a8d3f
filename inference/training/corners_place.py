# SPDX-License-Identifier: Apache-2.0
"""Where the corners are, trained on: rendered plates, and real ones with the corners that reading found
(corners_fit), in boxes that are off as the detector's are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.preprocess import corner_crop

from .corners_augment import Box, Picture, Points, as_detected, lean, near, off, tone, widen
from .corners_data import MIN_BOX_WIDTH, WIDE_MARGIN, region_of
from .corners_model import CornerNet
from .corners_session import Session
from .detector_data import read_grey
from .render_pool import Shard, load_shard, read_manifest, unit
from .render_scene import SCENE_SHAPE

BATCH = 64
SHARES = {"rendered": 0.45, "fitted": 0.45, "boxed": 0.1}  # of a batch
LOOKS = {"detected": 0.6, "near": 0.25, "off": 0.15}  # how the box is off
WIDENED = 0.5  # share of the rendered scenes that are turned and set into other surroundings
LEANING = 0.5  # share of the real plates that are sheared
BOXED_WEIGHT = 0.3  # of the loss of plates of which only the box is known
_REFRESH_STEPS = 600  # after which other shards are loaded
_SIZE = np.array(SCENE_SHAPE[::-1], np.float32)
_MIRRORED = [1, 0, 3, 2]  # TL TR BR BL after mirroring


@dataclass(frozen=True, slots=True)
class RealPlates:
    """Pieces of pictures (n, 128, 256), each a labelled box with WIDE_MARGIN around it, and the corners (n, 4, 2)
    in units of the box: fitted ones, else those of the box.
    """

    images: NDArray[np.uint8]
    corners: NDArray[np.float32]
    fitted: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Places:
    """Pictures (n, 1, 64, 128) in 0..1, corners (n, 4, 2) in units of the crop; not `known`: those of a box."""

    pictures: NDArray[np.float32]
    corners: NDArray[np.float32]
    known: NDArray[np.bool_]


def load_plates(data: Path, fitted: Path) -> RealPlates:
    """The plates of train.jsonl from MIN_BOX_WIDTH on; `fitted` as corners_fit.fit_streets writes it."""
    known: dict[str, list[list[float]]] = json.loads(fitted.read_text(encoding="utf-8"))
    images: list[NDArray[np.uint8]] = []
    corners: list[list[list[float]] | None] = []
    for row in read_manifest(data / "train.jsonl"):
        grey = read_grey(data / row["image"])
        for i, plate in enumerate(row["plates"]):
            x0, y0, x1, y1 = plate["box"]
            if x1 - x0 >= MIN_BOX_WIDTH and plate.get("quality") != "notplate":
                images.append(region_of(grey, (x0, y0, x1 - x0, y1 - y0), WIDE_MARGIN))
                corners.append(known.get(f"{row['image']}#{i}"))
    return with_corners(np.stack(images), corners)


def with_corners(images: NDArray[np.uint8], corners: list[list[list[float]] | None]) -> RealPlates:
    """Pieces with fitted corners, or None where only the box is known."""
    box = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    places = np.array([c or box for c in corners], np.float32)
    return RealPlates(images, places, np.array([c is not None for c in corners]))


class PlaceFeed:
    """Draws batches; `errors` (n, 4) are those of the detector's boxes (corners_mine.box_errors)."""

    def __init__(
        self, pool: Path, plates: RealPlates, errors: NDArray[np.float32], seed: int, shards: int = 12
    ) -> None:
        self._pool, self._plates, self._errors, self._limit = pool, plates, errors, shards
        self._rng = np.random.default_rng(seed)
        self._kinds = {"fitted": np.flatnonzero(plates.fitted), "boxed": np.flatnonzero(~plates.fitted)}
        self._shares = {k: s for k, s in SHARES.items() if k == "rendered" or len(self._kinds[k])}
        self._shards: list[Shard] = []
        self.refresh()

    def refresh(self) -> None:
        """Loads other shards."""
        paths = sorted(self._pool.glob("shard_*.npz"))
        picked = self._rng.choice(len(paths), min(self._limit, len(paths)), replace=False)
        self._shards = [load_shard(paths[int(i)]) for i in picked]

    def _rendered(self) -> tuple[Picture, Points, Box]:
        rng = self._rng
        shard = self._shards[int(rng.integers(len(self._shards)))]
        i = int(rng.integers(len(shard.images)))
        picture, corners = shard.images[i], shard.corners[i] * _SIZE
        if rng.random() < WIDENED:
            around = self._plates.images[int(rng.integers(len(self._plates.images)))]
            picture, corners = widen(rng, picture, corners, around)
        return picture, corners, self._look(corners.min(0), corners.max(0))

    def _real(self, kind: str) -> tuple[Picture, Points, Box]:
        rng, plates = self._rng, self._plates
        i = int(rng.choice(self._kinds[kind]))
        low, high = (np.array([[0, 0], [1, 1]], np.float32) + WIDE_MARGIN) / (1 + 2 * WIDE_MARGIN) * _SIZE
        corners = low + plates.corners[i] * (high - low)
        picture, box = plates.images[i], self._look(low, high)
        return lean(rng, picture, corners, box) if rng.random() < LEANING else (picture, corners, box)

    def _look(self, low: Points, high: Points) -> Box:
        rng = self._rng
        how = rng.choice(list(LOOKS), p=list(LOOKS.values()))
        if how == "detected":
            return as_detected(rng, self._errors, low, high)
        return near(rng, low, high) if how == "near" else off(rng, low, high)

    def _sample(self, kind: str) -> tuple[Picture, Points]:
        picture, corners, box = self._rendered() if kind == "rendered" else self._real(kind)
        if self._rng.random() < 0.4:
            width = picture.shape[1]
            picture = np.ascontiguousarray(picture[:, ::-1])
            corners = corners[_MIRRORED] * np.array([-1, 1], np.float32) + np.array([width, 0], np.float32)
            box = (width - box[0] - box[2], *box[1:])
        crop, (x0, y0, w, h) = corner_crop(picture, box)
        placed = (corners - np.array([x0, y0])) / np.array([w, h])
        return tone(self._rng, crop), placed.astype(np.float32)

    def batch(self, size: int) -> Places:
        """A batch in SHARES."""
        chances = np.array(list(self._shares.values()))
        kinds = self._rng.choice(list(self._shares), size, p=chances / chances.sum())
        samples = [self._sample(str(kind)) for kind in kinds]
        pictures = unit(np.stack([crop for crop, _ in samples])[:, None])
        return Places(pictures, np.stack([placed for _, placed in samples]), kinds != "boxed")


def place_loss(corners: Tensor, batch: Places) -> Tensor:
    """Smooth L1 of corners (n, 8), on their extent where only the box is known."""
    points, wanted = corners.view(-1, 4, 2), torch.from_numpy(batch.corners)
    known = torch.from_numpy(batch.known)
    loss = nn.functional.smooth_l1_loss(points[known], wanted[known], beta=0.02)
    if known.all():
        return loss
    extent, box = (torch.cat([p[~known].amin(1), p[~known].amax(1)], 1) for p in (points, wanted))
    return loss + BOXED_WEIGHT * nn.functional.smooth_l1_loss(extent, box, beta=0.03)


def run(session: Session, net: CornerNet, feed: PlaceFeed, device: str) -> Path:
    """Trains the corners alone until the session's time is over; returns its checkpoint.

    The body runs in bfloat16, which twice the speed pays for; the last layers keep float32's precision.
    """
    net.to(memory_format=torch.channels_last)
    while session.progress < 1:
        batch = feed.batch(BATCH)
        pictures = torch.from_numpy(batch.pictures).to(device, memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16):
            seen = net.body((pictures - 0.5) * 2)
        session.learn(place_loss(net.place(seen.float()).cpu(), batch))
        if session.step % _REFRESH_STEPS == 0:
            feed.refresh()
    session.keep()
    return session.checkpoint
