# SPDX-License-Identifier: Apache-2.0
"""Roads without a plate but full of what is taken for one: signs, lettering, stickers, grilles, time stamps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import cv2
import numpy as np

from drivers.sim.art import Picture, Quad, lay, sprite
from drivers.sim.bodies import BODIES, PAINTS, day_palette, draw_end, night_palette
from drivers.sim.designs import DIGITS, Colour
from drivers.sim.glyphs import FULL_H, TOOL, draw_text, text_width
from drivers.sim.optics import View
from drivers.sim.traffic import Scenario
from drivers.sim.weather import SEVERITIES
from drivers.sim.world import LampLine, SimWorld

SIZE: Final = (1280, 720)
EMPTY_S: Final = 3600.0  # between two vehicles ...
NOBODY_S: Final = 600.0  # ... so that nobody is in sight now
SCENE_EVERY: Final = 25  # pictures of one road
ITEMS: Final = (3, 8)  # in one picture
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

Draw = Callable[[np.random.Generator], Picture]


def plate_free_scenes(seed: int, count: int) -> Iterator[tuple[Picture, bool]]:
    """`count` pictures (H, W, 3) without any plate, and whether each is by night; the same seed, the same pictures."""
    world = None
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        if world is None or number % SCENE_EVERY == 0:
            world = _empty_road(seed + number, number)
        night = world.light(NOBODY_S).night
        pixels, _ = world.frame(NOBODY_S, number, 0)
        scene = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8) if night else pixels.copy()
        for _ in range(int(rng.integers(*ITEMS))):
            _place(scene, rng, night=night)
        _stamp(scene, rng)
        yield (np.asarray(cv2.cvtColor(scene, cv2.COLOR_GRAY2BGR), np.uint8) if night else scene), night


def _empty_road(seed: int, number: int) -> SimWorld:
    night = (number // SCENE_EVERY) % 2 == 1
    scenario = Scenario(every_s=EMPTY_S, day_seconds=0.0 if night else 1e9)
    weather = SEVERITIES[(number // SCENE_EVERY // 2) % len(SEVERITIES)]
    return SimWorld(seed, scenario, view=View(*SIZE), lamp=LampLine(1.0), weather=weather)


def _place(scene: Picture, rng: np.random.Generator, *, night: bool) -> None:
    """One thing somewhere, seen a little from the side; what hangs on a vehicle comes with the vehicle."""
    draw = DRAWN[int(rng.integers(len(DRAWN)))]
    width = float(np.exp(rng.uniform(np.log(50), np.log(420))))
    x, y = float(rng.uniform(0, SIZE[0] - width * 0.7)), float(rng.uniform(0.05, 0.8)) * SIZE[1]
    if draw in ON_VEHICLES:
        _vehicle(scene, (x, y, width), rng, night=night)
    item = draw(rng)
    height = width * item.shape[0] / item.shape[1]
    quad = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    lean = rng.normal(0.0, 0.04, 2) * width
    quad[1:3, 1] += lean[0]
    quad[2:, 0] += lean[1]
    bright = float(rng.uniform(0.5, 1.1)) if night else float(rng.uniform(0.7, 1.0))
    lay(scene, sprite(item, grey=night), quad, bright=bright)


def _vehicle(
    scene: Picture, at: tuple[float, float, float], rng: np.random.Generator, *, night: bool
) -> None:
    """The rear or front of a vehicle behind a thing at x, y that is so wide; it has no plate."""
    body = BODIES[int(rng.integers(len(BODIES)))]
    rear = bool(rng.random() < 0.6)
    paint = PAINTS[int(rng.integers(len(PAINTS)))]
    palette = night_palette(int(rng.integers(35, 170))) if night else day_palette(paint, rear=rear)
    x, y, item = at
    width = item * float(rng.uniform(3.0, 5.0))
    height = width * body.height / (2 * body.half_w)
    aside = float(rng.choice([-1.0, 1.0])) * rng.uniform(
        0.2, 0.35
    )  # never where a plate hangs: it would be one
    left, top = x + item / 2 - width * (0.5 + aside), y - height * float(rng.uniform(0.2, 0.7))
    quad: Quad = np.array(
        [[left, top], [left + width, top], [left + width, top + height], [left, top + height]]
    )
    lay(scene, sprite(draw_end(body, palette, rear=rear), grey=night), quad, bright=0.6 if night else 1.0)


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


def _sign(rng: np.random.Generator) -> Picture:
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


def _stamp(scene: Picture, rng: np.random.Generator) -> None:
    """What cameras and agencies write into pictures: date, time, a number."""
    if rng.random() < 0.5:
        return
    digits = "".join(DIGITS[int(i)] for i in rng.integers(0, 10, 10))
    text = str(
        rng.choice([digits, f"20{digits[:2]}-0{digits[2]}-1{digits[3]} 1{digits[4]}:{digits[5:7]}", "CAM 2"])
    )
    scale = float(rng.uniform(0.6, 1.4))
    (w, h), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, 1)
    x, y = int(rng.integers(0, SIZE[0] - w)), int(rng.choice([h + 8, SIZE[1] - 12]))
    if rng.random() < 0.5:
        cv2.rectangle(scene, (x - 6, y - h - 6), (x + w + 6, y + 6), (70, 70, 70), -1)
    cv2.putText(scene, text, (x, y), cv2.FONT_HERSHEY_DUPLEX, scale, (235, 235, 235), 2, cv2.LINE_AA)


DRAWN: Final[tuple[Draw, ...]] = (_sign, _sign, _lettering, _badge, _sticker, _grille)
ON_VEHICLES: Final[tuple[Draw, ...]] = (_badge, _sticker, _grille)
