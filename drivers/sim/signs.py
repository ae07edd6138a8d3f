# SPDX-License-Identifier: Apache-2.0
"""Draws what is taken for a plate: boards with words, lettering, badges, stickers, grilles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.designs import DIGITS, Colour
from drivers.sim.glyphs import FULL_H, TOOL, draw_text, text_width

INK: Final[Colour] = (28, 26, 26)
PAPER: Final[Colour] = (236, 238, 238)
PANELS: Final[tuple[tuple[Colour, Colour], ...]] = (  # sheet and ink
    (PAPER, INK), (PAPER, (30, 30, 180)), ((40, 170, 230), INK), ((60, 110, 20), PAPER), ((150, 70, 20), PAPER),
    ((40, 30, 170), PAPER), ((30, 110, 235), INK), (INK, PAPER),
)  # fmt: skip
WORDS: Final = (
    "SPEED LIMIT", "NO PARKING", "EXIT", "STOP", "DETOUR", "ROAD WORK", "SCHOOL BUS", "POLICE", "TAXI", "OPEN",
    "FOR RENT", "SALE", "DIESEL", "HOTEL", "GARAGE", "PIZZA", "AMBULANCE", "MAIN ST", "TOW ZONE", "US ARMY",
    "CITY BUS", "EXPRESS", "HYBRID", "TURBO", "CAFE", "BUMP", "ONE WAY", "TRUCK CTR", "KEEP RIGHT", "DELIVERY",
)  # fmt: skip
FONTS: Final = (
    cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX,
)  # fmt: skip


Picture = NDArray[np.uint8]
Draw = Callable[[np.random.Generator], Picture]


def _text(rng: np.random.Generator) -> str:
    """Words, with a number now and then; what looks like a serial on a board would be a plate to anybody."""
    word = WORDS[int(rng.integers(len(WORDS)))]
    kind = rng.random()
    return (
        word
        if kind < 0.7
        else f"{word} {int(rng.integers(1, 100))}"
        if kind < 0.9
        else f"{int(rng.integers(1, 100))}"
    )


def _line(canvas: Picture, text: str, band: tuple[int, int], ink: Colour, rng: np.random.Generator) -> None:
    """One centred line of text between two rows of the canvas (H, W, 4), in a font or in struck characters."""
    height, width = band[1] - band[0], canvas.shape[1]
    mask = np.zeros(canvas.shape[:2], np.uint8)
    if rng.random() < 0.35:
        scale_y = height / FULL_H
        scale_x = min(scale_y, width * 0.9 / max(text_width(text, 12.0), 1.0))
        left = (width - text_width(text, 12.0) * scale_x) / 2
        draw_text(mask, text, (left, float(band[0])), (scale_x, scale_y), gap=12.0, tool=TOOL * 1.2)
    else:
        font, thick = int(rng.choice(FONTS)), max(2, height // 12)
        (w, h), _ = cv2.getTextSize(text, font, 1.0, 1)
        scale = min(height / h, width * 0.9 / w)
        at = (round((width - w * scale) / 2), round(band[0] + (height + h * scale) / 2))
        cv2.putText(mask, text, at, font, scale, (255,), thick, cv2.LINE_AA)
    part = mask[..., None] / 255.0
    canvas[..., :3] = np.round(canvas[..., :3] * (1 - part) + np.array(ink) * part).astype(np.uint8)


def _panel(width: int, height: int, colour: Colour) -> Picture:
    return np.full((height, width, 4), (*colour, 255), np.uint8)


def board(rng: np.random.Generator) -> Picture:
    """A board with a border and one to three lines."""
    sheet, ink = PANELS[int(rng.integers(len(PANELS)))]
    lines = int(rng.integers(1, 4))
    canvas = _panel(320, int(rng.integers(70, 130)) * lines, sheet)
    height = canvas.shape[0]
    cv2.rectangle(canvas, (6, 6), (313, height - 7), (*ink, 255), 5)
    for i in range(lines):
        top = round(height * (i + 0.2) / lines)
        _line(canvas, _text(rng), (top, top + round(height * 0.6 / lines)), ink, rng)
    return canvas


def _lettering(rng: np.random.Generator) -> Picture:
    """The side of a truck: paint, a name, a telephone number."""
    sheet, ink = PANELS[int(rng.integers(len(PANELS)))]
    canvas = _panel(480, 240, sheet)
    _line(canvas, _text(rng), (40, 110), ink, rng)
    number = "".join(DIGITS[int(i)] for i in rng.integers(0, 10, 7))
    _line(canvas, f"{number[:3]}-{number[3:]}", (140, 190), ink, rng)
    return canvas


def _badge(rng: np.random.Generator) -> Picture:
    """Chrome letters with nothing behind them."""
    canvas = np.zeros((60, 260, 4), np.uint8)
    _line(canvas, _text(rng), (8, 52), (255, 255, 255), rng)
    canvas[..., 3] = canvas[..., 0]
    canvas[..., :3] = rng.integers(150, 230)
    return canvas


def _sticker(rng: np.random.Generator) -> Picture:
    """A bumper sticker, square or oval."""
    sheet, ink = PANELS[int(rng.integers(len(PANELS)))]
    canvas = _panel(240, int(rng.integers(80, 150)), sheet)
    if rng.random() < 0.4:
        canvas[..., 3] = 0
        centre = (120, canvas.shape[0] // 2)
        oval = np.zeros(canvas.shape[:2], np.uint8)
        cv2.ellipse(oval, centre, (118, canvas.shape[0] // 2 - 2), 0, 0, 360, (255,), -1, cv2.LINE_AA)
        canvas[..., 3] = oval
    _line(canvas, _text(rng), (canvas.shape[0] // 4, canvas.shape[0] * 3 // 4), ink, rng)
    return canvas


def _grille(rng: np.random.Generator) -> Picture:
    """Bars, upright or flat: a radiator, a fence, a drain, a row of windows."""
    bright, dark = int(rng.integers(90, 240)), int(rng.integers(10, 60))
    canvas = _panel(240, int(rng.integers(60, 150)), (dark, dark, dark))
    step, upright = int(rng.integers(14, 40)), bool(rng.random() < 0.65)
    for at in range(step // 2, 240 if upright else canvas.shape[0], step):
        low, high = (at, 0), (at + step // 3, canvas.shape[0])
        ends = (low, high) if upright else ((0, at), (240, at + step // 3))
        cv2.rectangle(canvas, ends[0], ends[1], (bright, bright, bright, 255), -1)
    cv2.rectangle(canvas, (0, 0), (239, canvas.shape[0] - 1), (bright, bright, bright, 255), 4)
    return canvas


DRAWN: Final[tuple[Draw, ...]] = (board, board, _lettering, _badge, _sticker, _grille)
ON_VEHICLES: Final[tuple[Draw, ...]] = (_badge, _sticker, _grille)
