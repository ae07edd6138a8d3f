# SPDX-License-Identifier: Apache-2.0
"""New serials from real plates: characters copied from one place of a plate to another of the same plate.

Where the characters stand comes from a forced alignment (Viterbi over the CTC graph of the known text) of a reader
that has learned enough; the cuts between them are put where the least ink is.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .reader_model import BLANK, TIME_STEPS, encode

STRAIGHT_SIZE = (240, 80)  # px, width and height of a straightened plate itself
STRAIGHT_MARGIN = (36, 24)  # px around it, left and right, above and below
_BAND = (0.14, 0.9)  # of the plate's height: what moves with a character
_FEATHER = 4  # px over which a moved cell is blended in
_WIDEST = 1.3  # a character is moved to a place at most so much wider or narrower

Grey = NDArray[np.uint8]
Quad = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Cells:
    """A straightened plate and where its characters stand: `edges` (n, 2) px in `image`, NaN where unsure."""

    image: Grey
    edges: NDArray[np.float32]
    text: str


def align(logits: NDArray[np.float32], text: str) -> NDArray[np.float32]:
    """The time of every character of `text`, 0..1, on the likeliest CTC path through logits (36, 37)."""
    shifted = logits - logits.max(1, keepdims=True)
    scores = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    states = np.full(2 * len(text) + 1, BLANK)
    states[1::2] = encode(text)
    skip = np.zeros(len(states), bool)
    skip[3::2] = states[3::2] != states[1:-2:2]
    best = np.full(len(states), -np.inf)
    best[:2] = scores[0, states[:2]]
    came = np.zeros((len(scores), len(states)), int)
    for t in range(1, len(scores)):
        options = np.stack(
            [best, np.r_[-np.inf, best[:-1]], np.where(skip, np.r_[-np.inf, -np.inf, best[:-2]], -np.inf)]
        )
        came[t] = options.argmax(0)
        best = options.max(0) + scores[t, states]
    state = len(states) - 1 if best[-1] >= best[-2] else len(states) - 2
    path = []
    for t in range(len(scores) - 1, -1, -1):
        path.append(state)
        state -= int(came[t, state])
    steps = np.array(path[::-1])
    times = [np.flatnonzero(steps == 2 * i + 1).mean() + 0.5 for i in range(len(text))]
    return np.asarray(np.array(times) / TIME_STEPS, np.float32)


def straight_quad() -> Quad:
    """The plate's corners in a straightened picture, px."""
    (width, height), (mx, my) = STRAIGHT_SIZE, STRAIGHT_MARGIN
    return np.array([[mx, my], [mx + width, my], [mx + width, my + height], [mx, my + height]], np.float32)


def straighten(grey: Grey, corners: Quad) -> Grey:
    """The plate and its surroundings, seen straight."""
    (width, height), (mx, my) = STRAIGHT_SIZE, STRAIGHT_MARGIN
    matrix = cv2.getPerspectiveTransform(corners - np.float32(0.5), straight_quad() - np.float32(0.5))
    size = (width + 2 * mx, height + 2 * my)
    straight = cv2.warpPerspective(
        grey, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(straight, np.uint8)


def _ink(image: Grey) -> NDArray[np.float32]:
    """How much a column of the serial's band differs from its neighbourhood's ground, by column."""
    (_, height), (_, my) = STRAIGHT_SIZE, STRAIGHT_MARGIN
    band = image[my + int(height * 0.3) : my + int(height * 0.75)].astype(np.float32)
    return np.asarray(cv2.GaussianBlur(band.std(0)[None], (5, 1), 0)[0], np.float32)


def _cut(ink: NDArray[np.float32], left: float, gap: float) -> int:
    """The column with the least ink between two centres, near the middle if several have as little."""
    columns = np.arange(int(left + gap * 0.3), min(len(ink), int(left + gap * 0.7) + 1))
    if not len(columns):
        return int(left + gap / 2)
    aside = np.abs(columns - left - gap / 2) / max(gap, 1.0)
    return int(columns[(ink[columns] + aside * float(ink.mean()) * 0.5).argmin()])


def cells_of(image: Grey, times: NDArray[np.float32], text: str) -> Cells:
    """Cuts between the characters of a straightened plate; `times` as `align` gives them for the reader's crop."""
    width, mx = STRAIGHT_SIZE[0], STRAIGHT_MARGIN[0]
    centres = mx + (times * 1.12 - 0.06) * width  # the crop shows 6 % more than the plate on either side
    ink = _ink(image)
    gaps = np.diff(centres)
    pitch = float(np.median(gaps)) if len(gaps) else width / 7
    cuts = [_cut(ink, left, gap) for left, gap in zip(centres[:-1], gaps, strict=True)]
    bounds = np.array([centres[0] - pitch * 0.55, *cuts, centres[-1] + pitch * 0.55])
    edges = np.stack(
        [np.maximum(bounds[:-1], centres - pitch * 0.6), np.minimum(bounds[1:], centres + pitch * 0.6)], 1
    )
    crowded = np.r_[np.inf, gaps] < pitch * 0.6
    crowded |= np.r_[gaps, np.inf] < pitch * 0.6
    np.clip(edges, 0, image.shape[1], out=edges)
    edges[crowded | (edges[:, 1] - edges[:, 0] < 6)] = np.nan
    return Cells(image, edges.astype(np.float32), text)


def _moved(image: Grey, source: Grey, start: NDArray[np.float32], end: NDArray[np.float32]) -> None:
    """Writes the cell `start` (left, right px) of `source` over the cell `end` of `image`, blended at the rim."""
    (_, height), (_, my) = STRAIGHT_SIZE, STRAIGHT_MARGIN
    top, bottom = my + int(height * _BAND[0]), my + int(height * _BAND[1])
    (s0, s1), (e0, e1) = (np.round(cell).astype(int) for cell in (start, end))
    piece = cv2.resize(source[top:bottom, s0:s1], (e1 - e0, bottom - top), interpolation=cv2.INTER_LINEAR)
    there = image[top:bottom, e0:e1].astype(np.float32)
    rim = np.r_[0:2, -2:0]
    level = there[:, rim].mean() - piece[:, rim].mean()
    across = np.minimum(1, (0.5 + np.minimum(np.arange(e1 - e0), np.arange(e1 - e0)[::-1])) / 2)
    rows = np.arange(bottom - top)
    down = np.minimum(1, (0.5 + np.minimum(rows, rows[::-1])) / _FEATHER)
    alpha = (down[:, None] * across[None]).astype(np.float32)
    mixed = there + (piece + level - there) * alpha
    image[top:bottom, e0:e1] = np.clip(mixed, 0, 255).astype(np.uint8)


def reseated(rng: np.random.Generator, cells: Cells) -> tuple[Grey, str]:
    """The plate with some of its characters copied over others, and the text that it then shows."""
    image, text = cells.image.copy(), list(cells.text)
    widths = cells.edges[:, 1] - cells.edges[:, 0]
    known = np.flatnonzero(~np.isnan(widths))
    if len(known) < 2:
        return image, cells.text
    for place in rng.permutation(known)[: int(rng.integers(1, len(known) + 1))]:
        other = int(rng.choice(known))
        if max(widths[place] / widths[other], widths[other] / widths[place]) < _WIDEST:
            _moved(image, cells.image, cells.edges[other], cells.edges[place])
            text[place] = cells.text[other]
    return image, "".join(text)
