# SPDX-License-Identifier: Apache-2.0
"""A stand-in for picamera2 with the calls, names, checks and buffer layouts of version 0.3.38.

What it takes over, each from that version's own source:
- `Picamera2(camera_num)`, `camera_properties`, `camera_controls` ({name: (min, max, default)}), `configure`,
  `set_controls`, `start`, `stop`, `close`, `cancel_all_and_flush`, `capture_request(wait)`, `wait(job, timeout)`;
- `create_video_configuration(main, lores, buffer_count, controls, queue, sensor)`: odd sizes are refused, a stream's
  unknown keys are a ValueError, `sensor` knows `output_size` and `bit_depth` only;
- a control that the sensor does not advertise is a RuntimeError;
- a request is counted: giving it back twice is a RuntimeError, and a camera whose buffers are all out gives no frame;
- `make_array` copies; "RGB888" lies in memory as blue, green, red (its table of PIL modes says "BGR" for it) and
  "YUV420" comes as one picture of 3/2 the height, rows as long as the stride.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
BUFFER_ORDER = {"RGB888": "BGR", "BGR888": "RGB"}
SCENE = {"R": 200, "G": 120, "B": 40}  # what stands before the camera: an orange wall
STRIDE = 64  # bytes to which the rows of a stream are padded

ADVERTISED: dict[str, tuple[Any, Any, Any]] = {
    "AeEnable": (False, True, True),
    "AnalogueGain": (1.0, 251.1886444091797, 1.0),
    "AwbEnable": (False, True, None),
    "ColourGains": (0.0, 32.0, None),
    "ExposureTime": (29, 0, None),  # libcamera says 0 for "no upper limit"
    "FrameDurationLimits": (16562, 15534444, None),
    "NoiseReductionMode": (0, 4, 0),
}
COLOUR_ONLY = ("AwbEnable", "ColourGains")


class Request:
    """picamera2's CompletedRequest, as far as it is used."""

    def __init__(self, owner: StandIn, at_ns: int) -> None:
        self.owner, self.at_ns = owner, at_ns
        self.ref_count = 1
        self.exposure = owner.controls.get("ExposureTime", 10_000)
        self.gain = owner.controls.get("AnalogueGain", 1.0)

    def make_array(self, name: str) -> Picture:
        if self.owner.broken:
            raise RuntimeError(f"Stream {name!r} is not defined")
        stream = self.owner.configuration.get(name)
        if stream is None:
            raise RuntimeError(f"Stream {name!r} is not defined")
        width, height = stream["size"]
        if stream["format"] == "YUV420":
            stride = -(-width // STRIDE) * STRIDE
            picture = np.full((height * 3 // 2, stride), 128, np.uint8)
            picture[:height, :width] = SCENE["G"]
            picture[:height, width:] = 255  # padding
            return picture
        return np.full((height, width, 3), [SCENE[c] for c in BUFFER_ORDER[stream["format"]]], np.uint8)

    def get_metadata(self) -> dict[str, Any]:
        if self.ref_count == 0:
            raise AssertionError("used after release")
        return {
            "SensorTimestamp": self.at_ns,
            "ExposureTime": self.exposure,
            "AnalogueGain": self.gain,
            "DigitalGain": self.owner.digital_gain,
            "SensorTemperature": 41.0,
            "Lux": 873.5,
            "FocusFoM": 612,
        }

    def release(self) -> None:
        self.ref_count -= 1
        if self.ref_count < 0:
            raise RuntimeError("CompletedRequest: lock now has negative ref_count")
        self.owner.out -= 1


class StandIn:
    """picamera2's Picamera2. Class attributes say what is plugged in and how it fails."""

    last: ClassVar[StandIn]
    model: ClassVar[str] = "imx296"
    mono: ClassVar[bool] = False
    focus: ClassVar[bool] = False
    refuses: ClassVar[bool] = False
    digital_gain: ClassVar[float] = 1.0
    paced_s: ClassVar[float] = 0.0  # seconds that a frame takes; 0.0: none

    def __init__(self, camera_num: int = 0) -> None:
        if camera_num > 0:
            raise RuntimeError(f"No camera number {camera_num} found")
        self.controls: dict[str, Any] = {}
        self.configuration: dict[str, Any] = {}
        self.calls: list[str] = []
        self.out = 0  # buffers that the caller holds
        self.broken = self.silent = self.dead = self.stuck = False
        self.jobs: list[Future[Request]] = []
        self.at_ns = time.monotonic_ns() - 5_000_000_000
        self.camera_properties = {"Model": self.model, "ColorFilterArrangement": 0}
        StandIn.last = self

    @property
    def camera_controls(self) -> dict[str, tuple[Any, Any, Any]]:
        known = {name: value for name, value in ADVERTISED.items() if not (self.mono and name in COLOUR_ONLY)}
        if self.focus:
            known |= {"AfMode": (0, 2, 0), "LensPosition": (0.0, 15.0, 1.0)}
        return known

    def create_video_configuration(
        self,
        main: dict[str, Any] | None = None,
        lores: dict[str, Any] | None = None,
        buffer_count: int = 6,
        controls: dict[str, Any] | None = None,
        queue: bool = True,
        sensor: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        for stream in (main, lores):
            for key in stream or {}:
                if key not in ("format", "size", "stride", "framesize", "preserve_ar"):
                    raise ValueError(f"Bad key {key!r}")
        return {
            "main": {"format": "XBGR8888", "size": (1280, 720)} | (main or {}),
            "lores": None if lores is None else {"format": "YUV420"} | lores,
            "controls": controls or {},
            "buffer_count": buffer_count,
            "queue": queue,
            "sensor": sensor or {},
        }

    def configure(self, camera_config: dict[str, Any]) -> None:
        for name in ("main", "lores"):
            stream = camera_config[name]
            if stream and (stream["size"][0] % 2 or stream["size"][1] % 2):
                raise RuntimeError("width and height should be even")
        if set(camera_config["sensor"]) - {"bit_depth", "output_size"}:
            raise RuntimeError("bad keys in sensor configuration")
        self.configuration = camera_config
        self.set_controls(camera_config["controls"])

    def set_controls(self, controls: dict[str, Any]) -> None:
        for name in controls:
            if name not in self.camera_controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        self.controls |= controls

    def start(self) -> None:
        if self.refuses:
            raise RuntimeError("Failed to start camera")
        self.calls.append("start")

    def capture_request(self, wait: bool | None = None) -> Future[Request]:
        self.calls.append("capture_request")
        assert wait is False
        job: Future[Request] = Future()
        job.set_running_or_notify_cancel()
        self.jobs.append(job)
        if self.dead:
            job.set_exception(RuntimeError("camera frontend has timed out"))
        elif not self.silent and self.out < self.configuration["buffer_count"]:
            if self.paced_s:
                threading.Timer(self.paced_s, self.complete, (job,)).start()
            else:
                self.complete(job)
        return job

    def complete(self, job: Future[Request]) -> None:
        """The sensor finishes a frame."""
        self.at_ns = time.monotonic_ns() if self.paced_s else self.at_ns + 66_666_667
        with contextlib.suppress(InvalidStateError):  # it was cancelled meanwhile
            job.set_result(Request(self, self.at_ns))
            self.out += 1

    def wait(self, job: Future[Request], timeout: float | None = None) -> Request:
        return job.result(timeout)

    def cancel_all_and_flush(self) -> None:
        self.calls.append("cancel")
        for job in self.jobs:
            if not job.done():
                job.set_exception(CancelledError())

    def stop(self) -> None:
        self.calls.append("stop")
        if self.stuck:
            raise RuntimeError("Unable to stop preview.")

    def close(self) -> None:
        self.calls.append("close")
