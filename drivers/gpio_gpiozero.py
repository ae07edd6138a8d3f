# SPDX-License-Identifier: Apache-2.0
"""Digital pins through gpiozero: alert lamp, buzzer, door contact, photodiode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpiozero import DigitalInputDevice, DigitalOutputDevice, GPIOZeroError

from drivers.errors import DriverError, PinBusy
from drivers.options import Options


class GpiozeroGpio:
    """Pins are claimed on first use, as output by `write` and as input by `read`."""

    def __init__(self, factory: object | None, *, pull_up: bool) -> None:
        self._factory, self._pull_up = factory, pull_up
        self._outputs: dict[int, Any] = {}
        self._inputs: dict[int, Any] = {}

    def write(self, pin: int, value: bool) -> None:  # noqa: FBT001 - a pin's level
        """Drives an output; raises PinBusy."""
        try:
            if pin not in self._outputs:
                self._outputs[pin] = DigitalOutputDevice(pin, initial_value=False, pin_factory=self._factory)
            self._outputs[pin].value = value
        except GPIOZeroError as error:
            raise PinBusy(f"pin {pin} cannot be an output ({type(error).__name__})") from error

    def read(self, pin: int) -> bool:
        """The electrical level of an input (True = high); an output reads back what it drives."""
        if pin in self._outputs:
            return bool(self._outputs[pin].value)
        try:
            if pin not in self._inputs:
                device = DigitalInputDevice(pin, pull_up=self._pull_up, pin_factory=self._factory)
                self._inputs[pin] = device
            return bool(self._inputs[pin].pin.state)
        except GPIOZeroError as error:
            raise PinBusy(f"pin {pin} cannot be an input ({type(error).__name__})") from error

    def close(self) -> None:
        """Outputs low, every pin released."""
        for device in self._outputs.values():
            device.off()
        for device in (*self._outputs.values(), *self._inputs.values()):
            device.close()
        self._outputs.clear()
        self._inputs.clear()


def open_gpiozero(options: Mapping[str, object]) -> GpiozeroGpio:
    """Options: pull_up (inputs), pin_factory (in process only)."""
    read = Options("gpio gpiozero", options)
    factory, pull_up = read.thing("pin_factory"), read.flag("pull_up", default=True)
    read.finish()
    try:
        return GpiozeroGpio(factory, pull_up=pull_up)
    except GPIOZeroError as error:
        raise DriverError(f"gpio: no pins on this machine ({type(error).__name__})") from error
