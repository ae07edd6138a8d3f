# SPDX-License-Identifier: Apache-2.0
"""Fits how far a read can be believed (`confidence`) on plates whose texts no net was trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.confidence import Confidence, evidence
from inference.logistic import Floats, fit
from inference.plates import fold
from inference.types import PlateRead

SIGNS: Final = (0, 1, 1, 1, 1, -1, -1)  # of the weights of `confidence.evidence`; 0: either, here about 1
TEXT: Final = 0  # place of the reader's own log-odds in the evidence
FOLDS: Final = 8
GAIN: Final = 0.002  # of the cross-validated log loss: what more evidence must bring to be used
DIGITS: Final = 4
TINY: Final = 1e-3  # chances are kept this far from 0 and 1 in the log loss
MIN_EXAMPLES: Final = 30  # plates; with fewer, the reader's own word stands

Example = tuple[PlateRead, str]
"""A read, and the text that is on the plate."""


@dataclass(frozen=True, slots=True)
class Rows:
    """N reads: evidence (N, 7), whether the text is right (N,), whose plate it is (N,), the read's share of it (N,).

    Pictures of one plate are alike, and some plates were taken many times: all pictures of a plate count as one.
    """

    rows: Floats
    right: Floats
    plates: NDArray[np.intp]
    shares: Floats


def calibrate(examples: Sequence[Example]) -> Confidence:
    """The weights that say best whether a text is right (O is 0, I is 1): the reader's word, made surer or less sure.

    All else has to earn its place, another slope of the reader's log-odds than 1 as well: forward selection by
    cross-validated log loss, as with some hundred plates more weights than that only learn noise.
    """
    seen = as_rows(examples)
    if seen.shares.sum() < MIN_EXAMPLES or seen.right.min() == seen.right.max():
        return Confidence()
    used: list[int] = []
    best = log_loss(cross_validated(seen, used), seen.right, seen.shares)
    while left := [i for i in range(len(SIGNS)) if i not in used]:
        trials = {i: [*used, i] for i in left}
        losses = {i: log_loss(cross_validated(seen, t), seen.right, seen.shares) for i, t in trials.items()}
        added = min(losses, key=lambda i: losses[i])
        if losses[added] > best - GAIN:
            break
        used, best = trials[added], losses[added]
    weights = np.zeros(len(SIGNS) + 1)
    weights[TEXT] = 1.0
    weights[[*used, -1]] += _fit(seen, used, np.ones(len(seen.rows), dtype=np.bool_))
    return Confidence(*(round(float(w), DIGITS) for w in weights))


def as_rows(examples: Sequence[Example]) -> Rows:
    """Reads -> what the fit takes; reads without a text are left out."""
    told = [(read, truth) for read, truth in examples if read.text]
    rows = np.array([evidence(read) for read, _ in told]).reshape(-1, len(SIGNS))
    right = np.array([float(fold(read.text) == fold(truth)) for read, truth in told])
    texts = [truth for _, truth in told]
    numbers = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    pictures = Counter(texts)
    shares = np.array([1.0 / pictures[text] for text in texts])
    return Rows(rows, right, np.array([numbers[text] for text in texts], dtype=np.intp), shares)


def cross_validated(seen: Rows, used: Sequence[int]) -> Floats:
    """The chance (N,) of each row by weights fitted on the other folds; all pictures of a plate are in one fold."""
    chances = np.zeros(len(seen.rows))
    folds = seen.plates * FOLDS // (int(seen.plates.max()) + 1)
    for k in range(FOLDS):
        weights, asked = _fit(seen, used, folds != k), seen.rows[folds == k][:, used]
        told = seen.rows[folds == k][:, TEXT] + asked @ weights[:-1] + weights[-1]
        chances[folds == k] = 1.0 / (1.0 + np.exp(-told))
    return chances


def log_loss(chances: Floats, right: Floats, shares: Floats) -> float:
    """Mean negative log likelihood of what came out, each row counting as much as its share."""
    p = np.clip(chances, TINY, 1 - TINY)
    return float(np.average(-np.where(right > 0, np.log(p), np.log(1 - p)), weights=shares))


def _fit(seen: Rows, used: Sequence[int], taken: NDArray[np.bool_]) -> Floats:
    rows, signs = seen.rows[taken][:, used], [SIGNS[i] for i in used]
    word = seen.rows[taken][:, TEXT]
    return fit(rows, seen.right[taken], seen.shares[taken], signs=signs, offset=word)
