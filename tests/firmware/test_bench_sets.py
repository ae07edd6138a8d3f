# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from firmware.bench_sets import bench_ghosts, bench_night
from inference.labels import read_manifest


def test_the_night_set_is_a_labelled_manifest_with_figures(tmp_path: Path) -> None:
    figures = bench_night(tmp_path, 2, 1)
    entries = list(read_manifest(tmp_path / "manifest.jsonl"))
    assert [entry.image for entry in entries] == [
        "night/0000.jpg", "day/0000.jpg"
    ]  # fmt: skip
    for entry in entries:
        assert (tmp_path / entry.image).is_file()
        clear = [p for p in entry.plates or [] if p["quality"] == "clear"]
        assert clear
        for plate in clear:
            corners = np.array(plate["corners"])
            assert plate["box"][:2] == np.round(corners.min(axis=0), 1).tolist()
            assert plate["box"][2:] == np.round(corners.max(axis=0), 1).tolist()
            assert plate["text"].isalnum()
    assert figures["rendered"]
    assert figures["night"]["plates_with_text"] >= 1
    assert figures["day"]["detection_recall_30"] >= 0.5


def test_ghosts_are_counted_a_hundred_pictures(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(90, 110, (500, 800, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    line = {"image": "a.png", "plates": [{"box": [380, 400, 460, 440], "quality": "clear"}]}
    manifest = tmp_path / "labels.jsonl"
    manifest.write_text(json.dumps(line) + "\n")
    figures = bench_ghosts(tmp_path / "out", manifest, tmp_path, 1, 1)
    for kind, name in (("real", "manifest"), ("rendered", "rendered")):
        entries = list(read_manifest(tmp_path / "out" / f"{name}.jsonl"))
        assert entries
        assert all(entry.image.startswith(f"{kind}/") and entry.plates == [] for entry in entries)
    assert figures["real"]["per_100"] == 0.0
    assert figures["rendered"]["pictures"] == 1
    assert len(figures["ghosts"]) >= figures["rendered"]["believed"]
