# SPDX-License-Identifier: Apache-2.0
"""The Pi camera over a stand-in that keeps picamera2's own rules."""

from __future__ import annotations

import sys
import time
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from drivers.camera_picamera2 import LOST_AFTER_S
from drivers.errors import BadOption, CameraClosed, CameraLost, CameraTimeout, LibraryMissing
from drivers.ports import Camera
from drivers.registry import open_camera
from drivers.types import Exposure, Frame, FrameMetadata
from tests.drivers.picamera2_stand_in import SCENE, StandIn


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("picamera2")
    module.Picamera2 = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)


@pytest.fixture
def device() -> Camera:
    return open_camera("picamera2", {"fps": 15.0})


def _frame(camera: Camera) -> Frame:
    frame = camera.capture(1.0)
    assert frame is not None
    return frame


def test_frames_carry_what_the_sensor_says(device: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandIn, "digital_gain", 1.5)
    device.configure(Exposure(700, 2.0))
    frames = [_frame(device) for _ in range(3)]
    assert [frame.sequence for frame in frames] == [0, 1, 2]
    assert frames[0].exposure == Exposure(700, 3.0)  # analogue times digital gain
    assert frames[0].metadata == FrameMetadata(applied=True, temperature_c=41.0, lux=873.5, focus=612.0)
    assert frames[0].captured_at_us == pytest.approx(time.time() * 1e6 - 4.9e6, abs=0.5e6)


def test_colours_are_blue_green_red_as_everywhere_else(device: Camera) -> None:
    """libcamera's "RGB888" is BGR in memory: a swap here would turn every orange car blue."""
    assert StandIn.last.configuration["main"]["format"] == "RGB888"
    assert _frame(device).pixels[0, 0].tolist() == [SCENE["B"], SCENE["G"], SCENE["R"]]


def test_automatics_are_off_and_the_rate_is_fixed(device: Camera) -> None:
    controls = StandIn.last.controls
    assert controls["FrameDurationLimits"] == (66667, 66667)
    assert controls["AeEnable"] is False
    assert controls["AwbEnable"] is False
    assert controls["ColourGains"] == (2.0, 2.0)
    assert controls["ExposureTime"] == 1000


def test_the_small_picture_is_the_luminance_without_its_padding(device: Camera) -> None:
    small = _frame(device).lowres
    assert small is not None
    assert small.shape == (240, 320)
    assert (small == SCENE["G"]).all()
    device.close()
    without = open_camera("picamera2", {"lowres_width": 0})
    assert _frame(without).lowres is None


@pytest.mark.parametrize(
    ("model", "size", "shutter", "mode"),
    [
        ("imx296", (1456, 1088), "global", (1456, 1088)),
        ("imx477", (2028, 1080), "rolling", (2028, 1080)),
        ("imx708_wide_noir", (2304, 1296), "rolling", (2304, 1296)),
        ("ov9999", (1280, 720), "unknown", None),
    ],
)
def test_each_sensor_gives_its_whole_view(
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    size: tuple[int, int],
    shutter: str,
    mode: tuple[int, int] | None,
) -> None:
    monkeypatch.setattr(StandIn, "model", model)
    monkeypatch.setattr(StandIn, "focus", model.startswith("imx708"))
    camera = open_camera("picamera2", {"fps": 30.0})
    caps = camera.capabilities()
    assert (caps.size, caps.shutter) == (size, shutter)
    assert _frame(camera).pixels.shape == (size[1], size[0], 3)
    assert StandIn.last.configuration["sensor"].get("output_size") == mode
    small = open_camera("picamera2", {"width": 1280, "height": 720})
    assert small.capabilities().size == (1280, 720)
    assert (
        StandIn.last.configuration["sensor"].get("output_size") == mode
    )  # a smaller picture, not a narrower view


def test_a_larger_picture_than_the_mode_leaves_the_mode_to_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(StandIn, "model", "imx477")
    open_camera("picamera2", {"width": 4056, "height": 3040, "fps": 10.0})
    assert StandIn.last.configuration["sensor"] == {}


def test_capabilities_are_the_sensor_s_within_what_is_of_use(device: Camera) -> None:
    caps = device.capabilities()
    assert caps.exposure_us == (29, 66667)
    assert caps.gain == (1.0, 16.0)
    assert not caps.strobe
    device.configure(Exposure(10, 100.0))
    assert _frame(device).exposure == Exposure(29, 16.0)
    assert open_camera("picamera2", {"strobe": True}).capabilities().strobe


def test_a_lens_that_moves_is_held_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandIn, "model", "imx708")
    monkeypatch.setattr(StandIn, "focus", True)
    open_camera("picamera2", {})
    assert StandIn.last.controls["AfMode"] == 0  # controls.AfModeEnum.Manual
    assert StandIn.last.controls["LensPosition"] == pytest.approx(0.1)  # dioptres: ten metres
    open_camera("picamera2", {"lens_position": 0.2})
    assert StandIn.last.controls["LensPosition"] == pytest.approx(0.2)


def test_a_lens_that_does_not_move_says_so() -> None:
    with pytest.raises(BadOption, match="focus ring"):
        open_camera("picamera2", {"lens_position": 0.2})
    assert StandIn.last.calls == ["close"]


def test_a_sensor_without_colour_has_no_white_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandIn, "mono", True)
    assert _frame(open_camera("picamera2", {})).pixels.ndim == 3
    assert "AwbEnable" not in StandIn.last.controls


def test_missed_frames_show_as_a_gap(device: Camera) -> None:
    _frame(device)
    StandIn.last.at_ns += 2 * 66_666_667
    assert _frame(device).sequence == 3


def test_no_buffer_is_kept_over_many_frames(device: Camera) -> None:
    for _ in range(20):  # the camera has four
        _frame(device)
    assert StandIn.last.out == 0


def test_a_buffer_goes_back_even_when_reading_it_fails(device: Camera) -> None:
    StandIn.last.broken = True
    for _ in range(10):
        with pytest.raises(CameraLost, match="cannot be read"):
            device.capture(1.0)
    assert StandIn.last.out == 0


def test_after_a_timeout_the_same_job_is_asked_again(device: Camera) -> None:
    StandIn.last.silent = True
    for _ in range(2):
        with pytest.raises(CameraTimeout):
            device.capture(0.01)
    assert StandIn.last.calls.count("capture_request") == 1
    StandIn.last.complete(StandIn.last.jobs[0])
    assert _frame(device).sequence == 0


def test_a_camera_that_stays_silent_is_lost(device: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    """libcamera tells a pulled ribbon cable only in its log: no frame comes, and no error either."""
    StandIn.last.silent = True

    def out_of_time(job: Any, timeout: float | None = None) -> Any:
        raise TimeoutError

    monkeypatch.setattr(StandIn.last, "wait", out_of_time)
    for _ in range(int(LOST_AFTER_S / 5.0)):
        with pytest.raises(CameraTimeout):
            device.capture(5.0)
    with pytest.raises(CameraLost, match="ribbon"):
        device.capture(5.0)


def test_a_dead_camera_is_lost(device: Camera) -> None:
    StandIn.last.dead = True
    with pytest.raises(CameraLost):
        device.capture(1.0)


def test_closing_cancels_first_and_only_once(device: Camera) -> None:
    device.close()
    device.close()
    assert StandIn.last.calls == ["start", "cancel", "stop", "close"]
    with pytest.raises(CameraClosed):
        device.capture(1.0)


def test_a_frame_that_comes_after_the_last_question_is_given_back(device: Camera) -> None:
    StandIn.last.silent = True
    with pytest.raises(CameraTimeout):
        device.capture(0.01)
    StandIn.last.complete(StandIn.last.jobs[0])
    device.close()
    assert StandIn.last.out == 0


def test_a_camera_that_does_not_stop_is_closed_all_the_same(
    device: Camera, capsys: pytest.CaptureFixture[str]
) -> None:
    StandIn.last.stuck = True
    device.close()
    assert StandIn.last.calls[-2:] == ["stop", "close"]
    assert "camera_close_failed" in capsys.readouterr().out


def test_no_such_camera_and_bad_options() -> None:
    with pytest.raises(CameraLost, match="no camera number 3"):
        open_camera("picamera2", {"camera": 3})
    bad: list[dict[str, object]] = [
        {"gain": 0.5},
        {"width": 1281, "height": 720},
        {"width": 1280},
        {"lowres_width": 4000},
        {"width": 320, "height": 240, "lowres_width": 640},
        {"fps": 61.0},
    ]
    for options in bad:
        with pytest.raises(BadOption):
            open_camera("picamera2", options)


def test_a_camera_that_does_not_start_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandIn, "refuses", True)
    with pytest.raises(CameraLost, match="does not start at 1456x1088"):
        open_camera("picamera2", {})
    assert StandIn.last.calls == ["close"]


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(LibraryMissing, match="python3-picamera2"):
        open_camera("picamera2", {})


def test_pixels_are_the_taker_s(device: Camera) -> None:
    frame = _frame(device)
    assert frame.pixels.flags.writeable
    assert frame.pixels.flags.c_contiguous
    assert frame.pixels.dtype == np.uint8
