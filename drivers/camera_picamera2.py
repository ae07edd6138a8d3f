# SPDX-License-Identifier: Apache-2.0
"""A Raspberry Pi CSI camera through picamera2 (libcamera). The library is imported only when it is opened."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import CancelledError
from typing import Any, Final

import numpy as np

from drivers.errors import CameraClosed, CameraLost, CameraTimeout, LibraryMissing
from drivers.options import Options
from drivers.types import Exposure, Frame

PIXEL_FORMAT: Final = "RGB888"  # libcamera's name for bytes in the order blue, green, red


def _frame_limits_us(fps: float) -> tuple[int, int]:
    period = round(1e6 / fps)
    return period, period


class PiCamera:
    """Each frame's buffer goes back to the camera before `capture` returns; its metadata travels on the frame.

    `ir` is always False: whoever switches the lamp knows, the sensor does not.
    """

    def __init__(self, device: Any, fps: float) -> None:
        self._device = device
        self._fps = fps
        self._job: Any = None
        self._sequence = 0
        self._last_ns: int | None = None
        self._closed = False

    def capture(self, timeout_s: float) -> Frame | None:
        """The next completed request; raises CameraTimeout, CameraLost."""
        if self._closed:
            raise CameraClosed("the camera was closed")
        try:
            if self._job is None:
                self._job = self._device.capture_request(wait=False)
            request = self._device.wait(self._job, timeout=timeout_s)
        except TimeoutError as error:  # the job stays queued and is asked again
            raise CameraTimeout(f"the camera gave no frame in {timeout_s:.1f} s") from error
        except (RuntimeError, OSError, CancelledError) as error:
            self._job = None
            raise CameraLost("the camera stopped; check the ribbon cable, then open it again") from error
        self._job = None
        try:
            pixels = np.ascontiguousarray(request.make_array("main")[:, :, :3])
            metadata = request.get_metadata()
        finally:
            request.release()
        return self._frame(pixels, metadata)

    def _frame(self, pixels: np.ndarray[Any, np.dtype[np.uint8]], metadata: Mapping[str, Any]) -> Frame:
        now_ns = time.monotonic_ns()
        at_ns = int(metadata.get("SensorTimestamp", now_ns))  # CLOCK_MONOTONIC on Linux
        if not 0 <= now_ns - at_ns < 10_000_000_000:
            at_ns = now_ns
        if self._last_ns is not None:  # requests that nobody took show as a gap
            self._sequence += max(1, round((at_ns - self._last_ns) * self._fps / 1e9))
        self._last_ns = at_ns
        at_us = (time.time_ns() - (now_ns - at_ns)) // 1000
        gain = float(metadata.get("AnalogueGain", 1.0)) * float(metadata.get("DigitalGain", 1.0))
        exposure = Exposure(int(metadata.get("ExposureTime", 0)), gain)
        return Frame(pixels, at_us, at_ns, self._sequence, exposure, ir=False)

    def configure(self, exposure: Exposure) -> None:
        """Fixed exposure from one of the next requests on (two to four frames later)."""
        self._device.set_controls(
            {"AeEnable": False, "ExposureTime": exposure.exposure_us, "AnalogueGain": exposure.gain}
        )

    def close(self) -> None:
        """Stops the camera and gives it back."""
        if self._closed:
            return
        self._closed = True
        self._device.cancel_all_and_flush()  # a job that waits for a dead cable would block stop()
        self._device.stop()
        self._device.close()


def _library() -> Any:
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise LibraryMissing(
            "the camera driver 'picamera2' needs the packages python3-picamera2 and python3-libcamera"
        ) from error
    return Picamera2


def open_picamera2(options: Mapping[str, object]) -> PiCamera:
    """Options: camera (number), width, height, fps, exposure_us, gain (the first exposure)."""
    read = Options("camera picamera2", options)
    number = read.integer("camera", 0, 0, 15)
    width, height = read.integer("width", 1280, 160, 8192), read.integer("height", 720, 120, 8192)
    fps = read.number("fps", 15.0, 1.0, 240.0)
    first = Exposure(read.integer("exposure_us", 1000, 20, 1_000_000), read.number("gain", 1.0, 1.0, 64.0))
    read.finish()
    try:
        device = _library()(number)
    except (RuntimeError, IndexError) as error:
        raise CameraLost(
            f"no camera number {number}; `rpicam-hello --list-cameras` shows which are there"
        ) from error
    configuration = device.create_video_configuration(
        main={"size": (width, height), "format": PIXEL_FORMAT},
        controls={"FrameDurationLimits": _frame_limits_us(fps)},
        buffer_count=4,
        queue=False,  # a request taken from the queue could be older than the question
    )
    camera = PiCamera(device, fps)
    try:
        device.configure(configuration)
        camera.configure(first)
        device.start()
    except RuntimeError as error:
        device.close()
        raise CameraLost(f"camera number {number} does not start at {width}x{height}, {fps} fps") from error
    return camera
