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
    Nets,
    candidates,
    joined,
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
