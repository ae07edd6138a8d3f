# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hand_nets import HandNet, corner_outputs

from inference.corners import bounds, from_box, locate, plausible
from inference.rectify import grown, rows_of

GREY = np.full((200, 300), 90, dtype=np.uint8)


def test_corners_are_in_units_of_the_grown_crop() -> None:
    net = HandNet("corners", lambda _: corner_outputs(), scale=0.01)
    found = locate(net, GREY, (100.0, 80.0, 60.0, 20.0))
    assert found.corners == pytest.approx(from_box((100.0, 80.0, 60.0, 20.0)), abs=1.0)
    assert bounds(found.corners) == pytest.approx((100, 80, 60, 20), abs=1.5)


def test_flags_are_probabilities() -> None:
    found = locate(HandNet("corners", lambda _: corner_outputs(2.0, -2.0)), GREY, (100.0, 80.0, 60.0, 20.0))
    assert found.plate_score == pytest.approx(0.88, abs=0.01)
    assert found.two_rows == pytest.approx(0.12, abs=0.01)


def test_a_quad_that_is_none_falls_back_to_the_box() -> None:
    crossed = corner_outputs()
    crossed["corners"] = np.array([[0.2, 0.2, 0.8, 0.8, 0.8, 0.2, 0.2, 0.8]])
    found = locate(HandNet("corners", lambda _: crossed, scale=0.01), GREY, (100.0, 80.0, 60.0, 20.0))
    assert np.array_equal(found.corners, from_box((100.0, 80.0, 60.0, 20.0)))


@pytest.mark.parametrize(
    ("corners", "good"),
    [
        ([[10, 10], [90, 10], [90, 40], [10, 40]], True),
        ([[90, 10], [10, 10], [10, 40], [90, 40]], False),
        ([[10, 10], [11, 10], [11, 11], [10, 11]], False),
        ([[10, 10], [90, 10], [20, 20], [10, 40]], False),
        ([[-90, 10], [90, 10], [90, 40], [10, 40]], False),
    ],
)
def test_plausible_quads(corners: list[list[float]], good: bool) -> None:
    assert plausible(np.array(corners, dtype=np.float32), (0, 0, 100, 50)) is good


def test_rows_split_the_plate_and_growing_moves_the_corners_out() -> None:
    quad = from_box((0.0, 0.0, 100.0, 50.0))
    upper, lower = rows_of(quad)
    assert bounds(upper) == pytest.approx((0, 0, 100, 29.0))
    assert bounds(lower) == pytest.approx((0, 19.0, 100, 31.0))
    assert bounds(grown(quad, 0.1, 0.2)) == pytest.approx((-10, -10, 120, 70))
