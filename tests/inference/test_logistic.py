# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from inference.logistic import fit


def drawn(weights: list[float], bias: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    rows = rng.normal(0, 1, (n, len(weights)))
    chances = 1 / (1 + np.exp(-(rows @ np.array(weights) + bias)))
    return rows, (rng.random(n) < chances).astype(float)


def test_it_finds_the_weights_that_drew_the_labels() -> None:
    rows, labels = drawn([1.5, -0.7], 0.4)
    assert fit(rows, labels) == pytest.approx([1.5, -0.7, 0.4], abs=0.15)


def test_a_weight_of_the_wrong_sign_is_dropped_and_the_rest_fitted_anew() -> None:
    rows, labels = drawn([1.5, -0.7], 0.0)
    found = fit(rows, labels, signs=[1, 1])
    assert found[1] == 0.0
    assert found[0] == pytest.approx(fit(rows[:, :1], labels)[0])


def test_weights_of_examples_count() -> None:
    rows, labels = np.zeros((4, 1)), np.array([1.0, 0.0, 0.0, 0.0])
    found = fit(rows, labels, np.array([3.0, 1.0, 1.0, 1.0]))
    assert found[-1] == pytest.approx(0.0, abs=1e-3)


def test_what_separates_perfectly_stays_finite() -> None:
    rows = np.array([[-1.0], [1.0]] * 10)
    assert np.isfinite(fit(rows, (rows[:, 0] > 0).astype(float))).all()


def test_what_is_known_before_is_not_learned_again() -> None:
    rng = np.random.default_rng(4)
    known, rows = rng.normal(0, 2, 4000), rng.normal(0, 1, (4000, 1))
    labels = (rng.random(4000) < 1 / (1 + np.exp(-(known + 0.8 * rows[:, 0] - 0.5)))).astype(float)
    assert fit(rows, labels, offset=known) == pytest.approx([0.8, -0.5], abs=0.12)
    assert fit(np.zeros((4000, 0)), labels, offset=known + 0.8 * rows[:, 0]) == pytest.approx(
        [-0.5], abs=0.12
    )
