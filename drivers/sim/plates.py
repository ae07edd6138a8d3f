# SPDX-License-Identifier: Apache-2.0
"""Draws a plate of 12 by 6 inches as the sun sees it and as an infrared lamp sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.designs import Colour, Design, separated
from drivers.sim.glyphs import DRAWABLE, FULL_H, TOOL, draw_text, text_width
from drivers.sim.weather import mud

PX_PER_IN: Final = 56
WIDTH_IN: Final = 12.0
HEIGHT_IN: Final = 6.0
WIDTH_PX: Final = int(WIDTH_IN * PX_PER_IN)
HEIGHT_PX: Final = int(HEIGHT_IN * PX_PER_IN)
SERIAL_CENTRE_IN: Final = 3.0
SERIAL_ROOM_IN: Final = 10.5  # the widest that a serial may be
RETRO_SHEET: Final = 226  # grey of the sheet under the lamp, before distance
PLAIN_DIFFUSE: Final = 26  # grey of what does not send light back
MUD: Final = (78.0, 92.0, 104.0)
MUD_INFRARED: Final = 46.0

Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PlatePictures:
    """A plate's textures, each half the size of the one before: `day` BGR, `night` grey under the lamp."""

    day: tuple[Picture, ...]
    night: tuple[Picture, ...]


def _pyramid(picture: Picture) -> tuple[Picture, ...]:
    levels = [picture]
    while levels[-1].shape[1] > 40:
        height, width = levels[-1].shape[:2]
        small = cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(small, dtype=np.uint8))
    return tuple(levels)


def _line(text: str, centre_in: tuple[float, float], height_in: float, room_in: float, tool: float) -> Plane:
    """Coverage 0..1 of one centred line of struck characters."""
    mask = np.zeros((HEIGHT_PX * 2, WIDTH_PX * 2), np.uint8)  # drawn at twice the size, then averaged
    text = "".join(char for char in text if char in DRAWABLE)
    gap = 12.0
    scale_y = height_in * PX_PER_IN * 2 / FULL_H
    scale_x = min(scale_y * 0.92, room_in * PX_PER_IN * 2 / max(1.0, text_width(text, gap)))
    x = centre_in[0] * PX_PER_IN * 2 - text_width(text, gap) * scale_x / 2
    y = (centre_in[1] - height_in / 2) * PX_PER_IN * 2
    draw_text(mask, text, (x, y), (scale_x, scale_y), gap=gap, tool=tool)
    small = cv2.resize(mask, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255.0


def _paint(picture: Plane, coverage: Plane, colour: Colour | float) -> None:
    """Lays a colour over (H, W, 3), or a grey over (H, W), in place."""
    rows, columns = np.flatnonzero(coverage.max(axis=1)), np.flatnonzero(coverage.max(axis=0))
    if not rows.size:
        return
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    cover = coverage[part]
    area = picture[part]
    area += (cover[..., None] if picture.ndim == 3 else cover) * (np.array(colour, np.float32) - area)


def _shape(kind: str, rng: np.random.Generator) -> Plane:
    """Coverage of a design's background drawing, soft and of low contrast."""
    cover = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    x = np.arange(WIDTH_PX)
    if kind in ("hills", "peaks"):
        top = HEIGHT_PX * (0.80 - 0.05 * np.sin(x / 61.0 + rng.uniform(0, 6)) - 0.03 * np.sin(x / 23.0))
        outline = np.concatenate([np.stack([x, top], 1), [[WIDTH_PX, HEIGHT_PX], [0, HEIGHT_PX]]])
        cv2.fillPoly(cover, [outline.astype(np.int32)], (255,))
    elif kind == "skyline":
        for left in range(int(WIDTH_PX * 0.06), int(WIDTH_PX * 0.94), 18):
            tall = int(HEIGHT_PX * (0.06 + 0.16 * rng.random()))
            cv2.rectangle(cover, (left, HEIGHT_PX - tall), (left + 15, HEIGHT_PX), 255, -1)
    elif kind in ("band", "tricolour"):
        cv2.rectangle(cover, (0, 0), (WIDTH_PX, int(HEIGHT_PX * 0.23)), 255, -1)
    soft = cv2.GaussianBlur(cover, (0, 0), 1.5)
    return soft.astype(np.float32) / 255.0


def _sheet(design: Design, rng: np.random.Generator) -> Plane:
    """The plate's background in colour, float32 (H, W, 3)."""
    down = np.linspace(0.0, 1.0, HEIGHT_PX, dtype=np.float32)[:, None, None]
    blend = np.clip((down - 0.1) * 1.6, 0.0, 1.0)
    top, bottom = np.array(design.top, np.float32), np.array(design.bottom, np.float32)
    sheet = np.broadcast_to(top + (bottom - top) * blend, (HEIGHT_PX, WIDTH_PX, 3)).copy()
    drawing = _shape(design.graphic, rng)
    if design.graphic in ("band", "tricolour"):
        _paint(sheet, drawing, (150, 72, 20))
    else:
        _paint(sheet, drawing * 0.22, tuple(int(c * 0.72) for c in design.top))  # type: ignore[arg-type]
    return sheet


def _bolts() -> Plane:
    cover = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    for x_in in (2.5, 9.5):
        for y_in in (0.45, 5.55):
            centre = (int(x_in * PX_PER_IN), int(y_in * PX_PER_IN))
            cv2.ellipse(cover, centre, (12, 8), 0, 0, 360, (255,), -1, cv2.LINE_AA)
    return cover.astype(np.float32) / 255.0


def _sticker(rng: np.random.Generator) -> tuple[Plane, Plane, Colour]:
    """Coverage of a registration sticker in one corner, of its small figures, and its colour."""
    right, low = bool(rng.random() < 0.8), bool(rng.random() < 0.45)
    x_in, y_in = (11.1 if right else 0.9), (5.35 if low else 0.6)
    cover = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    half = (int(0.62 * PX_PER_IN), int(0.38 * PX_PER_IN))
    cx, cy = int(x_in * PX_PER_IN), int(y_in * PX_PER_IN)
    cv2.rectangle(cover, (cx - half[0], cy - half[1]), (cx + half[0], cy + half[1]), 255, -1)
    figures = _line(f"{int(rng.integers(24, 28))}", (x_in, y_in), 0.42, 0.9, TOOL * 1.2)
    colours: tuple[Colour, ...] = ((60, 60, 200), (60, 190, 235), (90, 160, 60), (190, 120, 40))
    return cover.astype(np.float32) / 255.0, figures, colours[int(rng.integers(len(colours)))]


def _relief(serial: Plane) -> Plane:
    """Light and shade at the edges of the struck characters, the sun at the upper left."""
    soft = cv2.GaussianBlur(serial, (0, 0), 2.0)
    light = np.roll(soft, (2, 2), (0, 1)) - np.roll(soft, (-2, -2), (0, 1))
    return np.asarray(light, dtype=np.float32)


def _holder(rng: np.random.Generator) -> tuple[Plane, float]:
    """A dealer's frame around the plate (on a third of the cars) and its grey."""
    cover = np.zeros((HEIGHT_PX, WIDTH_PX), np.float32)
    if rng.random() < 0.34:
        side, ends = int(0.16 * PX_PER_IN), int(rng.uniform(0.2, 0.5) * PX_PER_IN)
        cover[:ends] = cover[-ends:] = 1.0
        cover[:, :side] = cover[:, -side:] = 1.0
    return cover, float(rng.choice([24.0, 30.0, 150.0]))


def _dirt(rng: np.random.Generator) -> Plane:
    coarse = rng.normal(0.0, 1.0, (7, 13)).astype(np.float32)
    cloud = cv2.resize(coarse, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC)
    return np.asarray(1.0 - rng.uniform(0.01, 0.05) * np.clip(cloud + 0.5, 0.0, 2.0), dtype=np.float32)


def draw_plate(design: Design, serial: str, rng: np.random.Generator, *, dirt: float = 0.0) -> PlatePictures:
    """The textures of one plate, `dirt` 0..1; the same generator state gives the same pixels."""
    text = separated(design, serial)
    struck = _line(text, (6.0, SERIAL_CENTRE_IN + 0.06), design.char_h_in, SERIAL_ROOM_IN, TOOL)
    name = _line(design.name, (6.0, 0.72), 0.68, 6.0, TOOL * 1.15)
    slogan = _line(design.slogan, (6.0, 5.42), 0.42, 5.6, TOOL * 1.1)
    sticker, figures, sticker_colour = _sticker(rng)
    holder, holder_grey = _holder(rng)
    film = _dirt(rng)

    day = _sheet(design, rng)
    night = np.full((HEIGHT_PX, WIDTH_PX), float(RETRO_SHEET), np.float32)
    dark = RETRO_SHEET * design.ir_ink
    for cover, colour in ((name, design.name_ink), (slogan, design.name_ink), (struck, design.ink)):
        _paint(day, cover, colour)
        _paint(night, cover, max(dark, 0.18 * RETRO_SHEET) if cover is not struck else dark)
    day += 20.0 * _relief(struck)[..., None]
    _paint(day, sticker, sticker_colour)
    _paint(night, sticker, 150.0)
    _paint(day, figures, WHITE_FIGURES)
    _paint(night, figures, 60.0)
    for cover, grey in ((_bolts(), 90.0), (holder, holder_grey)):
        _paint(day, cover, (grey, grey, grey))  # type: ignore[arg-type]
        _paint(night, cover, float(PLAIN_DIFFUSE))
    day *= film[..., None]
    night *= film
    if dirt > 0:
        cover = mud((HEIGHT_PX, WIDTH_PX), dirt, rng)
        _paint(day, cover, MUD)  # type: ignore[arg-type]
        _paint(night, cover, MUD_INFRARED)
    clipped = [np.clip(picture, 0, 255).astype(np.uint8) for picture in (day, night)]
    return PlatePictures(_pyramid(clipped[0]), _pyramid(clipped[1]))


WHITE_FIGURES: Final[Colour] = (240, 240, 240)
