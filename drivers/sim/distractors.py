# SPDX-License-Identifier: Apache-2.0
"""Roads without a plate but full of what is taken for one: signs, lettering, stickers, grilles, time stamps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np

from drivers.sim.art import Picture, Quad, lay, sprite
from drivers.sim.bodies import BODIES, PAINTS, day_palette, draw_end, night_palette
from drivers.sim.designs import DIGITS
from drivers.sim.optics import View
from drivers.sim.signs import DRAWN, ON_VEHICLES
from drivers.sim.traffic import Scenario
from drivers.sim.weather import SEVERITIES
from drivers.sim.world import LampLine, SimWorld

SIZE: Final = (1280, 720)
EMPTY_S: Final = 3600.0  # between two vehicles ...
NOBODY_S: Final = 600.0  # ... so that nobody is in sight now
SCENE_EVERY: Final = 25  # pictures of one road
ITEMS: Final = (3, 8)  # in one picture


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
