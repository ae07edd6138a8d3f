# SPDX-License-Identifier: Apache-2.0
"""The camera: its pace, told gaps, exposure, the cable out and in again, a frozen picture, its self-check."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
import pytest

from drivers.errors import CameraError, CameraLost, CameraTimeout
from drivers.ports import Camera
from drivers.types import Exposure, Frame
from firmware.camera_check import CameraCheck

from .conftest import OpenCamera
from .rig import CameraPart

CAPTURE_S = 5.0  # longest wait for one frame
WARM_FRAMES = 5  # a sensor and a renderer settle first
PACE_FRAMES = 45
TOLD_TOLERANCE = 0.05  # by the frames' own times
ARRIVED_TOLERANCE = 0.2  # by this machine's clock: a busy one hands frames over late
STALE_S = 0.5  # oldest that a frame may be when it is handed over
EXPOSURE_FRAMES = 12  # a command must have reached the frames by then
HONOURED = 0.15  # how far, as a share, the exposure that a frame tells may be from the one asked for
DARK, BRIGHT = Exposure(100, 1.0), Exposure(1600, 1.0)
MANUAL_LIMIT_S = 60.0
CHECKED_FRAMES = 60


def _frame(camera: Camera) -> Frame:
    frame = camera.capture(CAPTURE_S)
    assert frame is not None
    return frame


def _warm(camera: Camera) -> Camera:
    for _ in range(WARM_FRAMES):
        _frame(camera)
    return camera


def _raises(camera: Camera, kind: type[CameraError], limit_s: float = CAPTURE_S) -> bool:
    """Whether capturing ends in an error of this kind within the limit; other camera errors are passed over."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            camera.capture(CAPTURE_S)
        except kind:
            return True
        except CameraTimeout:
            continue
    return False


def _reopened(open_camera: OpenCamera, limit_s: float) -> Frame:
    """The first frame of the camera opened again; raises CameraLost when it does not come back."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            return _frame(open_camera())
        except CameraLost:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def test_frames_come_at_the_camera_s_pace(open_camera: OpenCamera, camera_part: CameraPart) -> None:
    first = _frame(camera := _warm(open_camera()))
    begun_s = time.monotonic()
    frame = first
    while frame.sequence < first.sequence + PACE_FRAMES:
        frame = _frame(camera)
    arrived = (frame.sequence - first.sequence) / (time.monotonic() - begun_s)
    told = (frame.sequence - first.sequence) * 1e9 / (frame.monotonic_ns - first.monotonic_ns)
    assert told == pytest.approx(camera_part.fps, rel=TOLD_TOLERANCE)
    assert arrived == pytest.approx(camera_part.fps, rel=ARRIVED_TOLERANCE)


def test_a_frame_is_fresh_and_its_times_rise(open_camera: OpenCamera) -> None:
    camera = _warm(open_camera())
    frames = []
    for _ in range(5):
        frames.append(_frame(camera))
        assert 0 <= time.monotonic_ns() - frames[-1].monotonic_ns < STALE_S * 1e9
        assert abs(time.time_ns() // 1000 - frames[-1].captured_at_us) < STALE_S * 1e6
    for before, after in pairwise(frames):
        assert after.monotonic_ns > before.monotonic_ns
        assert after.captured_at_us > before.captured_at_us


def test_frames_that_nobody_took_are_a_gap_in_the_sequence(
    open_camera: OpenCamera, camera_part: CameraPart
) -> None:
    camera = open_camera()
    for _ in range(3):
        before = _frame(camera)
    asleep = 8
    time.sleep(asleep / camera_part.fps)
    _frame(camera)  # the newest that waits; a driver may hold one from before the pause
    after = _frame(camera)
    assert after.sequence - before.sequence >= asleep - 1
    told_s = (after.monotonic_ns - before.monotonic_ns) / 1e9
    assert after.sequence - before.sequence == pytest.approx(told_s * camera_part.fps, abs=1.5)


@pytest.mark.parametrize("asked", [DARK, BRIGHT], ids=["dark", "bright"])
def test_an_exposure_command_reaches_the_next_frames(open_camera: OpenCamera, asked: Exposure) -> None:
    camera = open_camera()
    _frame(camera)
    camera.configure(asked)
    told = [_frame(camera).exposure for _ in range(EXPOSURE_FRAMES)]
    assert told[-1].exposure_us == pytest.approx(asked.exposure_us, rel=HONOURED)
    assert told[-1].gain == pytest.approx(asked.gain, rel=HONOURED)


def test_it_does_what_it_says_it_can(open_camera: OpenCamera, camera_part: CameraPart) -> None:
    camera = open_camera()
    caps, frame = camera.capabilities(), _frame(camera)
    assert caps.size == (frame.pixels.shape[1], frame.pixels.shape[0])
    assert caps.fps == pytest.approx(camera_part.fps, rel=TOLD_TOLERANCE)
    if caps.exposure_us[0] == caps.exposure_us[1]:
        pytest.skip("this camera's exposure cannot be commanded")
    camera.configure(Exposure(0, 0.0))
    told = [_frame(camera).exposure for _ in range(EXPOSURE_FRAMES)][-1]
    assert told.exposure_us == pytest.approx(caps.exposure_us[0], rel=HONOURED, abs=20)
    assert told.gain == pytest.approx(caps.gain[0], rel=HONOURED)


def test_the_small_picture_shows_the_same(open_camera: OpenCamera) -> None:
    frame = _frame(_warm(open_camera()))
    if frame.lowres is None:
        pytest.skip("this camera gives no small picture")
    height, width = frame.lowres.shape
    grey = cv2.cvtColor(frame.pixels, cv2.COLOR_BGR2GRAY) if frame.pixels.ndim == 3 else frame.pixels
    small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    assert float(np.abs(small.astype(int) - frame.lowres).mean()) < 16.0  # video range against full range


def test_a_longer_exposure_is_a_brighter_picture(open_camera: OpenCamera) -> None:
    camera = open_camera()
    light = []
    for exposure in (DARK, BRIGHT):
        camera.configure(exposure)
        frames = [_frame(camera) for _ in range(EXPOSURE_FRAMES)]
        light.append(float(frames[-1].pixels.mean()))
    assert light[1] > 1.3 * light[0]


def test_unplugged_by_script_is_lost_and_comes_back(open_camera: OpenCamera) -> None:
    camera = open_camera(faults=".u")
    assert _frame(camera).sequence >= 0
    assert _raises(camera, CameraLost)
    camera.close()
    assert _reopened(open_camera, CAPTURE_S).pixels.any()


def test_unplugged_by_hand_is_lost_and_comes_back(
    open_camera: OpenCamera, person: Callable[[str], None]
) -> None:
    person("unplug the camera now")
    camera = open_camera()
    assert _raises(camera, CameraLost, MANUAL_LIMIT_S)
    camera.close()
    person("plug the camera in again")
    assert _reopened(open_camera, MANUAL_LIMIT_S).pixels.any()


def test_no_frames_is_a_timeout_and_ends(open_camera: OpenCamera) -> None:
    camera = open_camera(faults=".t")
    _frame(camera)
    assert _raises(camera, CameraTimeout)
    time.sleep(1.0)
    assert _frame(camera).pixels.any()


def test_a_live_picture_is_never_the_same_twice(open_camera: OpenCamera) -> None:
    camera = open_camera()
    frames = [_frame(camera) for _ in range(5)]
    assert not any(np.array_equal(before.pixels, after.pixels) for before, after in pairwise(frames))


def test_a_frozen_picture_shows_in_the_pixels_only(open_camera: OpenCamera) -> None:
    camera = open_camera(faults=".ffff")
    _frame(camera)
    time.sleep(1.0)
    frames = [_frame(camera) for _ in range(4)]
    assert all(np.array_equal(before.pixels, after.pixels) for before, after in pairwise(frames))
    assert all(after.sequence > before.sequence for before, after in pairwise(frames))


def _checked(camera: Camera, check: CameraCheck) -> str:
    frame = _frame(camera)
    return check.look(frame, night=frame.ir).code


def test_the_self_check_finds_a_sound_camera_well(open_camera: OpenCamera, camera_part: CameraPart) -> None:
    camera, check = _warm(open_camera()), CameraCheck(None, fps=camera_part.fps)
    assert {_checked(camera, check) for _ in range(CHECKED_FRAMES)} == {""}


def test_the_self_check_finds_a_dark_picture(open_camera: OpenCamera, camera_part: CameraPart) -> None:
    camera, check = open_camera(faults=".ddddd"), CameraCheck(None, fps=camera_part.fps)
    assert any(_checked(camera, check) == "dark" for _ in range(CHECKED_FRAMES))


def test_the_self_check_finds_a_covered_lens(
    open_camera: OpenCamera, camera_part: CameraPart, person: Callable[[str], None]
) -> None:
    person("cover the lens with the hand, and take it off when told")
    camera, check = _warm(open_camera()), CameraCheck(None, fps=camera_part.fps)
    deadline = time.monotonic() + MANUAL_LIMIT_S
    found = ""
    while found != "dark" and time.monotonic() < deadline:
        found = _checked(camera, check)
    assert found == "dark"
    person("take the hand off")
    deadline = time.monotonic() + MANUAL_LIMIT_S
    while found and time.monotonic() < deadline:
        found = _checked(camera, check)
    assert found == ""
