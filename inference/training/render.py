# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="call-overload"
"""Draws one plate flat: background, serial, small print, bolts, stickers, frame, relief and dirt (grey, 0..1)."""
# OpenCV's stubs ask for a sequence where a grey level is a plain number, hence the mypy line above.

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from .glyphs_dies import DieSet
from .render_furniture import (
    Plane,
    bolts,
    dirt,
    frame,
    furnish,
    logo,
    panel,
    relief,
    side_band,
    stickers,
    watermark,
)
from .render_serial import serial_mask
from .render_text import Serial, us_serial, world_serial


@dataclass(frozen=True, slots=True)
class FlatPlate:
    """A plate seen straight: `grey` 0..1 (its whole area is the plate), the text, whether it has two rows."""

    grey: Plane
    text: str
    two_rows: bool


_PAINTED = ("india", "pakistan", "two_row", "punjab", "titled")


@dataclass(frozen=True, slots=True)
class Kit:
    """What plates are made from: die sets, background artwork (uint8 grey, serial already wiped), typeset sets."""

    dies: list[DieSet]
    designs: list[NDArray[np.uint8]]
    fonts: list[DieSet] = field(default_factory=list)

    def pick(self, rng: np.random.Generator, region: str) -> DieSet:
        """A die set; where plates are painted or printed by hand, a typeset one more often."""
        share = 0.4 if region in _PAINTED else 0.06
        sets = self.fonts if self.fonts and rng.random() < share else self.dies
        return sets[int(rng.integers(len(sets)))]


_US_CANVAS = (144, 288)
_SHAPES = {  # height and width of the canvas in px
    "us": _US_CANVAS, "eu": (100, 470), "uk": (100, 470), "br": (122, 380), "mid": (124, 344), "india": (100, 460),
    "pakistan": (140, 300), "two_row": (170, 260), "punjab": (160, 262), "titled": (165, 262), "gulf": (112, 420),
}  # fmt: skip
_REGIONS = ("us", "eu", "uk", "br", "mid", "india", "pakistan", "two_row", "punjab", "titled", "gulf")
_ODDS = (0.4, 0.13, 0.07, 0.05, 0.05, 0.03, 0.03, 0.11, 0.06, 0.03, 0.04)
_TITLES = (
    "MEDIA", "PRESS", "POLICE", "ADVOCATE", "GOVT", "PUNJAB", "DOCTOR", "SINDH", "LAHORE", "HONDA", "TOYOTA", "ARMY",
)  # fmt: skip
_EMBLEM_ROOM = 0.835  # of a US plate's width; a serial with less has an emblem beside it


_USUAL_BAND = ((0.1, 0.3), (0.75, 0.92), (0.03, 0.1), (0.9, 0.97))
_BANDS = {  # from where to where the serial's top, bottom, left and right may lie, in parts of the plate
    "eu": ((0.1, 0.18), (0.82, 0.9), (0.1, 0.16), (0.88, 0.97)),
    "uk": ((0.1, 0.2), (0.78, 0.92), (0.03, 0.08), (0.92, 0.97)),
    "india": ((0.1, 0.2), (0.78, 0.92), (0.03, 0.08), (0.92, 0.97)),
    "br": ((0.26, 0.36), (0.86, 0.96), (0.03, 0.07), (0.93, 0.97)),
    "titled": ((0.03, 0.1), (0.68, 0.77), (0.2, 0.34), (0.9, 0.97)),
    "punjab": ((0.1, 0.2), (0.82, 0.94), (0.24, 0.34), (0.9, 0.97)),
    "pakistan": ((0.2, 0.32), (0.66, 0.78), (0.05, 0.2), (0.9, 0.96)),
    "two_row": ((0.05, 0.14), (0.84, 0.95), (0.03, 0.2), (0.9, 0.97)),
}


def _place(canvas: NDArray[np.uint8], mask: NDArray[np.uint8], x: int, y: int) -> None:
    height, width = min(mask.shape[0], canvas.shape[0] - y), min(mask.shape[1], canvas.shape[1] - x)
    region = canvas[y : y + height, x : x + width]
    np.maximum(region, mask[:height, :width], out=region)


def _background(
    rng: np.random.Generator, kit: Kit, region: str, shape: tuple[int, int], level: float
) -> Plane:
    height, width = shape
    if region == "us" and kit.designs and rng.random() < 0.45:
        design = kit.designs[int(rng.integers(len(kit.designs)))]
        grey = cv2.resize(design, (width, height)).astype(np.float32) / 255
        wash = rng.uniform(0.2, 1.0)
        return np.asarray(level + (grey - np.median(grey)) * wash, np.float32)
    ramp = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * rng.uniform(-0.12, 0.12)
    ramp = ramp + np.linspace(-1, 1, width, dtype=np.float32)[None] * rng.uniform(-0.08, 0.08)
    plane = np.asarray(level + ramp, np.float32)
    if region == "us" and rng.random() < 0.4:  # a picture or a band behind the serial
        coarse = rng.normal(
            0, rng.uniform(0.03, 0.12), (int(rng.integers(2, 7)), int(rng.integers(3, 12)))
        ).astype(np.float32)
        plane += np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
        if rng.random() < 0.5:
            plane[: int(height * rng.uniform(0.1, 0.27))] += rng.uniform(-0.4, 0.2)
    return np.asarray(plane, np.float32)


def _layout(rng: np.random.Generator, region: str) -> tuple[float, float, float, float]:
    """Top, bottom, left and right of the serial's band, in parts of the plate."""
    if region == "us":
        top = rng.uniform(0.22, 0.34)
        left, right = rng.uniform(0.03, 0.08), rng.uniform(0.92, 0.97)
        if rng.random() < 0.24:  # an emblem at one side
            left, right = (
                (rng.uniform(0.2, 0.34), 0.96) if rng.random() < 0.65 else (0.04, rng.uniform(0.7, 0.86))
            )
        return top, top + rng.uniform(0.4, 0.56), left, right
    ranges = _BANDS.get(region, _USUAL_BAND)
    if region == "two_row" and rng.random() < 0.15:
        ranges = (*ranges[:2], (0.2, 0.3), ranges[3])
    top, bottom, left, right = (float(rng.uniform(*ends)) for ends in ranges)
    return top, bottom, left, right


def _strike_serial(
    rng: np.random.Generator,
    dies: DieSet,
    serial: Serial,
    canvas: NDArray[np.uint8],
    region: str,
    plane: Plane,
) -> None:
    height, width = canvas.shape
    top, bottom, left, right = _layout(rng, region)
    if region == "us" and right - left < _EMBLEM_ROOM:
        logo(rng, plane, *((0.04, left) if left > 0.1 else (right, 0.96)))
    if region == "punjab" or (region == "titled" and rng.random() < 0.7):
        panel(rng, plane, left - 0.02)
    rows = len(serial.rows)
    each = (bottom - top) / rows
    room = int((right - left) * width)
    flush = region in ("two_row", "punjab", "titled") and rng.random() < 0.35  # rows start below each other
    for i, row in enumerate(serial.rows):
        tall = int(each * height * (1.0 if rows == 1 else rng.uniform(0.8, 0.92)))
        mask = serial_mask(rng, dies, row, tall, room)
        slack = room - mask.shape[1]
        share = rng.uniform(0, 0.06) if flush else 0.5
        x = int(
            left * width
            + slack * (share + rng.normal(0, 0.06) if flush or rng.random() < 0.85 else rng.random())
        )
        _place(canvas, mask, max(0, min(x, width - mask.shape[1])), int((top + i * each) * height))
    if region == "titled":
        title = tuple(_TITLES[int(rng.integers(len(_TITLES)))])
        mask = serial_mask(rng, dies, title, int(height * rng.uniform(0.1, 0.16)), int(room * 0.8))
        x = int(left * width + (room - mask.shape[1]) * rng.uniform(0.2, 0.8))
        _place(canvas, mask, x, int(height * rng.uniform(0.79, 0.83)))


def draw_plate(rng: np.random.Generator, kit: Kit, region: str | None = None) -> FlatPlate:
    """One random plate of `region` (by the odds of the roads if None), straight and clean of any camera effect."""
    region = region or str(rng.choice(_REGIONS, p=_ODDS))
    serial = us_serial(rng) if region == "us" else world_serial(rng, region)
    base_height, base_width = _SHAPES[region]
    shape = (base_height, int(base_width * rng.uniform(0.92, 1.08)))
    dies = kit.pick(rng, region)
    dark_ground = rng.random() < (0.22 if region == "us" else 0.1)
    level = rng.uniform(0.05, 0.4) if dark_ground else rng.uniform(0.55, 1.0)
    contrast = rng.uniform(0.3, 0.85)
    ink_tone = min(level + contrast, 1.0) if dark_ground else max(level - contrast, 0.0)
    plane = _background(rng, kit, region, shape, level)
    side_band(rng, plane, region)
    if region == "us":
        if rng.random() < 0.08:
            watermark(rng, plane)
        stickers(rng, plane, dies, ((0.12, 0.12), (0.88, 0.12), (0.1, 0.9), (0.9, 0.9)))
    struck, printed = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    _strike_serial(rng, dies, serial, struck, region, plane)
    furnish(rng, printed, region)
    for mask, tone in ((printed, ink_tone + rng.uniform(-0.15, 0.25)), (struck, ink_tone)):
        plane += (np.float32(tone) - plane) * (mask / 255.0).astype(np.float32)
    if rng.random() < 0.5:
        inset = int(rng.integers(1, 5))
        cv2.rectangle(
            plane,
            (inset, inset),
            (shape[1] - inset, shape[0] - inset),
            float(ink_tone),
            int(rng.integers(1, 4)),
        )
    relief(rng, plane, (struck / 255.0).astype(np.float32))
    bolts(rng, plane, region)
    if rng.random() < (0.45 if region == "us" else 0.12):
        frame(rng, plane, 0.17 if region == "us" else 0.06)
    dirt(rng, plane)
    return FlatPlate(np.clip(plane, 0, 1), serial.text, len(serial.rows) > 1)
