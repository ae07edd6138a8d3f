# SPDX-License-Identifier: Apache-2.0
"""Fits how far a read can be believed (`confidence`) on plates whose texts no net was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from inference.confidence import Confidence, evidence
from inference.logistic import Floats, fit
from inference.plates import fold
from inference.types import PlateRead

SIGNS: Final = (1, 1, 1, 1, 1, -1, -1)  # of the weights in `confidence.evidence`
FOLDS: Final = 8
GAIN: Final = 0.002  # of the cross-validated log loss: what more evidence must bring to be used
DIGITS: Final = 4
TINY: Final = 1e-3  # chances are kept this far from 0 and 1 in the log loss
MIN_EXAMPLES: Final = 30  # with fewer, the reader's own word stands

Example = tuple[PlateRead, str]
"""A read, and the text that is on the plate."""


def calibrate(examples: Sequence[Example]) -> Confidence:
    """The weights that say best whether a text is right (O is 0, I is 1): the text's, and what else earns its place.

    Forward selection by cross-validated log loss: with some hundred plates more weights than that only learn noise.
    """
    rows, right = as_rows(examples)
    if len(rows) < MIN_EXAMPLES or right.min() == right.max():
        return Confidence()
    used = [0]
    best = log_loss(cross_validated(rows[:, used], right, used), right)
    while left := [i for i in range(len(SIGNS)) if i not in used]:
        trials = {i: [*used, i] for i in left}
        losses = {i: log_loss(cross_validated(rows[:, t], right, t), right) for i, t in trials.items()}
        added = min(losses, key=lambda i: losses[i])
        if losses[added] > best - GAIN:
            break
        used, best = trials[added], losses[added]
    weights = np.zeros(len(SIGNS) + 1)
    weights[[*used, -1]] = _fit(rows[:, used], right, used)
    return Confidence(*(round(float(w), DIGITS) for w in weights))


def as_rows(examples: Sequence[Example]) -> tuple[Floats, Floats]:
    """Reads -> evidence (N, 7) and whether the text is right (N,); reads without a text are left out."""
    told = [(read, truth) for read, truth in examples if read.text]
    rows = np.array([evidence(read) for read, _ in told]).reshape(-1, len(SIGNS))
    return rows, np.array([float(fold(read.text) == fold(truth)) for read, truth in told])


def cross_validated(rows: Floats, right: Floats, used: Sequence[int]) -> Floats:
    """The chance (N,) of each row by weights fitted on the other folds."""
    chances = np.zeros(len(rows))
    folds = np.arange(len(rows)) * FOLDS // len(rows)
    for k in range(FOLDS):
        weights = _fit(rows[folds != k], right[folds != k], used)
        chances[folds == k] = 1.0 / (1.0 + np.exp(-(rows[folds == k] @ weights[:-1] + weights[-1])))
    return chances


def log_loss(chances: Floats, right: Floats) -> float:
    """Mean negative log likelihood of what came out."""
    p = np.clip(chances, TINY, 1 - TINY)
    return float(-np.mean(np.where(right > 0, np.log(p), np.log(1 - p))))


def _fit(rows: Floats, right: Floats, used: Sequence[int]) -> Floats:
    return fit(rows, right, signs=[SIGNS[i] for i in used])
