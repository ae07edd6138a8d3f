# SPDX-License-Identifier: Apache-2.0
"""Light, optics and compression changes for the detector's training pictures."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.training.detector_data import Boxes, Gray

Float = NDArray[np.float32]


def motion_kernel(length: int, angle: float) -> Float:
    """A line of `length` px at `angle` degrees, summing to one."""
    kernel: Float = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), angle, 1)
    kernel = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), np.float32)
    return kernel / max(float(kernel.sum()), 1e-6)


def _table(values: NDArray[np.float64]) -> Gray:
    return np.clip(values, 0, 255).astype(np.uint8)


def _tone(image: Gray, rng: np.random.Generator) -> Gray:
    """Gamma, contrast and brightness."""
    x = 255 * (np.arange(256) / 255) ** float(np.exp(rng.normal(0, 0.3)))
    table = _table((x - 128) * rng.uniform(0.55, 1.35) + 128 + rng.normal(0, 18))
    return np.asarray(cv2.LUT(image, table), np.uint8)


def _night(image: Gray, plates: Boxes, rng: np.random.Generator) -> Gray:
    """A dark scene in which the flash comes back from the plates, as under infrared light."""
    x = np.arange(256, dtype=np.float64)
    out = cv2.LUT(image, _table(255 * (x / 255) ** rng.uniform(1.0, 1.8) * rng.uniform(0.06, 0.4)))
    table = _table(x * rng.uniform(0.7, 1.7) + rng.uniform(0, 40))
    for x1, y1, x2, y2 in plates:
        dx, dy = 0.06 * (x2 - x1), 0.1 * (y2 - y1)
        part = np.s_[int(y1 + dy) : int(y2 - dy) + 1, int(x1 + dx) : int(x2 - dx) + 1]
        out[part] = cv2.LUT(image[part], table)
    return np.asarray(cv2.GaussianBlur(out, (0, 0), 0.7), np.uint8)


def _speckle(image: Gray, rng: np.random.Generator) -> Gray:
    """Single pixels of black and white."""
    draw = rng.random(image.shape, np.float32)
    share = rng.uniform(0.003, 0.05)
    out = image.copy()
    out[draw < share / 2] = 0
    out[draw > 1 - share / 2] = 255
    return out


def _noise(image: Gray, rng: np.random.Generator) -> Gray:
    noise = np.empty(image.shape, np.int16)
    if rng.random() < 0.15:
        return _speckle(image, rng)
    spread = np.asarray([rng.uniform(2, 12)])
    cv2.randn(noise, np.zeros(1), spread)
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)


def _optics(image: Gray, rng: np.random.Generator) -> Gray:
    draw = rng.random()
    if draw < 0.14:
        kernel = motion_kernel(int(rng.choice([3, 5, 7, 9])), rng.uniform(-90, 90))
        return np.asarray(cv2.filter2D(image, -1, kernel), np.uint8)
    if draw < 0.28:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.3)), np.uint8)
    if draw < 0.36:
        soft = cv2.GaussianBlur(image, (0, 0), 1.0)
        return np.asarray(cv2.addWeighted(image, 1.8, soft, -0.8, 0), np.uint8)
    return image


def _compress(image: Gray, rng: np.random.Generator) -> Gray:
    if rng.random() > 0.2:
        return image
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(18, 80))]
    done, data = cv2.imencode(".jpg", image, quality)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8) if done else image


def disturb(image: Gray, plates: Boxes, rng: np.random.Generator, often: float = 1.0) -> Gray:
    """A picture (H, W) under other light, through another lens and codec; plates in px; `often` scales chances."""
    if rng.random() < 0.1 * often:
        image = _night(image, plates, rng)
    if rng.random() < 0.55 * often:
        image = _tone(image, rng)
    if rng.random() < 0.25 * often:
        image = _noise(image, rng)
    if rng.random() < often:
        image = _compress(_optics(image, rng), rng)
    return image
