# SPDX-License-Identifier: Apache-2.0
"""Fits the confidence of the vote: short sequences made of real held-out stills, read frame by frame.

A still becomes a sequence by what a pass does to it: the plate grows or shrinks, the view turns a little, the box
jitters as a detector's does, the shutter smears, the sensor adds noise. Size, smear and noise are drawn once a
sequence, so its frames err alike, as those of a real pass do.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference import logistic
from inference.labels import Entry, as_box, held_out, load_picture, read_manifest, truth_text
from inference.models import load_models
from inference.pipeline import Pipeline
from inference.plates import fold
from inference.scoring import calibration_error
from inference.tracker import Track
from inference.types import Box, Observation, PlateRead
from inference.vote import Agreement, agreement, confidence_of, vote

FRAMES = (3, 12)
WIDTH_PX = (30.0, 150.0)  # of the plate in the middle of its sequence
GROWTH = (0.75, 1.3)  # of the width, from the first frame to the last
BOX_JITTER = 0.04  # of the plate's sides, a detector's error
VIEW_JITTER = 0.02  # of the plate's width, at each corner of the picture
SMEAR_PX = 4.0
NOISE = (1.0, 9.0)  # grey levels
FRAME_US = 33_333
SHRINKAGE = 0.2
PARTS = 4  # of the cross-validation

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class MadePass:
    """The reads of one made-up pass, and what the plate says."""

    text: str
    reads: list[PlateRead]

    def track(self) -> Track:
        """As the tracker would give it."""
        track = Track(1, "")
        for i, read in enumerate(self.reads):
            track.add(Observation(i, i * FRAME_US, read))
        return track


def plates(data: Path, manifest: str = "crops_train.jsonl") -> Iterator[tuple[Entry, Box, str]]:
    """The held-out plates that are known in full."""
    for entry in read_manifest(data / manifest):
        for plate in entry.plates or []:
            text, box = truth_text(plate), as_box(plate.get("box"))
            if text and box and held_out(str(plate["text"])) and plate.get("quality") in ("clear", "hard"):
                yield entry, box, text


def frames(picture: Pixels, box: Box, rng: np.random.Generator) -> Iterator[tuple[Pixels, Box]]:
    """A still (H, W, 3) and the plate in it -> the frames of a pass, each with the box a detector might give."""
    count = int(rng.integers(FRAMES[0], FRAMES[1] + 1))
    width = float(np.exp(rng.uniform(*np.log(WIDTH_PX))))
    smear, noise = abs(float(rng.normal(0, SMEAR_PX / 2))), float(rng.uniform(*NOISE))
    growth = GROWTH if rng.random() < 0.5 else GROWTH[::-1]
    for i in range(count):
        scale = width / box[2] * float(np.interp(i, [0, count - 1], growth))
        turned, moved = _view(picture, box, min(scale, 2.0), rng)
        blurred = _smeared(turned, smear * float(rng.uniform(0.6, 1.4)), float(rng.uniform(-0.4, 0.4)))
        grainy = blurred.astype(np.float32) + rng.normal(0, noise, turned.shape[:2])[..., None]
        yield np.clip(np.round(grainy), 0, 255).astype(np.uint8), moved


def _view(picture: Pixels, box: Box, scale: float, rng: np.random.Generator) -> tuple[Pixels, Box]:
    """The picture at another size and slightly turned, and where the plate went, give or take."""
    height, width = picture.shape[:2]
    size = (max(40, round(width * scale)), max(40, round(height * scale)))
    old = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    new = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], np.float32)
    new += rng.normal(0, VIEW_JITTER * box[2] * scale, (4, 2)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(old, new)
    shrunk = cv2.GaussianBlur(picture, (0, 0), max(0.01, 0.45 / scale)) if scale < 1 else picture
    turned = cv2.warpPerspective(shrunk, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    x, y, w, h = box
    corners = np.array([[[x, y]], [[x + w, y]], [[x + w, y + h]], [[x, y + h]]], np.float32)
    moved = cv2.perspectiveTransform(corners, matrix).reshape(4, 2)
    low, high = moved.min(axis=0), moved.max(axis=0)
    jitter = rng.normal(0, BOX_JITTER, 4) * np.tile(high - low, 2)
    x0, y0, x1, y1 = (float(v) for v in np.concatenate([low, high]) + jitter)
    return np.asarray(turned, dtype=np.uint8), (x0, y0, max(4.0, x1 - x0), max(4.0, y1 - y0))


def _smeared(picture: Pixels, length: float, angle: float) -> Pixels:
    size = int(length) * 2 + 3
    kernel = np.zeros((size, size), np.float32)
    middle, reach = (size - 1) / 2, length / 2
    for t in np.linspace(-reach, reach, 4 * size):
        kernel[round(middle + t * np.sin(angle)), round(middle + t * np.cos(angle))] += 1
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), dtype=np.uint8)


def collect(data: Path, models: Path | None, seed: int, limit: int | None) -> Iterator[MadePass]:
    """Reads the sequences with the shipped nets; the detector is not asked."""
    pipeline = Pipeline(load_models(models))
    for number, (entry, box, text) in enumerate(list(plates(data))[:limit]):
        rng = np.random.default_rng([seed, number])
        made = frames(load_picture(data, entry), box, rng)
        yield MadePass(text, [pipeline.read_at(pixels, where) for pixels, where in made])


def right(sequence: MadePass, text: str) -> bool:
    """Whether a text is the plate's, O as 0 and I as 1."""
    return fold(text) == fold(sequence.text)


def fit(rows: Floats, labels: Floats) -> Agreement:
    """The weights; what would count against agreement gets none."""
    solved = logistic.fit(rows, labels, signs=(1, 1), shrinkage=SHRINKAGE)
    return Agreement(*(round(float(v), 3) for v in solved))


def error_of(confidences: Floats, labels: Floats) -> float | None:
    """The expected calibration error."""
    judged = [(float(c), bool(y)) for c, y in zip(confidences, labels, strict=True)]
    return calibration_error(judged)


def features(tracks: Sequence[Track]) -> Floats:
    """Tracks -> (N, 2): what `inference.vote.agreement` measures."""
    return np.array([agreement(track) for track in tracks])


def cross_validated(rows: Floats, labels: Floats) -> Floats:
    """Confidence of each row by a fit on the other parts."""
    out = np.zeros(len(rows))
    for part in range(PARTS):
        test = np.arange(len(rows)) % PARTS == part
        fitted = fit(rows[~test], labels[~test])
        out[test] = [confidence_of(row, fitted) for row in rows[test]]
    return out


def report(sequences: Sequence[MadePass]) -> dict[str, object]:
    """Single frames against the vote, and the vote's calibration as shipped and as fitted here."""
    told = [s for s in sequences if any(r.text for r in s.reads)]
    tracks = [s.track() for s in told]
    votes = [vote(track) for track in tracks]
    labels = np.array([float(right(s, v.text)) for s, v in zip(told, votes, strict=True)])
    singles = [np.mean([right(s, r.text) for r in s.reads]) for s in told]
    rows = features(tracks)
    shipped = np.array([v.confidence for v in votes])
    largest = np.array([max(r.confidence for r in s.reads) for s in told])
    fitted = fit(rows, labels)
    return {
        "sequences": len(told),
        "frames": sum(len(s.reads) for s in told),
        "exact_single_frame": round(float(np.mean(singles)), 4),
        "exact_vote": round(float(labels.mean()), 4),
        "ece_largest_frame": error_of(largest, labels),
        "ece_shipped": error_of(shipped, labels),
        "ece_cross_validated": error_of(cross_validated(rows, labels), labels),
        "fitted": {name: getattr(fitted, name) for name in Agreement.__slots__},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m inference.training.vote_fit`: reads (or takes from --cache), fits, prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m inference.training.vote_fit", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--cache", type=Path, help="keeps the reads for the next fit")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args(argv)
    if options.cache and options.cache.exists():
        sequences = pickle.loads(options.cache.read_bytes())  # noqa: S301 -- our own file
    else:
        sequences = list(collect(options.data, options.models, options.seed, options.limit))
        if options.cache:
            options.cache.write_bytes(pickle.dumps(sequences))
    sys.stdout.write(json.dumps(report(sequences), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
