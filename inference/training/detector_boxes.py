# SPDX-License-Identifier: Apache-2.0
"""Boxes from the detector's maps, in NumPy as on the device, and matching against labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.preprocess import DETECTOR_SIZE
from inference.training.detector_data import Boxes

NMS_IOU = 0.45
NESTED = 0.8  # share of a box inside a better one that drops it
Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Found:
    """Boxes (N, 4) x1,y1,x2,y2 and scores (N,), best first."""

    boxes: Boxes
    scores: Float


def overlaps(a: Boxes, b: Boxes) -> tuple[Float, Float]:
    """IoU (A, B), and the share of each a inside each b (A, B)."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=2)
    area_a = np.prod(a[:, 2:] - a[:, :2], axis=1)[:, None]
    area_b = np.prod(b[:, 2:] - b[:, :2], axis=1)[None]
    union = np.maximum(area_a + area_b - inter, 1e-6)
    return (inter / union).astype(np.float32), (inter / np.maximum(area_a, 1e-6)).astype(np.float32)


def suppress(found: Found) -> Found:
    """Greedy NMS at IoU 0.45; a box that lies over 80 % inside a better one goes too."""
    order = np.argsort(-found.scores, kind="stable")
    boxes, scores = found.boxes[order], found.scores[order]
    iou, inside = overlaps(boxes, boxes)
    keep: list[int] = []
    for i in range(len(boxes)):
        if not any(iou[i, j] > NMS_IOU or inside[i, j] > NESTED for j in keep):
            keep.append(i)
    return Found(boxes[keep], scores[keep])


def decode_maps(maps: list[tuple[Float, Float]], least: float, most: int = 200) -> Found:
    """Class logits (h, w) and log distances (h, w, 4) per stride, to boxes in the network's px."""
    boxes: list[Float] = [np.zeros((0, 4), np.float32)]
    scores: list[Float] = [np.zeros(0, np.float32)]
    for logits, raw in maps:
        stride = DETECTOR_SIZE[0] // logits.shape[1]
        score = 1 / (1 + np.exp(-logits))
        y, x = np.nonzero(score >= least)
        d = np.exp(raw[y, x]) * stride
        centre = (np.stack([x, y], 1) + 0.5) * stride
        boxes.append(np.concatenate([centre - d[:, :2], centre + d[:, 2:]], 1).astype(np.float32))
        scores.append(score[y, x].astype(np.float32))
    b, s = np.concatenate(boxes), np.concatenate(scores)
    order = np.argsort(-s)[:most]
    return suppress(Found(b[order], s[order]))


def to_picture(found: Found, scale: float, shape: tuple[int, ...]) -> Found:
    """From the network's px to the picture's, clipped to it."""
    limits = np.asarray([shape[1], shape[0]] * 2, np.float32)
    return Found(np.clip(found.boxes / scale, 0, limits).astype(np.float32), found.scores)
