# SPDX-License-Identifier: Apache-2.0
"""What the state net learns from: artwork of US plates, real crops with a known state, and plates from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.labels import held_out
from inference.preprocess import quad_size
from inference.state import OTHER, STATES, Colour

from . import state_artwork
from .detector_data import read_colour
from .glyphs_dies import die_cabinet
from .render import Kit, draw_plate
from .render_pool import read_manifest
from .state_photo import CANVAS, canvas_quad, photograph

SHARES = {"artwork": 0.44, "name": 0.26, "real": 0.17, "foreign": 0.1, "rendered": 0.03}  # of a batch
ORDINARY_WEIGHT = 6.0  # of artwork whose name says that it is a state's ordinary plate
_ORDINARY = re.compile(r"passenger|standard|regular|general|sample|current|base(?!ball)", re.IGNORECASE)
_FOREIGN = ("eu", "uk", "br", "mid", "india", "pakistan", "two_row")
_LEAST_WIDTH = {"name": 80.0}  # px; names can't be read on smaller plates
_DIES = 120
_SHELF = 4000  # made plates that are photographed again
_AGAIN = 0.88  # share of the made plates that come from the shelf once it is full
_COLOURS = ((255, 255, 255), (255, 255, 255), (60, 200, 250), (90, 230, 255), (180, 60, 30), (60, 140, 40))


@dataclass(frozen=True, slots=True)
class Artwork:
    """Flat designs (n, 96, 192, 3) uint8, their classes (n,), and how much each weighs within its state (n,)."""

    pictures: NDArray[np.uint8]
    classes: NDArray[np.int64]
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RealPlates:
    """Canvases (n, 96, 192, 3) uint8, classes (n,), widths (n,) px in their pictures, texts, whether held out (n,)."""

    canvases: NDArray[np.uint8]
    classes: NDArray[np.int64]
    widths: NDArray[np.float64]
    texts: list[str]
    held_out: NDArray[np.bool_]

    def part(self, chosen: NDArray[np.int64]) -> RealPlates:
        """Those of the given rows."""
        texts = [self.texts[int(i)] for i in chosen]
        kept = self.canvases[chosen], self.classes[chosen], self.widths[chosen]
        return RealPlates(*kept, texts, self.held_out[chosen])


@dataclass(frozen=True, slots=True)
class StateBatch:
    """Pictures (n, 72, 144, 3) uint8 as the device normalises them, and classes (n,)."""

    pictures: NDArray[np.uint8]
    classes: NDArray[np.int64]


def class_of(row: dict[str, Any]) -> int | None:
    """The class of a manifest's plate; None where nobody knows, or where it is no plate."""
    country, state = row.get("country"), row.get("state")
    if row.get("quality") == "notplate" or not country:
        return None
    if country != "US":
        return OTHER
    return STATES.index(state) if state in STATES else None


def load_artwork(data: Path, limit: int | None = None) -> Artwork:
    """The designs of `data`; `limit` takes so many a state."""
    rows, seen = [], dict.fromkeys(STATES, 0)
    for row in read_manifest(data / "designs.jsonl"):
        if limit is None or seen[row["state"]] < limit:
            seen[row["state"]] += 1
            rows.append(row)
    pictures = np.empty((len(rows), *state_artwork.FLAT[::-1], 3), np.uint8)
    for i, row in enumerate(rows):
        art = read_colour(data / row["image"])
        pictures[i] = cv2.resize(art, state_artwork.FLAT, interpolation=cv2.INTER_AREA)
    classes = np.array([STATES.index(row["state"]) for row in rows])
    weights = np.array([ORDINARY_WEIGHT if _ORDINARY.search(row["name"]) else 1.0 for row in rows])
    return Artwork(pictures, classes, weights)


def canvas_of(picture: Colour, corners: NDArray[np.float32]) -> Colour:
    """A real plate with its surroundings, upright, as `state_photo.canvas_quad` places it: (96, 192, 3)."""
    width, _ = quad_size(corners)
    shrink = min(1.0, 2 * (CANVAS[0] / 1.4) / max(width, 1.0))
    if shrink < 1.0:
        picture = np.asarray(
            cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8
        )
    source = corners * np.float32(shrink) - np.float32(0.5)
    matrix = cv2.getPerspectiveTransform(source.astype(np.float32), canvas_quad() - np.float32(0.5))
    out = cv2.warpPerspective(
        picture, matrix, CANVAS, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(out, np.uint8)


def load_real(data: Path, manifest: str, corners: NDArray[np.float32]) -> RealPlates:
    """The crops of a manifest whose class is known; `corners` (n, 4, 2) px, one quad a row of the manifest."""
    canvases, classes, widths, texts, held = [], [], [], [], []
    for row, quad in zip(read_manifest(data / manifest), corners, strict=True):
        kind = class_of(row)
        if kind is None:
            continue
        canvases.append(canvas_of(read_colour(data / row["image"]), quad.astype(np.float32)))
        classes.append(kind)
        widths.append(quad_size(quad)[0])
        texts.append(str(row.get("text") or ""))
        held.append(held_out(texts[-1] or str(row["image"])))
    return RealPlates(np.stack(canvases), np.array(classes), np.array(widths), texts, np.array(held))


def foreign_plate(rng: np.random.Generator, kit: Kit) -> Colour:
    """A rendered plate of another country, flat (96, 192, 3)."""
    grey = draw_plate(rng, kit, str(rng.choice(_FOREIGN))).grey
    small = cv2.resize(grey, state_artwork.FLAT, interpolation=cv2.INTER_AREA)[..., None]
    tint = np.array(_COLOURS[int(rng.integers(len(_COLOURS)))], np.float32)
    return np.asarray(np.clip(small * tint, 0, 255), np.uint8)


class StateFeed:
    """Draws training samples in the shares of `SHARES`."""

    def __init__(self, artwork: Artwork, real: RealPlates, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._artwork, self._real = artwork, real
        self._kit = Kit(die_cabinet(self._rng, _DIES, []), [])
        self._by_state = [np.flatnonzero(artwork.classes == i) for i in range(len(STATES))]
        train = ~real.held_out
        self._home = np.flatnonzero(train & (real.classes != OTHER))
        self._foreign = np.flatnonzero(train & (real.classes == OTHER))
        counts = np.bincount(real.classes[self._home], minlength=len(STATES))
        rarity = 1 / np.sqrt(counts[real.classes[self._home]])
        self._chance = rarity / rarity.sum()
        self._shelves: dict[str, list[tuple[Colour, int]]] = {k: [] for k in ("artwork", "name", "rendered")}

    def _design(self) -> tuple[Colour, int]:
        filled = [i for i, chosen in enumerate(self._by_state) if len(chosen)]
        state = filled[int(self._rng.integers(len(filled)))]
        chosen = self._by_state[state]
        weights = self._artwork.weights[chosen]
        at = int(self._rng.choice(chosen, p=weights / weights.sum()))
        return self._artwork.pictures[at], state

    def sample(self, kind: str) -> tuple[Colour, int]:
        """One normalised crop (72, 144, 3) of a kind named in SHARES, and its class."""
        rng = self._rng
        if kind in ("real", "foreign"):
            home = kind == "real"
            at = int(rng.choice(self._home, p=self._chance) if home else rng.choice(self._foreign))
            width = float(self._real.widths[at])
            return photograph(rng, self._real.canvases[at], width), int(self._real.classes[at])
        canvas, state = self._made(kind)
        return photograph(rng, canvas, least=_LEAST_WIDTH.get(kind, 50.0)), state

    def _made(self, kind: str) -> tuple[Colour, int]:
        """A drawn plate on its canvas: a new one, or one that was made before."""
        shelf, rng = self._shelves[kind], self._rng
        room = round(_SHELF * SHARES[kind])
        if len(shelf) >= room and rng.random() < _AGAIN:
            return shelf[int(rng.integers(len(shelf)))]
        made = self._draw(kind)
        if len(shelf) < room:
            shelf.append(made)
        else:
            shelf[int(rng.integers(room))] = made
        return made

    def _draw(self, kind: str) -> tuple[Colour, int]:
        rng = self._rng
        if kind == "rendered":
            return state_artwork.on_canvas(rng, foreign_plate(rng, self._kit)), OTHER
        dies = self._kit.dies[int(rng.integers(len(self._kit.dies)))]
        flat, state = self._design()
        if kind == "artwork":
            return state_artwork.plate(rng, flat, dies), state
        state = int(rng.integers(len(STATES)))
        flat = state_artwork.by_name(rng, STATES[state], flat, dies)
        state_artwork.furnish(rng, flat)
        return state_artwork.on_canvas(rng, flat), state

    def batch(self, size: int) -> StateBatch:
        """`size` samples."""
        kinds = self._rng.choice(list(SHARES), size, p=list(SHARES.values()))
        drawn = [self.sample(str(kind)) for kind in kinds]
        return StateBatch(np.stack([d[0] for d in drawn]), np.array([d[1] for d in drawn]))
