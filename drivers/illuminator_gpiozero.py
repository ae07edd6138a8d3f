# SPDX-License-Identifier: Apache-2.0
"""The infrared lamp on a GPIO pin: dimmed by PWM, or a lamp with its own driver that is switched."""

from __future__ import annotations

import atexit
from collections.abc import Mapping

from gpiozero import DigitalOutputDevice, GPIOZeroError, PWMOutputDevice

from drivers.errors import PinBusy
from drivers.illuminator import PWM_LIMIT, SWITCH_LIMIT, LimitedLamp, lowered
from drivers.options import Options


def open_gpiozero(options: Mapping[str, object]) -> LimitedLamp:
    """Options: pin, kind (pwm, switch), frequency_hz, active_high, sustained, pin_factory (in process only).

    The lamp goes dark on close and on exit. A killed process cannot act: wire a pull-down so that an
    undriven pin is dark (docs/hardware).
    """
    read = Options("illuminator gpiozero", options)
    pin, kind = read.text("pin"), read.choice("kind", "pwm", ("pwm", "switch"))
    frequency = read.integer("frequency_hz", 1000, 10, 10_000)
    active_high = read.flag("active_high", default=True)
    sustained, factory = read.optional("sustained", 0.0, 1.0), read.thing("pin_factory")
    read.finish()
    limit = lowered(PWM_LIMIT if kind == "pwm" else SWITCH_LIMIT, sustained)
    common = {"active_high": active_high, "initial_value": 0, "pin_factory": factory}
    try:
        if kind == "pwm":
            device = PWMOutputDevice(pin, frequency=frequency, **common)
        else:
            device = DigitalOutputDevice(pin, **common)
    except GPIOZeroError as error:
        raise PinBusy(f"illuminator: pin {pin} cannot be driven ({type(error).__name__})") from error

    def drive(power: float) -> None:
        device.value = power

    lamp = LimitedLamp(drive, device.close, limit, switched=kind == "switch")
    atexit.register(lamp.close)
    return lamp
