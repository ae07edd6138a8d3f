# SPDX-License-Identifier: Apache-2.0
"""When a state may be named: thresholds and temperature from views of held-out plates."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")  # the reader's data, whose held-out plates these are, needs it

from inference.state import CLASSES, OTHER
from inference.training.state_calibrate import (
    LEAST,
    NEVER,
    Seen,
    best_weight,
    fit,
    log_loss,
    probabilities,
    said,
    threshold,
)


def seen(margins: list[float], classes: list[int], formats: np.ndarray | None = None) -> Seen:
    """Views whose class 0 is ahead of all others by these margins."""
    n = len(margins)
    logits, nothing = np.zeros((n, CLASSES)), np.zeros((n, CLASSES))
    logits[:, 0] = margins
    return Seen(
        logits, np.array(classes), nothing if formats is None else formats, nothing, np.full(n, 1 / n)
    )


def test_the_threshold_lies_above_what_is_wrong() -> None:
    views = seen([9.0] * 40 + [5.0] * 10, [0] * 40 + [1] * 10)
    found = probabilities(views, 1.0, 0.0)
    level = threshold(views, found)
    assert found[45, 0] < level <= found[0, 0]
    assert said(views, found, level) == (0.8, 1.0)


def test_without_errors_the_threshold_is_the_least() -> None:
    views = seen([9.0] * 10, [0] * 10)
    assert threshold(views, probabilities(views, 1.0, 0.0)) == LEAST


def test_a_net_that_is_always_wrong_names_nothing() -> None:
    views = seen([9.0] * 10, [3] * 10)
    found = probabilities(views, 1.0, 0.0)
    assert threshold(views, found) == NEVER
    assert said(views, found, NEVER) == (0.0, 0.0)


def test_plates_from_elsewhere_count_when_they_are_named() -> None:
    views = seen([9.0] * 10 + [7.0] * 10, [0] * 10 + [OTHER] * 10)
    assert threshold(views, probabilities(views, 1.0, 0.0)) > LEAST
    views.logits[10:, OTHER] = 20.0
    assert threshold(views, probabilities(views, 1.0, 0.0)) == LEAST


def test_overconfidence_gets_a_temperature() -> None:
    views = seen([12.0] * 8, [0, 0, 0, 0, 1, 2, 3, 4])
    temperature, _ = fit(views)
    assert temperature > 2
    assert log_loss(views, temperature, 0.0) < log_loss(views, 1.0, 0.0)


@pytest.mark.parametrize(("right", "low", "high"), [(True, 0.5, 1.0), (False, 0.0, 0.1)])
def test_the_format_weighs_as_much_as_it_helps(right: bool, low: float, high: float) -> None:
    classes = [0, 1, 2, 3] * 5
    formats = np.zeros((20, CLASSES))
    formats[np.arange(20), classes if right else np.array(classes) + 7] = 2.0
    assert low <= fit(seen([0.5] * 20, classes, formats))[1] <= high


def test_names_count_beside_the_net() -> None:
    views = seen([2.0] * 3, [5, 5, 5])
    views.names[:, 5] = 6.0
    assert (probabilities(views, 1.0, 0.0).argmax(axis=1) == 5).all()


@pytest.mark.parametrize(("right", "low", "high"), [(20, 1.0, 1.2), (12, 0.1, 0.9), (0, 0.0, 0.0)])
def test_names_weigh_as_much_as_they_can_be_trusted(right: int, low: float, high: float) -> None:
    scores, classes = np.zeros((20, OTHER)), np.arange(20)
    scores[np.arange(20), np.where(np.arange(20) < right, classes, classes + 9)] = 6.0
    assert low <= best_weight(scores, classes) <= high
