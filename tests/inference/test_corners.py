# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest
from hand_nets import HandNet, corner_outputs
from numpy.typing import NDArray

from inference.corners import MIN_TILT, bounds, frame_of, from_box, locate, plausible, tilt, upright_crop
from inference.rectify import grown, rows_of, shifted

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
        ([[90, 40], [10, 40], [10, 10], [90, 10]], False),  # upside down
        ([[90, 10], [90, 40], [10, 40], [10, 10]], False),  # on its side
        ([[20, 5], [90, 30], [80, 45], [10, 20]], True),
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
    assert bounds(shifted(quad, -0.1)) == pytest.approx((0, -5, 100, 50))


TILTED = np.array([[110, 70], [190, 90], [182, 122], [102, 102]], dtype=np.float32)  # 14 degrees
BOX = (102.0, 70.0, 88.0, 52.0)


def tilted_picture() -> NDArray[np.uint8]:
    return np.asarray(cv2.fillConvexPoly(np.full((200, 300), 20, np.uint8), TILTED.astype(np.int32), (240,)))


def outputs_for(corners: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """What the net has to say so that these corners px come out of the crop of BOX."""
    unit = (corners - [BOX[0] - 22, BOX[1] - 13]) / [132.0, 78.0]
    return {"corners": unit.reshape(1, 8).astype(np.float64), "flag": np.array([[1.0, 0.0]])}


class TwoLooks:
    """Answers the first look with one set of outputs, later ones with another; keeps the pictures."""

    def __init__(self, first: dict[str, NDArray[np.float64]], second: dict[str, NDArray[np.float64]]) -> None:
        self.pictures: list[NDArray[np.uint8]] = []
        self._answers = first, second

    def __call__(self, picture: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
        self.pictures.append(picture)
        return self._answers[len(self.pictures) > 1]


def test_a_tilted_plate_is_looked_at_again_upright() -> None:
    looks = TwoLooks(outputs_for(TILTED), corner_outputs())
    found = locate(HandNet("corners", looks, scale=0.01), tilted_picture(), BOX)
    assert len(looks.pictures) == 2
    upright = looks.pictures[1]
    assert (
        upright[14:50, 26:102].min() > 128 > upright[:8].max()
    )  # the plate fills the crop but for the margin
    assert max(upright[-8:].max(), upright[:, :16].max(), upright[:, -16:].max()) < 128
    assert found.corners == pytest.approx(TILTED, abs=2.0)


def test_the_second_look_moves_the_corners_along_the_plates_axes() -> None:
    second = corner_outputs()
    second["corners"] = np.array([[0.2, 0.1667, 0.8, 0.1667, 0.8, 0.8333, 0.2, 0.8333]])
    found = locate(
        HandNet("corners", TwoLooks(outputs_for(TILTED), second), scale=0.01), tilted_picture(), BOX
    )
    across = (TILTED[1] - TILTED[0]) * 1.5 * 0.033
    assert found.corners[0] == pytest.approx(TILTED[0] + across, abs=2.0)
    assert found.corners[2] == pytest.approx(TILTED[2] - across, abs=2.0)
    assert found.plate_score == pytest.approx(0.73, abs=0.01)  # of the first look


def test_a_second_look_that_finds_no_quad_changes_nothing() -> None:
    crossed = corner_outputs()
    crossed["corners"] = np.array([[0.2, 0.2, 0.8, 0.8, 0.8, 0.2, 0.2, 0.8]])
    looks = TwoLooks(outputs_for(TILTED), crossed)
    found = locate(HandNet("corners", looks, scale=0.01), tilted_picture(), BOX)
    assert len(looks.pictures) == 2
    assert found.corners == pytest.approx(TILTED, abs=1.5)


def test_a_level_plate_is_looked_at_once() -> None:
    net = HandNet("corners", lambda _: corner_outputs(), scale=0.01)
    locate(net, GREY, (100.0, 80.0, 60.0, 20.0))
    assert net.calls == 1


@pytest.mark.parametrize("degrees", [-30.0, -5.0, 0.0, 12.0, 30.0])
def test_tilt_is_the_angle_of_the_long_side(degrees: float) -> None:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    quad = from_box((-50.0, -15.0, 100.0, 30.0)) @ np.array([[c, s], [-s, c]])
    assert tilt(quad.astype(np.float32)) == pytest.approx(abs(degrees), abs=0.1)
    assert MIN_TILT < 12


@pytest.mark.parametrize("size", [20.0, 100.0, 900.0])
def test_the_upright_crop_of_a_level_plate_has_the_margin_at_any_size(size: float) -> None:
    side = int(size * 2)
    grey = np.zeros((side, side), np.uint8)
    low, high = int(size * 0.5), int(size * 1.5)
    grey[low:high, low:high] = 200
    crop = upright_crop(grey, frame_of(from_box((low, low, high - low, high - low))))
    assert crop.shape == (64, 128)
    ys, xs = np.nonzero(crop > 100)
    assert (xs.min(), xs.max()) == pytest.approx((128 / 6, 128 * 5 / 6 - 1), abs=2.5)
    assert (ys.min(), ys.max()) == pytest.approx((64 / 6, 64 * 5 / 6 - 1), abs=2.0)
