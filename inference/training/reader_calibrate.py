# SPDX-License-Identifier: Apache-2.0
"""How far the reader's confidence can be believed: a temperature, fitted on training plates it never saw.

The confidence is the CTC probability of the text that is given. `python -m inference.training.reader_calibrate
DATA CORNERS READER` prints the temperature and what it does to the log loss of "the whole text is right".
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inference.labels import held_out
from inference.preprocess import normalise, rectify

from . import corners_train, reader_train
from .reader_data import load_plates
from .reader_model import ctc_loss, greedy
from .render_pool import unit

TEMPERATURES = np.exp(np.linspace(np.log(0.6), np.log(4.0), 60))
_TINY = 1e-4  # confidences are kept this far from 0 and 1 in the log loss


@dataclass(frozen=True, slots=True)
class Calibration:
    """The temperature, the log losses without and with it, and on how many plates (how many of them right)."""

    temperature: float
    log_loss_plain: float
    log_loss: float
    plates: int
    right: int


def same_text(read: str, truth: str) -> bool:
    """Equality with O as 0 and I as 1."""
    table = str.maketrans("OI", "01")
    return read.translate(table) == truth.translate(table)


def confidence(logits: NDArray[np.float32], temperature: float) -> float:
    """CTC probability of the best path's text in logits (36, 37)."""
    text, _ = greedy(logits)
    if not text:
        return 0.0
    scaled = torch.from_numpy(logits[None] / np.float32(temperature))
    return float(torch.exp(-ctc_loss(scaled, [text]) * len(text)))


def log_loss(confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Mean negative log likelihood of being right or wrong."""
    p = np.clip(confidences, _TINY, 1 - _TINY)
    return float(-np.mean(np.where(right, np.log(p), np.log(1 - p))))


def fit(logits: list[NDArray[np.float32]], right: NDArray[np.bool_]) -> Calibration:
    """The temperature with the least log loss."""
    losses = [log_loss(np.array([confidence(x, t) for x in logits]), right) for t in TEMPERATURES]
    plain = log_loss(np.array([confidence(x, 1.0) for x in logits]), right)
    best = int(np.argmin(losses))
    return Calibration(float(TEMPERATURES[best]), plain, losses[best], len(logits), int(right.sum()))


def calibrate(data: Path, corners: Path, reader: Path) -> Calibration:
    """Reads the held-out training plates as the device would, box to corners to text, and fits."""
    corner_net, reader_net = corners_train.load_net(corners), reader_train.load_net(reader)
    found: list[NDArray[np.float32]] = []
    right: list[bool] = []
    for plate in load_plates(data, "crops_train.jsonl"):
        if not held_out(plate.text):
            continue
        (x0, y0), (x1, y1) = plate.box[0], plate.box[2]
        box = (float(x0), float(y0), float(x1 - x0), float(y1 - y0))
        quad, _, rows = corners_train.predict(corner_net, plate.grey, box)
        if rows > 0.5:  # read row by row: their confidences multiply
            continue
        with torch.no_grad():
            crop = unit(normalise(rectify(plate.grey, quad)))
            logits = reader_net(torch.from_numpy(crop[None, None]))[0].numpy()
        found.append(logits)
        right.append(same_text(greedy(logits)[0], plate.text))
    return fit(found, np.array(right))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "corners", "reader"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    result = calibrate(args.data, args.corners, args.reader)
    print(json.dumps({name: getattr(result, name) for name in Calibration.__slots__}))


if __name__ == "__main__":
    main()
