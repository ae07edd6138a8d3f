# SPDX-License-Identifier: Apache-2.0
"""The detector: a whole picture -> plate boxes with scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from inference.preprocess import DETECTOR_SIZE, Floats, Grey, letterbox
from inference.runtime import Net, Output, by_shape
from inference.types import Box

STRIDES: Final = (8, 16, 32)
NMS_IOU: Final = 0.45
NMS_INSIDE: Final = 0.8  # a box with more than this share of its area inside a better one goes
NMS_AROUND: Final = 0.3  # a box around a better one goes too, unless the better one is a mere part of it
MAX_CANDIDATES: Final = 300  # cells kept before suppression, best first
MAX_EXPONENT: Final = 5.0  # exp(5) * 32 px is far beyond the picture


@dataclass(frozen=True, slots=True)
class Candidate:
    """A box of the detector, px of the picture, and its score (0..1)."""

    box: Box
    score: float


def detect(net: Net, grey: Grey, min_score: float, *, shrink: float = 1.0) -> list[Candidate]:
    """(H, W) -> boxes with at least `min_score`, best first; `shrink` < 1 looks for larger plates."""
    picture, scale = letterbox(grey, shrink)
    boxes, scores = decode(net.run(picture), min_score, net.name)
    kept = suppress(boxes, scores)
    boxes = clip(boxes[kept] / np.float32(scale), grey.shape[1], grey.shape[0])
    return [Candidate(as_box(b), float(s)) for b, s in zip(boxes, scores[kept], strict=True)]


def decode(outputs: dict[str, Output], min_score: float, model: str) -> tuple[Floats, Floats]:
    """Output tensors -> boxes (N, 4) x1, y1, x2, y2 in px of the net's input and scores (N,), best first."""
    parts = [_decode_stride(outputs, stride, min_score, model) for stride in STRIDES]
    boxes = np.concatenate([boxes for boxes, _ in parts])
    scores = np.concatenate([scores for _, scores in parts])
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    return boxes[order], scores[order]


def _decode_stride(
    outputs: dict[str, Output], stride: int, min_score: float, model: str
) -> tuple[Floats, Floats]:
    rows, columns = DETECTOR_SIZE[1] // stride, DETECTOR_SIZE[0] // stride
    cls = by_shape(outputs, (1, rows, columns, 1), model)
    box = by_shape(outputs, (1, rows, columns, 4), model)
    threshold = cls.quantise(float(np.log(min_score / (1.0 - min_score))))
    ys, xs = np.nonzero(cls.raw[0, :, :, 0] >= threshold)
    scores = sigmoid(cls.dequantise(cls.raw[0, ys, xs, 0]))
    sides = np.exp(np.minimum(box.dequantise(box.raw[0, ys, xs]), MAX_EXPONENT)) * np.float32(stride)
    centres = (np.stack([xs, ys], axis=1).astype(np.float32) + 0.5) * np.float32(stride)
    return np.concatenate([centres - sides[:, :2], centres + sides[:, 2:]], axis=1), scores


def suppress(boxes: Floats, scores: Floats) -> list[int]:
    """Indices kept of boxes (N, 4) x1, y1, x2, y2, best score first, without overlaps."""
    order = np.argsort(-scores, kind="stable")
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
    kept: list[int] = []
    while order.size:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.prod(np.maximum(high - low, 0.0), axis=1)
        iou = shared / np.maximum(areas[best] + areas[rest] - shared, 1e-6)
        inside = shared / np.maximum(areas[rest], 1e-6)
        around = (shared > NMS_INSIDE * areas[best]) & (areas[best] >= NMS_AROUND * areas[rest])
        order = rest[(iou <= NMS_IOU) & (inside <= NMS_INSIDE) & ~around]
    return kept


def clip(boxes: Floats, width: int, height: int) -> Floats:
    """Boxes (N, 4) x1, y1, x2, y2 cut to the picture."""
    return np.clip(boxes, 0.0, np.array([width, height, width, height], dtype=np.float32))


def as_box(corner_form: Floats) -> Box:
    """(4,) x1, y1, x2, y2 -> (x, y, w, h)."""
    x1, y1, x2, y2 = (float(v) for v in corner_form)
    return x1, y1, x2 - x1, y2 - y1


def sigmoid(x: Floats) -> Floats:
    """Logits -> probabilities."""
    return np.asarray(1.0 / (1.0 + np.exp(-x)), dtype=np.float32)


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes (x, y, w, h)."""
    shared = overlap(a, b)
    union = a[2] * a[3] + b[2] * b[3] - shared
    return shared / union if union > 0 else 0.0


def overlap(a: Box, b: Box) -> float:
    """Shared area of two boxes (x, y, w, h), px²."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0.0, w) * max(0.0, h)
