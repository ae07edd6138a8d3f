# SPDX-License-Identifier: Apache-2.0
"""A stand-in for cv2.VideoCapture with the habits of its V4L2 and GStreamer backends (OpenCV 4.11, cap_v4l.cpp).

- `read` blocks until a frame is there; with the cable out it fails at once (as the kernel's ENODEV does), or after a
  wait in vain; with CAP_PROP_CONVERT_RGB off a JPEG stream gives its bytes as (1, n), a new length each time;
- `set` says whether the device has such a control, and cuts the value to its range as V4L2 does for numbers;
- CAP_PROP_POS_MSEC is the kernel's timestamp, CLOCK_MONOTONIC.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

WAIT_S = 2.0
RANGES = {
    cv2.CAP_PROP_EXPOSURE: (1.0, 5000.0),
    cv2.CAP_PROP_GAIN: (0.0, 160.0),
    cv2.CAP_PROP_AUTO_EXPOSURE: (0.0, 3.0),
    cv2.CAP_PROP_AUTO_WB: (0.0, 1.0),
    cv2.CAP_PROP_AUTOFOCUS: (0.0, 1.0),
    cv2.CAP_PROP_FOCUS: (0.0, 250.0),
    cv2.CAP_PROP_CONVERT_RGB: (0.0, 1.0),
    cv2.CAP_PROP_FOURCC: (0.0, 2.0**32),
    cv2.CAP_PROP_FRAME_WIDTH: (160.0, 640.0),
    cv2.CAP_PROP_FRAME_HEIGHT: (120.0, 360.0),
    cv2.CAP_PROP_FPS: (1.0, 60.0),
}


class VideoStandIn:
    """A frame for each release of `tick`, or by itself when `free`; `cut` is the cable pulled out."""

    def __init__(self, *, opened: bool = True, free: bool = False, lacks: tuple[int, ...] = ()) -> None:
        self.opened, self.free, self.lacks = opened, free, lacks
        self.tick = threading.Semaphore(0)
        self.cut = False
        self.damage: list[bytes] = []  # what comes instead of the next pictures
        self.properties: dict[int, float] = {
            cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV")),
            cv2.CAP_PROP_AUTO_EXPOSURE: 3.0,
            cv2.CAP_PROP_EXPOSURE: 156.0,
            cv2.CAP_PROP_GAIN: 16.0,
            cv2.CAP_PROP_FPS: 30.0,
            cv2.CAP_PROP_CONVERT_RGB: 1.0,
        }
        self.released = threading.Event()
        self.count = 0
        self.read_at_ns = 0

    def isOpened(self) -> bool:  # noqa: N802
        return self.opened

    def get(self, prop: int) -> float:
        if prop == cv2.CAP_PROP_POS_MSEC:
            return self.read_at_ns / 1e6
        return self.properties.get(prop, 0.0)

    def set(self, prop: int, value: float) -> bool:
        if prop not in RANGES or prop in self.lacks:
            return False
        low, high = RANGES[prop]
        self.properties[prop] = min(max(value, low), high)
        return True

    def read(self) -> tuple[bool, Any]:
        if self.free:
            time.sleep(1.0 / self.get(cv2.CAP_PROP_FPS))
        elif not self.tick.acquire(timeout=WAIT_S):
            return False, None
        if self.cut:
            return False, None
        self.count += 1
        self.read_at_ns = time.monotonic_ns()
        picture = self.picture()
        if self.get(cv2.CAP_PROP_CONVERT_RGB):
            return True, picture
        raw = self.damage.pop(0) if self.damage else cv2.imencode(".jpg", picture)[1].tobytes()
        return True, np.frombuffer(raw, np.uint8).reshape(1, -1)

    def picture(self) -> NDArray[np.uint8]:
        shape = (int(self.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(self.get(cv2.CAP_PROP_FRAME_WIDTH)), 3)
        return np.full(shape, self.count % 250, np.uint8)

    def release(self) -> None:
        self.released.set()
