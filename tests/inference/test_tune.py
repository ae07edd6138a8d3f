# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hand_nets import plate_read

from inference.accept import Acceptance
from inference.models import MANIFEST
from inference.scoring import Truth
from inference.tune import Seen, examples, false_rate, fit, measured, record, tune, write

BOX = (100.0, 100.0, 80.0, 40.0)


def picture(true_score: float, false_score: float, *, width: float = 40.0) -> Seen:
    """A plate that the detector gives one score, and a sign elsewhere that it gives another."""
    right = replace(plate_read("ABC123"), score=true_score, confidence=0.9)
    wrong = replace(plate_read("X", x=500.0), score=false_score, confidence=0.05)
    return Seen([Truth(BOX, "ABC123", width)], [right, wrong])


def pictures() -> list[Seen]:
    rng = np.random.default_rng(0)
    return [picture(rng.uniform(0.4, 0.8), rng.uniform(0.2, 0.6)) for _ in range(60)]


def test_examples_are_labelled_by_the_truth_and_small_plates_weigh_less() -> None:
    rows, labels, weights = examples([picture(0.7, 0.3), picture(0.7, 0.3, width=20.0)])
    assert rows.shape == (4, 3)
    assert labels.tolist() == [1, 0, 1, 0]
    assert weights.tolist() == [1, 1, 0.25, 1]


def test_a_net_that_is_wrong_gets_no_weight() -> None:
    rng = np.random.default_rng(0)
    labels = (np.arange(400) % 2).astype(float)
    rows = np.column_stack([labels * 2 - 1, 1 - labels * 2, np.zeros(400)]) + rng.normal(0, 1.5, (400, 3))
    found = fit(rows, labels, np.ones(400))
    assert found.accept_detector > 0.3
    assert found.accept_plate == 0.0


@pytest.mark.parametrize("target", [0.0, 0.1, 0.5])
def test_the_threshold_keeps_the_false_target(target: float) -> None:
    seen = pictures()
    found = tune(seen, target)
    assert false_rate(seen, found) <= target
    assert measured(seen, found).found_30 >= 55


def test_nothing_seen_is_no_failure() -> None:
    assert tune([]).accept_score == Acceptance().accept_score


def test_the_manifest_keeps_all_else(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(
        json.dumps({"models": {"detector": {}}, "accuracy": {"exact": 1}, "thresholds": {"other": 2.0}})
    )
    write(tmp_path, Acceptance(accept_bias=0.25))
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["accuracy"] == {"exact": 1}
    assert manifest["thresholds"]["other"] == 2.0
    assert manifest["thresholds"]["accept_bias"] == 0.25
    assert {"candidate_score", "plate_score", "accept_score"} <= manifest["thresholds"].keys()


def test_the_accuracy_goes_beside_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / MANIFEST).write_text('{"models": {}, "thresholds": {"accept_score": 0.5}}')
    monkeypatch.setattr("inference.tune.run", lambda asked: {"exact": 0.9 if asked.country else 0.8})
    record(tmp_path, Path("val.jsonl"), Path("/somewhere/data"))
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["thresholds"] == {"accept_score": 0.5}
    assert manifest["accuracy"]["exact"] == 0.8
    assert manifest["accuracy"]["command"] == "wayside bench accuracy --manifest val.jsonl --root data"
    assert manifest["accuracy"]["us_clear"]["exact"] == 0.9
