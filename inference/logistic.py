# SPDX-License-Identifier: Apache-2.0
"""Logistic regression by Newton's method, with a small ridge; weights may be kept from pointing the wrong way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

STEPS: Final = 50
BIAS_SHRINKAGE: Final = 1e-3
LONGEST: Final = 2.0  # step of a weight
FARTHEST: Final = 30.0  # log-odds beyond which nothing changes

Floats = NDArray[np.float64]


def fit(
    rows: Floats,
    labels: Floats,
    weights: Floats | None = None,
    *,
    signs: Sequence[int] | None = None,
    shrinkage: float = 1.0,
    offset: Floats | None = None,
) -> Floats:
    """Rows (N, D), labels 0..1 (N,) and their weights (N,) -> D weights and the bias (D + 1,).

    `signs`: 1 or -1 where a weight may only be positive or negative, else 0; one that comes out
    otherwise is dropped and the rest fitted anew. `shrinkage`: squares of the weights added to the loss.
    `offset`: log-odds (N,) that are known before; the weights say what comes on top.
    """
    counts = np.ones(len(rows)) if weights is None else weights
    known = np.zeros(len(rows)) if offset is None else offset
    wanted = np.zeros(rows.shape[1]) if signs is None else np.asarray(signs, dtype=np.float64)
    used = np.ones(rows.shape[1] + 1, dtype=np.bool_)
    while True:
        solved = _newton(rows, labels, counts, known, used, shrinkage)
        wrong = np.append(solved[:-1] * wanted < 0, np.False_)
        if not wrong.any():
            return solved
        used &= ~wrong


def _newton(
    rows: Floats, labels: Floats, counts: Floats, known: Floats, used: NDArray[np.bool_], shrinkage: float
) -> Floats:
    x = np.column_stack([rows, np.ones(len(rows))])[:, used]
    w = np.zeros(x.shape[1])
    shrink = np.full(x.shape[1], shrinkage)
    shrink[-1] = BIAS_SHRINKAGE
    for _ in range(STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(known + x @ w, -FARTHEST, FARTHEST)))
        slope = x.T @ (counts * (p - labels)) + shrink * w
        curve = (x * (counts * p * (1 - p))[:, None]).T @ x + np.diag(shrink)
        step = np.linalg.solve(curve, slope)
        w -= step / max(
            1.0, float(np.abs(step).max()) / LONGEST
        )  # a full one may overshoot where all is flat
    out = np.zeros(len(used))
    out[used] = w
    return out
