# SPDX-License-Identifier: Apache-2.0
"""Mining for the corner net: what is a mistake, what is a plate, and what can't be told."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.training.corners_data import MINED_SHARES, CornerFeed, Regions
from inference.training.corners_mine import (
    KNOWN,
    KNOWN_DRAWS,
    MAX_ERROR,
    Nets,
    box_errors,
    candidates,
    finds,
    joined,
    looked_at,
    mine,
    mined_regions,
    relative,
    sort_out,
    unlabelled,
)
from inference.training.render_scene import SCENE_SHAPE
from tests.inference.hand_nets import HandNet, corner_outputs, detector_outputs, reader_outputs

PLATE = (100.0, 100.0, 80.0, 40.0)


@pytest.fixture
def nets() -> Nets:
    """A detector that sees a plate and a mistake, whatever the picture; the reader reads `reads`."""
    boxes = detector_outputs((104, 100, 184, 140, 2.0), (400, 200, 480, 240, 1.0))
    return Nets(
        HandNet("detector", lambda _: boxes),
        HandNet("corners", lambda _: corner_outputs()),
        HandNet("reader", lambda _: reader_outputs("AB")),
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(1).integers(0, 255, (384, 640), np.uint8))
    row = {"image": "a.png", "plates": [{"box": [100, 100, 180, 140]}]}
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("box", "which"),
    [
        ((102.0, 101.0, 80.0, 40.0), 0),
        ((300.0, 100.0, 80.0, 40.0), -1),
        ((175.0, 100.0, 80.0, 40.0), -1),  # 3 % over: its neighbour
        ((150.0, 100.0, 80.0, 40.0), None),  # half of the plate
        ((0.0, 0.0, 600.0, 380.0), None),  # the plate is in it
        ((110.0, 110.0, 20.0, 10.0), None),  # a piece of the plate
    ],
)
def test_a_box_is_a_plate_a_mistake_or_unknown(
    box: tuple[float, float, float, float], which: int | None
) -> None:
    assert sort_out(box, [PLATE], []) == which


def test_what_is_labelled_as_no_plate_is_a_mistake() -> None:
    assert sort_out(PLATE, [], [PLATE]) == -1
    assert sort_out(PLATE, [], []) == -1


def test_a_plate_in_units_of_its_box() -> None:
    assert relative((110.0, 90.0, 40.0, 60.0), PLATE) == (0.125, -0.25, 0.5, 1.5)


def test_well_read_and_very_sure_mistakes_are_left_out() -> None:
    score = np.array([0.3, 0.3, 0.6, 0.6, 0.5], np.float32)
    confidence = np.array([0.9, 0.9, 0.0, 0.0, 0.4], np.float32)
    length = np.array([7, 4, 5, 1, 7])
    assert unlabelled(score, confidence, length).tolist() == [True, False, True, False, False]


def test_mining_keeps_the_plate_and_the_mistakes_of_both_looks(nets: Nets, data: Path) -> None:
    regions = mined_regions(mine(data, nets, data / "mined.npz"))
    assert regions.images.shape == (3, *SCENE_SHAPE)
    assert regions.is_plate.tolist() == [True, False, False]
    assert regions.plates is not None
    assert regions.draws is not None
    assert np.allclose(regions.plates[0], (-0.05, 0, 1, 1), atol=0.06)  # the int8 steps of the box
    assert np.isnan(regions.plates[1:]).all()
    assert regions.draws.tolist() == [1, 4, 4]  # the mistakes' scores are above both bounds


def test_narrow_boxes_are_not_mined(nets: Nets) -> None:
    narrow = detector_outputs((104, 100, 111, 140, 2.0))
    found = Nets(HandNet("detector", lambda _: narrow), nets.corners, nets.reader)
    assert candidates(found, np.zeros((384, 640), np.uint8), coarse=False) == []


def test_a_feed_with_mistakes_draws_them_in_their_share(nets: Nets, data: Path) -> None:
    images = np.random.default_rng(3).integers(0, 255, (2, *SCENE_SHAPE)).astype(np.uint8)
    labelled = Regions(images, np.array([True, False]), np.full(2, np.nan, np.float32))
    regions = joined(labelled, mined_regions(mine(data, nets, data / "mined.npz")))
    corners = np.tile(np.array([[0.3, 0.3], [0.7, 0.3], [0.7, 0.7], [0.3, 0.7]], np.float32), (2, 1, 1))
    shard, none = data / "shard_0000.npz", np.zeros(2, np.bool_)
    np.savez(shard, images=images, corners=corners, texts=np.array(["A", "B"]), two_rows=none)
    batch = CornerFeed(data, regions, 4).batch(400)
    plates = sum(MINED_SHARES[kind] for kind in ("rendered", "real", "found"))
    assert abs(batch.is_plate.mean() - plates) < 0.08
    assert not np.isnan(batch.boxes[batch.is_plate]).any()


def test_box_errors_are_how_far_a_sure_box_reaches_beyond_the_plate(tmp_path: Path) -> None:
    plates = np.array([[0.1, 0.0, 0.8, 0.5], [0.0, 0.0, 1.0, 1.0], [np.nan] * 4], np.float32)
    np.savez(tmp_path / "mined.npz", plate=plates, score=np.array([0.6, 0.2, 0.9], np.float32))
    errors = box_errors(tmp_path / "mined.npz")
    assert np.allclose(errors, [[0.125, 0.0, 0.125, MAX_ERROR]])


def _reading(text: str) -> Nets:
    boxes = detector_outputs((104, 100, 184, 140, 2.0), (400, 200, 480, 240, 3.0))
    return Nets(
        HandNet("detector", lambda _: boxes),
        HandNet("corners", lambda _: corner_outputs()),
        HandNet("reader", lambda _: reader_outputs(text)),
    )


def test_a_sign_known_by_eye_teaches_even_where_it_can_be_read(data: Path) -> None:
    """A readable mistake is usually a plate that nobody labelled; one that was looked at is not."""
    nets, grey = _reading("SCHOOL"), np.zeros((384, 640), np.uint8)
    row = {"plates": [{"box": [100, 100, 180, 140]}]}
    lengths = [f.length for f in finds(nets, grey, row, coarse=False) if f.plate is None]
    assert lengths == [6]
    seen = {"signs": [[400.0, 200.0, 480.0, 240.0]]}
    known = [f for f in finds(nets, grey, row, coarse=False, seen=seen) if f.plate is None]
    assert [(f.length, f.confidence) for f in known] == [(KNOWN, 0.0), (KNOWN, 0.0)]
    fake = {"plates": [*row["plates"], {"box": [400, 200, 480, 240], "quality": "notplate"}]}
    assert [f.length for f in finds(nets, grey, fake, coarse=False) if f.plate is None] == [KNOWN]


def test_what_the_eye_could_not_tell_is_left_out(data: Path) -> None:
    row, seen = {"plates": []}, {"unsure": [[400.0, 200.0, 480.0, 240.0]]}
    found = list(finds(_reading("A"), np.zeros((384, 640), np.uint8), row, coarse=False, seen=seen))
    assert [f.width for f in found] == [pytest.approx(80, abs=5)]
    assert found[0].plate is None


def test_known_mistakes_are_drawn_more_often(tmp_path: Path) -> None:
    path = tmp_path / "mined.npz"
    np.savez(
        path,
        image=np.zeros((2, *SCENE_SHAPE), np.uint8),
        plate=np.full((2, 4), np.nan, np.float32),
        score=np.array([0.2, 0.2], np.float32),
        width=np.array([50, 50], np.float32),
        confidence=np.array([0.0, 0.0], np.float32),
        length=np.array([0, KNOWN]),
    )
    assert mined_regions(path).draws.tolist() == [1, 1 + KNOWN_DRAWS]


def test_every_box_that_was_looked_at_has_an_area() -> None:
    boxes = [b for entry in looked_at().values() for kind in entry.values() for b in kind]
    assert len(boxes) > 700
    assert all(x1 < x2 and y1 < y2 for x1, y1, x2, y2 in boxes)
