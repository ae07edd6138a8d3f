# SPDX-License-Identifier: Apache-2.0
"""Crops for the reader: rendered scenes and real plates, rectified the way the device does it, with its errors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.labels import held_out
from inference.preprocess import rectify
from inference.rectify import rows_of

from .detector_data import read_grey
from .reader_cells import Cells, cells_of, reseated, straight_quad, straighten
from .reader_wear import tone
from .render_pool import Shard, load_shard, read_manifest
from .render_scene import SCENE_SHAPE

Quad = NDArray[np.float32]
"""Corners (4, 2) px: TL, TR, BR, BL."""

US_WEIGHT = 3.0
HARD_WEIGHT = 0.6
TWO_ROW_WEIGHT = 2.0  # few plates, and each shows its rows to the reader one by one
BR_WEIGHT = 3.0  # 32 plates
MAX_CHARACTERS = 11
_ROW_JITTER = 0.6  # of a row within its plate, against the jitter of plates
_RESEATED = 0.5  # of the real plates with known cells get a new serial
_CUT = 0.1  # of the draws lose a part of the plate's left or right end
_SLANTED = 0.12  # ... have the upper edge moved along the lower one
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
    cells: Cells | None = (
        None  # where its characters stand, for new serials; None where unknown or in two rows
    )


@dataclass(frozen=True, slots=True)
class ReaderBatch:
    """Crops (m, 1, 48, 144), 0..255, one or two a plate; the n texts and how many rows each plate has."""

    pictures: NDArray[np.uint8]
    texts: list[str]
    rows: list[int]


def crops_of(grey: NDArray[np.uint8], corners: Quad, *, two_rows: bool) -> list[NDArray[np.uint8]]:
    """(H, W) and corners px -> what the reader is shown: one crop (48, 144), or the upper and the lower row."""
    quads = rows_of(corners) if two_rows else (corners,)
    return [rectify(grey, quad) for quad in quads]


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
    """Every fully transcribed crop of a manifest.

    `extra` is an .npz with arrays by row: `corners`, `two_rows` and `times`, where along the crop the characters are.
    """
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
        corners, cells = None, None
        if known is not None:
            corners = known["corners"][i].astype(np.float32)
            two_rows = None if known["two_rows"][i] < 0 else bool(known["two_rows"][i])
        grey = read_grey(data / row["image"])
        if known is not None and corners is not None and not np.isnan(known["times"][i][0]):
            times = known["times"][i][: len(text)]
            cells = cells_of(straighten(grey, corners), times, text)
        quality, source = str(row["quality"]), str(row["source"])
        plates.append(
            RealPlate(grey, box_quad(box), corners, text, country, quality, two_rows, source, width, cells)
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
    if rng.random() < _CUT * amount:
        ends, inwards = (((0, 3), 1.0), ((1, 2), -1.0))[int(rng.random() < 0.4)]
        moved[list(ends)] += across * np.float32(inwards * rng.uniform(0.02, 0.09))
    if rng.random() < _SLANTED * amount:
        moved[:2] += across * np.float32(rng.normal(0, 0.05))
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


def _weight(plate: RealPlate) -> float:
    """How often a real plate is drawn, against others."""
    country = {"US": US_WEIGHT, "BR": BR_WEIGHT}.get(plate.country, 1.0)
    rows = TWO_ROW_WEIGHT if plate.two_rows else 1.0
    return country * rows * (HARD_WEIGHT if plate.quality == "hard" else 1.0)


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
        weight = [_weight(plate) for plate in self._plates]
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
        if plate.cells is not None and rng.random() < _RESEATED:
            image, text = reseated(rng, plate.cells)
            return self._shown(image, jitter(rng, straight_quad(), 1.25), two_rows=False), text
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
        pictures = np.stack([crop for crops, _ in drawn for crop in crops])[:, None]
        return ReaderBatch(pictures, [text for _, text in drawn], [len(crops) for crops, _ in drawn])
