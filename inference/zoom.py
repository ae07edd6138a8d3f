# SPDX-License-Identifier: Apache-2.0
"""A closer look for small plates: the frame at twice the usual scale where the detector half saw something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from inference.detector import Candidate, as_box, clip, decode, suppress
from inference.preprocess import DETECTOR_SIZE, PAD_VALUE, Grey, Region
from inference.runtime import Net
from inference.types import Box

LOOKS: Final = 4  # at a still: more find nothing more
SHARE: Final = 0.5  # of the frame's sides that a part has
AROUND: Final = 1.5  # times the box's own sides that a part has at least
MAX_ENLARGED: Final = 2.0  # times the frame's own px


def parts(candidates: Sequence[Candidate], width: int, height: int, limit: int) -> list[Region]:
    """Candidates, best first -> at most `limit` regions (x0, y0, w, h) px of the frame that show them."""
    chosen: list[Region] = []
    for candidate in candidates:
        if len(chosen) >= limit:
            break
        if not any(_shows(region, candidate.box) for region in chosen):
            chosen.append(part(candidate.box, width, height))
    return chosen


def part(box: Box, width: int, height: int) -> Region:
    """The part of a (height, width) frame around a box."""
    x, y, w, h = box
    across = min(width, round(max(SHARE * width, AROUND * w)))
    down = min(height, round(max(SHARE * height, AROUND * h)))
    x0 = round(x + w / 2 - across / 2)
    y0 = round(y + h / 2 - down / 2)
    return min(max(x0, 0), width - across), min(max(y0, 0), height - down), across, down


def look(net: Net, grey: Grey, region: Region, min_score: float) -> list[Candidate]:
    """(H, W) and a part of it -> boxes px of the frame with at least `min_score`, best first."""
    x0, y0, w, h = region
    picture, scale = enlarged(grey[y0 : y0 + h, x0 : x0 + w])
    boxes, scores = decode(net.run(picture), min_score, net.name)
    kept = suppress(boxes, scores)
    boxes = clip(boxes[kept] / np.float32(scale), w, h) + np.array([x0, y0, x0, y0], dtype=np.float32)
    return [Candidate(as_box(b), float(s)) for b, s in zip(boxes, scores[kept], strict=True)]


def enlarged(region: Grey) -> tuple[Grey, float]:
    """(h, w) -> ((384, 640), scale) as the detector wants it, but enlarged up to MAX_ENLARGED times."""
    h, w = region.shape
    width, height = DETECTOR_SIZE
    scale = min(width / w, height / h, MAX_ENLARGED)
    size = (min(width, max(1, round(w * scale))), min(height, max(1, round(h * scale))))
    out = np.full((height, width), PAD_VALUE, dtype=np.uint8)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    out[: size[1], : size[0]] = cv2.resize(region, size, interpolation=way)
    return out, scale


def _shows(region: Region, box: Box) -> bool:
    x0, y0, w, h = region
    return x0 <= box[0] and y0 <= box[1] and box[0] + box[2] <= x0 + w and box[1] + box[3] <= y0 + h
