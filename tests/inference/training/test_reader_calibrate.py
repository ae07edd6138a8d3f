# SPDX-License-Identifier: Apache-2.0
"""The confidence and its temperature (needs PyTorch)."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")

from inference.training.reader_calibrate import confidence, fit, log_loss, same_text
from inference.training.reader_model import BLANK, TIME_STEPS, encode


def _logits(text: str, height: float) -> NDArray[np.float32]:
    logits = np.zeros((TIME_STEPS, BLANK + 1), np.float32)
    path = [*encode(text), *[BLANK] * (TIME_STEPS - len(text))]
    logits[np.arange(TIME_STEPS), path] = height
    return logits


def test_o_is_zero_and_i_is_one() -> None:
    assert same_text("0I1", "OI1")
    assert not same_text("0Q", "00")


def test_a_higher_temperature_is_less_sure() -> None:
    logits = _logits("ABC123", 9.0)
    assert confidence(logits, 1.0) > confidence(logits, 2.0) > 0
    assert confidence(_logits("", 9.0), 1.0) == 0.0


def test_boasting_is_cooled() -> None:
    logits = [_logits("ABC123", 12.0)] * 10
    result = fit(logits, np.array([True] * 6 + [False] * 4))
    assert result.temperature > 1.2
    assert result.log_loss < result.log_loss_plain
    assert (result.plates, result.right) == (10, 6)


def test_log_loss_is_bounded() -> None:
    assert log_loss(np.array([1.0]), np.array([False])) < 10
