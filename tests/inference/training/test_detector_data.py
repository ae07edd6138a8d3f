# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inference.labels import held_out
from inference.training.detector_data import (
    HELD_OUT,
    LONG_SIDE,
    Cache,
    held_out_pictures,
    parse_labels,
    prepare,
    read_grey,
)


def _row(name: str, plates: list[dict[str, object]], size: tuple[int, int] = (64, 48)) -> dict[str, Any]:
    return {"image": name, "width": size[0], "height": size[1], "source": "s", "plates": plates}


def _write(data: Path, rows: list[dict[str, Any]]) -> None:
    for i, row in enumerate(rows):
        shape = (row["height"], row["width"], 3)
        picture = np.random.default_rng(i).integers(0, 255, shape).astype(np.uint8)
        cv2.imwrite(str(data / str(row["image"])), picture)
    (data / "train.jsonl").write_text("\n".join(json.dumps(r) for r in rows) + "\n")


def test_a_notplate_is_background() -> None:
    row = _row("a.png", [{"box": [1, 2, 9, 8]}, {"box": [20, 2, 39, 8], "quality": "notplate"}])
    assert parse_labels(row).plates.tolist() == [[1, 2, 9, 8]]


def test_a_box_inside_out_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.png: a box without area"):
        parse_labels(_row("a.png", [{"box": [9, 2, 1, 8]}]))


def test_the_cache_gives_back_grey_and_red(tmp_path: Path) -> None:
    _write(tmp_path, [_row("a.png", [{"box": [1, 2, 9, 8]}]), _row("b.png", [], (30, 20))])
    prepare(tmp_path, tmp_path / "work")
    cache = Cache(tmp_path / "work")
    colour = cv2.imread(str(tmp_path / "b.png"))
    assert len(cache) == 2
    assert np.array_equal(cache.image(0), read_grey(tmp_path / "a.png"))
    assert np.array_equal(cache.image(1, 1), colour[:, :, 2])
    assert cache.labels[1].plates.shape == (0, 4)


def test_large_pictures_shrink_with_their_boxes(tmp_path: Path) -> None:
    _write(tmp_path, [_row("a.png", [{"box": [100, 50, 200, 100]}], (2 * LONG_SIDE, 416))])
    prepare(tmp_path, tmp_path / "work")
    labels = Cache(tmp_path / "work").labels[0]
    assert (labels.width, labels.height) == (LONG_SIDE, 208)
    assert labels.plates.tolist() == [[50, 25, 100, 50]]


def test_preparing_twice_keeps_the_first_cache(tmp_path: Path) -> None:
    _write(tmp_path, [_row("a.png", [])])
    index = prepare(tmp_path, tmp_path / "work")
    before = index.stat().st_mtime_ns
    assert prepare(tmp_path, tmp_path / "work").stat().st_mtime_ns == before


def test_mined_regions_are_read_as_ignored(tmp_path: Path) -> None:
    _write(tmp_path, [_row("a.png", [])])
    prepare(tmp_path, tmp_path / "work")
    mined = tmp_path / "mined.json"
    mined.write_text(json.dumps({"a.png": [[1, 1, 5, 5]]}))
    assert Cache(tmp_path / "work", mined).labels[0].ignore.tolist() == [[1, 1, 5, 5]]


def test_pictures_with_a_held_out_text_are_named_and_can_be_left_out(tmp_path: Path) -> None:
    texts = [f"ABC{number}" for number in range(60)]
    hidden, shown = (next(t for t in texts if held_out(t) == wanted) for wanted in (True, False))
    plates = [[{"box": [1, 2, 9, 8], "text": t}] for t in (hidden, shown)]
    plates.append([{"box": [1, 2, 9, 8], "text": None}, {"box": [11, 2, 19, 8], "text": hidden}])
    _write(tmp_path, [_row(f"{name}.png", rows) for name, rows in zip("abc", plates, strict=True)])
    prepare(tmp_path, tmp_path / "work")
    names = frozenset(json.loads((tmp_path / "work" / HELD_OUT).read_text()))
    assert names == held_out_pictures(tmp_path / "train.jsonl") == {"a.png", "c.png"}
    cache = Cache(tmp_path / "work")
    cache.keep(names, without=True)
    assert [labels.image for labels in cache.labels] == ["b.png"]
    assert np.array_equal(cache.image(0), read_grey(tmp_path / "b.png"))
    cache.keep(names)
    assert len(cache) == 0


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        read_grey(tmp_path / "gone.png")
