# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from inference.training.detector_data import as_boxes
from inference.training.detector_paste import INSET, Textures, lettering, swap

STRIPES = np.tile(np.repeat(np.array([20, 230], np.uint8), 4), (30, 8))


def test_a_swapped_plate_stays_in_its_box_and_in_its_light() -> None:
    picture = np.full((100, 200), 90, np.uint8)
    picture[40:70, 60:120] = np.random.default_rng(0).integers(80, 160, (30, 60))
    box = as_boxes([[60, 40, 120, 70]])
    out = swap(picture, box, Textures([STRIPES], []), np.random.default_rng(1), often=1.0)
    changed = np.argwhere(out != picture)
    assert len(changed) > 1000
    edge = 60 * INSET - 1
    assert changed.min(0).tolist() >= [40, 60 + edge]
    assert (changed.max(0) < [70, 120 - edge]).all()
    assert abs(float(out[45:65, 65:115].mean()) - 120) < 45
    assert out is not picture


def test_tiny_plates_and_chance_leave_the_picture_alone() -> None:
    picture = np.zeros((100, 200), np.uint8)
    stock = Textures([STRIPES], [])
    assert swap(picture, as_boxes([[60, 40, 80, 50]]), stock, np.random.default_rng(1), often=1.0) is picture
    assert swap(picture, as_boxes([[60, 40, 120, 70]]), stock, np.random.default_rng(1), often=0.0) is picture


def test_a_sign_never_touches_a_plate() -> None:
    rng = np.random.default_rng(3)
    picture = np.full((384, 640), 128, np.uint8)
    box = as_boxes([[200, 100, 420, 260]])
    marked = 0
    for _ in range(80):
        out = lettering(picture, box, rng)
        assert (out[100:260, 200:420] == 128).all()
        marked += int((out != picture).any())
    assert marked > 40


def test_a_sign_too_large_for_the_picture_is_left_out() -> None:
    rng = np.random.default_rng(4)
    picture = np.full((40, 40), 128, np.uint8)
    assert all(lettering(picture, as_boxes([]), rng).shape == (40, 40) for _ in range(30))


def test_textures_come_from_the_artwork_and_without_a_pool_from_it_alone(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "il.png"), STRIPES)
    (tmp_path / "designs.jsonl").write_text(json.dumps({"image": "il.png", "state": "IL"}) + "\n")
    stock = Textures.load(tmp_path, None, np.random.default_rng(0))
    assert [art.shape for art in stock.art] == [STRIPES.shape]
    assert stock.rendered == []
    assert Textures.load(tmp_path, tmp_path / "no-pool", np.random.default_rng(0)).rendered == []
