# SPDX-License-Identifier: Apache-2.0
"""The corner net's batches: what is known of each kind, and that boxes and corners agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.training.corners_data import CornerFeed, Regions, region_of
from inference.training.glyphs_dies import random_dies
from inference.training.render import Kit, draw_plate
from inference.training.render_pool import save_shard
from inference.training.render_scene import SCENE_SHAPE, make_scene


@pytest.fixture
def feed(tmp_path: Path) -> CornerFeed:
    rng = np.random.default_rng(8)
    kit = Kit([random_dies(rng)], [])
    street = rng.integers(0, 255, (300, 400)).astype(np.uint8)
    save_shard(tmp_path / "shard_0000.npz", [make_scene(rng, draw_plate(rng, kit), street) for _ in range(6)])
    images = rng.integers(0, 255, (4, *SCENE_SHAPE)).astype(np.uint8)
    rows = np.array([np.nan, 1, np.nan, np.nan], np.float32)
    return CornerFeed(tmp_path, Regions(images, np.array([True, True, False, False]), rows), 2)


def test_a_region_has_the_margin_around_the_box() -> None:
    grey = np.zeros((400, 400), np.uint8)
    grey[150:200, 100:200] = 255
    region = region_of(grey, (100.0, 150.0, 100.0, 50.0))
    assert region.shape == SCENE_SHAPE
    ys, xs = np.where(region > 128)
    assert np.allclose([xs.min() / 256, (xs.max() + 1) / 256], [0.45 / 1.9, 1.45 / 1.9], atol=0.01)
    assert np.allclose([ys.min() / 128, (ys.max() + 1) / 128], [0.45 / 1.9, 1.45 / 1.9], atol=0.02)


def test_batches_know_what_they_know(feed: CornerFeed) -> None:
    batch = feed.batch(200)
    assert batch.pictures.shape == (200, 1, 64, 128)
    assert batch.is_plate[batch.has_corners].all()
    assert not np.isnan(batch.two_rows[batch.has_corners]).any()
    assert np.isnan(batch.two_rows[~batch.is_plate]).all()
    assert 0.3 < batch.has_corners.mean() < 0.7


def test_boxes_are_the_extent_of_the_corners_and_near_the_crop(feed: CornerFeed) -> None:
    batch = feed.batch(100)
    assert np.allclose(batch.boxes[:, :2], batch.corners.min(1))
    assert np.allclose(batch.boxes[:, 2:], batch.corners.max(1))
    assert batch.boxes.min() > -0.3
    assert batch.boxes.max() < 1.3


def test_mirrored_corners_keep_their_order(feed: CornerFeed) -> None:
    corners = feed.batch(200).corners
    assert (corners[:, 0, 0] < corners[:, 1, 0]).all()
    assert (corners[:, 3, 0] < corners[:, 2, 0]).all()
