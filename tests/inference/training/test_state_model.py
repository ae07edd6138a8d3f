# SPDX-License-Identifier: Apache-2.0
"""The state net: shapes, size, folding, loss (needs PyTorch)."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from inference.state import CLASSES, OTHER, STATES  # noqa: E402
from inference.training.corners_model import fold, parameter_count  # noqa: E402
from inference.training.state_model import StateExport, StateNet, state_loss  # noqa: E402
from inference.training.state_train import INPUT, tensor  # noqa: E402


def test_shapes_and_size() -> None:
    net = StateNet().eval()
    assert net(torch.zeros(2, 3, 72, 144)).shape == (2, CLASSES)
    assert StateExport(net)(torch.zeros(INPUT)).shape == (1, CLASSES)
    assert 300_000 < parameter_count(net) < 450_000


def test_folding_batch_norms_changes_nothing() -> None:
    torch.manual_seed(1)
    export = StateExport(StateNet().eval()).eval()
    picture = torch.rand(INPUT)
    before = export(picture)
    assert torch.allclose(before, fold(export)(picture), atol=1e-4)


def test_pictures_become_channels_first() -> None:
    pictures = np.zeros((2, 72, 144, 3), np.uint8)
    pictures[..., 2] = 255
    assert tensor(pictures).shape == (2, 3, 72, 144)
    assert tensor(pictures)[:, 2].min() == 1.0
    assert tensor(pictures)[:, :2].max() == 0.0


def test_the_loss_is_low_for_the_right_class_only() -> None:
    logits = torch.full((2, CLASSES), -8.0)
    logits[0, STATES.index("IL")] = logits[1, OTHER] = 8.0
    right = torch.tensor([STATES.index("IL"), OTHER])
    assert state_loss(logits, right, 0.0) < 0.1
    assert state_loss(logits, right.flip(0), 0.0) > 5
