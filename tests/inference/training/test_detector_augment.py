# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.training.detector_augment import (
    PHASE_A,
    PHASE_B,
    Augmenter,
    Recipe,
    project,
    sort_boxes,
    warp,
)
from inference.training.detector_data import Cache, as_boxes
from inference.training.detector_photometry import disturb, motion_kernel

SIZE = (320, 192)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """One dark picture with one white plate, twice: as is, and as a squashed source."""
    work = tmp_path_factory.mktemp("work")
    picture = np.full((300, 400), 30, np.uint8)
    picture[120:150, 150:250] = 250
    box = [[150, 120, 250, 150]]
    rows = [
        ["a.png", 400, 300, "openimages-gp", box, 0],
        ["b.png", 400, 300, "chirag-rf300", box, 2 * picture.size],
    ]
    (work / "cache.bin").write_bytes(picture.tobytes() * 4)
    (work / "cache.json").write_text(json.dumps(rows))
    return Cache(work)


@pytest.mark.parametrize("recipe", [PHASE_A, PHASE_B])
def test_samples_have_the_size_asked_for_and_boxes_inside(cache: Cache, recipe: Recipe) -> None:
    augmenter = Augmenter(cache, recipe, np.random.default_rng(1))
    for _ in range(60):
        sample = augmenter.sample(SIZE)
        assert sample.image.shape == (SIZE[1], SIZE[0])
        assert (sample.plates >= 0).all()
        assert (sample.plates <= np.array([*SIZE, *SIZE])).all()
        assert (sample.plates[:, 2:] - sample.plates[:, :2] > 3).all()


def test_the_box_follows_the_plate(cache: Cache) -> None:
    """Without changes of light the white plate fills its box and nothing else."""
    augmenter = Augmenter(
        cache, Recipe(mosaic=0.3, whole=0.3, negative=0.0, bend=0.0), np.random.default_rng(2)
    )
    for _ in range(40):
        made = augmenter._view(SIZE)
        bright = made.image > 200
        for x1, y1, x2, y2 in made.plates.round().astype(int):
            inner = bright[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2]
            assert inner.size == 0 or inner.mean() > 0.9


def test_the_same_seed_draws_the_same_samples(cache: Cache) -> None:
    first, second = (Augmenter(cache, PHASE_A, np.random.default_rng(5)) for _ in range(2))
    a, b = first.sample(SIZE), second.sample(SIZE)
    assert np.array_equal(a.plates, b.plates)
    assert a.image.shape == b.image.shape


def test_cut_and_tiny_plates_are_ignored_and_absent_ones_dropped() -> None:
    whole, cut = [10.0, 10, 60, 30], [-30.0, 10, 30, 30]
    tiny, gone = [80.0, 80, 86, 84], [-50.0, 0, -10, 20]
    plates, ignored = sort_boxes(as_boxes([whole, cut, tiny, gone]), SIZE)
    assert plates.tolist() == [whole]
    assert ignored.tolist() == [[0, 10, 30, 30], tiny]


@settings(max_examples=30, deadline=None)
@given(st.floats(0.2, 3), st.floats(-50, 50), st.floats(-50, 50))
def test_project_agrees_with_scaling(scale: float, x: float, y: float) -> None:
    m = np.array([[scale, 0, x], [0, scale, y], [0, 0, 1.0]])
    boxes = as_boxes([[10, 20, 40, 30]])
    assert np.allclose(project(m, boxes), boxes * scale + np.array([x, y, x, y]), atol=1e-3)


def test_shrinking_averages_instead_of_skipping() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 64))
    small = warp(stripes, np.diag([0.25, 0.25, 1.0]), (32, 16), 0)
    assert np.ptp(small[4:12, 4:28]) < 40


def test_night_keeps_the_plate_brighter_than_the_scene() -> None:
    rng = np.random.default_rng(0)
    image = np.full((100, 100), 120, np.uint8)
    box = as_boxes([[30, 30, 70, 50]])
    brighter = 0
    for _ in range(200):
        out = disturb(image, box, rng).astype(int)
        brighter += int(out[35:45, 40:60].mean() > out[70:90, 40:60].mean() + 30)
    assert 5 <= brighter <= 60


@pytest.mark.parametrize("angle", [-90.0, 0.0, 30.0])
def test_motion_kernels_keep_the_light(angle: float) -> None:
    assert motion_kernel(7, angle).sum() == pytest.approx(1.0, abs=1e-5)
