# SPDX-License-Identifier: Apache-2.0
"""Hand-made nets and reads for the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from inference.decode import ALPHABET, BLANK
from inference.plates import NOT_READ
from inference.runtime import Output
from inference.types import CharRead, PlateRead


@dataclass
class HandNet:
    """A net whose outputs a function makes from the picture."""

    name: str
    function: Callable[[np.ndarray], dict[str, np.ndarray]]
    scale: float = 0.125
    calls: int = 0

    def run(self, picture: np.ndarray) -> dict[str, Output]:
        self.calls += 1
        return {n: quantised(v, self.scale) for n, v in self.function(picture).items()}


def quantised(values: np.ndarray, scale: float = 0.125) -> Output:
    raw = np.clip(np.rint(values / scale), -128, 127).astype(np.int8)
    return Output(raw, scale, 0)


def detector_outputs(*boxes: tuple[float, float, float, float, float]) -> dict[str, np.ndarray]:
    """Boxes (x1, y1, x2, y2 net px, logit), each in the stride-8 cell at its centre."""
    outputs = {}
    for s in (8, 16, 32):
        outputs[f"cls{s}"] = np.full((1, 384 // s, 640 // s, 1), -12.0)
        outputs[f"box{s}"] = np.zeros((1, 384 // s, 640 // s, 4))
    for x1, y1, x2, y2, logit in boxes:
        column, row = int((x1 + x2) / 16), int((y1 + y2) / 16)
        cx, cy = (column + 0.5) * 8, (row + 0.5) * 8
        outputs["cls8"][0, row, column, 0] = logit
        sides = np.array([cx - x1, cy - y1, x2 - cx, y2 - cy]) / 8
        outputs["box8"][0, row, column] = np.log(np.maximum(sides, 1e-3))
    return outputs


def corner_outputs(plate: float = 6.0, rows: float = -6.0) -> dict[str, np.ndarray]:
    """The box itself as corners: a sixth in from each side of the crop."""
    low, high = 1 / 6, 5 / 6
    return {
        "corners": np.array([[low, low, high, low, high, high, low, high]]),
        "flag": np.array([[plate, rows]]),
    }


def reader_outputs(text: str) -> dict[str, np.ndarray]:
    logits = np.zeros((1, 36, len(ALPHABET) + 1))
    logits[0, :, BLANK] = 12.0
    for i, char in enumerate(text):
        logits[0, 1 + 4 * i] = 0.0
        logits[0, 1 + 4 * i, ALPHABET.index(char)] = 12.0
    return {"logits": logits}


def plate_read(
    text: str, x: float = 100.0, y: float = 100.0, *, w: float = 80.0, p: float = 0.95
) -> PlateRead:
    """A read whose characters have probability `p` each, `p ** n` together."""
    corners = np.array([[x, y], [x + w, y], [x + w, y + w / 2], [x, y + w / 2]], dtype=np.float32)
    return PlateRead(
        text=text,
        confidence=p ** len(text) if text else 0.0,
        chars=tuple(CharRead(c, p) for c in text),
        state=None,
        state_confidence=0.0,
        state_note=NOT_READ,
        corners=corners,
        box=(x, y, w, w / 2),
        score=0.9,
        plate_score=0.9,
        width_px=w,
        height_px=w / 2,
        sharpness=3000.0,
    )
