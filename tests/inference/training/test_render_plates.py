# SPDX-License-Identifier: Apache-2.0
"""Rendered plates and scenes: shapes, ranges, corners, and that the ink is where the text says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inference.training import render
from inference.training.glyphs import CHARACTERS, DieStyle, strokes_of
from inference.training.glyphs_dies import MASK_HEIGHT, random_dies, random_style, strike
from inference.training.render import Kit, draw_plate
from inference.training.render_furniture import frame, logo, panel, watermark
from inference.training.render_pool import load_shard, save_shard
from inference.training.render_scene import SCENE_SHAPE, make_scene, plate_quad, wipe_serial
from inference.training.render_serial import serial_mask
from inference.training.render_signs import numeral, script, seal, stripes, wheelchair

TWO_ROWS = ("two_row", "punjab", "titled")
REGIONS = ("us", "eu", "uk", "br", "mid", "india", "pakistan", "gulf", *TWO_ROWS)


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
    assert plate.two_rows == (region in TWO_ROWS)
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


@pytest.mark.parametrize("sign", [numeral, script, seal])
def test_signs_that_nobody_reads_are_as_high_as_the_row_and_differ(
    rng: np.random.Generator, sign: Callable[[np.random.Generator, int], np.ndarray]
) -> None:
    drawn = [sign(rng, 40) for _ in range(12)]
    assert {mask.shape[0] for mask in drawn} == {40}
    assert all(0.01 < (mask > 60).mean() < 0.95 for mask in drawn)
    assert len({mask.tobytes() for mask in drawn}) > 5


def test_stripes_stay_in_their_strip(rng: np.random.Generator) -> None:
    for _ in range(20):
        plane = np.full((100, 200), 2.0, np.float32)
        stripes(rng, plane, 150, 180)
        assert (plane[:, :145] == 2.0).all()
        assert (plane[:, 186:] == 2.0).all()
        assert 0.1 < (plane[:, 150:180] != 2.0).mean() < 0.9


def test_a_sign_behind_the_serial_is_paler_than_one_beside_it(rng: np.random.Generator) -> None:
    plain = np.full((100, 200), 1.0, np.float32)
    changes = []
    for draw in (lambda plane: logo(rng, plane, 0.3, 0.6), lambda plane: watermark(rng, plane)):
        planes = [plain.copy() for _ in range(40)]
        for plane in planes:
            draw(plane)
        changes.append(np.mean([1 - plane.min() for plane in planes]))
    assert 0.05 < changes[1] < changes[0] * 0.7


def test_a_stack_goes_down_within_its_row_in_more_than_one_way(rng: np.random.Generator) -> None:
    dies = random_dies(rng)
    dies.masks["I"][:] = 255  # blocks, so that air shows as air
    widths, air = set(), []
    for _ in range(40):
        mask = serial_mask(rng, dies, ("III",), 60, 200)
        rows = np.flatnonzero((mask > 128).any(1))
        assert mask.shape[0] == 60
        assert rows.max() - rows.min() > 30
        widths.add(mask.shape[1])
        air.append(60 - len(rows))
    assert len(widths) > 3
    assert min(air) < 15
    assert max(air) > 20


def test_a_code_is_light_in_a_dark_label(rng: np.random.Generator) -> None:
    dies = random_dies(rng)
    reverse = serial_mask(rng, dies, ("!8",), 60, 200) > 128
    label = reverse[reverse.any(1)][:, reverse.any(0)]
    assert label[0].all()
    assert label[-1].all()
    assert label[:, 0].all()
    assert 0.4 < label.mean() < 0.95


def test_a_title_is_drawn_and_not_read(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    inks = []
    for titles in (("I",), ("MMMMMM",)):
        monkeypatch.setattr(render, "_TITLES", titles)
        drawn = [draw_plate(np.random.default_rng(seed), kit, "titled") for seed in range(8)]
        inks.append([plate.grey[-40:] for plate in drawn])
        assert all(re.fullmatch("[A-Z]{2,3}[0-9]{1,6}[A-Z]?", plate.text) for plate in drawn)
    assert any(a.shape == b.shape and not np.array_equal(a, b) for a, b in zip(*inks, strict=True))


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
