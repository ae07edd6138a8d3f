# SPDX-License-Identifier: Apache-2.0
"""What teaches the corners (needs PyTorch): batches agree with themselves, losses count what is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from inference.training.corners_model import CornerNet, freeze_judge  # noqa: E402
from inference.training.corners_place import SHARES, PlaceFeed, Places, place_loss, run, with_corners  # noqa: E402
from inference.training.corners_session import Session  # noqa: E402
from inference.training.render_scene import SCENE_SHAPE  # noqa: E402

FITTED = [[0.1, 0.1], [0.9, 0.0], [0.9, 0.9], [0.1, 1.0]]


@pytest.fixture
def feed(tmp_path: Path) -> PlaceFeed:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 255, (2, *SCENE_SHAPE)).astype(np.uint8)
    corners = np.tile(np.array([[0.3, 0.3], [0.7, 0.3], [0.7, 0.7], [0.3, 0.7]], np.float32), (2, 1, 1))
    rows = np.zeros(2, np.bool_)
    shard = tmp_path / "shard_0000.npz"
    np.savez(shard, images=images, corners=corners, texts=np.array(["A", "B"]), two_rows=rows)
    errors = rng.normal(0, 0.1, (50, 4)).clip(-0.3, 0.3).astype(np.float32)
    return PlaceFeed(tmp_path, with_corners(images, [FITTED, None]), errors, 3)


def test_fitted_corners_and_boxes_are_told_apart() -> None:
    plates = with_corners(np.zeros((2, *SCENE_SHAPE), np.uint8), [None, FITTED])
    assert plates.fitted.tolist() == [False, True]
    assert plates.corners[0].tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]
    assert np.allclose(plates.corners[1], FITTED)


def test_batches_have_their_shares_and_corners_in_order(feed: PlaceFeed) -> None:
    batch = feed.batch(300)
    assert batch.pictures.shape == (300, 1, 64, 128)
    assert abs((~batch.known).mean() - SHARES["boxed"]) < 0.06
    assert (batch.corners[:, 0, 0] < batch.corners[:, 1, 0]).all()
    assert (batch.corners[:, 3, 0] < batch.corners[:, 2, 0]).all()
    assert batch.corners.min() > -0.6
    assert batch.corners.max() < 1.6


def test_the_loss_of_a_box_is_that_of_the_extent() -> None:
    box = np.array([[[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]]], np.float32)
    skewed = torch.tensor([[0.2, 0.3, 0.8, 0.2, 0.8, 0.7, 0.2, 0.8]])
    picture = np.zeros((1, 1, 64, 128), np.float32)
    both = [Places(picture.repeat(2, 0), box.repeat(2, 0), np.array([True, last])) for last in (False, True)]
    right = torch.from_numpy(box).reshape(1, 8)
    assert place_loss(torch.cat([right, skewed]), both[0]) == 0
    assert place_loss(torch.cat([right, skewed]), both[1]) > 0
    assert place_loss(torch.cat([right, skewed + 0.1]), both[0]) > 0


def test_only_the_corners_learn(feed: PlaceFeed, tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = CornerNet().train()
    freeze_judge(net)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    run(Session(net, tmp_path / "placed.pt", 0.01, 1e-3, 0.9, "cpu"), net, feed, "cpu")
    after = torch.load(tmp_path / "placed.pt", weights_only=True)["net"]
    moved = {k for k, v in after.items() if not torch.equal(v, before[k])}
    assert "corners.weight" in moved
    assert "body.0.0.weight" in moved
    assert not any(k.startswith("judge.") for k in moved)
