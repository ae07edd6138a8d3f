# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="call-overload,import-not-found,unused-ignore"
"""Artwork made into plates: another serial struck, stickers, bolts, dealers' frames; and plates by name alone."""
# OpenCV's stubs ask for a sequence where a colour is a plain number, hence the mypy line above.

from __future__ import annotations

import importlib.util
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.state import Colour
from inference.state_names import STATE_NAMES

from .glyphs_dies import DieSet
from .render_furniture import dirt, relief
from .render_scene import wipe_serial
from .render_serial import serial_mask
from .render_text import us_serial
from .state_photo import CANVAS, canvas_quad

FLAT = (192, 96)  # width, height in px of artwork
STRUCK_SHARE = 0.75  # of the artwork gets another serial
_BAND = slice(21, 79)  # rows of the serial
_FONT_FOLDER = Path("/usr/share/fonts/truetype")
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)
SLOGANS = {
    "AL": "Heart of Dixie", "AR": "The Natural State", "AZ": "Grand Canyon State", "CT": "Constitution State",
    "DE": "The First State", "FL": "Sunshine State", "GA": "Peach State", "HI": "Aloha State",
    "ID": "Famous Potatoes", "IL": "Land of Lincoln", "KY": "Bluegrass State", "LA": "Sportsman's Paradise",
    "MA": "The Spirit of America", "ME": "Vacationland", "MI": "Great Lakes", "MN": "10,000 lakes",
    "MO": "Show-Me State", "MS": "Hospitality State", "MT": "Treasure State", "NC": "First in Flight",
    "ND": "Peace Garden State", "NH": "Live Free or Die", "NJ": "Garden State", "NM": "Land of Enchantment",
    "NV": "The Silver State", "NY": "Empire State", "OH": "Birthplace of Aviation", "OK": "Native America",
    "OR": "Pacific Wonderland", "RI": "Ocean State", "SC": "Smiling Faces. Beautiful Places.",
    "SD": "Great Faces. Great Places.", "TN": "Volunteer State", "TX": "Lone Star State",
    "UT": "Greatest Snow on Earth", "VA": "Virginia is for Lovers", "VT": "Green Mountain State",
    "WA": "Evergreen State", "WI": "America's Dairyland", "WV": "Wild, Wonderful", "AK": "The Last Frontier",
    "CO": "Colorful Colorado", "DC": "Taxation without representation",
}  # fmt: skip
_TRADE = (
    "TOYOTA",
    "FORD",
    "HONDA",
    "AUTO MALL",
    "MOTORS",
    "CHEVROLET",
    "ALUMNI",
    "www.cars.com",
    "I LOVE MY DOG",
)


def colour(rng: np.random.Generator) -> NDArray[np.float32]:
    """A random BGR colour, often white, black or grey."""
    if rng.random() < 0.5:
        return np.full(
            3, rng.choice([rng.uniform(0, 60), rng.uniform(60, 200), rng.uniform(200, 255)]), np.float32
        )
    return rng.uniform(0, 255, 3).astype(np.float32)


@cache
def fonts() -> tuple[Path, ...]:
    """TrueType fonts of this machine, for variety; none is needed."""
    if importlib.util.find_spec("PIL") is None:
        return ()
    return tuple(
        sorted(p for p in _FONT_FOLDER.rglob("*.ttf") if "Mono" not in p.name and "Math" not in p.name)
    )


@lru_cache(maxsize=4096)
def lettering(text: str, font: int | Path) -> NDArray[np.uint8]:
    """Coverage of a line of text, cut to its ink, about 40 px high; `font` is one of OpenCV's or a TrueType file."""
    canvas: NDArray[np.uint8] = np.zeros((110, 60 + 40 * len(text)), np.uint8)
    if isinstance(font, Path):
        from PIL import Image, ImageDraw, ImageFont

        image = Image.fromarray(canvas)
        ImageDraw.Draw(image).text((20, 20), text, fill=255, font=ImageFont.truetype(str(font), 46))
        canvas = np.asarray(image, np.uint8)
    else:
        cv2.putText(canvas, text, (20, 70), font, 1.7, 255, 4, cv2.LINE_AA)
    ys, xs = np.nonzero(canvas > 40)
    return np.ascontiguousarray(canvas[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1])


def any_font(rng: np.random.Generator) -> int | Path:
    """One of OpenCV's fonts or, where there are any, mostly one of this machine's."""
    files = fonts()
    if files and rng.random() < 0.65:
        return files[int(rng.integers(len(files)))]
    return int(rng.choice(_FONTS))


def write(
    flat: Colour,
    text: str,
    font: int | Path,
    ink: NDArray[np.float32],
    box: tuple[float, float, float, float],
) -> None:
    """`text` centred in the box x0, y0, x1, y1 (parts of the plate), as large as fits; wide boxes stretch it a bit."""
    height, width = flat.shape[:2]
    x0, y0, x1, y1 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    mask = lettering(text, font)
    scale = min((y1 - y0) / mask.shape[0], (x1 - x0) / mask.shape[1] * 1.25)
    wide = max(2, round(min(mask.shape[1] * scale * 1.25, x1 - x0)))
    tall = max(2, round(mask.shape[0] * scale))
    left, top = max(0, round((x0 + x1 - wide) / 2)), max(0, round((y0 + y1 - tall) / 2))
    spot = flat[top : top + tall, left : left + wide]
    cover = cv2.resize(mask, (wide, tall), interpolation=cv2.INTER_AREA)[
        : spot.shape[0], : spot.shape[1], None
    ]
    spot[:] = np.clip(spot + (ink - spot) * (cover / np.float32(255)), 0, 255).astype(np.uint8)


def _ink(rng: np.random.Generator, band: Colour) -> NDArray[np.float32]:
    """The colour of the serial that stands in the band of artwork; now and then another."""
    if rng.random() < 0.2:
        return colour(rng)
    levels = band.reshape(-1, 3).astype(np.float32)
    light = levels.mean(axis=1)
    rank = 4 if light.mean() < np.median(light) + 12 else 96
    return np.asarray(levels[np.abs(light - np.percentile(light, rank)).argmin()], np.float32)


def strike(rng: np.random.Generator, flat: Colour, dies: DieSet) -> Colour:
    """The plate (96, 192, 3) with its serial wiped and another struck in."""
    ink = _ink(rng, flat[_BAND])
    out = wipe_serial(flat).astype(np.float32)
    ground = out[_BAND].mean(axis=(0, 1))
    if np.abs(ink - ground).mean() < 45:
        ink = np.full(3, 20 if ground.mean() > 110 else 235, np.float32)
    top, tall = rng.uniform(0.24, 0.33) * FLAT[1], round(rng.uniform(0.42, 0.54) * FLAT[1])
    left = rng.uniform(0.03, 0.3 if rng.random() < 0.3 else 0.08) * FLAT[0]
    row = us_serial(rng).rows[0]
    mask = serial_mask(rng, dies, row, tall, int(FLAT[0] * 0.96 - left))
    x = int(left + (FLAT[0] * 0.96 - left - mask.shape[1]) * rng.uniform(0.3, 0.7))
    cover = np.zeros(FLAT[::-1], np.float32)
    y = int(top)
    cover[y : y + tall, max(0, x) : max(0, x) + mask.shape[1]] = (
        mask[: FLAT[1] - y, : FLAT[0] - max(0, x)] / 255.0
    )
    out += (ink - out) * cover[..., None]
    shade = np.zeros(FLAT[::-1], np.float32)
    relief(rng, shade, cover)
    return np.asarray(np.clip(out + shade[..., None] * 255, 0, 255), np.uint8)


def furnish(rng: np.random.Generator, flat: Colour) -> None:
    """Stickers, bolts and a dealer's frame, in place on a plate (96, 192, 3)."""
    height, width = flat.shape[:2]
    for fx, fy in ((0.1, 0.13), (0.9, 0.13), (0.08, 0.88), (0.92, 0.88)):
        if rng.random() < 0.3:
            w, h = rng.uniform(0.06, 0.14) * width, rng.uniform(0.11, 0.2) * height
            x, y = fx * width - w / 2, fy * height - h / 2
            cv2.rectangle(flat, (int(x), int(y)), (int(x + w), int(y + h)), colour(rng).tolist(), -1)
            digits = str(int(rng.integers(1, 30)))
            place = ((x + 2) / width, (y + 2) / height, (x + w - 2) / width, (y + h - 2) / height)
            write(flat, digits, 0, colour(rng), place)
    for fx in (0.2, 0.8):
        for fy in (0.08, 0.92):
            if rng.random() < 0.5:
                centre = (int(width * (fx + rng.normal(0, 0.015))), int(height * fy))
                cv2.circle(flat, centre, int(rng.integers(1, 5)), colour(rng).tolist(), -1, cv2.LINE_AA)
    if rng.random() < 0.35:
        _frame(rng, flat)


def _frame(rng: np.random.Generator, flat: Colour) -> None:
    height, width = flat.shape[:2]
    tone, ink = colour(rng), colour(rng)
    sides, font = int(rng.uniform(0.005, 0.05) * width), any_font(rng)
    top, bottom = (float(v) for v in rng.uniform(0.01, 0.17, 2) * (rng.random(2) < 0.75))
    if top > 0.07 and rng.random() < 0.6:  # most frames leave the state's name free
        top *= 0.5
    for rows, trade in (
        (slice(0, int(top * height)), top),
        (slice(height - int(bottom * height), height), bottom),
    ):
        flat[rows] = tone
        if trade > 0.08 and rng.random() < 0.6:
            y0 = 0.01 if rows.start == 0 else 1 - trade
            write(flat, str(rng.choice(_TRADE)), font, ink, (0.15, y0 + 0.01, 0.85, y0 + trade - 0.02))
    flat[:, :sides] = tone
    flat[:, width - sides :] = tone


def by_name(rng: np.random.Generator, state: str, ground: Colour, dies: DieSet) -> Colour:
    """A plate that says its state in words only, over the blurred colours of some other artwork or a plain sheet."""
    if rng.random() < 0.5:
        flat = np.full_like(ground, colour(rng).astype(np.uint8))
        if rng.random() < 0.5:
            flat[: int(rng.uniform(0.15, 0.24) * FLAT[1])] = colour(rng).astype(np.uint8)
    else:
        flat = np.asarray(cv2.GaussianBlur(ground, (0, 0), 9), np.uint8)
    flat = strike(rng, flat, dies)
    name, slogan = STATE_NAMES[state], SLOGANS.get(state, "")
    if rng.random() < 0.6:
        name, slogan = name.upper(), slogan.upper()
    half, tall, top = rng.uniform(0.2, 0.38), rng.uniform(0.1, 0.17), rng.uniform(0.02, 0.07)
    above, below = (0.5 - half, top, 0.5 + half, top + tall), (0.5 - half, 0.97 - tall, 0.5 + half, 0.97)
    if rng.random() < 0.22:  # some states have their name below the serial
        above, below = below, above
    write(flat, name, any_font(rng), readable(rng, flat, above), above)
    if slogan and rng.random() < 0.5:
        write(flat, slogan, any_font(rng), readable(rng, flat, below), below)
    return flat


def readable(
    rng: np.random.Generator, flat: Colour, box: tuple[float, float, float, float]
) -> NDArray[np.float32]:
    """A random colour that stands out from the ground in a box (parts of the plate)."""
    height, width = flat.shape[:2]
    rows, columns = (
        slice(int(box[1] * height), int(box[3] * height)),
        slice(int(box[0] * width), int(box[2] * width)),
    )
    light = float(flat[rows, columns].mean())
    ink = colour(rng)
    if abs(float(ink.mean()) - light) < 70:
        ink = np.full(3, 15 if light > 110 else 240, np.float32)
    return ink


def on_canvas(rng: np.random.Generator, flat: Colour) -> Colour:
    """The plate before a random ground: (96, 192, 3), where `state_photo.canvas_quad` says."""
    coarse = np.stack([colour(rng) for _ in range(6)]).reshape(2, 3, 3)
    canvas = np.asarray(np.clip(cv2.resize(coarse, CANVAS, interpolation=cv2.INTER_CUBIC), 0, 255), np.uint8)
    (x0, y0), (x1, y1) = np.round(canvas_quad()[[0, 2]]).astype(int).tolist()
    canvas[y0:y1, x0:x1] = cv2.resize(flat, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    return canvas


def weathered(rng: np.random.Generator, flat: Colour) -> Colour:
    """Dirt and fading over a plate (96, 192, 3)."""
    plane = np.zeros(flat.shape[:2], np.float32)
    dirt(rng, plane)
    return np.asarray(np.clip(flat + plane[..., None] * 255, 0, 255), np.uint8)


def plate(rng: np.random.Generator, flat: Colour, dies: DieSet) -> Colour:
    """Artwork (96, 192, 3) as a used plate on a canvas (96, 192, 3)."""
    flat = strike(rng, flat, dies) if rng.random() < STRUCK_SHARE else flat.copy()
    furnish(rng, flat)
    return on_canvas(rng, weathered(rng, flat))
