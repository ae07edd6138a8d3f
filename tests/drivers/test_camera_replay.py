# SPDX-License-Identifier: Apache-2.0
"""What only a replay does: order, names, holding, looping, skipping."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from drivers import camera_replay
from drivers.camera_replay import ReplayCamera, open_replay
from drivers.errors import BadOption


def _save(folder: Path, name: str, value: int) -> None:
    cv2.imwrite(str(folder / name), np.full((20, 30, 3), value, np.uint8))


def _play(camera: ReplayCamera, limit: int = 50) -> list[tuple[str, int]]:
    shown: list[tuple[str, int]] = []
    while len(shown) < limit and (frame := camera.capture(1.0)) is not None:
        shown.append((frame.source, int(frame.pixels[0, 0, 0])))
    return shown


def test_pictures_come_by_name_each_held(tmp_path: Path) -> None:
    for name, value in (("b.png", 2), ("a.png", 1), ("c.bmp", 3)):
        _save(tmp_path, name, value)
    camera = open_replay({"path": tmp_path, "max_pace": True, "hold": 2})
    assert _play(camera) == [("a.png", 1)] * 2 + [("b.png", 2)] * 2 + [("c.bmp", 3)] * 2


def test_looping_starts_again_and_numbers_on(tmp_path: Path) -> None:
    _save(tmp_path, "a.png", 1)
    _save(tmp_path, "b.png", 2)
    camera = open_replay({"path": tmp_path, "max_pace": True, "hold": 1, "loop": True})
    assert [name for name, _ in _play(camera, 5)] == ["a.png", "b.png", "a.png", "b.png", "a.png"]


def test_a_damaged_picture_is_counted_and_passed_over(tmp_path: Path) -> None:
    _save(tmp_path, "a.png", 1)
    (tmp_path / "b.jpg").write_bytes(b"not a picture")
    (tmp_path / "c.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("ignored")
    camera = open_replay({"path": tmp_path, "max_pace": True, "hold": 1})
    assert _play(camera) == [("a.png", 1)]
    assert camera.skipped.files == ["b.jpg", "c.png"]


def test_limits_on_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _save(tmp_path, "a.png", 1)
    monkeypatch.setattr(camera_replay, "MAX_PICTURE_PIXELS", 599)
    assert _play(open_replay({"path": tmp_path, "max_pace": True})) == []
    monkeypatch.setattr(camera_replay, "MAX_PICTURE_PIXELS", 600)
    assert len(_play(open_replay({"path": tmp_path, "max_pace": True}))) == 3
    monkeypatch.setattr(camera_replay, "MAX_PICTURE_BYTES", 10)
    assert _play(open_replay({"path": tmp_path, "max_pace": True})) == []


def test_a_loop_of_nothing_but_damaged_pictures_ends(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"?")
    camera = open_replay({"path": tmp_path, "max_pace": True, "loop": True})
    assert camera.capture(1.0) is None


def test_an_empty_folder_and_a_file_that_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="holds no pictures"):
        open_replay({"path": tmp_path})
    (tmp_path / "movie.mp4").write_bytes(b"not a movie")
    with pytest.raises(BadOption, match="not a video"):
        open_replay({"path": tmp_path / "movie.mp4"})


def test_pace(tmp_path: Path) -> None:
    _save(tmp_path, "a.png", 1)
    camera = open_replay({"path": tmp_path, "fps": 20.0, "hold": 4})
    frames = [camera.capture(1.0) for _ in range(4)]
    times = [frame.monotonic_ns for frame in frames if frame is not None]
    assert np.diff(times) == pytest.approx([50e6] * 3, abs=1e3)
