# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hand_nets import HandNet, detector_outputs
from hypothesis import given
from hypothesis import strategies as st

from inference.detector import Candidate
from inference.zoom import MAX_ENLARGED, enlarged, look, part, parts

SIDES = st.integers(32, 4000)
SHARES = st.floats(0.0, 1.0)


@given(SIDES, SIDES, SHARES, SHARES, SHARES, SHARES)
def test_a_part_lies_in_the_frame_and_shows_the_box(
    width: int, height: int, x: float, y: float, w: float, h: float
) -> None:
    box = (x * width * (1 - w), y * height * (1 - h), w * width, h * height)
    x0, y0, across, down = part(box, width, height)
    assert 0 <= x0 <= x0 + across <= width
    assert 0 <= y0 <= y0 + down <= height
    assert x0 <= box[0] + 1
    assert y0 <= box[1] + 1
    assert box[0] + box[2] <= x0 + across + 1
    assert box[1] + box[3] <= y0 + down + 1


def test_candidates_near_each_other_share_a_part_and_the_best_come_first() -> None:
    boxes = [(600.0, 300.0, 40.0, 20.0), (640.0, 350.0, 40.0, 20.0), (20.0, 20.0, 40.0, 20.0)]
    found = [Candidate(box, 0.25) for box in boxes]
    assert parts(found, 1280, 720, 4) == [part(boxes[0], 1280, 720), part(boxes[2], 1280, 720)]
    assert parts(found, 1280, 720, 1) == [(300, 130, 640, 360)]
    assert parts([], 1280, 720, 4) == []


@pytest.mark.parametrize(
    ("size", "scale"), [((403, 717), 384 / 403 * 1.0), ((100, 200), MAX_ENLARGED), ((2000, 1000), 0.192)]
)
def test_a_part_fills_the_input_and_is_not_enlarged_for_ever(size: tuple[int, int], scale: float) -> None:
    picture, got = enlarged(np.full(size, 7, dtype=np.uint8))
    assert picture.shape == (384, 640)
    assert got == pytest.approx(min(scale, 640 / size[1]))
    assert (picture[: int(size[0] * got), : int(size[1] * got)] == 7).all()


def test_boxes_come_back_in_px_of_the_frame() -> None:
    net = HandNet("detector", lambda _: detector_outputs((100, 60, 180, 90, 3.0)), scale=0.05)
    grey = np.full((720, 1280), 90, dtype=np.uint8)
    region = part((900.0, 500.0, 40.0, 20.0), 1280, 720)
    (found,) = look(net, grey, region, 0.3)
    scale = min(640 / region[2], 384 / region[3])
    expected = (region[0] + 100 / scale, region[1] + 60 / scale, 80 / scale, 30 / scale)
    assert found.box == pytest.approx(expected, abs=12)
