# SPDX-License-Identifier: Apache-2.0
"""The Pi camera over a stand-in with picamera2's own signatures (0.3.38)."""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from drivers.errors import BadOption, CameraClosed, CameraLost, CameraTimeout, LibraryMissing
from drivers.ports import Camera
from drivers.registry import open_camera
from drivers.types import Exposure


class Request:
    """A completed request; counts its releases."""

    def __init__(self, owner: StandIn, at_ns: int) -> None:
        self.owner, self.at_ns = owner, at_ns

    def make_array(self, name: str) -> np.ndarray[Any, Any]:
        if self.owner.broken:
            raise RuntimeError(f"Stream {name!r} is not defined")
        return np.zeros((72, 128, 3), np.uint8)

    def get_metadata(self) -> dict[str, Any]:
        exposure = self.owner.controls.get("ExposureTime", 1)
        return {
            "SensorTimestamp": self.at_ns,
            "ExposureTime": exposure,
            "AnalogueGain": 2.0,
            "DigitalGain": 1.5,
        }

    def release(self) -> None:
        self.owner.released += 1


class StandIn:
    """The calls that the driver makes, with picamera2's parameter names."""

    last: StandIn
    refuses = False

    def __init__(self, camera_num: int = 0) -> None:
        if camera_num > 0:
            raise RuntimeError("No camera number found")
        self.controls: dict[str, Any] = {}
        self.calls: list[str] = []
        self.released = 0
        self.broken = self.silent = self.dead = False
        self.at_ns = time.monotonic_ns() - 5_000_000_000
        StandIn.last = self

    def create_video_configuration(
        self, main: dict[str, Any], controls: dict[str, Any], buffer_count: int, queue: bool
    ) -> dict[str, Any]:
        assert main["format"] == "RGB888"
        assert not queue
        return {"main": main, "controls": controls}

    def configure(self, camera_config: dict[str, Any]) -> None:
        self.controls |= camera_config["controls"]

    def set_controls(self, controls: dict[str, Any]) -> None:
        self.controls |= controls

    def start(self) -> None:
        if StandIn.refuses:
            raise RuntimeError("Failed to start camera")
        self.calls.append("start")

    def capture_request(self, wait: bool | None = None) -> Future[Request]:
        self.calls.append("capture_request")
        assert wait is False
        job: Future[Request] = Future()
        if self.dead:
            job.set_exception(RuntimeError("camera frontend has timed out"))
        elif not self.silent:
            self.at_ns += 66_666_667
            job.set_result(Request(self, self.at_ns))
        return job

    def wait(self, job: Future[Request], timeout: float | None = None) -> Request:
        try:
            return job.result(timeout)
        except FutureTimeout as error:
            raise TimeoutError from error

    def cancel_all_and_flush(self) -> None:
        self.calls.append("cancel")

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Camera:
    module = ModuleType("picamera2")
    module.Picamera2 = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    return open_camera("picamera2", {"fps": 15.0})


def test_frames_carry_their_metadata_and_buffers_go_back(device: Camera) -> None:
    device.configure(Exposure(700, 2.0))
    frames = [device.capture(1.0) for _ in range(3)]
    assert [frame.sequence for frame in frames if frame] == [0, 1, 2]
    assert frames[0] is not None
    assert frames[0].exposure == Exposure(700, 3.0)
    assert frames[0].captured_at_us == pytest.approx(time.time() * 1e6 - 4.9e6, abs=0.5e6)
    assert StandIn.last.released == 3
    assert StandIn.last.controls["FrameDurationLimits"] == (66667, 66667)
    assert StandIn.last.controls["AeEnable"] is False


def test_missed_frames_show_as_a_gap(device: Camera) -> None:
    device.capture(1.0)
    StandIn.last.at_ns += 2 * 66_666_667
    frame = device.capture(1.0)
    assert frame is not None
    assert frame.sequence == 3


def test_a_buffer_goes_back_even_when_reading_it_fails(device: Camera) -> None:
    StandIn.last.broken = True
    with pytest.raises(RuntimeError):
        device.capture(1.0)
    assert StandIn.last.released == 1


def test_after_a_timeout_the_same_job_is_asked_again(device: Camera) -> None:
    StandIn.last.silent = True
    for _ in range(2):
        with pytest.raises(CameraTimeout):
            device.capture(0.01)
    assert StandIn.last.calls.count("capture_request") == 1


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


def test_no_such_camera_and_bad_options(device: Camera) -> None:
    with pytest.raises(CameraLost, match="no camera number 3"):
        open_camera("picamera2", {"camera": 3})
    with pytest.raises(BadOption):
        open_camera("picamera2", {"gain": 0.5})


def test_a_camera_that_does_not_start_is_given_back(device: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandIn, "refuses", True)
    with pytest.raises(CameraLost, match="does not start at 1280x720"):
        open_camera("picamera2", {})
    assert StandIn.last.calls == ["close"]


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(LibraryMissing, match="python3-picamera2"):
        open_camera("picamera2", {})
