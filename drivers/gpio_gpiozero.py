# SPDX-License-Identifier: Apache-2.0
"""Digital pins through gpiozero: alert lamp, buzzer, door contact, photodiode."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from gpiozero import DigitalInputDevice, DigitalOutputDevice

from drivers.options import Options
from drivers.pin_errors import busy_if_lost


class GpiozeroGpio:
    """Pins are claimed on first use, as output by `write` and as input by `read`."""

    def __init__(self, factory: object | None, *, pull_up: bool) -> None:
        self._factory, self._pull_up = factory, pull_up
        self._outputs: dict[int, Any] = {}
        self._inputs: dict[int, Any] = {}

    def write(self, pin: int, value: bool) -> None:  # noqa: FBT001 - a pin's level
        """Drives an output; raises PinBusy."""
        with busy_if_lost(f"pin {pin} cannot be an output"):
            if pin not in self._outputs:
                self._outputs[pin] = DigitalOutputDevice(pin, initial_value=False, pin_factory=self._factory)
            self._outputs[pin].value = value

    def read(self, pin: int) -> bool:
        """The electrical level of an input (True = high); an output reads back what it drives."""
        with busy_if_lost(f"pin {pin} cannot be an input"):
            if pin in self._outputs:
                return bool(self._outputs[pin].value)
            if pin not in self._inputs:
                device = DigitalInputDevice(pin, pull_up=self._pull_up, pin_factory=self._factory)
                self._inputs[pin] = device
            return bool(self._inputs[pin].pin.state)

    def close(self) -> None:
        """Outputs low, every pin released, whatever one of them does; raises PinBusy at the end."""
        outputs, inputs = [*self._outputs.values()], [*self._inputs.values()]
        self._outputs.clear()
        self._inputs.clear()
        with busy_if_lost("a pin was lost"), contextlib.ExitStack() as ends:  # last in, first out
            for device in (*outputs, *inputs):
                ends.callback(device.close)
            for device in outputs:
                ends.callback(device.off)


def open_gpiozero(options: Mapping[str, object]) -> GpiozeroGpio:
    """Options: pull_up (inputs), pin_factory (in process only)."""
    read = Options("gpio gpiozero", options)
    factory, pull_up = read.thing("pin_factory"), read.flag("pull_up", default=True)
    read.finish()
    return GpiozeroGpio(factory, pull_up=pull_up)
