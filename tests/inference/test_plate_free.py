# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.detector import overlap
from inference.labels import Entry, read_manifest
from inference.plate_free import (
    ASPECT,
    MARGIN,
    MIN_WINDOW,
    build,
    excluded,
    painted,
    plate_boxes,
    plate_free,
    windows,
)
from inference.types import Box


def street(width: int = 1000, height: int = 700) -> np.ndarray:
    """A picture with texture everywhere."""
    return np.random.default_rng(1).integers(60, 180, (height, width, 3), dtype=np.uint8)


def entry(*boxes: list[float], quality: str = "clear", image: str = "val/x.webp") -> Entry:
    return Entry(image, [{"box": box, "quality": quality, "text": "ABC123"} for box in boxes], None)


@pytest.mark.parametrize("seed", range(20))
def test_windows_stay_away_from_every_plate(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = int(rng.integers(640, 1600)), int(rng.integers(480, 1200))
    plates: list[Box] = [
        (float(rng.uniform(0, width)), float(rng.uniform(0, height)), 90.0, 40.0) for _ in range(3)
    ]
    for x, y, w, h in windows((height, width, 3), plates):
        assert w >= MIN_WINDOW[0]
        assert h >= MIN_WINDOW[1]
        assert w / h == pytest.approx(ASPECT, rel=0.02)
        assert 0 <= x <= width - w
        assert 0 <= y <= height - h
        for px, py, pw, ph in plates:
            grown = (px - MARGIN * pw, py - MARGIN * ph, pw * (1 + 2 * MARGIN), ph * (1 + 2 * MARGIN))
            assert overlap((float(x), float(y), float(w), float(h)), grown) == 0


def test_a_picture_without_room_has_no_window() -> None:
    assert windows((300, 300, 3), []) == []
    assert windows((720, 1280, 3), [(200.0, 100.0, 900.0, 500.0)]) == []


def test_a_painted_plate_cannot_be_read_and_the_rest_is_untouched() -> None:
    picture = np.full((400, 600, 3), 90, np.uint8)
    cv2.rectangle(picture, (200, 200), (340, 260), (240, 240, 240), -1)
    cv2.putText(picture, "AB123", (205, 250), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (10, 10, 10), 5)
    out = painted(picture, [(200.0, 200.0, 140.0, 60.0)])
    assert picture[200:260, 200:340].std() > 60
    assert out[195:265, 195:345].std() < 8
    away = np.ones(picture.shape[:2], bool)
    away[150:310, 90:450] = False
    assert np.array_equal(out[away], picture[away])


def test_signs_are_no_plates_and_stay() -> None:
    assert plate_boxes(entry([1.0, 2.0, 11.0, 7.0], quality="notplate")) == []
    assert plate_boxes(entry([1.0, 2.0, 11.0, 7.0])) == [(1.0, 2.0, 10.0, 5.0)]


def test_places_lead_back_to_the_labelled_picture() -> None:
    picture = street()
    made = list(plate_free(entry([480.0, 600.0, 560.0, 640.0]), picture))
    assert [one.name for one in made] == ["x-window0.jpg", "x-window1.jpg", "x-painted.jpg"]
    for one in made[:2]:
        (x, y), scale = one.offset, one.scale
        assert one.pixels.shape[1] == pytest.approx(min(1280, one.pixels.shape[1]))
        assert one.at_origin((20.0, 40.0, 60.0, 30.0)) == pytest.approx(
            (x + 20 / scale, y + 40 / scale, 60 / scale, 30 / scale)
        )
    assert made[2].at_origin((1.0, 2.0, 3.0, 4.0)) == (1.0, 2.0, 3.0, 4.0)


def test_a_picture_full_of_plate_is_not_painted() -> None:
    made = list(plate_free(entry([100.0, 100.0, 900.0, 400.0]), street()))
    assert all("painted" not in one.name for one in made)


def test_the_set_is_a_manifest_of_pictures_without_plates(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    left_out = min(excluded())
    lines = []
    for image in ("val/a.png", left_out):
        cv2.imwrite(str(tmp_path / image), street()) if image.endswith("png") else None
        lines.append({"image": image, "plates": [{"box": [480, 600, 560, 640], "quality": "clear"}]})
    manifest = tmp_path / "val.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = build(manifest, tmp_path, tmp_path / "out")
    written = list(read_manifest(tmp_path / "out" / "manifest.jsonl"))
    assert len(written) == len(made) == 3
    assert all(one.plates == [] for one in written)
    assert all((tmp_path / "out" / one.image).is_file() for one in written)


def test_every_picture_left_out_says_why() -> None:
    reasons = json.loads((Path(build.__code__.co_filename).with_suffix(".json")).read_text())
    assert set(reasons) == excluded()
    assert all(name.startswith("val/") and len(why) > 10 for name, why in reasons.items())
