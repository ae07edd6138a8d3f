# SPDX-License-Identifier: Apache-2.0
"""One contract for every camera: simulated, replayed, over stand-ins for their libraries, and a V4L2 device if any."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from drivers.errors import BadOption, CameraClosed, CameraTimeout, UnknownDriver
from drivers.ports import Camera
from drivers.registry import open_camera
from drivers.types import Exposure, Frame
from tests.drivers.picamera2_stand_in import StandIn
from tests.drivers.video_stand_in import VideoStandIn

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


def _v4l2_device() -> Camera:
    device = os.environ.get("WAYSIDE_V4L2", "/dev/video0")
    if not Path(device).exists():
        pytest.skip(f"no V4L2 device at {device} (set WAYSIDE_V4L2)")
    return open_camera("v4l2", {"device": device})


def _v4l2(patch: pytest.MonkeyPatch, tmp_path: Path) -> Camera:
    patch.setattr(cv2, "VideoCapture", lambda *_: VideoStandIn(free=True))
    node = tmp_path / "video0"
    node.touch()
    return open_camera("v4l2", {"device": str(node), "width": 320, "height": 240, "fps": 30})


def _jetson(patch: pytest.MonkeyPatch) -> Camera:
    video = VideoStandIn(free=True)
    video.set(cv2.CAP_PROP_FRAME_WIDTH, 320)
    video.set(cv2.CAP_PROP_FRAME_HEIGHT, 240)
    patch.setattr(cv2, "VideoCapture", lambda *_: video)
    patch.setattr(cv2.videoio_registry, "hasBackend", lambda _: True)
    return open_camera("jetson", {"width": 320, "height": 240, "fps": 30})


def _picamera2(patch: pytest.MonkeyPatch) -> Camera:
    module = ModuleType("picamera2")
    module.Picamera2 = StandIn  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "picamera2", module)
    patch.setattr(StandIn, "paced_s", 1 / 30)
    return open_camera("picamera2", {"fps": 30})


CAMERAS = ("sim", "replay-folder", "replay-video", "v4l2", "jetson", "picamera2", "v4l2-device")
LIVE = CAMERAS[3:]


@pytest.fixture(params=CAMERAS)
def opener(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Opener]:
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
        elif request.param == "v4l2":
            camera = _v4l2(monkeypatch, tmp_path)
        elif request.param == "jetson":
            camera = _jetson(monkeypatch)
        elif request.param == "picamera2":
            camera = _picamera2(monkeypatch)
        else:
            camera = _v4l2_device()
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


def test_it_says_what_it_can_do_and_does_no_more(opener: Opener) -> None:
    camera = opener()
    caps = camera.capabilities()
    frame = camera.capture(10.0)
    assert frame is not None
    assert (frame.pixels.shape[1], frame.pixels.shape[0]) == caps.size
    assert caps.fps > 0.0
    camera.configure(Exposure(10_000_000, 1000.0))
    for _ in range(5):
        frame = camera.capture(10.0)
    assert frame is not None
    assert caps.exposure_us[0] <= frame.exposure.exposure_us <= caps.exposure_us[1]
    assert caps.gain[0] <= frame.exposure.gain <= caps.gain[1]
    assert camera.capabilities() == caps


def test_a_small_picture_is_grey_and_of_the_same_moment(opener: Opener) -> None:
    frame = opener().capture(10.0)
    assert frame is not None
    if frame.lowres is not None:
        assert frame.lowres.dtype == np.uint8
        assert frame.lowres.ndim == 2
        assert frame.lowres.shape[1] < frame.pixels.shape[1]


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
    if any(f"[{name}]" in request.node.name for name in LIVE):
        pytest.skip("a live camera has no end")
    camera = opener()
    frames = _all(camera, 100)
    assert 8 <= len(frames) <= 12
    assert camera.capture(1.0) is None


def test_unknown_name_says_which_there_are() -> None:
    with pytest.raises(UnknownDriver, match="sim, replay, v4l2, picamera2, jetson"):
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
        ("v4l2", {"shutter": "fast"}),
        ("jetson", {"camera": 99}),
        ("picamera2", {"lens_position": -1}),
    ],
)
def test_bad_options_are_typed_errors(name: str, options: dict[str, object]) -> None:
    with pytest.raises(BadOption) as caught:
        open_camera(name, options)
    assert caught.value.permanent
