# SPDX-License-Identifier: Apache-2.0
"""What only a replay does: order, names, holding, looping, skipping."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from drivers import replay_files
from drivers.camera_replay import ReplayCamera, open_replay
from drivers.errors import BadOption, CameraTimeout


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
    monkeypatch.setattr(replay_files, "MAX_PICTURE_PIXELS", 599)
    assert _play(open_replay({"path": tmp_path, "max_pace": True})) == []
    monkeypatch.setattr(replay_files, "MAX_PICTURE_PIXELS", 600)
    assert len(_play(open_replay({"path": tmp_path, "max_pace": True}))) == 3
    monkeypatch.setattr(replay_files, "MAX_PICTURE_BYTES", 10)
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


def _element(identity: str, body: bytes) -> bytes:
    """An EBML element (RFC 8794): its identity, its length in eight bytes, its body."""
    return bytes.fromhex(identity) + (len(body) | 1 << 56).to_bytes(8, "big") + body


def _number(identity: str, value: int) -> bytes:
    return _element(identity, value.to_bytes(4, "big"))


def _matroska(path: Path, times_ms: list[int]) -> Path:
    """A film of JPEG pictures (RFC 9559) that were not taken evenly."""
    head = _element("1A45DFA3", _element("4282", b"matroska") + _number("4287", 2) + _number("4285", 2))
    info = _element("1549A966", _number("2AD7B1", 1_000_000))
    entry = (
        _number("D7", 1)
        + _number("73C5", 1)
        + _number("83", 1)
        + _element("86", b"V_MJPEG")
        + _element("E0", _number("B0", 64) + _number("BA", 48))
    )
    blocks = b""
    for number, at_ms in enumerate(times_ms):
        picture = cv2.imencode(".jpg", np.full((48, 64, 3), 20 * number, np.uint8))[1].tobytes()
        blocks += _element("A3", b"\x81" + at_ms.to_bytes(2, "big") + b"\x80" + picture)
    cluster = _element("1F43B675", _number("E7", 0) + blocks)
    path.write_bytes(
        head + _element("18538067", info + _element("1654AE6B", _element("AE", entry)) + cluster)
    )
    return path


UNEVEN_MS = [0, 40, 80, 300, 340, 1340]


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_video_keeps_the_times_of_its_file(tmp_path: Path, rounds: int) -> None:
    film = _matroska(tmp_path / "film.mkv", UNEVEN_MS)
    camera = open_replay({"path": film, "max_pace": True, "loop": rounds > 1})
    frames = [camera.capture(0.0) for _ in range(rounds * len(UNEVEN_MS))]
    times = np.array([frame.monotonic_ns for frame in frames if frame is not None]) / 1e6
    told = np.concatenate([np.diff(UNEVEN_MS), [1000 / camera.capabilities().fps]] * rounds)[:-1]
    assert np.diff(times) == pytest.approx(told, abs=1.0)
    camera.close()


def test_a_rate_that_is_asked_for_replaces_them(tmp_path: Path) -> None:
    film = _matroska(tmp_path / "film.mkv", UNEVEN_MS)
    camera = open_replay({"path": film, "max_pace": True, "fps": 20.0})
    times = [frame.monotonic_ns for frame in iter(lambda: camera.capture(0.0), None)]
    assert np.diff(times) == pytest.approx([50e6] * 5, abs=1e3)


def test_the_original_pace_waits_for_the_file_and_the_highest_for_nobody(tmp_path: Path) -> None:
    film = _matroska(tmp_path / "film.mkv", UNEVEN_MS)
    camera = open_replay({"path": film})
    began_s = time.monotonic()
    shown = [camera.capture(1.0) for _ in range(4)]
    assert all(shown)
    assert time.monotonic() - began_s >= UNEVEN_MS[3] / 1e3
    with pytest.raises(CameraTimeout):
        [camera.capture(0.05) for _ in range(2)]  # one second of the film goes by
    camera.close()
    fast = open_replay({"path": film, "max_pace": True})
    assert len([fast.capture(0.0) for _ in range(len(UNEVEN_MS))]) == len(UNEVEN_MS)


def _film(path: Path, frames: int) -> bytearray:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 4 * number, np.uint8))
    writer.release()
    return bytearray(path.read_bytes())


def test_a_whole_video_is_told_nothing_of(tmp_path: Path) -> None:
    _film(tmp_path / "whole.avi", 40)
    camera = open_replay({"path": tmp_path / "whole.avi", "max_pace": True})
    assert len(_play(camera)) == 40
    assert camera.skipped.files == []


def test_a_video_that_ends_early_is_told_by_name(tmp_path: Path) -> None:
    whole = _film(tmp_path / "cut.avi", 40)
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    camera = open_replay({"path": tmp_path / "cut.avi", "max_pace": True})
    assert 0 < len(_play(camera)) < 40
    assert camera.skipped.files == ["cut.avi"]


def test_a_video_damaged_in_the_middle_goes_on_after_it(tmp_path: Path) -> None:
    film = _film(tmp_path / "hurt.avi", 40)
    starts = [at for at in range(len(film) - 4) if film[at : at + 4] == b"00dc" and at < film.index(b"idx1")]
    for at in starts[20:24]:
        size = int.from_bytes(film[at + 4 : at + 8], "little")
        film[at + 8 : at + 8 + size] = bytes(size)
    (tmp_path / "hurt.avi").write_bytes(film)
    camera = open_replay({"path": tmp_path / "hurt.avi", "max_pace": True})
    shown = _play(camera)
    assert len(shown) == 36
    assert shown[-1][1] == pytest.approx(156, abs=3)
    assert camera.skipped.files == ["hurt.avi"]


def test_pace(tmp_path: Path) -> None:
    _save(tmp_path, "a.png", 1)
    camera = open_replay({"path": tmp_path, "fps": 20.0, "hold": 4})
    frames = [camera.capture(1.0) for _ in range(4)]
    times = [frame.monotonic_ns for frame in frames if frame is not None]
    assert np.diff(times) == pytest.approx([50e6] * 3, abs=1e3)
