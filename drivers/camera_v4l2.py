# SPDX-License-Identifier: Apache-2.0
"""A USB or platform camera through Video4Linux and OpenCV; a thread keeps the newest frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Final

import cv2
import numpy as np

from drivers.errors import CameraClosed, CameraLost, CameraTimeout
from drivers.options import Options
from drivers.types import Exposure, Frame

EXPOSURE_UNIT_US: Final = 100  # V4L2_CID_EXPOSURE_ABSOLUTE counts in 100 microseconds
MANUAL: Final = 1.0  # V4L2_EXPOSURE_MANUAL
JOIN_S: Final = 12.0  # seconds; OpenCV's own wait for a V4L2 frame ends after 10


class V4l2Camera:
    """Newest frame wins: a frame that nobody took is replaced, and the sequence number shows the gap."""

    def __init__(self, video: cv2.VideoCapture, *, gain_scale: float, name: str) -> None:
        if not video.isOpened():
            video.release()
            raise CameraLost(f"camera {name} cannot be opened; check the cable and `v4l2-ctl --list-devices`")
        self._video, self._gain_scale, self._name = video, gain_scale, name
        self._exposure = Exposure(0, 1.0)
        self._wanted: Exposure | None = None
        self._fresh = threading.Condition()
        self._newest: Frame | None = None
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._grab, name="camera-v4l2", daemon=True)
        self._thread.start()

    def _grab(self) -> None:
        sequence = 0
        while not self._stop.is_set():
            self._apply()
            good, pixels = self._video.read()
            at_us, at_ns = time.time_ns() // 1000, time.monotonic_ns()
            with self._fresh:
                if good and pixels is not None:
                    array = np.asarray(pixels, dtype=np.uint8)
                    self._newest = Frame(array, at_us, at_ns, sequence, self._exposure, ir=False)
                else:
                    self._lost = True
                self._fresh.notify_all()
            if self._lost:
                break
            sequence += 1
        self._video.release()

    def _apply(self) -> None:
        with self._fresh:
            wanted, self._wanted = self._wanted, None
        if wanted is None:
            return
        self._video.set(cv2.CAP_PROP_AUTO_EXPOSURE, MANUAL)
        self._video.set(cv2.CAP_PROP_EXPOSURE, max(1, round(wanted.exposure_us / EXPOSURE_UNIT_US)))
        self._video.set(cv2.CAP_PROP_GAIN, wanted.gain * self._gain_scale)
        self._exposure = wanted

    def capture(self, timeout_s: float) -> Frame | None:
        """The newest frame not yet taken; raises CameraTimeout, CameraLost."""
        with self._fresh:
            if self._stop.is_set():
                raise CameraClosed("the camera was closed")
            self._fresh.wait_for(lambda: self._newest is not None or self._lost, timeout_s)
            frame, self._newest = self._newest, None
            if frame is None and self._lost:
                raise CameraLost(
                    f"camera {self._name} gives no more frames; check the cable, then open it again"
                )
        if frame is None:
            raise CameraTimeout(f"camera {self._name} gave no frame in {timeout_s:.1f} s")
        return frame

    def configure(self, exposure: Exposure) -> None:
        """Sets manual exposure before one of the next frames."""
        with self._fresh:
            self._wanted = exposure

    def close(self) -> None:
        """Stops the thread, which releases the device."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_S)


def open_v4l2(options: Mapping[str, object]) -> V4l2Camera:
    """Options: device (/dev/video0), width, height, fps, gain_scale (device steps per 1.0), fourcc."""
    read = Options("camera v4l2", options)
    device = read.text("device", "/dev/video0")
    width, height = read.integer("width", 1280, 160, 8192), read.integer("height", 720, 120, 8192)
    fps, gain_scale = read.number("fps", 15.0, 1.0, 240.0), read.number("gain_scale", 1.0, 0.001, 10_000.0)
    fourcc = read.text("fourcc", "MJPG")
    read.finish()
    video = cv2.VideoCapture(device, cv2.CAP_V4L2)
    if len(fourcc) == 4:
        video.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*fourcc))
    for prop, value in (
        (cv2.CAP_PROP_FRAME_WIDTH, width),
        (cv2.CAP_PROP_FRAME_HEIGHT, height),
        (cv2.CAP_PROP_FPS, fps),
    ):
        video.set(prop, value)
    return V4l2Camera(video, gain_scale=gain_scale, name=device)
