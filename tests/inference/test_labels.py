# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.errors import BadManifestError
from inference.labels import (
    MAX_LINE_BYTES,
    MAX_PLATES,
    Entry,
    held_out,
    label_errors,
    load_picture,
    mended,
    read_manifest,
    truth_text,
)

GOOD = {"image": "a.png", "width": 64, "height": 48, "plates": [{"box": [1, 2, 30, 12.5], "text": "AB1"}]}


def entries(tmp_path: Path, *lines: str) -> list[Entry]:
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(lines))
    return list(read_manifest(path))


def test_lines_become_entries_and_absent_keys_are_unknown(tmp_path: Path) -> None:
    full, bare = entries(tmp_path, json.dumps(GOOD), "", '{"image": "b.png"}')
    assert full.plates == GOOD["plates"]
    assert full.size == (64, 48)
    assert (bare.plates, bare.size) == (None, None)


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        '{"plates": []}',
        '{"image": "a", "plates": {}}',
        '{"image": "a", "plates": [{"box": [1, 2, 3]}]}',
        '{"image": "a", "plates": [{"box": [1, 2, 3, "x"]}]}',
        '{"image": "a", "plates": [' + ",".join(["{}"] * (MAX_PLATES + 1)) + "]}",
        '{"image": "' + "a" * MAX_LINE_BYTES + '"}',
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(BadManifestError, match=r"m\.jsonl:2"):
        entries(tmp_path, json.dumps(GOOD), line)


def test_a_wrong_label_is_mended_in_its_own_picture_only() -> None:
    errors = label_errors()
    assert errors
    for (image, label), shows in errors.items():
        assert label != shows
        assert mended(image, label, errors) == shows
        assert mended("val/other.webp", label, errors) == label
        assert mended(image, shows, errors) == shows
        assert mended(image, None, errors) is None


def test_a_missing_manifest_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadManifestError, match="can't be read"):
        list(read_manifest(tmp_path / "none.jsonl"))


def test_pictures_are_read_inside_the_root_only(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), dtype=np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    (tmp_path / "root").mkdir()
    assert load_picture(tmp_path, Entry("a.png", None, None)).shape == (48, 64, 3)
    for root, image in ((tmp_path, "b.png"), (tmp_path, "none.png"), (tmp_path / "root", "../a.png")):
        with pytest.raises(BadManifestError):
            load_picture(root, Entry(image, None, None))


@pytest.mark.parametrize(
    ("plate", "text"),
    [
        ({"text": "ab-12"}, "AB12"),
        ({"text": "AB?2", "quality": "hard"}, None),
        ({"text": "AB12", "quality": "nonlatin"}, None),
        ({"text": None}, None),
        ({}, None),
    ],
)
def test_only_full_texts_are_truth(plate: dict[str, object], text: str | None) -> None:
    assert truth_text(plate) == text


def test_the_line_of_a_crop_is_its_one_plate(tmp_path: Path) -> None:
    (crop,) = entries(tmp_path, '{"image": "c.png", "box": [1, 2, 3, 4], "text": "AB1", "quality": "clear"}')
    assert crop.plates is not None
    assert (crop.plates[0]["box"], truth_text(crop.plates[0])) == ([1, 2, 3, 4], "AB1")


def test_one_text_in_sixteen_is_held_out_and_always_the_same() -> None:
    kept = [f"{i:06d}" for i in range(4000) if held_out(f"{i:06d}")]
    assert 200 < len(kept) < 300
    assert kept[:3] == [text for text in kept[:3] if zlib.crc32(text.encode()) % 16 == 0]
