# SPDX-License-Identifier: Apache-2.0
"""Our own struck characters: centre lines of a round tool, in a box 40 wide and 88 high, no font file.

A glyph is a list of strokes; a stroke is a list of (x, y[, radius]) whose corners are rounded by the
radius; a stroke that ends in CLOSE is a ring.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Point = tuple[float, ...]
Stroke = list[Point]
Mask = NDArray[np.uint8]

CLOSE: Final[Point] = (-1.0,)
BOX_H: Final = 88.0  # height of the centre lines
TOOL: Final = 11.5  # stroke width in the same units
FULL_H: Final = BOX_H + TOOL  # a struck character's height
SHIFT: Final = 4  # fractional bits of OpenCV's drawing
ARC_STEPS: Final = 7

R: Final = 18.0
_RING: Final[Stroke] = [(0, 0, R), (40, 0, R), (40, 88, R), (0, 88, R), CLOSE]
_BOWL: Final[Stroke] = [(0, 0), (40, 0, 19), (40, 47, 19), (0, 47)]
_GLYPHS: Final[dict[str, list[Stroke]]] = {
    "0": [_RING],
    "1": [[(9, 17), (25, 0), (25, 88)]],
    "2": [[(0, 23), (0, 0, R), (40, 0, R), (40, 40, 22), (0, 72, 10), (0, 88), (40, 88)]],
    "3": [
        [(0, 21), (0, 0, R), (38, 0, R), (38, 42, 17), (15, 42)],
        [(15, 42), (40, 42, R), (40, 88, R), (0, 88, R), (0, 67)],
    ],
    "4": [[(31, 88), (31, 0), (0, 64), (43, 64)]],
    "5": [[(37, 0), (4, 0), (2, 42), (10, 34, 6), (40, 34, R), (40, 88, R), (0, 88, R), (0, 68)]],
    "6": [
        [(39, 19), (39, 0, R), (0, 0, R), (0, 88, R), (40, 88, R), (40, 37, R), (0, 37, R), (0, 55)],
    ],
    "7": [[(0, 0), (41, 0), (15, 88)]],
    "8": [
        [(2, 0, 17), (38, 0, 17), (38, 42, 17), (2, 42, 17), CLOSE],
        [(0, 42, R), (40, 42, R), (40, 88, R), (0, 88, R), CLOSE],
    ],
    "9": [
        [(1, 69), (1, 88, R), (40, 88, R), (40, 0, R), (0, 0, R), (0, 51, R), (40, 51, R), (40, 33)],
    ],
    "A": [[(-2, 88), (20, 0), (42, 88)], [(6, 59), (34, 59)]],
    "B": [[(0, 0), (37, 0, R), (37, 42, R), (0, 42)], [(0, 42), (40, 42, R), (40, 88, R), (0, 88), (0, 0)]],
    "C": [[(40, 23), (40, 0, R), (0, 0, R), (0, 88, R), (40, 88, R), (40, 65)]],
    "D": [[(0, 0), (40, 0, 22), (40, 88, 22), (0, 88), CLOSE]],
    "E": [[(39, 0), (0, 0), (0, 88), (39, 88)], [(0, 43), (31, 43)]],
    "F": [[(39, 0), (0, 0), (0, 88)], [(0, 44), (31, 44)]],
    "G": [[(40, 22), (40, 0, R), (0, 0, R), (0, 88, R), (40, 88, R), (40, 49), (22, 49)]],
    "H": [[(0, 0), (0, 88)], [(40, 0), (40, 88)], [(0, 44), (40, 44)]],
    "I": [[(20, 0), (20, 88)], [(8, 0), (32, 0)], [(8, 88), (32, 88)]],
    "J": [[(36, 0), (36, 88, R), (0, 88, R), (0, 64)]],
    "K": [[(0, 0), (0, 88)], [(40, 0), (1, 53)], [(13, 38), (41, 88)]],
    "L": [[(0, 0), (0, 88), (39, 88)]],
    "M": [[(-2, 88), (-2, 0), (20, 54), (42, 0), (42, 88)]],
    "N": [[(0, 88), (0, 0), (40, 88), (40, 0)]],
    "O": [[(0, 0, 20), (40, 0, 20), (40, 88, 20), (0, 88, 20), CLOSE]],
    "P": [[*_BOWL], [(0, 0), (0, 88)]],
    "Q": [[(0, 0, 20), (40, 0, 20), (40, 88, 20), (0, 88, 20), CLOSE], [(24, 68), (44, 92)]],
    "R": [[*_BOWL], [(0, 0), (0, 88)], [(19, 47), (41, 88)]],
    "S": [[(39, 22), (39, 0, R), (0, 0, R), (0, 40, 18), (40, 47, 18), (40, 88, R), (0, 88, R), (0, 66)]],
    "T": [[(-1, 0), (41, 0)], [(20, 0), (20, 88)]],
    "U": [[(0, 0), (0, 88, R), (40, 88, R), (40, 0)]],
    "V": [[(-2, 0), (20, 88), (42, 0)]],
    "W": [[(-3, 0), (6, 88), (20, 34), (34, 88), (43, 0)]],
    "X": [[(-1, 0), (41, 88)], [(41, 0), (-1, 88)]],
    "Y": [[(-2, 0), (20, 46), (42, 0)], [(20, 46), (20, 88)]],
    "Z": [[(0, 0), (40, 0), (0, 88), (40, 88)]],
    "-": [[(6, 47), (24, 47)]],
    ".": [[(8, 87), (9, 87)]],
}
NARROW: Final = {"1": 34.0, "I": 34.0, "-": 30.0, ".": 18.0, " ": 24.0}
WIDTH: Final = 40.0
DRAWABLE: Final = frozenset(_GLYPHS) | {" "}


def _corner(before: Point, corner: Point, after: Point) -> list[tuple[float, float]]:
    """The corner's points: itself, or a fillet of its radius that leaves both legs smoothly."""
    at = np.array(corner[:2], dtype=float)
    if len(corner) < 3:
        return [(float(at[0]), float(at[1]))]
    legs = [np.array(other[:2], dtype=float) - at for other in (before, after)]
    lengths = [float(np.linalg.norm(leg)) for leg in legs]
    reach = min(corner[2], 0.5 * lengths[0], 0.5 * lengths[1])
    first, last = (at + leg / length * reach for leg, length in zip(legs, lengths, strict=True))
    bend = []
    for step in range(ARC_STEPS + 1):
        t = step / ARC_STEPS
        # a rational quadratic with weight sqrt(1/2) is a true quarter circle at a right angle
        weights = np.array([(1 - t) ** 2, 2 * t * (1 - t) * 0.70711, t**2])
        point = (weights[0] * first + weights[1] * at + weights[2] * last) / weights.sum()
        bend.append((float(point[0]), float(point[1])))
    return bend


def _path(stroke: Stroke) -> tuple[list[tuple[float, float]], bool]:
    closed = stroke[-1] == CLOSE
    points = stroke[:-1] if closed else stroke
    path: list[tuple[float, float]] = []
    for index, point in enumerate(points):
        if closed or 0 < index < len(points) - 1:
            path += _corner(points[index - 1], point, points[(index + 1) % len(points)])
        else:
            path.append((float(point[0]), float(point[1])))
    return path, closed


_PATHS: Final = {name: [_path(stroke) for stroke in strokes] for name, strokes in _GLYPHS.items()}


def advance(char: str, gap: float) -> float:
    """Units from this character's origin to the next one's."""
    return NARROW.get(char, WIDTH) + TOOL + gap


def text_width(text: str, gap: float) -> float:
    """Width of a line of characters in glyph units, tool width included."""
    return sum(advance(char, gap) for char in text) - gap if text else 0.0


def draw_text(
    mask: Mask, text: str, origin: tuple[float, float], scale: tuple[float, float], *, gap: float, tool: float
) -> None:
    """Strikes a line into a uint8 mask; `origin` is its top left in pixels, `scale` pixels per unit (x, y)."""
    x, y = origin
    thickness = max(1, round(tool * (scale[0] + scale[1]) / 2))
    for char in text:
        narrow = (WIDTH - NARROW.get(char, WIDTH)) / 2 if char in "1I" else 0.0
        for path, closed in _PATHS.get(char, []):
            points = [
                (x + (px - narrow + TOOL / 2) * scale[0], y + (py + TOOL / 2) * scale[1]) for px, py in path
            ]
            fixed = np.round(np.array(points) * (1 << SHIFT)).astype(np.int32)
            cv2.polylines(mask, [fixed], closed, (255,), thickness, cv2.LINE_AA, SHIFT)
        x += advance(char, gap) * scale[0]
