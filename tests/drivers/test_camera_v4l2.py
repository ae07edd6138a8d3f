# SPDX-License-Identifier: Apache-2.0
"""The V4L2 camera's thread and its errors, over a stand-in for cv2.VideoCapture."""

from __future__ import annotations

import threading
from typing import Any, cast

import cv2
import numpy as np
import pytest

from drivers.camera_v4l2 import V4l2Camera, open_v4l2
from drivers.errors import CameraLost, CameraTimeout
from drivers.types import Exposure


class StandIn:
    """Gives a frame for each release of `tick`; a cut cable makes read() fail at once, as the kernel does."""

    def __init__(self, *, opened: bool = True) -> None:
        self.opened = opened
        self.tick = threading.Semaphore(0)
        self.cut = False
        self.properties: dict[int, float] = {}
        self.released = threading.Event()
        self.count = 0

    def isOpened(self) -> bool:  # noqa: N802
        return self.opened

    def read(self) -> tuple[bool, Any]:
        if not self.tick.acquire(timeout=2.0) or self.cut:
            return False, None
        self.count += 1
        return True, np.full((4, 6, 3), self.count, np.uint8)

    def set(self, prop: int, value: float) -> bool:
        self.properties[prop] = value
        return True

    def release(self) -> None:
        self.released.set()


def _camera(video: StandIn) -> V4l2Camera:
    return V4l2Camera(cast("cv2.VideoCapture", video), gain_scale=10.0, name="stand-in")


def test_a_frame_arrives_and_a_missing_one_is_a_timeout() -> None:
    video = StandIn()
    camera = _camera(video)
    with pytest.raises(CameraTimeout):
        camera.capture(0.05)
    video.tick.release()
    frame = camera.capture(2.0)
    assert frame is not None
    assert frame.pixels.shape == (4, 6, 3)
    video.tick.release(2)
    camera.close()
    assert video.released.is_set()


def test_a_cut_cable_is_a_lost_camera_and_stays_lost() -> None:
    video = StandIn()
    camera = _camera(video)
    video.cut = True
    video.tick.release()
    for _ in range(2):
        with pytest.raises(CameraLost) as caught:
            camera.capture(2.0)
    assert not caught.value.permanent
    assert video.released.wait(2.0)
    camera.close()


def test_the_newest_frame_wins_and_the_gap_shows() -> None:
    video = StandIn()
    camera = _camera(video)
    video.tick.release(3)
    for _ in range(200):
        if video.count == 3:
            break
        threading.Event().wait(0.01)
    threading.Event().wait(0.05)
    frame = camera.capture(1.0)
    assert frame is not None
    assert (frame.sequence, int(frame.pixels[0, 0, 0])) == (2, 3)
    video.tick.release(2)
    camera.close()


def test_exposure_reaches_the_device_in_its_units() -> None:
    video = StandIn()
    camera = _camera(video)
    camera.configure(Exposure(1000, 4.0))
    for _ in range(2):
        video.tick.release()
        frame = camera.capture(2.0)
    assert frame is not None
    assert frame.exposure == Exposure(1000, 4.0)
    assert video.properties[cv2.CAP_PROP_EXPOSURE] == 10
    assert video.properties[cv2.CAP_PROP_GAIN] == 40.0
    video.tick.release(2)
    camera.close()


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(CameraLost, match="stand-in"):
        _camera(StandIn(opened=False))
    with pytest.raises(CameraLost, match="/dev/video-not-there"):
        open_v4l2({"device": "/dev/video-not-there"})
