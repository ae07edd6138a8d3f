# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hand_nets import plate_read

from inference.calibrate import Example, as_rows, calibrate
from inference.confidence import Confidence
from inference.scoring import calibration_error

BASE = plate_read("ABC123")


def overconfident(n: int = 1500, seed: int = 0) -> list[Example]:
    """Reads whose log-odds are twice what they should be, with a height that says nothing."""
    rng = np.random.default_rng(seed)
    out = []
    for said, height, luck in zip(rng.uniform(-6, 8, n), rng.uniform(8, 60, n), rng.random(n), strict=True):
        evidence = {"text_score": float(1 / (1 + np.exp(-said))), "height_px": float(height)}
        out.append(example(len(out), evidence, right=bool(luck < 1 / (1 + np.exp(-said / 2)))))
    return out


def example(number: int, evidence: dict[str, float], *, right: bool) -> Example:
    """A plate of its own."""
    read = replace(BASE, text=f"P{number}", **evidence)
    return read, read.text if right else f"Q{number}"


def test_it_learns_how_far_the_reader_can_be_believed() -> None:
    fitted = calibrate(overconfident())
    assert fitted.read_text == pytest.approx(0.5, abs=0.07)
    assert fitted.read_bias == pytest.approx(0.0, abs=0.25)
    fresh = overconfident(seed=1)
    judged = [(fitted.of(read), truth == read.text) for read, truth in fresh]
    raw = [(read.text_score, truth == read.text) for read, truth in fresh]
    assert (calibration_error(judged) or 1) < 0.035
    assert (calibration_error(raw) or 0) > 0.06


def test_evidence_that_tells_nothing_gets_no_weight() -> None:
    fitted = calibrate(overconfident())
    assert fitted == Confidence(read_text=fitted.read_text, read_bias=fitted.read_bias)


def test_evidence_that_tells_something_is_used() -> None:
    rng = np.random.default_rng(2)
    examples = []
    for height, luck in zip(rng.uniform(4, 60, 1500), rng.random(1500), strict=True):
        evidence = {"text_score": 0.8, "height_px": float(height)}
        examples.append(example(len(examples), evidence, right=bool(luck < height / 64)))
    assert calibrate(examples).read_height > 0.5


def test_few_plates_leave_the_readers_word_alone() -> None:
    assert calibrate([]) == Confidence()
    assert calibrate(overconfident(20)) == Confidence()
    assert calibrate([(BASE, "ABC123")] * 100) == Confidence()


def test_look_alikes_are_the_same_and_no_text_is_no_example() -> None:
    one, none = replace(BASE, text="ABC1O3", text_score=0.9), replace(BASE, text="", chars=())
    seen = as_rows([(one, "ABCI03"), (one, "ABC123"), (none, "ABC123")])
    assert len(seen.rows) == 2
    assert seen.right.tolist() == [1, 0]


def test_a_plate_counts_once_however_often_it_was_taken() -> None:
    seen = as_rows([(BASE, "ABC123"), (BASE, "XYZ"), (BASE, "ABC123"), (BASE, "ABC123")])
    assert seen.plates.tolist() == [0, 1, 0, 0]
    assert seen.shares.tolist() == pytest.approx([1 / 3, 1, 1 / 3, 1 / 3])
    examples = overconfident(400)
    stubborn = (replace(BASE, text_score=0.999), "QQQ1")
    with_one, with_many = (calibrate(examples + [stubborn] * n) for n in (1, 300))
    assert with_many.read_text == pytest.approx(with_one.read_text, abs=1e-3)
    assert with_many.read_bias == pytest.approx(with_one.read_bias, abs=1e-3)


def test_a_word_that_can_be_believed_keeps_its_slope() -> None:
    rng = np.random.default_rng(6)
    examples = []
    for said, luck in zip(rng.uniform(-4, 6, 600), rng.random(600), strict=True):
        right = bool(luck < 1 / (1 + np.exp(-said - 1.0)))  # too modest, by as much everywhere
        examples.append(example(len(examples), {"text_score": float(1 / (1 + np.exp(-said)))}, right=right))
    fitted = calibrate(examples)
    assert fitted.read_text == 1.0
    assert fitted.read_bias == pytest.approx(1.0, abs=0.3)
