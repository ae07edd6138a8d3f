# SPDX-License-Identifier: Apache-2.0
"""Rendered plates and scenes: shapes, ranges, corners, and that the ink is where the text says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.training.glyphs import CHARACTERS, DieStyle, strokes_of
from inference.training.glyphs_dies import MASK_HEIGHT, random_dies, random_style, strike
from inference.training.render import Kit, draw_plate
from inference.training.render_furniture import frame, panel
from inference.training.render_pool import load_shard, save_shard
from inference.training.render_scene import SCENE_SHAPE, make_scene, plate_quad, wipe_serial
from inference.training.render_signs import wheelchair

REGIONS = ("us", "eu", "uk", "br", "mid", "india", "pakistan", "two_row", "punjab")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


@pytest.fixture(scope="module")
def kit() -> Kit:
    rng = np.random.default_rng(5)
    return Kit([random_dies(rng) for _ in range(3)], [rng.integers(0, 255, (120, 240)).astype(np.uint8)])


@pytest.mark.parametrize("character", CHARACTERS)
def test_strokes_stay_in_the_unit_box(rng: np.random.Generator, character: str) -> None:
    points = np.concatenate(strokes_of(character, random_style(rng)))
    assert points.min() >= -0.05
    assert points.max() <= 1.05


def test_glyphs_of_one_style_differ_but_for_o_and_zero() -> None:
    masks = {
        c: strike(c, DieStyle(), 0.5, 0.12, flat=False, proportional=False).tobytes() for c in CHARACTERS
    }
    assert len(set(masks.values())) == len(CHARACTERS) - 1
    assert masks["O"] == masks["0"]


def test_a_slashed_zero_differs_from_o() -> None:
    style = DieStyle(zero="slash")
    zero, letter = (strike(c, style, 0.5, 0.12, flat=False, proportional=False) for c in "0O")
    assert zero.shape[0] == MASK_HEIGHT
    assert not np.array_equal(zero, letter)


@pytest.mark.parametrize("region", REGIONS)
def test_a_plate_has_text_contrast_and_range(rng: np.random.Generator, kit: Kit, region: str) -> None:
    plate = draw_plate(rng, kit, region)
    assert plate.text
    assert plate.two_rows == (region in ("two_row", "punjab"))
    assert plate.grey.dtype == np.float32
    assert 0 <= plate.grey.min() < plate.grey.max() <= 1


def test_a_frame_is_no_deeper_than_asked(rng: np.random.Generator) -> None:
    for deepest in (0.06, 0.17):
        for _ in range(20):
            plane = np.full((100, 200), 2.0, np.float32)
            frame(rng, plane, deepest)
            inner = round(100 * deepest) + 1
            assert (plane[inner:-inner, 12:-12] == 2.0).all()
            assert (plane[0] != 2.0).all()


def test_a_panel_leaves_the_serial_alone(rng: np.random.Generator) -> None:
    plane = np.full((100, 200), 2.0, np.float32)
    panel(rng, plane, 0.3)
    assert (plane[:, 90:] == 2.0).all()
    assert (plane[:, :60] != 2.0).mean() > 0.99


def test_the_access_symbol_fills_its_square_with_ink() -> None:
    canvas = np.zeros((60, 60), np.uint8)
    wheelchair(canvas, 5, 5, 50, 255)
    ys, xs = np.nonzero(canvas > 128)
    assert 3 <= ys.min() < 12
    assert 45 < ys.max() < 60
    assert xs.max() - xs.min() > 30
    assert 0.05 < (canvas > 128).mean() < 0.4


def test_painted_plates_are_typeset_more_often(rng: np.random.Generator) -> None:
    struck, typeset = random_dies(rng), random_dies(rng)
    both = Kit([struck], [], [typeset])
    shares = {r: sum(both.pick(rng, r) is typeset for _ in range(300)) / 300 for r in ("us", "punjab")}
    assert shares["us"] < 0.15
    assert shares["punjab"] > 0.25
    assert Kit([struck], []).pick(rng, "punjab") is struck


def test_the_same_seed_draws_the_same_plate(kit: Kit) -> None:
    first, second = (draw_plate(np.random.default_rng(9), kit) for _ in range(2))
    assert first.text == second.text
    assert np.array_equal(first.grey, second.grey)


def test_a_quad_keeps_its_orientation(rng: np.random.Generator) -> None:
    for _ in range(200):
        tl, tr, br, bl = plate_quad(rng, 2.0, 1.0)
        assert tl[0] < tr[0]
        assert bl[0] < br[0]
        assert tl[1] < bl[1]
        assert tr[1] < br[1]


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_scene_corners_lie_inside_with_the_margin(rng: np.random.Generator, kit: Kit, level: float) -> None:
    street = rng.integers(0, 255, (300, 400)).astype(np.uint8)
    for _ in range(20):
        scene = make_scene(rng, draw_plate(rng, kit), street, level)
        assert scene.image.shape == SCENE_SHAPE
        assert scene.image.dtype == np.uint8
        assert scene.corners.min() > 0.2
        assert scene.corners.max() < 0.8


def test_wiping_removes_strokes_from_the_band_only(rng: np.random.Generator) -> None:
    design = np.full((120, 240), 220, np.uint8)
    design[40:80, 100:106] = 10
    design[5:12, 50:150] = 90
    wiped = wipe_serial(design)
    assert wiped[60, 103] > 200
    assert np.array_equal(wiped[:20], design[:20])


def test_shards_come_back_as_written(tmp_path: Path, rng: np.random.Generator, kit: Kit) -> None:
    street = rng.integers(0, 255, (300, 400)).astype(np.uint8)
    scenes = [make_scene(rng, draw_plate(rng, kit), street) for _ in range(3)]
    save_shard(tmp_path / "shard_0000.npz", scenes)
    shard = load_shard(tmp_path / "shard_0000.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["shard_0000.npz"]
    assert list(shard.texts) == [s.text for s in scenes]
    assert np.array_equal(shard.images[1], scenes[1].image)
