# SPDX-License-Identifier: Apache-2.0
"""Balancing the strides' scores needs torch to make the cells, not to choose the offsets; the module imports it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the [train] extra")
pytestmark = pytest.mark.train

from inference.training import detector_balance  # noqa: E402
from inference.training.detector_balance import Raw, recall_at  # noqa: E402
from inference.training.detector_data import Labels, as_boxes  # noqa: E402
from inference.training.detector_net import Detector  # noqa: E402

LARGE, NOISE = [0.0, 0, 300, 100], [500.0, 200, 540, 220]


def _cells(large_logit: float, noise_logit: float) -> Raw:
    return Raw(
        as_boxes([LARGE, NOISE]), np.asarray([large_logit, noise_logit], np.float32), np.asarray([2, 0])
    )


def test_raising_a_weak_stride_finds_its_plates_before_the_noise() -> None:
    labels = [Labels("a", 640, 384, "s", as_boxes([LARGE]), as_boxes([]))] * 5
    cells = [_cells(-0.5, 0.0)] * 5
    assert recall_at(cells, labels, (0.0, 0.0, 0.0)) == 0.0
    assert recall_at(cells, labels, (0.0, 0.0, 0.6)) == 1.0


def test_offsets_go_into_the_class_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Detector()
    torch.save(net.state_dict(), tmp_path / "a.pt")
    monkeypatch.setattr(detector_balance, "best_offsets", lambda *_: (0.0, 0.3, 0.6))
    detector_balance.balance(tmp_path / "a.pt", tmp_path, tmp_path / "b.pt")
    before, after = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in "ab")
    moved = {k: float(after[k] - before[k]) for k in before if not torch.equal(before[k], after[k])}
    assert moved == pytest.approx({"heads.1.cls.bias": 0.3, "heads.2.cls.bias": 0.6}, abs=1e-6)


def test_raw_cells_carry_their_stride() -> None:
    net = Detector().eval()
    with torch.no_grad():
        net.heads[1].cls.bias.fill_(3.0)
    raw = detector_balance.raw_cells(net, np.zeros((384, 640), np.uint8))
    assert len(raw.logits) == detector_balance.MOST_CELLS
    assert set(raw.level.tolist()) == {1}
