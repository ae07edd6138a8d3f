# SPDX-License-Identifier: Apache-2.0
"""The loop around exposure, lamp and filter: commands reach the devices, and none that is missing stops a frame."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from drivers.errors import DriverError, PinBusy
from drivers.types import CameraCaps, Exposure, Frame, IlluminatorState
from firmware.exposure_settings import ExposureSettings
from firmware.health import Condition
from firmware.light import Light, LightParts
from firmware.reopening import Reopening

CAPS = CameraCaps((20, 60_000), (1.0, 16.0), 15.0, (320, 240))
RECORDING = CameraCaps((0, 0), (1.0, 1.0), 15.0, (320, 240))
FAST = ExposureSettings(dwell_s=1.0)


class Scene:
    """A camera before a grey wall: brightness follows light, exposure and gain; noise keeps it alive."""

    def __init__(self, caps: CameraCaps = CAPS) -> None:
        self.caps = caps
        self.light = 0.05  # grey levels a microsecond
        self.exposure = Exposure(1000, 1.0)
        self.configured: list[Exposure] = []
        self.taken = 0
        self.noise = np.random.default_rng(1)

    def capabilities(self) -> CameraCaps:
        return self.caps

    def configure(self, exposure: Exposure) -> None:
        self.configured.append(exposure)
        self.exposure = exposure

    def capture(self, timeout_s: float) -> Frame:
        self.taken += 1
        grey = 10.0 + self.light * self.exposure.exposure_us * self.exposure.gain
        pixels = self.noise.normal(grey, 2.0, (240, 320)).clip(0, 255).astype(np.uint8)
        return Frame(pixels, 0, time.monotonic_ns(), self.taken, self.exposure, ir=False)

    def close(self) -> None:
        """Nothing to close."""


class Lamp:
    """Does as it is told, or fails when the test says so."""

    def __init__(self) -> None:
        self.power = 0.0
        self.strobe: tuple[int, float] | None = None
        self.broken = False
        self.closed = False

    def set_power(self, power: float) -> None:
        if self.broken:
            raise DriverError("wire off")
        self.power = power

    def set_strobe(self, exposure_us: int, fps: float) -> None:
        self.strobe = (exposure_us, fps)

    def off(self) -> None:
        self.set_power(0.0)

    def state(self) -> IlluminatorState:
        if self.broken:
            raise DriverError("wire off")
        return IlluminatorState(self.power, self.power, limited=False)

    def close(self) -> None:
        self.closed = True
        self.off()


class Sky:
    """A photodiode, and where the filter was put."""

    def __init__(self) -> None:
        self.level: float | None = 2000.0
        self.places: list[bool] = []

    def lux(self) -> float | None:
        return self.level

    def place(self, *, inside: bool) -> None:
        self.places.append(inside)

    def close(self) -> None:
        """Nothing to close."""


def _turn(light: Light, camera: Any, times: int = 1) -> Frame:
    for _ in range(times):
        light.between(camera)
        frame = light.seen(camera.capture(1.0))
        light.saw(frame, ())
    return frame


def _parts(lamp: Lamp, sky: Sky) -> LightParts:
    device: Any = lamp
    above: Any = sky
    return LightParts(
        Reopening(lambda: device, lambda d: d.close()), Reopening(lambda: above), Reopening(lambda: above)
    )


def test_a_lamp_whose_pin_is_lost_ends_no_thread() -> None:
    camera, lamp, sky = Scene(), Lamp(), Sky()
    light = Light(FAST, _parts(lamp, sky))
    _turn(light, camera, 2)
    lamp.broken = True  # off, state and close raise too
    light.gone()
    _turn(light, camera, 2)
    light.close()


def test_a_filter_that_does_not_move_and_a_dead_photodiode_are_told() -> None:
    def unwired() -> Any:
        raise PinBusy("wire off")

    camera, light = Scene(), Light(FAST, LightParts(None, Reopening(unwired), Reopening(unwired)))
    assert [finding.condition for finding in light.findings()[1:]] == [Condition.OK] * 2  # nobody tried yet
    _turn(light, camera, 2)
    assert [(f.part, f.condition, f.code) for f in light.findings()] == [
        ("lamp", Condition.ABSENT, ""),
        ("ir_filter", Condition.DEGRADED, "lost"),
        ("daylight", Condition.DEGRADED, "lost"),
    ]


def test_a_lamp_that_no_command_can_reach_is_told() -> None:
    light = Light(FAST, _parts(Lamp(), Sky()))
    _turn(light, Scene(RECORDING))
    assert (light.finding().condition, light.finding().code) == (Condition.DEGRADED, "not_driven")


def test_night_lights_the_lamp_moves_the_filter_and_marks_the_frames() -> None:
    camera, lamp, sky = Scene(), Lamp(), Sky()
    light = Light(FAST, _parts(lamp, sky))
    assert not _turn(light, camera, 5).ir
    assert (lamp.power, sky.places) == (0.0, [True])
    sky.level = 1.0
    deadline = time.monotonic() + 5.0
    while not _turn(light, camera).ir and time.monotonic() < deadline:
        time.sleep(0.02)
    assert lamp.power > 0.0
    assert lamp.strobe is not None
    assert lamp.strobe[1] == CAPS.fps
    assert sky.places == [True, False]
    told = light.status()
    assert told is not None
    assert (told["night"], told["lamp"], told["lux"]) == (True, lamp.power, 1.0)
    light.lamp_allowed = False
    assert _turn(light, camera, 2).ir is False
    assert lamp.power == 0.0
    light.lamp_allowed = True
    _turn(light, camera)
    light.gone()
    assert lamp.power == 0.0
    light.close()
    assert lamp.closed


def test_the_picture_is_brought_into_range_and_a_new_camera_is_told_again() -> None:
    camera = Scene()
    camera.light = 0.5
    light = Light(ExposureSettings(), LightParts())
    bright = _turn(light, camera).pixels.mean()
    assert _turn(light, camera, 30).pixels.mean() < bright
    again = Scene()
    again.light = 0.5
    told = light.status()
    assert told is not None
    _turn(light, again)
    assert [exposure.exposure_us for exposure in again.configured] == [told["exposure_us"]]
    assert light.finding().condition is Condition.ABSENT


def test_a_recording_takes_no_commands() -> None:
    camera = Scene(RECORDING)
    light = Light(ExposureSettings(), LightParts())
    frame = _turn(light, camera, 3)
    assert camera.configured == []
    assert light.status() is None
    assert not light.is_long(frame)


@pytest.mark.parametrize(("error", "code"), [(PinBusy("taken"), "busy"), (DriverError("no library"), "lost")])
def test_a_lamp_that_does_not_open_stops_no_frame(error: DriverError, code: str) -> None:
    def refuse() -> Any:
        raise error

    camera = Scene()
    light = Light(ExposureSettings(), replace(LightParts(), lamp=Reopening(refuse)))
    assert _turn(light, camera, 3).pixels.any()
    assert (light.finding().code, light.finding().condition) == (code, Condition.FAILED)


def test_a_lamp_that_fails_in_use_is_let_go_and_opened_again() -> None:
    camera, lamp = Scene(), Lamp()
    light = Light(ExposureSettings(), _parts(lamp, Sky()))
    _turn(light, camera)
    lamp.broken = True
    _turn(light, camera, 2)
    assert lamp.closed
    assert light.finding().code == "lost"
    lamp.broken = False
    time.sleep(1.05)  # the first pause
    _turn(light, camera, 2)
    assert light.finding().condition is Condition.OK
