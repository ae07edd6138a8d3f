# SPDX-License-Identifier: Apache-2.0
"""A CSI camera on an NVIDIA Jetson: nvarguscamerasrc through OpenCV's GStreamer backend.

OpenCV hands over no element of the pipeline, so another exposure means another pipeline: about a second without frames.
Such a change is therefore made seldom, and only for what lasted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import cv2
import numpy as np

from drivers.errors import CameraLost, LibraryMissing
from drivers.newest import Grabbed, NewestFrame, ThreadedCamera
from drivers.options import Options
from drivers.types import CameraCaps, Exposure

REBUILD_NS: Final = 20_000_000_000  # ns between two pipelines
ASKED_NS: Final = 5_000_000_000  # ns over which what was asked for is collected
WORTH: Final = (
    1.25  # how far, as a factor, shutter or gain must be off before a new pipeline is worth its gap
)
DAYLIGHT: Final = 5  # nvarguscamerasrc's wbmode
SHORTEST_US, HIGHEST_GAIN = 13, 16.0  # what the common sensors (IMX219, IMX477) take

Open = Callable[[str], cv2.VideoCapture]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options, checked; `mode` -1: nvarguscamerasrc chooses the sensor's mode by the size."""

    sensor: int
    mode: int
    size: tuple[int, int]
    fps: float
    strobe: bool


def pipeline(wanted: Wanted, exposure: Exposure) -> str:
    """The GStreamer pipeline that gives pictures in blue, green, red with everything automatic switched off."""
    rate = Fraction(wanted.fps).limit_denominator(1000)
    shutter_ns, gain = exposure.exposure_us * 1000, f"{exposure.gain:.3f}"
    return " ! ".join(
        (
            f"nvarguscamerasrc sensor-id={wanted.sensor} sensor-mode={wanted.mode} aelock=true awblock=true"
            f" wbmode={DAYLIGHT} tnr-mode=0 ee-mode=0"
            f' exposuretimerange="{shutter_ns} {shutter_ns}" gainrange="{gain} {gain}" ispdigitalgainrange="1 1"',
            f"video/x-raw(memory:NVMM),width={wanted.size[0]},height={wanted.size[1]},format=NV12"
            f",framerate={rate.numerator}/{rate.denominator}",
            "nvvidconv",
            "video/x-raw,format=BGRx",
            "videoconvert",
            "video/x-raw,format=BGR",
            "appsink drop=true max-buffers=1 sync=false",
        )
    )


def _differs(first: float, second: float) -> bool:
    return max(first, second) > WORTH * min(first, second)


class JetsonCamera(ThreadedCamera):
    """Of the exposures asked for within a few seconds the shortest shutter counts: it is the one for the plates."""

    def __init__(self, opener: Open, wanted: Wanted, first: Exposure) -> None:
        self._open, self._options = opener, wanted
        self._caps = CameraCaps(
            exposure_us=(SHORTEST_US, round(1e6 / wanted.fps)),
            gain=(1.0, HIGHEST_GAIN),
            fps=wanted.fps,
            size=wanted.size,
            shutter="unknown",
            strobe=wanted.strobe,
            per_frame=False,
        )
        self._exposure = self._caps.bounded(first)
        self._asked: list[tuple[int, Exposure]] = []
        self._lock = threading.Lock()
        self._video = self._start()
        self._newest = NewestFrame(self._grab, self._release, name=f"sensor {wanted.sensor}")

    def _start(self) -> cv2.VideoCapture:
        video = self._open(pipeline(self._options, self._exposure))
        self._built_ns = time.monotonic_ns()
        if not video.isOpened():
            video.release()
            raise CameraLost(
                f"sensor {self._options.sensor} gives no pictures; check the ribbon cable, then"
                " `systemctl restart nvargus-daemon`"
            )
        return video

    def _release(self) -> None:
        self._video.release()

    def _grab(self) -> Grabbed:
        lasting = self._lasting()
        if lasting is not None:
            self._video.release()
            self._exposure = lasting
            self._video = self._start()
        try:
            good, pixels = self._video.read()
        except cv2.error as error:
            raise CameraLost(f"sensor {self._options.sensor} failed: {error.err}") from error
        if not good or pixels is None:
            raise CameraLost(
                f"sensor {self._options.sensor} gives no more frames; check the ribbon cable, then open it again"
            )
        return Grabbed(np.asarray(pixels, dtype=np.uint8), self._exposure)

    def _lasting(self) -> Exposure | None:
        """What a new pipeline should have, when one is due and worth it."""
        now_ns = time.monotonic_ns()
        with self._lock:
            self._asked = [(at_ns, asked) for at_ns, asked in self._asked if now_ns - at_ns < ASKED_NS]
            if not self._asked or now_ns - self._built_ns < REBUILD_NS:
                return None
            wanted = min((asked for _, asked in self._asked), key=lambda asked: asked.exposure_us)
        now = self._exposure
        worth = _differs(wanted.exposure_us, now.exposure_us) or _differs(wanted.gain, now.gain)
        return wanted if worth else None

    def configure(self, exposure: Exposure) -> None:
        """Applies when it lasted, at most every REBUILD_NS; each frame says which exposure it had."""
        with self._lock:
            self._asked.append((time.monotonic_ns(), self._caps.bounded(exposure)))


def _gstreamer(description: str) -> cv2.VideoCapture:
    return cv2.VideoCapture(description, cv2.CAP_GSTREAMER)


def open_jetson(options: Mapping[str, object]) -> JetsonCamera:
    """Options: see docs/hardware. Raises CameraLost, LibraryMissing, BadOption."""
    read = Options("camera jetson", options)
    wanted = Wanted(
        sensor=read.integer("camera", 0, 0, 15),
        mode=read.integer("sensor_mode", -1, -1, 15),
        size=(read.integer("width", 1280, 160, 8192), read.integer("height", 720, 120, 8192)),
        fps=read.number("fps", 15.0, 1.0, 240.0),
        strobe=read.flag("strobe", default=False),
    )
    first = Exposure(read.integer("exposure_us", 1000, 20, 1_000_000), read.number("gain", 1.0, 1.0, 64.0))
    read.finish()
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise LibraryMissing(
            "the camera driver 'jetson' needs an OpenCV with GStreamer (JetPack's python3-opencv; the packages of PyPI"
            " have none); a USB camera works without it through the driver 'v4l2'"
        )
    return JetsonCamera(_gstreamer, wanted, first)
