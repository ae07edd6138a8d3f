# SPDX-License-Identifier: Apache-2.0
"""`make run IMAGES=folder`: pictures of our own rendering through the same camera port."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from drivers.registry import open_camera

from .conftest import demo

pytestmark = pytest.mark.timeout(300)
PICTURES = 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Frames of the simulated roadside at their best moment, with a manifest beside the folder."""
    truth = tmp_path / "truth.jsonl"
    camera = open_camera("sim", {"seed": 11, "pace": "max", "truth_path": str(truth), "day_seconds": 600})
    frames = []
    for _ in range(15 * 45):
        frame = camera.capture(1.0)
        assert frame is not None
        frames.append(frame)
    camera.close()
    passed = [json.loads(line) for line in truth.read_text().splitlines()]
    by_sequence = {frame.sequence: frame for frame in frames}
    pictures = tmp_path / "street"
    pictures.mkdir()
    lines = []
    for vehicle in passed[:PICTURES]:
        frame = by_sequence[vehicle["best_frame"]]
        name = f"street/{vehicle['vehicle_id']}.png"
        cv2.imwrite(str(tmp_path / name), frame.pixels)
        lines.append(json.dumps({"image": name, "plates": [{"text": vehicle["plate"], "quality": "clear"}]}))
    (tmp_path / "street.jsonl").write_text("\n".join(lines) + "\n")
    return pictures


def test_pictures_are_read_sealed_and_compared(folder: Path, tmp_path: Path) -> None:
    done = demo(tmp_path / "run", "--images", str(folder))
    s = done.summary
    assert done.code == 0, done.out
    assert s["frames"] == 3 * PICTURES
    assert s["frames dropped"] == 0
    assert s["reads"] >= PICTURES // 2
    assert s["hits"] >= 1
    assert s["truth: plates that passed"] == PICTURES
