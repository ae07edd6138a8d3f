# SPDX-License-Identifier: Apache-2.0
"""New serials on real plates: the alignment, the cuts, and that the text says what the picture shows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from inference.training.reader_cells import (
    STRAIGHT_MARGIN,
    STRAIGHT_SIZE,
    Cells,
    Grey,
    align,
    cells_of,
    reseated,
    straight_quad,
    straighten,
)
from inference.training.reader_model import BLANK, TIME_STEPS, encode

WIDTH, HEIGHT = STRAIGHT_SIZE
LEFT, TOP = STRAIGHT_MARGIN
TEXT = "AB12X"


def _levels(text: str) -> list[int]:
    return [20 + 7 * code for code in encode(text)]


def _plate() -> tuple[Grey, np.ndarray]:
    """A plate whose characters are blocks, each of its own grey level; and where they are in the reader's crop."""
    image = np.full((HEIGHT + 2 * TOP, WIDTH + 2 * LEFT), 255, np.uint8)
    centres = np.linspace(0.14, 0.86, len(TEXT))
    for level, x in zip(_levels(TEXT), centres, strict=True):
        at = LEFT + round(x * WIDTH)
        image[TOP + 30 : TOP + 52, at - 12 : at + 12] = level
    return image, ((centres + 0.06) / 1.12).astype(np.float32)


def _shown(image: Grey, cells: Cells) -> list[int]:
    middles = np.nanmean(cells.edges, axis=1).round().astype(int)
    return [int(image[TOP + 40, x]) for x in middles]


def test_every_character_is_found_where_it_peaks() -> None:
    logits = np.zeros((TIME_STEPS, BLANK + 1), np.float32)
    logits[:, BLANK] = 8
    for step, code in zip((4, 12, 14, 27), encode("A77B"), strict=True):
        logits[step, BLANK], logits[step, code] = 0, 8
    assert np.allclose(align(logits, "A77B") * TIME_STEPS - 0.5, (4, 12, 14, 27))


def test_the_alignment_follows_the_text_even_where_another_is_likelier() -> None:
    logits = np.zeros((TIME_STEPS, BLANK + 1), np.float32)
    logits[:, BLANK] = 8
    for step, code in zip((5, 15, 25), encode("A8C"), strict=True):
        logits[step, BLANK], logits[step, code] = 0, 8
    logits[15, encode("B")] = 5
    assert np.allclose(align(logits, "ABC") * TIME_STEPS - 0.5, (5, 15, 25))


def test_cuts_run_between_the_characters() -> None:
    image, times = _plate()
    cells = cells_of(image, times, TEXT)
    assert _shown(image, cells) == _levels(TEXT)
    for left, right in cells.edges:
        assert 24 <= right - left <= 60


def test_crowded_characters_stay_where_they_are() -> None:
    image, times = _plate()
    times[1] = times[0] + 0.04
    cells = cells_of(image, times, TEXT)
    assert np.isnan(cells.edges[:2]).all()
    assert not np.isnan(cells.edges[3:]).any()


def test_the_text_says_what_the_picture_shows() -> None:
    rng, (image, times) = np.random.default_rng(2), _plate()
    cells = cells_of(image, times, TEXT)
    texts = set()
    for _ in range(30):
        changed, text = reseated(rng, cells)
        assert np.abs(np.array(_shown(changed, cells)) - _levels(text)).max() <= 3
        texts.add(text)
    assert len(texts) > 10
    assert _shown(image, cells) == _levels(TEXT)


def test_a_plate_of_unsure_cells_is_left_alone() -> None:
    image, _ = _plate()
    cells = Cells(image, np.full((5, 2), np.nan, np.float32), TEXT)
    changed, text = reseated(np.random.default_rng(1), cells)
    assert text == TEXT
    assert np.array_equal(changed, image)


def test_straightening_puts_the_corners_in_their_places() -> None:
    quad = np.array([[40, 30], [160, 60], [150, 120], [30, 80]], np.float32)
    grey = np.zeros((160, 200), np.uint8)
    cv2.fillPoly(grey, [quad.astype(np.int32)], 255)
    straight = straighten(grey, quad)
    (x0, y0), (x1, y1) = straight_quad()[0].astype(int), straight_quad()[2].astype(int)
    assert straight[y0 + 5 : y1 - 5, x0 + 5 : x1 - 5].min() > 200
    assert straight[: y0 - 8].max() < 50
