# SPDX-License-Identifier: Apache-2.0
"""Renders the pictures of the accuracy floors: `python tests/inference/floors/generate.py [FOLDER]`.

Roads of the simulated roadside by day and under infrared light, with the plates of the training's renderer on
holders before them; every plate's text and corners go to truth.jsonl. Nothing here was photographed. The same
seed gives the same pictures.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.optics import View
from drivers.sim.traffic import Scenario
from drivers.sim.world import SimWorld
from inference.training.glyphs_dies import DieSet, random_dies
from inference.training.render import FlatPlate, Kit, draw_plate
from inference.training.render_scene import plate_quad
from inference.training.render_text import Serial, us_serial

SEED = 20
QUALITY = 72  # of WebP
DIES = 12
MIN_INK = 0.3  # contrast below which a drawn plate is drawn again
EMPTY_S = 0.4  # world time without traffic
# name, light, width and height px, what stands on the plates, their widths px
FRAMES: tuple[tuple[str, str, tuple[int, int], str, tuple[int, ...]], ...] = (
    ("us-0", "day", (1280, 720), "us", (60, 90, 150)),
    ("us-1", "day", (1280, 720), "us", (75, 110, 220)),
    ("us-2", "day", (960, 720), "us", (70, 120, 180)),
    ("us-3", "day", (640, 360), "us", (56, 80, 130)),
    ("us-4", "day", (1920, 1080), "us", (120, 180, 300)),
    ("us-5", "day", (720, 960), "us", (70, 100, 160)),
    ("night-0", "night", (1280, 720), "us", (70, 100, 170)),
    ("night-1", "night", (1280, 720), "us", (80, 130, 220)),
    ("night-2", "night", (960, 540), "us", (60, 90, 140)),
    ("world-0", "day", (1280, 720), "eu", (90, 140, 220)),
    ("world-1", "day", (1280, 720), "uk", (90, 140, 220)),
    ("world-2", "night", (1280, 720), "eu", (90, 140, 220)),
    ("two-rows-0", "day", (1280, 720), "two_row", (60, 90, 130)),
    ("two-rows-1", "day", (1280, 720), "two_row", (70, 110, 160)),
    ("two-rows-2", "night", (1280, 720), "two_row", (70, 100, 150)),
    ("stacked-0", "day", (1280, 720), "stacked", (110, 150, 210)),
    ("stacked-1", "night", (1280, 720), "stacked", (110, 150, 210)),
    ("colour-0", "day", (1280, 720), "colour", (80, 120, 200)),
    ("colour-1", "day", (1280, 720), "colour", (90, 130, 180)),
    ("colour-2", "day", (960, 540), "colour", (80, 110, 160)),
    ("dim-0", "day", (1280, 720), "dim", (80, 130, 200)),
    ("dim-1", "day", (960, 540), "dim", (80, 120, 170)),
    ("dim-2", "night", (1280, 720), "dim", (90, 120, 180)),
)
BLUE, ORANGE = (255.0, 0.0, 0.0), (0.0, 80.0, 255.0)  # BGR: alike in grey when red and blue are swapped
DIM = (0.1, 0.24)  # black and white of a plate in deep shade

Picture = NDArray[np.uint8]
Quad = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Placed:
    """A plate in a picture: its text and corners (4, 2) px."""

    text: str
    corners: Quad
    two_rows: bool


def empty_road(size: tuple[int, int], light: str, seed: int) -> Picture:
    """The road without traffic, (H, W, 3)."""
    scenario = Scenario(day_seconds=0.0 if light == "night" else 1e9)
    world = SimWorld(seed, scenario, view=View(*size))
    pixels, _ = world.frame(EMPTY_S, 0, 0)
    world.close()
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 0.8), dtype=np.uint8)


def drawn(seed: tuple[int, ...], kit: Kit, kind: str) -> FlatPlate:
    """A plate of a kind whose serial can be told from its ground."""
    region = dict.fromkeys(("stacked", "colour", "dim"), "us").get(kind, kind)
    for attempt in range(1000):
        plate = draw_plate(np.random.default_rng((*seed, attempt)), kit, region)
        middle = plate.grey[plate.grey.shape[0] // 4 : -plate.grey.shape[0] // 4]
        low, high = np.percentile(middle, (10, 90))
        stacked = region == "us" and has_stack(us_serial(np.random.default_rng((*seed, attempt))))
        if high - low >= MIN_INK and 4 <= len(plate.text) <= 9 and stacked == (kind == "stacked"):
            return plate
    raise RuntimeError(f"no {kind} plate to be had")


def has_stack(serial: Serial) -> bool:
    """Whether small letters stand one above the other in it; the renderer draws the serial first."""
    return any(len(token) > 1 and token[0] != "~" for row in serial.rows for token in row)


def shown(plate: FlatPlate, kind: str) -> NDArray[np.float32]:
    """The plate's colours, BGR 0..255."""
    grey = plate.grey[..., None].astype(np.float32)
    if kind == "colour":
        low, high = np.percentile(plate.grey, (5, 95))
        grey = np.clip((grey - low) / (high - low), 0.0, 1.0)
        return np.asarray(np.array(BLUE) + (np.array(ORANGE) - np.array(BLUE)) * grey, dtype=np.float32)
    if kind == "dim":
        grey = DIM[0] + (DIM[1] - DIM[0]) * grey
    return np.asarray(np.repeat(grey * 255.0, 3, axis=2), dtype=np.float32)


def paste(picture: Picture, colours: NDArray[np.float32], quad: Quad, rng: np.random.Generator) -> None:
    """Lays a plate on a holder into the picture, in place."""
    size = (picture.shape[1], picture.shape[0])
    holder = quad.mean(axis=0) + (quad - quad.mean(axis=0)) * (1.5, 1.9)
    tone = float(rng.uniform(20, 70))
    cv2.fillPoly(picture, [np.round(holder * 16).astype(np.int32)], (tone, tone, tone), cv2.LINE_AA, 4)
    width = float(np.linalg.norm(quad[1] - quad[0]))
    scale = min(1.0, width * 1.2 / colours.shape[1])
    small = cv2.resize(colours, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    h, w = small.shape[:2]
    source = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32) - np.float32(0.5)
    matrix = cv2.getPerspectiveTransform(source, (quad - 0.5).astype(np.float32))
    warped = cv2.warpPerspective(small, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cover = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(cover, [np.round((quad - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    alpha = (cover / 255.0)[..., None]
    picture[:] = np.clip(np.rint(picture * (1 - alpha) + warped * alpha), 0, 255).astype(np.uint8)


def compose(number: int, kit: Kit) -> tuple[Picture, list[Placed]]:
    """One picture and what is on it; plates stand side by side, the camera sees each from another direction."""
    _, light, size, kind, widths = FRAMES[number]
    rng = np.random.default_rng((SEED, number))
    picture = empty_road(size, light, number)
    placed = []
    for i, width in enumerate(widths):
        plate = drawn((SEED, number, i), kit, kind)
        aspect = plate.grey.shape[1] / plate.grey.shape[0]
        quad = plate_quad(rng, aspect, 0.7) * width
        low, high = quad.min(axis=0), quad.max(axis=0)
        column = size[0] / len(widths)
        x = column * (i + 0.5) + rng.uniform(-0.1, 0.1) * max(0.0, column - (high - low)[0])
        y = size[1] * rng.uniform(0.35, 0.8)
        quad = quad - (low + high) / 2 + (x, y)
        colours = shown(plate, kind)
        if light == "night":
            colours = colours * np.float32(rng.uniform(0.7, 1.0))
        paste(picture, colours, quad, rng)
        placed.append(Placed(plate.text, quad, plate.two_rows))
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.6), dtype=np.uint8)
    return picture, placed


def kit() -> Kit:
    """Die sets of our own; no artwork."""
    rng = np.random.default_rng(SEED)
    dies: list[DieSet] = [random_dies(rng) for _ in range(DIES)]
    return Kit(dies, [])


def generate(folder: Path) -> None:
    """Writes the pictures and truth.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    lines = []
    for number, (name, light, _, kind, _) in enumerate(FRAMES):
        picture, placed = compose(number, kit())
        cv2.imwrite(str(folder / f"{name}.webp"), picture, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
        lines.append(line_of(f"{name}.webp", light, kind, picture, placed))
    (folder / "truth.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def line_of(name: str, light: str, kind: str, picture: Picture, placed: list[Placed]) -> str:
    """One line of truth, in the form of the data's manifests with corners added."""
    plates = []
    for one in placed:
        low, high = one.corners.min(axis=0), one.corners.max(axis=0)
        box = [round(float(v), 1) for v in (*low, *high)]
        corners = [[round(float(v), 2) for v in corner] for corner in one.corners]
        plates.append({"box": box, "text": one.text, "quality": "clear", "corners": corners})
    height, width = picture.shape[:2]
    line = {"image": name, "width": width, "height": height, "light": light, "kind": kind, "plates": plates}
    return json.dumps(line, separators=(",", ":"))


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
