# SPDX-License-Identifier: Apache-2.0
"""Closes the loop between picture, exposure, lamp and filter: what was seen decides what the next frames are like.

Three threads meet here. The inference thread says what it saw (`saw`), the camera thread carries commands out between
two captures (`between`), the main thread asks how the lamp is (`finding`). A lamp, photodiode or filter that is not
there never stops a frame.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from drivers.errors import DriverError, PinBusy
from drivers.ports import Camera, Daylight, Illuminator, IrFilter
from drivers.types import CameraCaps, Exposure, Frame, IlluminatorState
from firmware.exposure import Command, ExposureControl
from firmware.exposure_settings import ExposureSettings
from firmware.health import Condition, Finding, well
from firmware.lamp_check import LampCheck
from firmware.reopening import Reopening

ABSENT = Finding("lamp", Condition.ABSENT)
NOT_DRIVEN = Finding(
    "lamp",
    Condition.DEGRADED,
    "not_driven",
    "the camera takes no commands for its shutter, so the lamp stays dark: choose another camera or driver",
)


@dataclass(frozen=True, slots=True)
class LightParts:
    """What the configuration says is fitted; None: nothing of the kind."""

    lamp: Reopening[Illuminator] | None = None
    daylight: Reopening[Daylight] | None = None
    ir_filter: Reopening[IrFilter] | None = None


class Light:
    """`lamp_allowed` is false while the supply has nothing left for the lamp."""

    def __init__(
        self,
        settings: ExposureSettings,
        parts: LightParts,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._settings = settings.model_copy(update={"lamp": settings.lamp and parts.lamp is not None})
        self._parts = parts
        self._monotonic_ns = monotonic_ns  # the frames' own clock
        self._control: ExposureControl | None = None
        self._caps: CameraCaps | None = None
        self._camera: Camera | None = None
        self._command: Command | None = None
        self._exposure: Exposure | None = None  # what the camera was last told
        self._lamp_told: tuple[int, float, int] | None = None  # which lamp, its power, the shutter
        self._filter_in: bool | None = None
        self._lamp_state: IlluminatorState | None = None
        self._lux: float | None = None
        self._check = LampCheck()
        self._finding = ABSENT if parts.lamp is None else well("lamp")
        self.lamp_allowed = True

    # the camera thread

    def between(self, camera: Camera) -> None:
        """Carries out the newest command; a camera that was opened anew is told everything again."""
        if camera is not self._camera:
            self._meet(camera)
        command = self._command
        if command is None:
            return
        if command.exposure != self._exposure:
            camera.configure(command.exposure)
            self._exposure = command.exposure
        self._drive_lamp(command)
        self._place_filter(command)
        self._look_up()

    def _meet(self, camera: Camera) -> None:
        self._camera, self._exposure = camera, None
        caps = camera.capabilities()
        if caps.exposure_us[1] <= 0:  # a recording: nothing can be commanded
            self._control = self._command = None
        elif self._control is None or caps != self._caps:
            control = ExposureControl(caps, self._settings)
            self._command, self._control = control.first(), control
        self._caps = caps

    def gone(self) -> None:
        """The camera is lost or at its end: no light for nobody."""
        self._exposure = self._lamp_told = None
        if self._parts.lamp is None:
            return
        lamp = self._parts.lamp.get()
        try:
            if lamp is not None:
                lamp.off()
                self._lamp_state = lamp.state()
        except DriverError as error:  # camera and lamp hang on one loom: both may go at once
            self._lamp_state = None
            self._parts.lamp.lose(error)

    def _drive_lamp(self, command: Command) -> None:
        if self._parts.lamp is None or self._caps is None:
            return
        lamp = self._parts.lamp.get()
        if lamp is None:
            self._lamp_state = None
            return
        power = command.lamp_power if self.lamp_allowed else 0.0
        told = (id(lamp), power, command.exposure.exposure_us)
        try:
            if told != self._lamp_told:
                lamp.set_power(power)
                lamp.set_strobe(command.exposure.exposure_us, self._caps.fps)
                self._lamp_told = told
            self._lamp_state = lamp.state()
            self._parts.lamp.good()
        except DriverError as error:
            self._lamp_state = self._lamp_told = None
            self._parts.lamp.lose(error)

    def _place_filter(self, command: Command) -> None:
        if self._parts.ir_filter is None or command.filter_in == self._filter_in:
            return
        device = self._parts.ir_filter.get()
        if device is None:
            return
        try:
            device.place(inside=command.filter_in)
            self._filter_in = command.filter_in
        except DriverError as error:
            self._parts.ir_filter.lose(error)

    def _look_up(self) -> None:
        if self._parts.daylight is None:
            return
        device = self._parts.daylight.get()
        try:
            self._lux = None if device is None else device.lux()
        except DriverError as error:
            self._lux = None
            self._parts.daylight.lose(error)

    def seen(self, frame: Frame) -> Frame:
        """The frame as it was lit: real cameras do not know whether the lamp shone."""
        state = self._lamp_state
        return replace(frame, ir=True) if not frame.ir and state is not None and state.power > 0.0 else frame

    # the inference thread

    def is_long(self, frame: Frame) -> bool:
        """Whether the frame shows the road, and its plates are smeared."""
        control = self._control
        return control is not None and control.is_long(frame)

    def saw(self, frame: Frame, plates: Sequence[NDArray[Any]]) -> None:
        """What was found in a frame (corners (4, 2) px): gives the next command."""
        control, state = self._control, self._lamp_state
        if control is None:
            return
        now_ns = self._monotonic_ns()
        command = control.after(frame, plates, now_ns, lamp=state, lux=self._lux)
        if self._control is control:
            self._command = command
        self._finding = self._judge(command, state, now_ns)

    def _judge(self, command: Command, state: IlluminatorState | None, now_ns: int) -> Finding:
        lamp = self._parts.lamp
        if lamp is None:
            return ABSENT
        problem = lamp.problem
        if problem is not None and not isinstance(problem, PinBusy):
            return Finding("lamp", Condition.FAILED, "lost", f"the lamp's driver does not open: {problem}")
        if problem is None and state is None:  # it is just being opened
            return self._finding
        return self._check.see(command, state, now_ns, busy=problem is not None)

    # the main thread

    def finding(self) -> Finding:
        """How the lamp is."""
        if self._parts.lamp is not None and self._caps is not None and self._control is None:
            return NOT_DRIVEN
        return self._finding

    def findings(self) -> list[Finding]:
        """How the lamp is, and what helps to use it."""
        return [
            self.finding(),
            *(_aid(name, device, advice) for name, device, advice in self._aids()),
        ]

    def _aids(self) -> list[tuple[str, Reopening[Any] | None, str]]:
        blind = "the infrared filter does not move: by night the camera may see nothing; check its two wires"
        dark = "the photodiode gives no value: day and night are told by the picture; check its wires"
        return [("ir_filter", self._parts.ir_filter, blind), ("daylight", self._parts.daylight, dark)]

    @property
    def night(self) -> bool | None:
        """Whether it is night; None where nothing decides it."""
        command = self._command
        return None if command is None else command.night

    def status(self) -> dict[str, object] | None:
        """For the status socket; None: the camera exposes by itself."""
        command = self._command
        if command is None:
            return None
        lamp = self._lamp_state
        return {
            "exposure_us": command.exposure.exposure_us,
            "gain": command.exposure.gain,
            "night": command.night,
            "lamp": None if lamp is None else lamp.power,
            "lux": self._lux,
        }

    def close(self) -> None:
        """The lamp dark, everything given back; call it when the camera thread has ended."""
        with ExitStack() as ends:  # each of them, whatever the others do; the lamp first
            for device in (self._parts.ir_filter, self._parts.daylight, self._parts.lamp):
                if device is not None:
                    ends.callback(device.close)


def _aid(name: str, device: Reopening[Any] | None, advice: str) -> Finding:
    if device is None:
        return Finding(name, Condition.ABSENT)
    return well(name) if device.problem is None else Finding(name, Condition.DEGRADED, "lost", advice)
