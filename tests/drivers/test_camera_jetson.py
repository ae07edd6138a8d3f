# SPDX-License-Identifier: Apache-2.0
"""The Jetson's camera: its pipeline, and when another exposure is worth a new one."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import cv2
import pytest

from drivers.camera_jetson import ASKED_NS, REBUILD_NS, JetsonCamera, Wanted, open_jetson, pipeline
from drivers.errors import BadOption, CameraLost, LibraryMissing
from drivers.types import Exposure, Frame
from tests.drivers.video_stand_in import VideoStandIn

WANTED = Wanted(sensor=1, mode=-1, size=(320, 240), fps=30.0, strobe=False)


class Clock:
    """The driver's monotonic clock, moved by hand."""

    def __init__(self) -> None:
        self.ahead_ns = 0
        self.real = time.monotonic_ns

    def __call__(self) -> int:
        return self.real() + self.ahead_ns


class Argus:
    """Opens stand-ins and keeps the pipelines that were asked for."""

    def __init__(self) -> None:
        self.pipelines: list[str] = []
        self.videos: list[VideoStandIn] = []
        self.dead = False

    def __call__(self, description: str) -> VideoStandIn:
        self.pipelines.append(description)
        video = VideoStandIn(free=True, opened=not self.dead)
        for prop, key in ((cv2.CAP_PROP_FRAME_WIDTH, "width"), (cv2.CAP_PROP_FRAME_HEIGHT, "height")):
            found = re.search(rf"{key}=(\d+)", description)
            assert found
            video.set(prop, float(found[1]))
        self.videos.append(video)
        return video


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic_ns", clock)
    return clock


@pytest.fixture
def argus() -> Argus:
    return Argus()


@pytest.fixture
def camera(argus: Argus, clock: Clock) -> Iterator[JetsonCamera]:
    camera = JetsonCamera(argus, WANTED, Exposure(1000, 2.0))  # type: ignore[arg-type]
    yield camera
    camera.close()


def _frames(camera: JetsonCamera, count: int = 3) -> list[Frame]:
    frames = [camera.capture(2.0) for _ in range(count)]
    return [frame for frame in frames if frame is not None]


def test_the_pipeline_fixes_everything_and_gives_blue_green_red() -> None:
    text = pipeline(WANTED, Exposure(1000, 2.5))
    for part in (
        "sensor-id=1",
        'exposuretimerange="1000000 1000000"',
        'gainrange="2.500 2.500"',
        'ispdigitalgainrange="1 1"',
        "aelock=true",
        "width=320,height=240",
        "framerate=30/1",
    ):
        assert part in text
    assert text.split(" ! ")[0].startswith("nvarguscamerasrc ")
    assert text.endswith("video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false")
    assert "framerate=15/2" in pipeline(Wanted(0, -1, (320, 240), 7.5, strobe=False), Exposure(1000, 1.0))


def test_frames_say_the_exposure_of_their_pipeline(camera: JetsonCamera) -> None:
    frames = _frames(camera)
    assert {frame.exposure for frame in frames} == {Exposure(1000, 2.0)}
    assert frames[0].pixels.shape == (240, 320, 3)


def test_a_lasting_wish_makes_a_new_pipeline_and_a_passing_one_none(
    camera: JetsonCamera, argus: Argus, clock: Clock
) -> None:
    camera.configure(Exposure(500, 2.0))
    _frames(camera)
    assert len(argus.pipelines) == 1  # the first is too young
    clock.ahead_ns += REBUILD_NS
    _frames(camera)
    assert len(argus.pipelines) == 1  # the wish is too old
    camera.configure(Exposure(500, 2.0))
    assert _frames(camera, 4)[-1].exposure == Exposure(500, 2.0)
    assert len(argus.pipelines) == 2
    assert argus.videos[0].released.is_set()
    assert 'exposuretimerange="500000 500000"' in argus.pipelines[1]


def test_of_alternating_wishes_the_plates_one_counts(
    camera: JetsonCamera, argus: Argus, clock: Clock
) -> None:
    clock.ahead_ns += REBUILD_NS
    for number in range(12):
        camera.configure(Exposure(250 if number % 2 else 8000, 2.0))
    assert _frames(camera, 4)[-1].exposure.exposure_us == 250
    assert len(argus.pipelines) == 2
    assert not camera.capabilities().per_frame


def test_a_small_change_is_not_worth_the_gap(camera: JetsonCamera, argus: Argus, clock: Clock) -> None:
    clock.ahead_ns += REBUILD_NS
    camera.configure(Exposure(900, 2.2))
    _frames(camera)
    assert len(argus.pipelines) == 1
    assert ASKED_NS < REBUILD_NS


def test_a_pipeline_that_ends_is_a_lost_camera(camera: JetsonCamera, argus: Argus) -> None:
    _frames(camera)
    argus.videos[0].cut = True
    with pytest.raises(CameraLost, match="ribbon"):
        _frames(camera, 5)
    assert argus.videos[0].released.wait(2.0)


def test_a_new_pipeline_that_does_not_start_is_a_lost_camera(
    camera: JetsonCamera, argus: Argus, clock: Clock
) -> None:
    clock.ahead_ns += REBUILD_NS
    argus.dead = True
    camera.configure(Exposure(250, 2.0))
    with pytest.raises(CameraLost, match="nvargus-daemon"):
        _frames(camera, 5)


def test_a_sensor_that_is_not_there(argus: Argus) -> None:
    argus.dead = True
    with pytest.raises(CameraLost, match="sensor 1"):
        JetsonCamera(argus, WANTED, Exposure(1000, 2.0))  # type: ignore[arg-type]
    assert argus.videos[0].released.is_set()


def test_an_opencv_without_gstreamer_says_what_works_instead() -> None:
    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(LibraryMissing, match=r"JetPack.*'v4l2'"):
        open_jetson({})
    with pytest.raises(BadOption):
        open_jetson({"fps": 0})
