# SPDX-License-Identifier: Apache-2.0
"""Corners found by reading (needs PyTorch): the mean of the quads that read, in units of the labelled box."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from inference.labels import held_out  # noqa: E402
from inference.training.corners_fit import (  # noqa: E402
    CORNER,
    SIDES,
    fit,
    fit_streets,
    spread,
    teaches,
    text_losses,
)
from inference.training.reader_model import ALPHABET, BLANK  # noqa: E402

QUAD = np.array([[40, 30], [140, 30], [140, 60], [40, 60]], np.float32)


def bright(pictures: Any) -> Any:
    """Reads "A" in crops whose left end is clearly brighter than the right one, else nothing."""
    step = pictures[:, 0, :, :40].mean((1, 2)) - pictures[:, 0, :, 104:].mean((1, 2))
    logits = torch.zeros(len(pictures), 36, 37)
    logits[:, :, BLANK] = 12
    logits[:, 10, ALPHABET.index("A")] = 12 + (step - 0.3) * 60
    return logits


def square(pictures: Any) -> Any:
    """Finds the corners of the box that it was given; one row."""
    low, high = 0.25 / 1.5, 1.25 / 1.5
    corners = torch.tensor([[low, low, high, low, high, high, low, high]])
    return corners, torch.tensor([[4.0, -4.0]])


READER: Any = bright
FINDER: Any = square


def picture() -> NDArray[np.uint8]:
    grey = np.full((100, 200), 20, np.uint8)
    grey[:, :80] = 220
    return grey


def test_the_quad_itself_is_tried_and_the_others_keep_its_size_in_the_mean() -> None:
    quads = spread(np.random.default_rng(2), QUAD, 400)
    assert np.array_equal(quads[0], QUAD)
    assert np.allclose(quads.mean(0), QUAD, atol=1.0)
    assert np.allclose(quads[:, :, 0].std(0), 100 * np.hypot(SIDES[0], CORNER[0]), rtol=0.2)
    assert np.allclose(quads[:, :, 1].std(0), 30 * np.hypot(SIDES[1], CORNER[1]), rtol=0.2)


def test_a_text_costs_less_where_it_is_seen() -> None:
    mirrored = QUAD[[1, 0, 3, 2]]
    losses, read = text_losses(READER, picture(), np.stack([QUAD, mirrored]), "A", two_rows=False)
    assert losses[0] < 0.1
    assert losses[1] > 4
    assert read == ["A", ""]


def test_two_rows_are_read_one_after_the_other() -> None:
    losses, read = text_losses(READER, picture(), QUAD[None], "AA", two_rows=True)
    assert read == ["AA"]
    assert losses[0] < 0.5


def test_corners_move_to_where_the_text_reads() -> None:
    dark = QUAD + np.array([36, 0], np.float32)  # starts where the bright part is nearly out of sight
    fitted = fit(READER, picture(), dark, "A", np.random.default_rng(3), two_rows=False)
    assert fitted.corners[:, 0].mean() < dark[:, 0].mean() - 1


def test_streets_give_corners_in_units_of_the_box_for_texts_that_read(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture())
    plates = [{"box": [40, 30, 140, 60], "text": text, "quality": "clear"} for text in ("A", "B")]
    (tmp_path / "train.jsonl").write_text(json.dumps({"image": "a.png", "plates": plates}) + "\n")
    fit_streets(tmp_path, FINDER, READER, tmp_path / "none.json", tmp_path / "out.json", 1)
    found = json.loads((tmp_path / "out.json").read_text())
    assert list(found) == ["a.png#0"]
    assert np.allclose(found["a.png#0"], [[0, 0], [1, 0], [1, 1], [0, 1]], atol=0.15)


@pytest.mark.parametrize(
    ("change", "used"),
    [
        ({}, True),
        ({"text": "AB?2"}, False),
        ({"text": ""}, False),
        ({"quality": "unreadable"}, False),
        ({"box": [0, 0, 20, 10]}, False),
        ({"text": "ABCDEFGHIJKLM"}, False),
    ],
)
def test_only_legible_plates_teach(change: dict[str, object], used: bool) -> None:
    assert teaches({"text": "ABC12", "quality": "clear", "box": [0, 0, 60, 20]} | change) is used


def test_held_out_texts_do_not_teach() -> None:
    held = next(text for n in range(200) if held_out(text := f"AB{n}"))
    assert not teaches({"text": held, "quality": "clear", "box": [0, 0, 60, 20]})
