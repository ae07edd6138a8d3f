# SPDX-License-Identifier: Apache-2.0
"""Crops for the reader: rendered scenes and real plates, rectified the way the device does it, with its errors."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.preprocess import READER_SIZE, normalise, rectify
from inference.rectify import rows_of

from .render_pool import Shard, load_grey, load_shard, read_manifest, unit
from .render_scene import SCENE_SHAPE

Quad = NDArray[np.float32]
"""Corners (4, 2) px: TL, TR, BR, BL."""

US_WEIGHT = 3.0
HARD_WEIGHT = 0.6
MAX_CHARACTERS = 11
_ROW_JITTER = 0.6  # of a row within its plate, against the jitter of plates
HELD_OUT_SHARE = 16  # one text in so many
_TWO_ROW_ASPECT = 2.6  # below it a plate outside North America may have two rows


@dataclass(frozen=True, slots=True)
class RealPlate:
    """A transcribed crop: grey picture, box quad and (once known) the corner net's, two rows or None if unsure."""

    grey: NDArray[np.uint8]
    box: Quad
    corners: Quad | None
    text: str
    country: str
    quality: str
    two_rows: bool | None
    source: str
    stored_width: float  # px of the box


@dataclass(frozen=True, slots=True)
class ReaderBatch:
    """Crops (m, 1, 48, 144) in 0..1, one or two a plate; the n texts and how many rows each plate has."""

    pictures: NDArray[np.float32]
    texts: list[str]
    rows: list[int]


def crops_of(grey: NDArray[np.uint8], corners: Quad, *, two_rows: bool) -> list[NDArray[np.uint8]]:
    """(H, W) and corners px -> what the reader is shown: one crop (48, 144), or the upper and the lower row."""
    quads = rows_of(corners) if two_rows else (corners,)
    return [rectify(grey, quad) for quad in quads]


def held_out(text: str) -> bool:
    """Whether plates with this text are kept out of training, for calibrating the confidence."""
    return zlib.crc32(text.encode()) % HELD_OUT_SHARE == 0


def box_quad(box: list[float]) -> Quad:
    """Corners of x0, y0, x1, y1."""
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def rows_known(country: str, aspect: float) -> bool | None:
    """False where country or box aspect rule out two rows, else None."""
    if country in ("US", "CA") or aspect > _TWO_ROW_ASPECT:
        return False
    return None


def load_plates(data: Path, manifest: str, extra: Path | None = None) -> list[RealPlate]:
    """Every fully transcribed crop of a manifest; `extra` is an .npz with arrays `corners` and `two_rows` by row."""
    rows = read_manifest(data / manifest)
    known = np.load(extra) if extra is not None and extra.exists() else None
    plates: list[RealPlate] = []
    for i, row in enumerate(rows):
        text = str(row.get("text") or "")
        if not text or "?" in text or row["quality"] not in ("clear", "hard") or len(text) > MAX_CHARACTERS:
            continue
        box: list[float] = row["box"]
        width, height = box[2] - box[0], box[3] - box[1]
        country = str(row.get("country") or "")
        two_rows = rows_known(country, width / height)
        corners = None
        if known is not None:
            corners = known["corners"][i].astype(np.float32)
            two_rows = None if known["two_rows"][i] < 0 else bool(known["two_rows"][i])
        grey = load_grey(data / row["image"])
        quality, source = str(row["quality"]), str(row["source"])
        plates.append(
            RealPlate(grey, box_quad(box), corners, text, country, quality, two_rows, source, width)
        )
    return plates


def jitter(rng: np.random.Generator, quad: Quad, amount: float) -> Quad:
    """A quad off by what detector and corner net get wrong: sides by a few percent, corners each on their own."""
    centre = quad.mean(0)
    across, down = (quad[1] + quad[2] - quad[0] - quad[3]) / 2, (quad[2] + quad[3] - quad[0] - quad[1]) / 2
    left, right = rng.normal(0.01, 0.03, 2) * amount
    top, bottom = rng.normal(0.01, 0.045, 2) * amount
    moved = quad + np.array([-left * across - top * down, right * across - top * down, right * across + bottom * down,
                             -left * across + bottom * down])  # fmt: skip
    noise = rng.normal(0, 0.018, (4, 2)) * amount
    moved = moved + noise[:, :1] * across + noise[:, 1:] * 1.6 * down
    if rng.random() < 0.25 * amount:
        angle = np.deg2rad(rng.normal(0, 5))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        moved = (moved - centre) @ turn.T + centre
    return np.asarray(moved, np.float32)


def _upright(quad: Quad) -> Quad:
    low, high = quad.min(0), quad.max(0)
    return box_quad([*low, *high])


def tone(rng: np.random.Generator, crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Random gamma, loss of resolution, blur, noise and occasional inversion, then the device's normalisation."""
    if rng.random() < 0.35:
        table = (np.linspace(0, 1, 256) ** float(np.exp(rng.normal(0, 0.4))) * 255).astype(np.uint8)
        crop = table[crop]
    kind = rng.random()
    if kind < 0.12:
        factor = float(rng.uniform(0.4, 0.9))
        small = cv2.resize(crop, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        crop = np.asarray(cv2.resize(small, READER_SIZE, interpolation=cv2.INTER_LINEAR), np.uint8)
    elif kind < 0.24:
        sx, sy = rng.uniform(0.2, 1.6), rng.uniform(0.2, 1.2)
        crop = np.asarray(cv2.GaussianBlur(crop, (0, 0), float(sx), sigmaY=float(sy)), np.uint8)
    elif kind < 0.34:
        sharp = cv2.GaussianBlur(crop, (0, 0), 1.5)
        crop = np.asarray(cv2.addWeighted(crop, 1.8, sharp, -0.8, 0), np.uint8)
    if rng.random() < 0.15:
        spread = float(rng.uniform(0.02, 0.12)) * max(20.0, float(crop.std()) * 3)
        crop = np.clip(crop + rng.normal(0, spread, crop.shape), 0, 255).astype(np.uint8)
    if rng.random() < 0.04:
        crop = 255 - crop
    return normalise(crop)


class ReaderFeed:
    """Draws training crops; rendered ones from the pool's shards, real ones by weight."""

    def __init__(self, pool: Path, plates: list[RealPlate], seed: int, shards: int = 24) -> None:
        self._pool, self._limit, self._rng = pool, shards, np.random.default_rng(seed)
        self._shards: list[Shard] = []
        self.use(plates)
        self.refresh(easy=True)

    def use(self, plates: list[RealPlate]) -> None:
        """Takes the real plates whose number of rows is known, without those held out."""
        self._plates = [p for p in plates if p.two_rows is not None and not held_out(p.text)]
        weight = [
            (US_WEIGHT if p.country == "US" else 1.0) * (HARD_WEIGHT if p.quality == "hard" else 1.0)
            for p in self._plates
        ]
        self._chance = np.array(weight) / np.sum(weight)

    def refresh(self, *, easy: bool = False) -> None:
        """Loads shards anew: the first two while the course is easy, else any but those."""
        paths = sorted(self._pool.glob("shard_*.npz"))
        paths = paths[:2] if easy else paths[2:]
        picked = self._rng.choice(len(paths), min(self._limit, len(paths)), replace=False)
        self._shards = [load_shard(paths[int(i)]) for i in picked]

    def _shown(self, grey: NDArray[np.uint8], quad: Quad, *, two_rows: bool) -> list[NDArray[np.uint8]]:
        quads = [jitter(self._rng, row, _ROW_JITTER) for row in rows_of(quad)] if two_rows else [quad]
        return [tone(self._rng, rectify(grey, q)) for q in quads]

    def _rendered(self, amount: float) -> tuple[list[NDArray[np.uint8]], str]:
        rng = self._rng
        shard = self._shards[int(rng.integers(len(self._shards)))]
        i = int(rng.integers(len(shard.images)))
        quad = shard.corners[i] * np.array(SCENE_SHAPE[::-1], np.float32)
        if rng.random() < 0.1 * amount:
            quad = quad * np.float32(0.5) + _upright(quad) * np.float32(0.5)
        quad = jitter(rng, quad, amount)
        return self._shown(shard.images[i], quad, two_rows=bool(shard.two_rows[i])), str(shard.texts[i])

    def _real(self) -> tuple[list[NDArray[np.uint8]], str]:
        rng = self._rng
        plate = self._plates[int(rng.choice(len(self._plates), p=self._chance))]
        quad = plate.box
        if plate.corners is not None and (plate.two_rows or rng.random() < 0.75):
            quad = plate.corners
            if rng.random() < 0.2:
                quad = (quad + plate.box) * np.float32(0.5)
        quad = jitter(rng, quad, 1.25)
        return self._shown(plate.grey, quad, two_rows=bool(plate.two_rows)), plate.text

    def batch(self, size: int, real: float, amount: float = 1.0) -> ReaderBatch:
        """`size` plates, `real` of them (a share) real ones; `amount` scales the jitter of rendered ones."""
        count = int(self._rng.binomial(size, real))
        drawn = [self._real() for _ in range(count)] + [self._rendered(amount) for _ in range(size - count)]
        pictures = unit(np.stack([crop for crops, _ in drawn for crop in crops])[:, None])
        return ReaderBatch(pictures, [text for _, text in drawn], [len(crops) for crops, _ in drawn])
