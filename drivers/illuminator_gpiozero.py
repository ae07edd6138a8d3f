# SPDX-License-Identifier: Apache-2.0
"""The infrared lamp on a GPIO pin: dimmed by PWM, or a lamp with its own driver that is switched."""

from __future__ import annotations

import atexit
import contextlib
import time
from collections.abc import Mapping
from typing import Any

from gpiozero import DigitalInputDevice, DigitalOutputDevice, PWMOutputDevice

from drivers.illuminator import LimitedLamp, read_interlock
from drivers.lamp_limits import PWM_LIMIT, SWITCH_LIMIT, StrobeLine
from drivers.options import Options
from drivers.pin_errors import busy_if_lost


def open_gpiozero(options: Mapping[str, object]) -> LimitedLamp:
    """Options: pin, kind (pwm, switch), frequency_hz, active_high, strobe_pin, sustained, hot_c, temperature_path.

    `pin_factory` is for in process only. The lamp goes dark on close and on exit. A killed process cannot act: what
    the board then does with the pin is in docs/hardware/illuminator.md.
    """
    read = Options("illuminator gpiozero", options)
    pin, kind = read.text("pin"), read.choice("kind", "pwm", ("pwm", "switch"))
    frequency = read.integer("frequency_hz", 1000, 10, 10_000)
    active_high = read.flag("active_high", default=True)
    strobe_pin, factory = read.text("strobe_pin", ""), read.thing("pin_factory")
    line = StrobeLine() if strobe_pin else None
    switched = kind == "switch"
    interlock = read_interlock(read, SWITCH_LIMIT if switched else PWM_LIMIT, switched=switched, strobe=line)
    read.finish()
    common = {"active_high": active_high, "initial_value": 0, "pin_factory": factory}

    def drive(power: float) -> None:
        with busy_if_lost(f"illuminator: pin {pin} was lost"):
            device.value = power

    def release() -> None:
        atexit.unregister(lamp.close)
        with busy_if_lost(f"illuminator: pin {pin} was lost"):
            devices.close()

    with contextlib.ExitStack() as held:
        with busy_if_lost(f"illuminator: pin {pin} cannot be driven"):
            if switched:
                device = held.enter_context(DigitalOutputDevice(pin, **common))
            else:
                device = held.enter_context(PWMOutputDevice(pin, frequency=frequency, **common))
            if line is not None:
                sense = DigitalInputDevice(strobe_pin, pull_up=False, pin_factory=factory)
                _listen(held.enter_context(sense), line)
        lamp = LimitedLamp(drive, release, interlock)
        devices = held.pop_all()
    atexit.register(lamp.close)
    return lamp


def _listen(sense: Any, line: StrobeLine) -> None:
    """Every edge of the camera's strobe line goes to its book-keeping."""
    sense.when_activated = lambda: line.edge(True, time.monotonic())  # noqa: FBT003 - a line's level
    sense.when_deactivated = lambda: line.edge(False, time.monotonic())  # noqa: FBT003
