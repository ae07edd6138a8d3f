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
    fit,
    log_loss,
    probabilities,
    said,
    threshold,
)


def seen(margins: list[float], classes: list[int], formats: np.ndarray | None = None) -> Seen:
    """Views whose class 0 is ahead of all others by these margins."""
    logits = np.zeros((len(margins), CLASSES))
    logits[:, 0] = margins
    n = len(margins)
    return Seen(
        logits, np.array(classes), np.zeros((n, CLASSES)) if formats is None else formats, np.full(n, 1 / n)
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
