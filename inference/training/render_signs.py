# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="call-overload"
"""Signs that stand on plates and are not read."""
# OpenCV's stubs ask for a sequence where a grey level is a plain number, hence the mypy line above.

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def wheelchair(
    canvas: NDArray[np.uint8] | NDArray[np.float32], left: float, top: float, size: float, tone: float
) -> None:
    """The access symbol, `size` px high: head, back, lap, leg, wheel."""
    thick = max(1, round(size * 0.09))

    def at(x: float, y: float) -> tuple[int, int]:
        return round(left + x * size), round(top + y * size)

    cv2.circle(canvas, at(0.4, 0.1), max(1, round(size * 0.08)), tone, -1, cv2.LINE_AA)
    body = [at(0.4, 0.2), at(0.43, 0.52), at(0.68, 0.54), at(0.8, 0.84), at(0.92, 0.8)]
    outline = [np.array(body, np.int32)]
    cv2.polylines(canvas, outline, isClosed=False, color=tone, thickness=thick, lineType=cv2.LINE_AA)
    cv2.line(canvas, at(0.42, 0.35), at(0.62, 0.36), tone, thick, cv2.LINE_AA)
    cv2.ellipse(
        canvas, at(0.4, 0.68), (round(size * 0.27), round(size * 0.27)), 0, 20, 255, tone, thick, cv2.LINE_AA
    )


_NUMERALS = (  # of eastern Arabic script, as strokes in a unit box
    ((0.5, 0.05, 0.5, 0.95),),
    ((0.25, 0.95, 0.25, 0.1, 0.4, 0.35, 0.75, 0.3, 0.8, 0.05),),
    ((0.2, 0.95, 0.2, 0.05, 0.35, 0.3, 0.5, 0.05, 0.65, 0.3, 0.85, 0.05),),
    ((0.8, 0.1, 0.3, 0.15, 0.6, 0.45, 0.2, 0.65, 0.8, 0.9),),
    ((0.5, 0.2, 0.15, 0.7, 0.5, 0.95, 0.85, 0.7, 0.5, 0.2),),
    ((0.1, 0.05, 0.8, 0.1, 0.8, 0.95),),
    ((0.1, 0.05, 0.5, 0.95, 0.9, 0.05),),
    ((0.1, 0.95, 0.5, 0.05, 0.9, 0.95),),
    ((0.8, 0.95, 0.8, 0.1, 0.3, 0.1, 0.2, 0.4, 0.75, 0.45),),
    ((0.4, 0.5, 0.6, 0.5),),
)


def numeral(rng: np.random.Generator, height: int) -> NDArray[np.uint8]:
    """A digit that is not one of 0 to 9, as coverage."""
    mask = np.zeros((height, max(6, round(height * rng.uniform(0.4, 0.6)))), np.uint8)
    thick = max(1, round(height * rng.uniform(0.09, 0.15)))
    room = np.array([mask.shape[1] - thick, height - thick])
    for stroke in _NUMERALS[int(rng.integers(len(_NUMERALS)))]:
        points = np.reshape(stroke, (-1, 2)) * room + thick / 2
        cv2.polylines(
            mask, [points.astype(np.int32)], isClosed=False, color=255, thickness=thick, lineType=cv2.LINE_AA
        )
    return mask


def script(rng: np.random.Generator, height: int) -> NDArray[np.uint8]:
    """A word in joined letters of no alphabet that is read: waves along a line, bows, bars and dots, as coverage."""
    width = max(12, round(height * rng.uniform(0.7, 2.2)))
    mask = np.zeros((height, width), np.uint8)
    thick = max(1, round(height * rng.uniform(0.05, 0.11)))
    x, line = float(thick), height * rng.uniform(0.5, 0.7)
    while x < width - 2 * thick:
        step = height * rng.uniform(0.12, 0.4)
        points = np.array([x, line]) + np.array(
            [[0, 0], [step * 0.5, -step * rng.uniform(-0.9, 1.2)], [step, 0]]
        )
        if rng.random() < 0.35:  # a bar up from the line, or a tail below it
            points = np.vstack([points, [[x + step, line + height * rng.choice([-0.42, 0.26])]]])
        cv2.polylines(
            mask, [points.astype(np.int32)], isClosed=False, color=255, thickness=thick, lineType=cv2.LINE_AA
        )
        for _ in range(int(rng.integers(3))):
            dot = (round(x + step * rng.random()), round(line + height * rng.choice([-0.28, 0.2])))
            cv2.circle(mask, dot, thick, 255, -1, cv2.LINE_AA)
        x += step * (1.0 if rng.random() < 0.8 else 1.5)
    return mask


def seal(rng: np.random.Generator, height: int) -> NDArray[np.uint8]:
    """An inspection's sticker between characters: a disc or a label with a ring, a cross or figures on it."""
    tall = max(8, round(height * rng.uniform(0.4, 0.95)))
    wide = max(7, round(tall * rng.uniform(0.55, 1.1)))
    label = np.zeros((tall, wide), np.uint8)
    middle, half = (wide // 2, tall // 2), (wide // 2 - 1, tall // 2 - 1)
    thick = -1 if rng.random() < 0.6 else max(1, tall // 12)
    if rng.random() < 0.5:
        cv2.ellipse(label, middle, half, 0, 0, 360, 255, thick, cv2.LINE_AA)
    else:
        cv2.rectangle(label, (0, 0), (wide - 1, tall - 1), 255, thick)
    ink = 0 if thick < 0 else 255
    kind = rng.random()
    if kind < 0.4:
        figures = "".join(rng.choice(list("0123456789"), 2))
        cv2.putText(
            label, figures, (wide // 6, tall * 2 // 3), 1, wide / 30, ink, max(1, tall // 30), cv2.LINE_AA
        )
    elif kind < 0.7:
        inner = (max(1, half[0] * 3 // 5), max(1, half[1] * 3 // 5))
        cv2.ellipse(label, middle, inner, 0, 0, 360, ink, max(1, tall // 14), cv2.LINE_AA)
    else:
        cv2.line(label, (wide // 5, middle[1]), (wide * 4 // 5, middle[1]), ink, max(1, tall // 12))
        cv2.line(label, (middle[0], tall // 5), (middle[0], tall * 4 // 5), ink, max(1, tall // 12))
    mask = np.zeros((height, wide), np.uint8)
    top = int((height - tall) * rng.uniform(0.2, 0.8))
    mask[top : top + tall] = (label * rng.uniform(0.4, 1.0)).astype(np.uint8)
    return mask


def stripes(rng: np.random.Generator, plane: NDArray[np.float32], left: int, right: int) -> None:
    """Bars across a strip of the plate, some joined by an upright: a flag, a fence, a chequered rim."""
    height = plane.shape[0]
    top, bottom = height * rng.uniform(0.05, 0.3), height * rng.uniform(0.7, 0.95)
    pitch = (bottom - top) / int(rng.integers(3, 8))
    tone = float(rng.uniform(0, 1))
    for y in np.arange(top, bottom, pitch):
        lean = rng.normal(0, pitch * 0.1)
        bar = [
            [left, y + lean],
            [right, y - lean],
            [right, y - lean + pitch * 0.5],
            [left, y + lean + pitch * 0.5],
        ]
        cv2.fillPoly(plane, [np.array(bar, np.int32)], tone, cv2.LINE_AA)
    if rng.random() < 0.5:
        x = int(rng.choice([left, right, (left + right) // 2]))
        cv2.line(plane, (x, int(top)), (x, int(bottom)), tone, max(1, (right - left) // 6), cv2.LINE_AA)
