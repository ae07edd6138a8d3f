# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="call-overload"
"""What makes one crop look unlike the next: light, loss of resolution, blur, noise, things stuck on the plate."""
# OpenCV's stubs ask for a sequence where a grey level is a plain number, hence the mypy line above.

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.preprocess import READER_SIZE, normalise

Crop = NDArray[np.uint8]
"""(48, 144) grey."""


def shade(rng: np.random.Generator, crop: Crop) -> Crop:
    """Uneven light: a smooth field over the crop."""
    coarse = rng.uniform(0.45, 1.3, (int(rng.integers(2, 4)), int(rng.integers(2, 6)))).astype(np.float32)
    field = cv2.resize(coarse, READER_SIZE, interpolation=cv2.INTER_CUBIC)
    return np.clip(crop * field, 0, 255).astype(np.uint8)


def cover(rng: np.random.Generator, crop: Crop) -> Crop:
    """A patch over the rim or the small print, above or below the serial; seldom a thin bar across it."""
    crop = crop.copy()
    height, width = crop.shape
    w, h = int(rng.integers(6, 34)), int(rng.integers(3, 10))
    x = int(rng.integers(0, width - w))
    y = int(rng.integers(0, 5)) if rng.random() < 0.5 else height - h - int(rng.integers(0, 5))
    tone = int(rng.integers(0, 256))
    crop[y : y + h, x : x + w] = tone
    if rng.random() < 0.5:
        cv2.putText(crop, "AB12345678"[int(rng.integers(10))], (x + 1, y + h - 1), 1, h / 12, 255 - tone, 1)
    return crop


def smear(rng: np.random.Generator, crop: Crop) -> Crop:
    """Motion along a random direction, 2 to 6 px."""
    size = int(rng.integers(3, 8))
    kernel = np.zeros((size, size), np.float32)
    angle = rng.uniform(0, np.pi)
    dx, dy = np.cos(angle) * size, np.sin(angle) * size
    middle = size // 2
    cv2.line(
        kernel, (round(middle - dx), round(middle - dy)), (round(middle + dx), round(middle + dy)), 1.0, 1
    )
    return np.asarray(cv2.filter2D(crop, -1, kernel / kernel.sum()), np.uint8)


def coarsen(rng: np.random.Generator, crop: Crop) -> Crop:
    """As if the plate were 40 to 130 px wide."""
    factor = float(np.exp(rng.uniform(np.log(0.3), np.log(0.9))))
    small = cv2.resize(crop, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    method = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(small, READER_SIZE, interpolation=method), np.uint8)


def _blurred(rng: np.random.Generator, crop: Crop) -> Crop:
    kind = rng.random()
    if kind < 0.2:
        return coarsen(rng, crop)
    if kind < 0.3:
        sx, sy = rng.uniform(0.2, 1.6), rng.uniform(0.2, 1.2)
        return np.asarray(cv2.GaussianBlur(crop, (0, 0), float(sx), sigmaY=float(sy)), np.uint8)
    if kind < 0.38:
        soft = cv2.GaussianBlur(crop, (0, 0), 1.5)
        return np.asarray(cv2.addWeighted(crop, 1.8, soft, -0.8, 0), np.uint8)
    return smear(rng, crop) if kind < 0.43 else crop


def tone(rng: np.random.Generator, crop: Crop) -> Crop:
    """Random light, loss of resolution, blur, noise and occasional inversion, then the device's normalisation."""
    if rng.random() < 0.35:
        table = (np.linspace(0, 1, 256) ** float(np.exp(rng.normal(0, 0.4))) * 255).astype(np.uint8)
        crop = table[crop]
    if rng.random() < 0.12:
        crop = shade(rng, crop)
    if rng.random() < 0.08:
        crop = cover(rng, crop)
    crop = _blurred(rng, crop)
    if rng.random() < 0.15:
        spread = float(rng.uniform(0.02, 0.12)) * max(20.0, float(crop.std()) * 3)
        crop = np.clip(crop + rng.normal(0, spread, crop.shape), 0, 255).astype(np.uint8)
    if rng.random() < 0.04:
        crop = 255 - crop
    return normalise(crop)
