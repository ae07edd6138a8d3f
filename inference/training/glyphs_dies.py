# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="call-overload,import-not-found,unused-ignore"
"""Die sets: all 36 characters struck with one style, as coverage masks ready to be resized onto a plate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .glyphs import CHARACTERS, DieStyle, strokes_of

MASK_HEIGHT = 96  # px, height of every glyph mask

Mask = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class DieSet:
    """One set of dies: `masks` maps each character to its coverage (0..255), MASK_HEIGHT px high."""

    masks: dict[str, Mask]


def _pick(rng: np.random.Generator, *options: str) -> str:
    return options[int(rng.integers(len(options)))]


def random_style(rng: np.random.Generator) -> DieStyle:
    """A style drawn over the range of forms that plates show."""
    return DieStyle(
        bowl=float(rng.uniform(2.0, 3.6)),
        round_height=float(rng.uniform(0.2, 0.5)),
        zero=_pick(rng, "plain", "plain", "plain", "plain", "slash", "dot"),
        zero_width=float(rng.choice([1.0, 1.0, rng.uniform(0.75, 1.0)])),
        one=_pick(rng, "bar", "flag", "flag", "foot"),
        letter_i=_pick(rng, "bar", "serif"),
        m_depth=float(rng.choice([0.4, 0.5, 0.62, 0.75, 1.0])),
        square_w=bool(rng.random() < 0.5),
        four=_pick(rng, "closed", "closed", "closed", "open"),
        six=_pick(rng, "curl", "curl", "straight"),
        three=_pick(rng, "round", "round", "flat"),
        seven=_pick(rng, "plain", "plain", "serif", "bent"),
        a_top=float(rng.choice([0.0, 0.06, 0.14])),
        j_serif=bool(rng.random() < 0.35),
        g_bar=float(rng.uniform(0.45, 0.72)),
        q_tail=float(rng.uniform(0.2, 0.45)),
        leg=float(rng.uniform(0.2, 0.6)),
    )


def strike(
    character: str, style: DieStyle, width: float, stroke: float, *, flat: bool, proportional: bool
) -> Mask:
    """Coverage of one character: `width` and `stroke` as parts of the height, `flat` cuts the stroke ends."""
    factor = 1.0
    if proportional:
        factor = {"M": 1.2, "W": 1.25, "J": 0.85, "L": 0.85, "E": 0.92, "F": 0.9}.get(character, 1.0)
    bar = (character == "I" and style.letter_i == "bar") or (character == "1" and style.one == "bar")
    if bar and proportional:
        factor = stroke / width * 1.05
    elif character == "1" and proportional:
        factor = 0.7
    if character in "MW":
        stroke = min(stroke, width * factor * 0.24)
    thick = stroke * MASK_HEIGHT
    wide = max(round(width * factor * MASK_HEIGHT), int(thick) + 1)
    inset = thick * (0.3 if flat else 0.5)
    mask = np.zeros((MASK_HEIGHT * 2, wide * 2), np.uint8)
    span = np.array([wide - 2 * thick * 0.5, MASK_HEIGHT - 2 * inset])
    offset = np.array([thick * 0.5, inset])
    for points in strokes_of(character, style):
        pixels = np.round((points * span + offset) * 2 * 16).astype(np.int32)
        cv2.polylines(
            mask,
            [pixels],
            isClosed=False,
            color=255,
            thickness=max(1, round(thick * 2)),
            lineType=cv2.LINE_AA,
            shift=4,
        )
    return np.asarray(cv2.resize(mask, (wide, MASK_HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


def random_dies(rng: np.random.Generator) -> DieSet:
    """A die set with random style, width and weight."""
    style = random_style(rng)
    width, stroke = float(rng.uniform(0.36, 0.72)), float(rng.uniform(0.1, 0.19))
    stroke = min(stroke, width * 0.34)
    flat, proportional = bool(rng.random() < 0.5), bool(rng.random() < 0.7)
    return DieSet(
        {c: strike(c, style, width, stroke, flat=flat, proportional=proportional) for c in CHARACTERS}
    )


def typeset_dies(font: Path, width: float) -> DieSet:
    """A die set from a TrueType font (variety only; needs Pillow), squeezed to `width` of its own width."""
    from PIL import Image, ImageDraw, ImageFont

    face = ImageFont.truetype(str(font), 150)
    masks: dict[str, Mask] = {}
    for character in CHARACTERS:
        canvas = Image.new("L", (400, 300))
        ImageDraw.Draw(canvas).text((80, 40), character, fill=255, font=face)
        ink = np.asarray(canvas)
        ys, xs = np.where(ink > 128)
        cut = np.ascontiguousarray(ink[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1])
        wide = max(6, round(cut.shape[1] * MASK_HEIGHT / cut.shape[0] * width))
        masks[character] = np.asarray(
            cv2.resize(cut, (wide, MASK_HEIGHT), interpolation=cv2.INTER_AREA), np.uint8
        )
    return DieSet(masks)


def font_cabinet(rng: np.random.Generator, fonts: list[Path]) -> list[DieSet]:
    """Three squeezed sets a font."""
    return [typeset_dies(f, float(rng.uniform(0.6, 1.1))) for f in fonts for _ in range(3)]


def die_cabinet(rng: np.random.Generator, count: int, fonts: list[Path]) -> list[DieSet]:
    """`count` struck sets plus, per font, three squeezed ones."""
    return [random_dies(rng) for _ in range(count)] + font_cabinet(rng, fonts)
