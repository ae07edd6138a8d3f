# SPDX-License-Identifier: Apache-2.0
"""Predictions against truth, picture by picture: pure, so that every rule has its test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np

from inference.detector import iou
from inference.plates import distance, fold
from inference.types import Box

MATCH_IOU: Final = 0.3
STRICT_IOU: Final = 0.5
ECE_BINS: Final = 12  # of equal count


@dataclass(frozen=True, slots=True)
class Truth:
    """One annotated plate; `counted` is False for plates that a filter leaves out."""

    box: Box | None
    text: str | None  # None: not known in full
    width_at_input: float = 0.0  # px at the detector's input
    counted: bool = True
    is_plate: bool = True  # False for boxes of quality "notplate"


@dataclass(frozen=True, slots=True)
class Predicted:
    """One plate that the pipeline gave."""

    box: Box
    text: str
    score: float
    confidence: float = 0.0  # that the text is right


@dataclass(slots=True)
class Tally:
    """Sums over pictures; the metrics are ratios of these."""

    boxed: bool = False  # whether any picture had boxes
    images: int = 0
    plates: int = 0
    found_30: int = 0
    found_50: int = 0
    wide: int = 0
    wide_found_30: int = 0
    wide_found_50: int = 0
    false_plates: int = 0
    texts: int = 0
    exact: int = 0
    exact_folded: int = 0
    characters: int = 0
    edits: int = 0
    judged: list[tuple[float, bool]] = field(default_factory=list)  # confidence of a text, and is it right

    def add(self, truths: Sequence[Truth], predictions: Sequence[Predicted], min_wide: float) -> None:
        """One picture with boxes; what lies on a plate left out by a filter is not false."""
        self.images += 1
        plates = [t for t in truths if t.is_plate]
        pairs = match([t.box for t in plates], predictions)
        for i, truth in enumerate(plates):
            if truth.counted:
                self._add_plate(truth, predictions[pairs[i]] if i in pairs else None, min_wide)
        self.false_plates += len(predictions) - len(pairs)

    def add_unboxed(self, texts: Sequence[str], predictions: Sequence[Predicted]) -> None:
        """One picture whose plates have texts and no boxes: each takes the nearest text read there."""
        self.images += 1
        left = list(predictions)
        for text in texts:
            self.plates += 1
            nearest = min(left, key=lambda p: (distance(fold(text), fold(p.text)), -p.score), default=None)
            if nearest is not None:
                left.remove(nearest)
            self._add_text(text, nearest)

    def _add_plate(self, truth: Truth, found: Predicted | None, min_wide: float) -> None:
        strict = found is not None and truth.box is not None and iou(truth.box, found.box) >= STRICT_IOU
        self.plates += 1
        self.found_30 += found is not None
        self.found_50 += strict
        if truth.width_at_input >= min_wide:
            self.wide += 1
            self.wide_found_30 += found is not None
            self.wide_found_50 += strict
        if truth.text:
            self._add_text(truth.text, found)

    def _add_text(self, truth: str, found: Predicted | None) -> None:
        read = found.text if found else ""
        if found and read:
            self.judged.append((found.confidence, fold(read) == fold(truth)))
        self.texts += 1
        self.exact += read == truth
        self.exact_folded += fold(read) == fold(truth)
        self.characters += len(truth)
        self.edits += distance(truth, read)


def match(boxes: Sequence[Box | None], predictions: Sequence[Predicted]) -> dict[int, int]:
    """Index of a truth box -> index of its prediction: greedy by score, best IoU first, at least 0.3."""
    pairs: dict[int, int] = {}
    for j in sorted(range(len(predictions)), key=lambda j: -predictions[j].score):
        free = [(iou(box, predictions[j].box), i) for i, box in enumerate(boxes) if box and i not in pairs]
        best, i = max(free, default=(0.0, -1))
        if best >= MATCH_IOU:
            pairs[i] = j
    return pairs


def calibration_error(judged: Sequence[tuple[float, bool]], bins: int = ECE_BINS) -> float | None:
    """Expected calibration error over bins of equal count: mean |confidence - share right|; None of nothing."""
    if not judged:
        return None
    return sum(abs(told - right) * n for told, right, n in calibration_table(judged, bins)) / len(judged)


def calibration_table(
    judged: Sequence[tuple[float, bool]], bins: int = ECE_BINS
) -> list[tuple[float, float, int]]:
    """(mean confidence, share right, reads) of bins of equal count, the least sure first."""
    ordered = np.array(sorted(judged), dtype=np.float64).reshape(-1, 2)
    parts = [part for part in np.array_split(ordered, bins) if len(part)]
    return [(float(p[:, 0].mean()), float(p[:, 1].mean()), len(p)) for p in parts]


def risk_coverage(judged: Sequence[tuple[float, bool]], texts: int) -> list[tuple[float, float, float]]:
    """(threshold, share of all `texts` plates read at it, share of these that are right), surest first."""
    return [(threshold, kept / texts, right / kept) for threshold, kept, right in by_threshold(judged)]


def by_threshold(judged: Sequence[tuple[float, bool]]) -> list[tuple[float, int, int]]:
    """(threshold, how many are kept at it, how many of these are right), surest first; equal ones together."""
    ordered = sorted(judged, key=lambda one: -one[0])
    right = np.cumsum([is_right for _, is_right in ordered])
    ends = [i for i, (a, b) in enumerate(pairwise(ordered)) if a[0] != b[0]]
    ends += [len(ordered) - 1] if ordered else []
    return [(ordered[i][0], i + 1, int(right[i])) for i in ends]


def coverage_at(judged: Sequence[tuple[float, bool]], texts: int, precision: float) -> float | None:
    """The largest share of all plates that a threshold gives with at least this precision; None of no plates."""
    if not texts:
        return None
    return max((read for _, read, right in risk_coverage(judged, texts) if right >= precision), default=0.0)
