# SPDX-License-Identifier: Apache-2.0
"""How well the detector finds plates: recall and false boxes over thresholds, for float and int8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.detector import detect
from inference.preprocess import DETECTOR_SIZE
from inference.runtime import TfliteNet
from inference.training.detector_boxes import Found, overlaps
from inference.training.detector_data import Gray, Labels, as_boxes, read_grey, read_manifest

MATCH_IOU = 0.3
LEAST_WIDTH = 24.0  # px at the network's input; narrower plates don't count for or against
LEAST_SCORE = 0.05
FALSE_TARGET = 0.13  # false boxes a picture that the chosen threshold may give
WIDTHS = (0, 16, 24, 32, 48, 80, 160, 2000)  # px at the network's input, edges of the report
THRESHOLDS = tuple(round(0.1 + 0.02 * i, 2) for i in range(36))

Detect = Callable[[Gray, float], Found]


@dataclass(frozen=True, slots=True)
class Tally:
    """Every plate with its width and best score (0: not found), every false box's score, and pictures."""

    widths: NDArray[np.float32]
    scores: NDArray[np.float32]
    sources: tuple[str, ...]
    false_scores: NDArray[np.float32]
    pictures: int


@dataclass(frozen=True, slots=True)
class Point:
    """Recall of plates of at least 24 px and false boxes a picture, at one threshold."""

    threshold: float
    recall: float
    false: float


def match(found: Found, labels: Labels, least_iou: float = MATCH_IOU) -> tuple[list[float], list[float]]:
    """Greedy matching, best score first: each plate's score (0 when missed), and the scores of false boxes."""
    hit, false = [0.0] * len(labels.plates), []
    iou, _ = overlaps(found.boxes, labels.plates)
    for i, score in enumerate(found.scores):
        free = [j for j in range(len(hit)) if not hit[j] and iou[i, j] >= least_iou]
        if free:
            hit[max(free, key=lambda j: float(iou[i, j]))] = float(score)
        else:
            false.append(float(score))
    return hit, false


def tally(detect: Detect, data: Path, manifest: str = "val.jsonl", least_iou: float = MATCH_IOU) -> Tally:
    """Run a detector over a manifest."""
    widths, scores, sources, false = [], [], [], []
    rows = read_manifest(data / manifest)
    for labels in rows:
        hit, wrong = match(detect(read_grey(data / labels.image), LEAST_SCORE), labels, least_iou)
        scale = min(DETECTOR_SIZE[0] / labels.width, DETECTOR_SIZE[1] / labels.height, 1.0)
        widths += ((labels.plates[:, 2] - labels.plates[:, 0]) * scale).tolist()
        scores += hit
        sources += [labels.source] * len(hit)
        false += wrong
    width, score, wrong_score = (np.asarray(x, np.float32) for x in (widths, scores, false))
    return Tally(width, score, tuple(sources), wrong_score, len(rows))


def at(result: Tally, threshold: float) -> Point:
    """The operating point of one threshold."""
    wide = result.widths >= LEAST_WIDTH
    recall = float((result.scores[wide] >= threshold).mean()) if wide.any() else 0.0
    return Point(threshold, recall, float((result.false_scores >= threshold).sum()) / max(1, result.pictures))


def choose(result: Tally, target: float = FALSE_TARGET) -> Point:
    """The lowest threshold whose false boxes a picture stay within `target`; the highest if none does."""
    points = [at(result, t) for t in THRESHOLDS]
    return next((p for p in points if p.false <= target), points[-1])


def by_width(result: Tally, threshold: float) -> dict[str, tuple[float, int]]:
    """Recall and count per width at the network's input."""
    out = {}
    for low, high in pairwise(WIDTHS):
        inside = (result.widths >= low) & (result.widths < high)
        if inside.any():
            recall = float((result.scores[inside] >= threshold).mean())
            out[f"{low}-{high}"] = (round(recall, 3), int(inside.sum()))
    return out


def by_source(result: Tally, threshold: float) -> dict[str, tuple[float, int]]:
    """Recall and count per source, plates of at least 24 px."""
    out = {}
    wide, names = result.widths >= LEAST_WIDTH, np.asarray(result.sources)
    for name in sorted(set(result.sources)):
        inside = wide & (names == name)
        if inside.any():
            recall = float((result.scores[inside] >= threshold).mean())
            out[name] = (round(recall, 3), int(inside.sum()))
    return out


def float_detector(checkpoint: Path, device: str = "cpu") -> Detect:
    """The averaged float weights as a detector."""
    import torch

    from inference.training.detector_mine import detect_float
    from inference.training.detector_net import Detector

    net = Detector()
    net.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    net = net.to(device).eval()
    return lambda grey, least: detect_float(net, grey, least, device)


def int8_detector(path: Path) -> Detect:
    """The TFLite model in the device's own code, one thread."""
    net = TfliteNet("detector", path.read_bytes(), threads=1)

    def run(grey: Gray, least: float) -> Found:
        found = detect(net, grey, least)
        rows = [[x, y, x + w, y + h] for x, y, w, h in (c.box for c in found)]
        return Found(as_boxes(rows), np.asarray([c.score for c in found], np.float32))

    return run


def report(result: Tally, threshold: float | None = None) -> dict[str, Any]:
    """Figures of one detector: the chosen point, a curve, recall by width and by source."""
    point = choose(result) if threshold is None else at(result, threshold)
    curve = [at(result, t) for t in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)]
    return {
        "threshold": point.threshold,
        "recall": round(point.recall, 4),
        "false_per_image": round(point.false, 4),
        "curve": [[p.threshold, round(p.recall, 4), round(p.false, 4)] for p in curve],
        "by_width": by_width(result, point.threshold),
        "by_source": by_source(result, point.threshold),
    }


def compare(data: Path, checkpoint: Path, model: Path, threshold: float | None = None) -> dict[str, Any]:
    """Float against int8 on the validation set, both at the threshold chosen on int8 (or given)."""
    quantized = report(tally(int8_detector(model), data), threshold)
    full = report(tally(float_detector(checkpoint), data), float(quantized["threshold"]))
    return {"int8": quantized, "float": full}
