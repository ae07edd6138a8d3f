# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="call-overload"
"""Strikes one row of a serial: characters from the dies, stacks of small ones, and the signs between them."""
# OpenCV's stubs ask for a sequence where a grey level is a plain number, hence the mypy line above.

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .glyphs_dies import DieSet
from .render_signs import numeral, script, seal, wheelchair


def _emblem(rng: np.random.Generator, height: int) -> NDArray[np.uint8]:
    """A small sign between characters: dot, ring, access symbol, polygon (a state's outline, a tree, a seal)."""
    if rng.random() < 0.1:
        size = max(8, int(height * rng.uniform(0.45, 0.95)))
        symbol = np.zeros((height, size), np.uint8)
        wheelchair(symbol, 0, (height - size) / 2, size, 255)
        return symbol
    if rng.random() < 0.3:
        return seal(rng, height)
    size = max(6, int(height * rng.uniform(0.25, 0.75)))
    mask = np.zeros((height, size), np.uint8)
    centre = np.array([size / 2, height * rng.uniform(0.4, 0.65)])
    count = int(rng.integers(4, 20))
    angle = np.sort(rng.uniform(0, 2 * np.pi, count))
    radius = size / 2 * rng.uniform(0.35, 1.0, count)
    points = centre + np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]
    if rng.random() < 0.3:
        cv2.circle(
            mask, (size // 2, int(centre[1])), size // 3, 255, -1 if rng.random() < 0.6 else 2, cv2.LINE_AA
        )
    else:
        cv2.fillPoly(mask, [points.astype(np.int32)], 255, cv2.LINE_AA)
    return mask


def _sign(rng: np.random.Generator, sign: str, height: int) -> NDArray[np.uint8]:
    unit = max(2, height // 8)
    if sign in " _":
        return np.zeros(
            (height, int(height * (0.28 if sign == " " else 0.12) * rng.uniform(0.7, 1.5)) + 1), np.uint8
        )
    drawn = {"*": _emblem, "=": script, "&": numeral}.get(sign)
    if drawn is not None:
        return drawn(rng, height)
    mask = np.zeros((height, unit * 3), np.uint8)
    if sign == "-":
        half = int(unit * rng.uniform(0.5, 1.4))
        cv2.rectangle(
            mask,
            (unit * 3 // 2 - half, height // 2 - unit // 2),
            (unit * 3 // 2 + half, height // 2 + unit // 2),
            255,
            -1,
        )
    elif sign == ".":
        cv2.circle(
            mask, (unit * 3 // 2, int(height * rng.uniform(0.4, 0.75))), unit * 3 // 4, 255, -1, cv2.LINE_AA
        )
    elif sign == "<":
        mask = np.zeros((height, height // 2), np.uint8)
        quarter = height // 8
        for x in (quarter, 3 * quarter):
            cv2.circle(mask, (x, height // 2 - quarter), quarter, 255, -1, cv2.LINE_AA)
        tip = np.array(
            [
                [0, height // 2 - quarter // 2],
                [4 * quarter, height // 2 - quarter // 2],
                [2 * quarter, height * 3 // 4],
            ]
        )
        cv2.fillPoly(mask, [tip], 255, cv2.LINE_AA)
    return mask


def _glyph(dies: DieSet, token: str, height: int, squeeze: float) -> NDArray[np.uint8]:
    mask = dies.masks[token]
    width = max(3, round(mask.shape[1] * height / mask.shape[0] * squeeze))
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _stack(rng: np.random.Generator, dies: DieSet, token: str, height: int) -> NDArray[np.uint8]:
    """Small characters over one another: filling the height, with air between them, or going down like stairs."""
    each = int(height * 0.94 / len(token))
    filling = rng.random() < 0.4
    tall = max(6, int(each * (rng.uniform(0.8, 0.94) if filling else rng.uniform(0.55, 0.8))))
    parts = [_glyph(dies, c, tall, rng.uniform(0.9, 1.3)) for c in token]
    widest = max(p.shape[1] for p in parts)
    stair = int(widest * rng.uniform(0.3, 0.95)) if rng.random() < 0.25 else 0
    mask = np.zeros((height, widest + stair * (len(parts) - 1)), np.uint8)
    inset = (each - tall) // 2 if filling or rng.random() < 0.5 else int(rng.integers(each - tall + 1))
    for i, part in enumerate(parts):
        x = stair * i + (widest - part.shape[1]) // 2
        mask[i * each + inset :][:tall, x : x + part.shape[1]] = part
    return mask


def _line(rng: np.random.Generator, dies: DieSet, token: str, tall: int) -> NDArray[np.uint8]:
    parts = [np.pad(_glyph(dies, c, tall, rng.uniform(0.9, 1.3)), ((0, 0), (0, 2))) for c in token]
    return np.asarray(np.hstack(parts), np.uint8)


def _small(rng: np.random.Generator, dies: DieSet, token: str, height: int) -> NDArray[np.uint8]:
    """Small characters in line, at the top, the middle or near the foot of the row."""
    tall = max(6, int(height * rng.uniform(0.28, 0.65)))
    line = _line(rng, dies, token, tall)
    top = int((height - tall) * rng.uniform(0, 0.8))
    return np.pad(line, ((top, height - tall - top), (0, 0)))


def _reversed(rng: np.random.Generator, dies: DieSet, token: str, height: int) -> NDArray[np.uint8]:
    """Characters left open in a filled label: a code beside the serial."""
    tall = max(8, int(height * rng.uniform(0.6, 1.0)))
    figures = _line(rng, dies, token, max(6, int(tall * rng.uniform(0.6, 0.85))))
    label = np.full((tall, figures.shape[1] + int(tall * rng.uniform(0.15, 0.6))), 255, np.uint8)
    x, y = (label.shape[1] - figures.shape[1]) // 2, (tall - figures.shape[0]) // 2
    label[y : y + figures.shape[0], x : x + figures.shape[1]] -= figures
    top = int((height - tall) * rng.uniform(0, 1))
    return np.pad(label, ((top, height - tall - top), (0, 0)))


def _below_script(rng: np.random.Generator, dies: DieSet, token: str, height: int) -> NDArray[np.uint8]:
    """A small character with another script's above it."""
    tall = max(6, int(height * rng.uniform(0.38, 0.5)))
    letter = _line(rng, dies, token, tall)
    above = cv2.resize(
        script(rng, height), (letter.shape[1], height - tall - 1), interpolation=cv2.INTER_AREA
    )
    return np.vstack([above, np.zeros((1, letter.shape[1]), np.uint8), letter])


_SPECIAL = {"~": _small, "!": _reversed, "%": _below_script}


def serial_mask(
    rng: np.random.Generator, dies: DieSet, row: tuple[str, ...], height: int, room: int
) -> NDArray[np.uint8]:
    """The coverage of one row of tokens, `height` px high and at most `room` px wide."""
    gap = rng.uniform(0.05, 0.2) * height
    squeeze = rng.uniform(0.9, 1.1)
    parts: list[NDArray[np.uint8]] = []
    for token in row:
        if len(token) > 1 and token[0] in _SPECIAL:
            parts.append(_SPECIAL[token[0]](rng, dies, token[1:], height))
        elif len(token) > 1:
            parts.append(_stack(rng, dies, token, height))
        elif token in dies.masks:
            parts.append(_glyph(dies, token, height, squeeze))
        else:
            parts.append(_sign(rng, token, height))
    total = sum(p.shape[1] for p in parts)
    spare = room - total
    count = max(1, len(parts) - 1)
    if spare < gap * 0.5 * count:
        gap = 0.06 * height
    gap = min(gap, max(spare / count, 0.05 * height))
    line: NDArray[np.uint8] = np.zeros((height, int(total + gap * count) + 2), np.uint8)
    x = 0.0
    for part in parts:
        start = int(x)
        line[:, start : start + part.shape[1]] = np.maximum(line[:, start : start + part.shape[1]], part)
        x += part.shape[1] + gap
    if line.shape[1] > room:
        line = np.asarray(cv2.resize(line, (room, height), interpolation=cv2.INTER_AREA), np.uint8)
    return line
