# SPDX-License-Identifier: Apache-2.0
"""One contract for every camera: simulated, replayed, and a V4L2 device where there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from drivers.errors import BadOption, CameraClosed, CameraTimeout, UnknownDriver
from drivers.ports import Camera
from drivers.registry import open_camera
from drivers.types import Exposure, Frame

Opener = Callable[..., Camera]
SMALL = {"width": 640, "height": 360, "day_seconds": 1.0}


def _pictures(folder: Path, count: int = 4) -> Path:
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:02d}.png"), np.full((48, 64, 3), 20 * number, np.uint8))
    return folder


def _movie(path: Path, frames: int = 8) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    return path


def _v4l2(**_: object) -> Camera:
    device = os.environ.get("WAYSIDE_V4L2", "/dev/video0")
    if not Path(device).exists():
        pytest.skip(f"no V4L2 device at {device} (set WAYSIDE_V4L2)")
    return open_camera("v4l2", {"device": device})


@pytest.fixture(params=["sim", "replay-folder", "replay-video", "v4l2"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the camera under test; `pace` may be "max" or "real"."""
    opened: list[Camera] = []

    def make(pace: str = "max") -> Camera:
        fast = pace == "max"
        if request.param == "sim":
            camera = open_camera("sim", {**SMALL, "pace": pace, "frames": 12, "fps": 5.0})
        elif request.param == "replay-folder":
            path = tmp_path / "pictures"
            options = {"path": str(path if path.is_dir() else _pictures(path)), "max_pace": fast, "fps": 5.0}
            camera = open_camera("replay", options)
        elif request.param == "replay-video":
            movie = _movie(tmp_path / "movie.avi")
            camera = open_camera("replay", {"path": movie, "max_pace": fast, "fps": 5.0})
        else:
            camera = _v4l2()
        opened.append(camera)
        return camera

    yield make
    for camera in opened:
        camera.close()


def _all(camera: Camera, limit: int = 20) -> list[Frame]:
    frames: list[Frame] = []
    while len(frames) < limit and (frame := camera.capture(10.0)) is not None:
        frames.append(frame)
    return frames


def test_is_a_camera(opener: Opener) -> None:
    assert isinstance(opener(), Camera)


def test_frames_are_uint8_pictures_of_one_shape(opener: Opener) -> None:
    frames = _all(opener(), 6)
    assert len(frames) == 6
    assert {frame.pixels.shape for frame in frames} == {frames[0].pixels.shape}
    for frame in frames:
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.ndim in (2, 3)
        assert frame.pixels.flags.writeable


def test_sequence_and_times_rise(opener: Opener) -> None:
    frames = _all(opener(), 6)
    for before, after in pairwise(frames):
        assert after.sequence > before.sequence
        assert after.captured_at_us > before.captured_at_us
        assert after.monotonic_ns > before.monotonic_ns


def test_a_frame_belongs_to_its_taker(opener: Opener) -> None:
    camera = opener()
    first = camera.capture(10.0)
    assert first is not None
    kept = first.pixels.copy()
    second = camera.capture(10.0)
    assert second is not None
    second.pixels[:] = 0
    assert np.array_equal(first.pixels, kept)


def test_too_short_a_wait_is_a_timeout(opener: Opener) -> None:
    camera = opener("real")
    assert camera.capture(10.0) is not None

    def drain() -> None:
        for _ in range(6):  # a busy machine may owe a few frames first
            camera.capture(0.0)

    with pytest.raises(CameraTimeout):
        drain()
    assert camera.capture(10.0) is not None


def test_configure_is_accepted_between_frames(opener: Opener) -> None:
    camera = opener()
    camera.configure(Exposure(800, 2.0))
    assert camera.capture(10.0) is not None


def test_close_twice_and_no_frame_after(opener: Opener) -> None:
    camera = opener()
    assert camera.capture(10.0) is not None
    camera.close()
    camera.close()
    with pytest.raises(CameraClosed):
        camera.capture(1.0)


def test_a_finite_source_ends_with_none(opener: Opener, request: pytest.FixtureRequest) -> None:
    if "v4l2" in request.node.name:
        pytest.skip("a live camera has no end")
    camera = opener()
    frames = _all(camera, 100)
    assert 8 <= len(frames) <= 12
    assert camera.capture(1.0) is None


def test_unknown_name_says_which_there_are() -> None:
    with pytest.raises(UnknownDriver, match="sim, replay, v4l2, picamera2"):
        open_camera("webcam", {})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sim", {"fps": 0}),
        ("sim", {"fps": "fast"}),
        ("sim", {"fps": float("nan")}),
        ("sim", {"seed": 1.5}),
        ("sim", {"colour": True}),
        ("sim", {"pace": "warp"}),
        ("sim", {"listed": ["AB 12345"]}),
        ("sim", {"listed": ["AB12345@ZZ"]}),
        ("sim", {"listed": "AB12345"}),
        ("sim", {"faults": "xyz"}),
        ("replay", {}),
        ("replay", {"path": "/nonexistent/folder"}),
        ("replay", {"path": "x", "loop": 1}),
        ("v4l2", {"width": 10}),
    ],
)
def test_bad_options_are_typed_errors(name: str, options: dict[str, object]) -> None:
    with pytest.raises(BadOption) as caught:
        open_camera(name, options)
    assert caught.value.permanent
