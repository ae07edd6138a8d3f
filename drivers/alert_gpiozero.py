# SPDX-License-Identifier: Apache-2.0
"""Buzzer, lamp and button of a mobile unit on GPIO pins of a Raspberry Pi."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from gpiozero import Button, DigitalOutputDevice, PWMOutputDevice

from drivers.alert import PinAlertOutput, read_pins
from drivers.errors import PinBusy
from drivers.options import Options
from drivers.pin_errors import pin_errors

HALF: Final = 0.5  # a piezo is loudest with a square wave


def open_gpiozero(options: Mapping[str, object]) -> PinAlertOutput:
    """Options: buzzer_pin, lamp_pin, button_pin, tone_hz, active_high, pin_factory (in process only).

    `tone_hz` 0 is a buzzer with its own tone; else a piezo is driven at this frequency.
    """
    read = Options("alert gpiozero", options)
    pins, button_pin = read_pins("alert gpiozero", read)
    tone_hz, factory = read.integer("tone_hz", 0, 0, 10_000), read.thing("pin_factory")
    common = {
        "active_high": read.flag("active_high", default=True),
        "initial_value": 0,
        "pin_factory": factory,
    }
    read.finish()
    with contextlib.ExitStack() as stack:
        try:
            switches = {
                what: _claim(stack, pin, tone_hz if what == "buzzer" else 0, common)
                for what, pin in pins.items()
            }
            button = stack.enter_context(Button(button_pin, pin_factory=factory)) if button_pin else None
        except pin_errors() as error:
            raise PinBusy(f"alert: a pin cannot be claimed ({type(error).__name__}: {error})") from error
        held = stack.pop_all()
    pressed = (lambda: bool(button.is_pressed)) if button is not None else None
    return PinAlertOutput(switches, pressed, held.close, pin_errors)


def _claim(
    stack: contextlib.ExitStack, pin: str, tone_hz: int, common: Mapping[str, object]
) -> Callable[[bool], None]:
    """Claims an output, off at first; gives its switch."""
    device: Any
    if tone_hz:
        device, on = PWMOutputDevice(pin, frequency=tone_hz, **common), HALF
    else:
        device, on = DigitalOutputDevice(pin, **common), 1.0
    stack.enter_context(device)

    def switch(level: bool) -> None:  # noqa: FBT001 -- a pin's level
        device.value = on if level else 0

    return switch
