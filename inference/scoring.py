# SPDX-License-Identifier: Apache-2.0
"""Predictions against truth, picture by picture: pure, so that every rule has its test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from inference.detector import iou
from inference.plates import distance, fold
from inference.types import Box

MATCH_IOU: Final = 0.3
STRICT_IOU: Final = 0.5


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
            self._add_text(text, nearest.text if nearest else "")

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
            self._add_text(truth.text, found.text if found else "")

    def _add_text(self, truth: str, read: str) -> None:
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
