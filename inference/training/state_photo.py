# SPDX-License-Identifier: Apache-2.0
"""From a flat plate with its surroundings to what a camera would have given the state net."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.preprocess import normalise
from inference.state import STATE_SIZE, Colour, plate_quad

Floats = NDArray[np.float32]
CANVAS = (192, 96)  # width, height in px of a plate with its surroundings
CANVAS_MARGIN = 0.2  # of the plate's size, on every side
GREY_SHARE = 0.2  # of the samples: night and near infrared give no colour
_NOISE = np.random.default_rng(1).normal(0, 1, 1 << 18).astype(np.float32)
_MIN_WIDTH, _MAX_WIDTH = 50.0, 170.0  # px of a plate in the picture


def canvas_quad() -> Floats:
    """Corners (4, 2) px of the plate on a canvas."""
    size = np.array(CANVAS, np.float32)
    low, high = (
        size * CANVAS_MARGIN / (1 + 2 * CANVAS_MARGIN),
        size * (1 + CANVAS_MARGIN) / (1 + 2 * CANVAS_MARGIN),
    )
    return np.array([low, [high[0], low[1]], high, [low[0], high[1]]], np.float32)


def _jittered(rng: np.random.Generator, amount: float) -> Floats:
    """Where the plate's corners come to lie in the unit square, off by what the corner net gets wrong."""
    quad = plate_quad((1, 1)) + rng.normal(0, 0.012 * amount, (4, 2)) * (1.0, 1.6)
    centre, scale = rng.normal(0, 0.012 * amount, 2), 1 + rng.normal(0, 0.03 * amount, 2) * (1.0, 1.5)
    return np.asarray((quad - 0.5) * scale + 0.5 + centre, np.float32)


def view(rng: np.random.Generator, canvas: Colour, width: float, amount: float) -> Colour:
    """The crop of a canvas at the resolution of a plate `width` px wide, corners off by `amount`."""
    squeeze = float(np.exp(rng.normal(0, 0.15)))
    size = np.maximum(np.array([width, width / 2 * squeeze]) * (1.06, 1.1), (12, 6))
    shown = np.round(size).astype(int)
    shrink = np.minimum(1.0, size * 1.3 / np.array(CANVAS))
    small = tuple(int(v) for v in np.maximum(2, np.round(np.array(CANVAS) * shrink)))
    part = cv2.resize(canvas, small, interpolation=cv2.INTER_AREA)
    source = canvas_quad() * (np.array(small) / np.array(CANVAS)).astype(np.float32)
    target = _jittered(rng, amount) * shown.astype(np.float32)
    matrix = cv2.getPerspectiveTransform(source - np.float32(0.5), target - np.float32(0.5))
    out = cv2.warpPerspective(
        part, matrix, tuple(shown.tolist()), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(out, np.uint8)


def _light(rng: np.random.Generator, picture: Floats) -> Floats:
    """Shadow, falloff or glare over a picture (h, w, 3) 0..1."""
    height, width = picture.shape[:2]
    kind = rng.random()
    if kind < 0.2:  # a straight shadow, hard or soft
        angle, at = rng.uniform(0, 2 * np.pi), rng.uniform(-0.35, 0.35)
        ys, xs = np.ogrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
        side = np.clip((xs * np.cos(angle) + ys * np.sin(angle) - at) * rng.uniform(3, 60), -1, 1)
        light = 1 - (side + 1) / 2 * rng.uniform(0.25, 0.75)
        return np.asarray(picture * light[..., None], np.float32)
    if kind < 0.4:  # falloff, reflections of sky and ground
        coarse = rng.uniform(0.7, 1.3, (2, 3)).astype(np.float32)
        light = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.asarray(picture * light[..., None], np.float32)
    if kind < 0.47:
        ys, xs = np.ogrid[0 : 1 : height * 1j, 0 : 2 : width * 1j]
        spot = np.exp(
            -((xs - rng.uniform(0, 2)) ** 2 + (ys - rng.uniform(0, 1)) ** 2) / rng.uniform(0.02, 0.3)
        )
        return np.asarray(picture + spot[..., None] * rng.uniform(0.2, 1.0), np.float32)
    return picture


def _colours(rng: np.random.Generator, picture: Floats, strength: float) -> Floats:
    """White balance, saturation, exposure and contrast; a share of all pictures loses its colours."""
    if rng.random() < GREY_SHARE:
        mix = rng.dirichlet((1.2, 2.0, 1.2)) if rng.random() < 0.5 else np.array([0.114, 0.587, 0.299])
        grey = picture @ mix.astype(np.float32)
        if rng.random() < 0.3:  # retroreflective sheeting under a lamp: inks fade, the ground saturates
            grey = np.clip(grey * rng.uniform(1.2, 2.0), 0, 1)
        picture = np.repeat(grey[..., None], 3, axis=2)
    else:
        grey = picture.mean(axis=2, keepdims=True)
        picture = grey + (picture - grey) * np.float32(rng.uniform(1 - 0.75 * strength, 1 + 0.25 * strength))
        picture = picture * np.exp(rng.normal(0, 0.09 * strength, 3)).astype(np.float32)
    picture = np.clip(picture, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.3 * strength)))
    gain, lift = np.exp(rng.normal(-0.15, 0.35)) * strength + 1 - strength, rng.uniform(0, 0.25) * strength
    return np.asarray(picture * np.float32(gain) * np.float32(1 - lift) + np.float32(lift), np.float32)


def _blurred(rng: np.random.Generator, picture: Floats) -> Floats:
    kind = rng.random()
    if kind < 0.4:
        sigma = float(rng.uniform(0.25, 1.0))
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)
    if kind < 0.48:
        length = int(rng.integers(2, 6))
        kernel = np.full((1, length), 1 / length, np.float32)
        return np.asarray(cv2.filter2D(picture, -1, kernel if rng.random() < 0.6 else kernel.T), np.float32)
    return picture


def _noise(rng: np.random.Generator, size: int) -> Floats:
    """`size` normal numbers out of a store: drawing them anew took half of the time."""
    start = int(rng.integers(len(_NOISE) - size))
    return _NOISE[start : start + size]


def _stored(rng: np.random.Generator, image: Colour) -> Colour:
    """Through JPEG, as cameras and web sites do."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8) if done else image


def photograph(
    rng: np.random.Generator, canvas: Colour, real_width: float | None = None, least: float = _MIN_WIDTH
) -> Colour:
    """(96, 192, 3) canvas -> (72, 144, 3) as the device would cut it out, normalised.

    `real_width` is that of a real plate in its picture, px: such canvases are disturbed less, and only sharper
    ones lose resolution. None stands for artwork, seen at least `least` px wide.
    """
    strength = 1.0 if real_width is None else 0.6
    width = float(np.exp(rng.uniform(np.log(least), np.log(_MAX_WIDTH))))
    if real_width is not None and (real_width < width or rng.random() < 0.5):
        width = min(real_width, _MAX_WIDTH)
    picture = view(rng, canvas, width, 1.0).astype(np.float32) / np.float32(255)
    if rng.random() < 0.8 * strength:
        picture = _light(rng, picture)
    picture = _colours(rng, picture, strength)
    if rng.random() < strength:
        picture = _blurred(rng, picture)
    if rng.random() < 0.5:
        picture = picture + _noise(rng, picture.size).reshape(picture.shape) * rng.uniform(
            0.004, 0.045 * strength
        )
    image = np.asarray(np.clip(picture * 255, 0, 255), np.uint8)
    if rng.random() < 0.6 * strength:
        image = _stored(rng, image)
    method = cv2.INTER_LINEAR if image.shape[1] < STATE_SIZE[0] else cv2.INTER_AREA
    return normalise(np.asarray(cv2.resize(image, STATE_SIZE, interpolation=method), np.uint8))
