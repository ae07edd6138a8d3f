# SPDX-License-Identifier: Apache-2.0
"""A Raspberry Pi CSI camera through picamera2 (libcamera). The library is imported only when it is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from structlog import get_logger

from drivers.errors import BadOption, CameraClosed, CameraLost, CameraTimeout, LibraryMissing
from drivers.options import Options
from drivers.pacing import moment
from drivers.pi_sensors import FALLBACK_SIZE, USEFUL_GAIN, SensorProfile, profile
from drivers.types import CameraCaps, Exposure, Frame, FrameMetadata, Pixels

PIXEL_FORMAT: Final = "RGB888"  # libcamera's name for bytes in the order blue, green, red
LOWRES_FORMAT: Final = "YUV420"  # its first plane is the luminance
BUFFERS: Final = 4
LOST_AFTER_S: Final = 12.0  # seconds of waiting in vain: libcamera tells a pulled cable only in its own log
MANUAL_FOCUS: Final = 0  # libcamera's AfModeManual
WORKING_DISTANCE_M: Final = 10.0  # metres: where a lens that moves is held

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options, checked; `size` None: the sensor's own."""

    size: tuple[int, int] | None
    lowres_width: int
    fps: float
    exposure: Exposure
    colour_gains: tuple[float, float]
    lens_position: float | None
    strobe: bool


@contextmanager
def _borrowed(request: Any) -> Iterator[Any]:
    """The buffer goes back to the camera whatever happens."""
    try:
        yield request
    finally:
        request.release()


class PiCamera:
    """Each frame's buffer goes back to the camera before `capture` returns; its metadata travels on the frame.

    `ir` is always False: whoever switches the lamp knows, the sensor does not.
    """

    def __init__(self, device: Any, caps: CameraCaps, lowres: tuple[int, int] | None) -> None:
        self._device = device
        self._caps = caps
        self._lowres = lowres
        self._job: Any = None
        self._silent_s = 0.0
        self._sequence = 0
        self._last_ns: int | None = None
        self._closed = False

    def capture(self, timeout_s: float) -> Frame | None:
        """The next completed request; raises CameraTimeout, CameraLost."""
        if self._closed:
            raise CameraClosed("the camera was closed")
        with _borrowed(self._request(timeout_s)) as request:
            try:
                pixels = np.asarray(request.make_array("main"), dtype=np.uint8)
                return self._frame(pixels, self._small(request), request.get_metadata())
            except RuntimeError as error:
                raise CameraLost("the camera's picture cannot be read; open it again") from error

    def _request(self, timeout_s: float) -> Any:
        try:
            if self._job is None:
                self._job = self._device.capture_request(wait=False)
            request = self._device.wait(self._job, timeout=timeout_s)
        except TimeoutError as error:  # the job stays queued and is asked again
            self._silent_s += timeout_s
            if self._silent_s > LOST_AFTER_S:
                raise CameraLost(
                    f"the camera gave no frame in {self._silent_s:.0f} s; check the ribbon cable"
                ) from error
            raise CameraTimeout(f"the camera gave no frame in {timeout_s:.1f} s") from error
        except (RuntimeError, OSError, CancelledError) as error:
            self._job = None
            raise CameraLost("the camera stopped; check the ribbon cable, then open it again") from error
        self._job, self._silent_s = None, 0.0
        return request

    def _small(self, request: Any) -> Pixels | None:
        if self._lowres is None:
            return None
        width, height = self._lowres
        return np.ascontiguousarray(request.make_array("lores")[:height, :width])

    def _frame(self, pixels: Pixels, lowres: Pixels | None, told: Mapping[str, Any]) -> Frame:
        at_us, at_ns = moment(told.get("SensorTimestamp"))  # CLOCK_MONOTONIC on Linux
        if self._last_ns is not None:  # requests that nobody took show as a gap
            self._sequence += max(1, round((at_ns - self._last_ns) * self._caps.fps / 1e9))
        self._last_ns = at_ns
        gain = float(told.get("AnalogueGain", 1.0)) * float(told.get("DigitalGain", 1.0))
        exposure = Exposure(int(told.get("ExposureTime", 0)), gain)
        metadata = FrameMetadata(
            applied="ExposureTime" in told,
            temperature_c=_number(told.get("SensorTemperature")),
            lux=_number(told.get("Lux")),
            focus=_number(told.get("FocusFoM")),
        )
        return Frame(
            pixels, at_us, at_ns, self._sequence, exposure, ir=False, lowres=lowres, metadata=metadata
        )

    def capabilities(self) -> CameraCaps:
        """What the sensor can do at this rate."""
        return self._caps

    def configure(self, exposure: Exposure) -> None:
        """Fixed exposure from one of the next requests on (two to four frames later)."""
        self._device.set_controls(_exposed(self._caps.bounded(exposure)))

    def close(self) -> None:
        """Gives back a frame that nobody took, stops the camera and gives it back; a dead one is told in the log."""
        if self._closed:
            return
        self._closed = True
        try:
            self._device.cancel_all_and_flush()  # a job that waits for a dead cable would block stop()
            if self._job is not None:
                with suppress(CancelledError, TimeoutError):
                    self._device.wait(self._job, timeout=0.0).release()
            self._device.stop()
        except (RuntimeError, OSError) as error:
            log.warning("camera_close_failed", reason=str(error))
        finally:
            _give_back(self._device)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _exposed(exposure: Exposure) -> dict[str, Any]:
    return {"AeEnable": False, "ExposureTime": exposure.exposure_us, "AnalogueGain": exposure.gain}


def _give_back(device: Any) -> None:
    try:
        device.close()
    except (RuntimeError, OSError) as error:
        log.warning("camera_close_failed", reason=str(error))


def _caps(device: Any, size: tuple[int, int], sensor: SensorProfile | None, wanted: Wanted) -> CameraCaps:
    """The sensor's limits at this rate; libcamera says 0 or None where there is no upper one."""
    shortest, longest, _ = device.camera_controls["ExposureTime"]
    lowest, highest, _ = device.camera_controls["AnalogueGain"]
    frame_us = round(1e6 / wanted.fps)
    return CameraCaps(
        exposure_us=(int(shortest), min(int(longest or frame_us), frame_us)),
        gain=(float(lowest), min(float(highest), USEFUL_GAIN)),
        fps=wanted.fps,
        size=size,
        shutter=sensor.shutter if sensor else "unknown",
        strobe=wanted.strobe,
    )


def _lens(sensor: SensorProfile | None, position: float | None) -> dict[str, Any]:
    if sensor is not None and sensor.focus:
        held = 1.0 / WORKING_DISTANCE_M if position is None else position
        return {"AfMode": MANUAL_FOCUS, "LensPosition": held}
    if position is not None:
        raise BadOption(
            "camera picamera2: this lens does not move; leave out 'lens_position' and set its focus ring"
        )
    return {}


def _start(device: Any, wanted: Wanted) -> PiCamera:
    """Configures and starts; raises BadOption, CameraLost."""
    sensor = profile(str(device.camera_properties.get("Model", "")))
    size = wanted.size or (sensor.mode if sensor else FALLBACK_SIZE)
    whole = sensor is not None and size[0] <= sensor.mode[0] and size[1] <= sensor.mode[1]
    if sensor is not None and whole and wanted.fps > sensor.fps:
        raise BadOption(
            f"camera picamera2: this sensor gives at most {sensor.fps:.0f} frames a second ('fps')"
        )
    period_us = round(1e6 / wanted.fps)
    controls = {
        "FrameDurationLimits": (period_us, period_us),
        "AwbEnable": False,
        "ColourGains": wanted.colour_gains,
        **_lens(sensor, wanted.lens_position),
    }
    lowres = None
    if wanted.lowres_width:
        lowres = (wanted.lowres_width, round(wanted.lowres_width * size[1] / size[0] / 2) * 2)
    mode = {"output_size": sensor.mode, "bit_depth": sensor.bits} if sensor is not None and whole else {}
    try:
        configuration = device.create_video_configuration(
            main={"size": size, "format": PIXEL_FORMAT},
            lores={"size": lowres, "format": LOWRES_FORMAT} if lowres else None,
            controls={name: value for name, value in controls.items() if name in device.camera_controls},
            buffer_count=BUFFERS,
            queue=False,  # a request taken from the queue could be older than the question
            sensor=mode,
        )
        device.configure(configuration)
        camera = PiCamera(device, _caps(device, size, sensor, wanted), lowres)
        camera.configure(wanted.exposure)
        device.start()
    except RuntimeError as error:
        raise CameraLost(
            f"the camera does not start at {size[0]}x{size[1]}, {wanted.fps} frames a second"
        ) from error
    return camera


def _library() -> Any:
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise LibraryMissing(
            "the camera driver 'picamera2' needs the packages python3-picamera2 and python3-libcamera"
        ) from error
    return Picamera2


def _even(read: Options, key: str, default: int, low: int, high: int) -> int:
    value = read.integer(key, default, low, high)
    if value % 2:
        raise BadOption(f"camera picamera2: option {key!r} must be even")
    return value


def _read(read: Options) -> Wanted:
    width, height = _even(read, "width", 0, 0, 8192), _even(read, "height", 0, 0, 8192)
    if bool(width) != bool(height):
        raise BadOption("camera picamera2: 'width' and 'height' are given together or not at all")
    wanted = Wanted(
        size=(width, height) if width else None,
        lowres_width=_even(read, "lowres_width", 320, 0, 1280),
        fps=read.number("fps", 15.0, 1.0, 240.0),
        exposure=Exposure(
            read.integer("exposure_us", 1000, 20, 1_000_000), read.number("gain", 1.0, 1.0, 64.0)
        ),
        colour_gains=(read.number("red_gain", 2.0, 0.1, 32.0), read.number("blue_gain", 2.0, 0.1, 32.0)),
        lens_position=read.optional("lens_position", 0.0, 32.0),
        strobe=read.flag("strobe", default=False),
    )
    if wanted.lowres_width and wanted.size and wanted.lowres_width > wanted.size[0]:
        raise BadOption("camera picamera2: 'lowres_width' must not be larger than 'width'")
    return wanted


def open_picamera2(options: Mapping[str, object]) -> PiCamera:
    """Options: see docs/hardware. Raises CameraLost, LibraryMissing, BadOption."""
    read = Options("camera picamera2", options)
    number = read.integer("camera", 0, 0, 15)
    wanted = _read(read)
    read.finish()
    try:
        device = _library()(number)
    except (RuntimeError, IndexError) as error:
        raise CameraLost(
            f"no camera number {number}; `rpicam-hello --list-cameras` shows which are there"
        ) from error
    try:
        return _start(device, wanted)
    except (BadOption, CameraLost):
        _give_back(device)
        raise
