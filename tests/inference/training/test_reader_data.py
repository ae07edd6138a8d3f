# SPDX-License-Identifier: Apache-2.0
"""The reader's crops: two rows unrolled, jitter within reason, shares and weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from inference.training.glyphs_dies import random_dies
from inference.training.reader_cells import cells_of, straighten
from inference.training.reader_data import (
    ReaderFeed,
    RealPlate,
    box_quad,
    crops_of,
    jitter,
    rows_known,
)
from inference.training.reader_wear import Crop, coarsen, cover, shade, smear, tone
from inference.training.render import Kit, draw_plate
from inference.training.render_pool import save_shard
from inference.training.render_scene import make_scene


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(6)


def test_two_rows_give_the_upper_crop_first() -> None:
    grey = np.full((100, 200), 30, np.uint8)
    grey[50:] = 220
    upper, lower = crops_of(grey, box_quad([0, 0, 200, 100]), two_rows=True)
    assert upper.shape == lower.shape == (48, 144)
    assert upper[10:34].max() < 60
    assert lower[14:38].min() > 190


def test_one_row_gives_one_crop() -> None:
    assert len(crops_of(np.zeros((50, 100), np.uint8), box_quad([10, 10, 90, 40]), two_rows=False)) == 1


def test_no_jitter_leaves_the_quad(rng: np.random.Generator) -> None:
    quad = box_quad([10, 20, 110, 60])
    assert np.allclose(jitter(rng, quad, 0.0), quad)


def test_jitter_moves_corners_by_a_few_percent(rng: np.random.Generator) -> None:
    quad = box_quad([0, 0, 100, 50])
    moved = np.stack([jitter(rng, quad, 1.0) for _ in range(300)]) - quad
    assert 1.0 < moved[..., 0].std() < 8.0
    assert 0.5 < moved[..., 1].std() < 6.0


def test_jitter_cuts_an_end_or_slants_the_plate_now_and_then(rng: np.random.Generator) -> None:
    quad = box_quad([0, 0, 100, 50])
    moved = np.stack([jitter(rng, quad, 1.0) for _ in range(2000)]) - quad
    cut = np.maximum(moved[:, [0, 3], 0].mean(1), -moved[:, [1, 2], 0].mean(1))
    slant = np.abs(moved[:, :2, 0].mean(1) - moved[:, 2:, 0].mean(1))
    assert 0.02 < (cut > 7).mean() < 0.12
    assert 0.02 < (slant > 7).mean() < 0.2
    assert cut.max() < 22


@pytest.mark.parametrize(
    ("country", "aspect", "expected"),
    [("US", 1.2, False), ("PK", 1.5, None), ("GB", 4.5, False), ("", 1.3, None)],
)
def test_two_rows_are_ruled_out_by_country_or_aspect(
    country: str, aspect: float, expected: bool | None
) -> None:
    assert rows_known(country, aspect) is expected


def test_tone_keeps_shape_and_type(rng: np.random.Generator) -> None:
    for _ in range(40):
        crop = tone(rng, rng.integers(0, 255, (48, 144)).astype(np.uint8))
        assert crop.shape == (48, 144)
        assert crop.dtype == np.uint8


@pytest.mark.parametrize("wear", [shade, cover, smear, coarsen])
def test_wear_changes_a_crop_and_keeps_its_shape(
    rng: np.random.Generator, wear: Callable[[np.random.Generator, Crop], Crop]
) -> None:
    crop = rng.integers(40, 200, (48, 144)).astype(np.uint8)
    before = crop.copy()
    worn = wear(rng, crop)
    assert worn.shape == crop.shape
    assert worn.dtype == np.uint8
    assert not np.array_equal(worn, crop)
    assert np.array_equal(crop, before)


def test_a_cover_stays_off_the_serial(rng: np.random.Generator) -> None:
    crop = np.full((48, 144), 100, np.uint8)
    assert all((cover(rng, crop)[14:34] == 100).all() for _ in range(60))


def test_a_batch_mixes_rendered_and_real(tmp_path: Path, rng: np.random.Generator) -> None:
    kit = Kit([random_dies(rng)], [])
    street = rng.integers(0, 255, (300, 400)).astype(np.uint8)
    for number in range(3):
        scenes = [make_scene(rng, draw_plate(rng, kit), street) for _ in range(4)]
        save_shard(tmp_path / f"shard_{number:04d}.npz", scenes)
    grey = rng.integers(0, 255, (60, 120)).astype(np.uint8)
    quad = box_quad([10, 10, 110, 50])
    plates = [
        RealPlate(grey, quad, None, "REAL1", "US", "clear", False, "", 100.0),
        RealPlate(grey, quad, None, "UNSURE", "PK", "clear", None, "", 100.0),
    ]
    feed = ReaderFeed(tmp_path, plates, 1)
    batch = feed.batch(16, 0.5)
    assert len(batch.texts) == len(batch.rows) == 16
    assert batch.pictures.shape == (sum(batch.rows), 1, 48, 144)
    assert "REAL1" in batch.texts
    assert "UNSURE" not in batch.texts
    assert set(feed.batch(8, 1.0).texts) == {"REAL1"}


def test_two_row_plates_count_two_crops(tmp_path: Path, rng: np.random.Generator) -> None:
    kit = Kit([random_dies(rng)], [])
    street = rng.integers(0, 255, (300, 400)).astype(np.uint8)
    scenes = [make_scene(rng, draw_plate(rng, kit, "two_row"), street) for _ in range(4)]
    for number in range(3):
        save_shard(tmp_path / f"shard_{number:04d}.npz", scenes)
    grey = rng.integers(0, 255, (60, 120)).astype(np.uint8)
    plates = [RealPlate(grey, box_quad([10, 10, 110, 50]), None, "REAL1", "PK", "clear", True, "", 100.0)]
    assert set(ReaderFeed(tmp_path, plates, 1).batch(8, 0.5).rows) == {2}


def test_real_plates_get_new_serials(tmp_path: Path, rng: np.random.Generator) -> None:
    kit = Kit([random_dies(rng)], [])
    street = rng.integers(0, 255, (300, 400)).astype(np.uint8)
    for number in range(3):
        save_shard(tmp_path / f"shard_{number:04d}.npz", [make_scene(rng, draw_plate(rng, kit), street)])
    grey = rng.integers(0, 255, (60, 120)).astype(np.uint8)
    quad = box_quad([10, 10, 110, 50])
    times = np.array([0.2, 0.35, 0.5, 0.65, 0.8], np.float32)
    cells = cells_of(straighten(grey, quad), times, "AB123")
    plate = RealPlate(grey, quad, quad, "AB123", "US", "clear", False, "", 100.0, cells)
    texts = ReaderFeed(tmp_path, [plate], 1).batch(64, 1.0).texts
    assert 10 < texts.count("AB123") < 60
    assert all(set(text) <= set("AB123") and len(text) == 5 for text in texts)


def test_rare_plates_are_drawn_more_often(tmp_path: Path, rng: np.random.Generator) -> None:
    kit = Kit([random_dies(rng)], [])
    street = rng.integers(0, 255, (300, 400)).astype(np.uint8)
    for number in range(3):
        save_shard(tmp_path / f"shard_{number:04d}.npz", [make_scene(rng, draw_plate(rng, kit), street)])
    grey = rng.integers(0, 255, (60, 120)).astype(np.uint8)
    kinds = (("US1", "US", False), ("GB1", "GB", False), ("PK1", "PK", True), ("BR2", "BR", False))
    plates = [
        RealPlate(grey, box_quad([10, 10, 110, 50]), None, text, country, "clear", rows, "", 100.0)
        for text, country, rows in kinds
    ]
    texts = ReaderFeed(tmp_path, plates, 1).batch(600, 1.0).texts
    ordinary = texts.count("GB1")
    assert 2.0 < texts.count("US1") / ordinary < 4.2
    assert 2.0 < texts.count("BR2") / ordinary < 4.2
    assert 1.4 < texts.count("PK1") / ordinary < 2.8
