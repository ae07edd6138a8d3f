# SPDX-License-Identifier: Apache-2.0
"""A USB or platform camera through Video4Linux and OpenCV.

Pictures that come as JPEG (most USB cameras) are taken undecoded, so that one damaged on its way is noticed: a JPEG
begins with FF D8 and ends with FF D9 (ITU-T T.81, B.1.1.3), after which cameras may pad with zeros.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from structlog import get_logger

from drivers.errors import BadOption, CameraLost
from drivers.newest import Grabbed, NewestFrame, ThreadedCamera
from drivers.options import Options
from drivers.types import CameraCaps, Exposure, FrameMetadata, Pixels
from drivers.v4l2_devices import find

EXPOSURE_UNIT_US: Final = 100  # V4L2_CID_EXPOSURE_ABSOLUTE counts in 100 microseconds
MANUAL: Final = 1.0  # V4L2_EXPOSURE_MANUAL
MOST: Final = 1e6  # a value that every control cuts to its own highest
DAMAGED_RUN: Final = 60  # damaged pictures in a row that make a camera lost
TELL_DAMAGED: Final = 100  # damaged pictures between two log lines
JPEG_BEGIN, JPEG_END = b"\xff\xd8", b"\xff\xd9"
NO_FRAME_HEADERS = (0xC4, 0xC8, 0xCC)  # markers among those of frame headers that are none

log = get_logger(__name__)

Shutter = Literal["global", "rolling", "unknown"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options, checked. `focus` None: as the camera's lens stands."""

    size: tuple[int, int]
    fps: float
    gain_scale: float
    fourcc: str
    focus: float | None
    shutter: Shutter
    strobe: bool


def whole_jpeg(raw: bytes) -> bool:
    """Whether a JPEG has its beginning and its end."""
    return raw.startswith(JPEG_BEGIN) and raw.rstrip(b"\0").endswith(JPEG_END)


def jpeg_size(raw: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG's frame header tells (ITU-T T.81, B.2.2); None where there is none."""
    at = len(JPEG_BEGIN)
    while at + 9 <= len(raw) and raw[at] == 0xFF:
        marker = raw[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in NO_FRAME_HEADERS:
            return int.from_bytes(raw[at + 7 : at + 9], "big"), int.from_bytes(raw[at + 5 : at + 7], "big")
        at += 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
    return None


class V4l2Camera(ThreadedCamera):
    """`damaged` counts pictures that were passed over; each shows as a gap in the sequence."""

    def __init__(self, video: cv2.VideoCapture, wanted: Wanted, *, name: str) -> None:
        if not video.isOpened():
            video.release()
            raise CameraLost(f"camera {name} cannot be opened; check the cable and `v4l2-ctl --list-devices`")
        self._video, self._gain_scale, self._name = video, wanted.gain_scale, name
        _arrange(video, wanted)
        self._caps = _caps(video, wanted)
        self._jpeg = _is_jpeg(video)
        if self._jpeg:
            video.set(cv2.CAP_PROP_CONVERT_RGB, 0.0)
        self._exposure, self._applied = Exposure(0, 1.0), False
        self._wanted: Exposure | None = None
        self._lock = threading.Lock()
        self.damaged = self._damaged_run = 0
        self._newest = NewestFrame(self._grab, video.release, name=name)

    def _grab(self) -> Grabbed | None:
        self._apply()
        try:
            good, raw = self._video.read()
        except cv2.error as error:
            raise CameraLost(f"camera {self._name} failed: {error.err}") from error
        if not good or raw is None:
            raise CameraLost(f"camera {self._name} gives no more frames; check the cable, then open it again")
        at_ns = int(self._video.get(cv2.CAP_PROP_POS_MSEC) * 1e6)  # the kernel's, CLOCK_MONOTONIC
        pixels = self._decode(raw) if self._jpeg else np.asarray(raw, dtype=np.uint8)
        if pixels is None:
            self._passed_over()
            return None
        self._damaged_run = 0
        return Grabbed(pixels, self._exposure, at_ns, FrameMetadata(applied=self._applied))

    def _decode(self, raw: NDArray[Any]) -> Pixels | None:
        data = np.ascontiguousarray(raw, dtype=np.uint8).reshape(-1)
        encoded = data.tobytes()
        # The size is looked at first: a header with a flipped bit would have gigabytes taken for its pixels.
        if not whole_jpeg(encoded) or jpeg_size(encoded) != self._caps.size:
            return None
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
        if pixels is None or pixels.shape[1::-1] != self._caps.size:
            return None
        return np.asarray(pixels, dtype=np.uint8)

    def _passed_over(self) -> None:
        self.damaged, self._damaged_run = self.damaged + 1, self._damaged_run + 1
        if self.damaged % TELL_DAMAGED == 1:
            log.warning("camera_frame_damaged", camera=self._name, frames=self.damaged)
        if self._damaged_run >= DAMAGED_RUN:
            raise CameraLost(f"camera {self._name} gives nothing but damaged pictures; change its cable")

    def _apply(self) -> None:
        with self._lock:
            wanted, self._wanted = self._wanted, None
        if wanted is None:
            return
        video = self._video
        video.set(cv2.CAP_PROP_AUTO_EXPOSURE, MANUAL)
        shutter = _set(video, cv2.CAP_PROP_EXPOSURE, max(1, round(wanted.exposure_us / EXPOSURE_UNIT_US)))
        gain = _set(video, cv2.CAP_PROP_GAIN, wanted.gain * self._gain_scale)
        self._applied = shutter is not None and gain is not None
        self._exposure = Exposure(
            wanted.exposure_us if shutter is None else round(shutter * EXPOSURE_UNIT_US),
            wanted.gain if gain is None else gain / self._gain_scale,
        )

    def configure(self, exposure: Exposure) -> None:
        """Sets manual exposure before one of the next frames."""
        with self._lock:
            self._wanted = self._caps.bounded(exposure)


def _set(video: cv2.VideoCapture, control: int, value: float) -> float | None:
    """What the control is after it was set, None when the camera has no such control."""
    return float(video.get(control)) if video.set(control, float(value)) else None


def _arrange(video: cv2.VideoCapture, wanted: Wanted) -> None:
    """Format, size, rate; no automatic colours or focus. Exposure stays automatic until it is commanded."""
    if wanted.fourcc:
        video.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wanted.fourcc))
    video.set(cv2.CAP_PROP_FRAME_WIDTH, wanted.size[0])
    video.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted.size[1])
    video.set(cv2.CAP_PROP_FPS, wanted.fps)
    video.set(cv2.CAP_PROP_AUTO_WB, 0.0)
    video.set(cv2.CAP_PROP_AUTOFOCUS, 0.0)
    if wanted.focus is not None:
        video.set(cv2.CAP_PROP_FOCUS, wanted.focus)


def _is_jpeg(video: cv2.VideoCapture) -> bool:
    code = int(video.get(cv2.CAP_PROP_FOURCC))
    return code in (cv2.VideoWriter.fourcc(*"MJPG"), cv2.VideoWriter.fourcc(*"JPEG"))


def _span(video: cv2.VideoCapture, control: int) -> tuple[float, float] | None:
    """A control's lowest and highest value, by asking for less and for more; afterwards it is as it was."""
    before = float(video.get(control))
    low, high = _set(video, control, 0.0), _set(video, control, MOST)
    video.set(control, before)
    return None if low is None or high is None or high < low else (low, high)


def _caps(video: cv2.VideoCapture, wanted: Wanted) -> CameraCaps:
    """A control that the camera lacks has one value only, so that nobody counts on it."""
    size = int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))
    fps = float(video.get(cv2.CAP_PROP_FPS)) or wanted.fps
    frame_us = int(1e6 / fps)
    automatic = float(video.get(cv2.CAP_PROP_AUTO_EXPOSURE))
    video.set(cv2.CAP_PROP_AUTO_EXPOSURE, MANUAL)  # else the shutter cannot be tried
    shutter, gain = _span(video, cv2.CAP_PROP_EXPOSURE), _span(video, cv2.CAP_PROP_GAIN)
    video.set(cv2.CAP_PROP_AUTO_EXPOSURE, automatic)
    low, high = (shutter[0], shutter[1]) if shutter else (0.0, 0.0)
    shortest = max(1, round(low)) * EXPOSURE_UNIT_US if shutter else 0
    return CameraCaps(
        exposure_us=(shortest, max(shortest, min(frame_us, round(high) * EXPOSURE_UNIT_US))),
        gain=(
            max(1.0, gain[0] / wanted.gain_scale) if gain else 1.0,
            max(1.0, gain[1] / wanted.gain_scale) if gain else 1.0,
        ),
        fps=fps,
        size=size,
        shutter=wanted.shutter,
        strobe=wanted.strobe,
    )


def open_v4l2(options: Mapping[str, object]) -> V4l2Camera:
    """Options: see docs/hardware. Raises CameraLost, BadOption."""
    read = Options("camera v4l2", options)
    device, card = read.text("device", "/dev/video0"), read.text("card", "")
    wanted = Wanted(
        size=(read.integer("width", 1280, 160, 8192), read.integer("height", 720, 120, 8192)),
        fps=read.number("fps", 15.0, 1.0, 240.0),
        gain_scale=read.number("gain_scale", 1.0, 0.001, 10_000.0),
        fourcc=read.text("fourcc", "MJPG"),
        focus=read.optional("focus", 0.0, 10_000.0),
        shutter=cast("Shutter", read.choice("shutter", "unknown", ("unknown", "global", "rolling"))),
        strobe=read.flag("strobe", default=False),
    )
    read.finish()
    if len(wanted.fourcc) not in (0, 4):
        raise BadOption("camera v4l2: option 'fourcc' must be four characters, or empty")
    path = find(device, card)
    return V4l2Camera(cv2.VideoCapture(str(path), cv2.CAP_V4L2), wanted, name=card or device)
