# SPDX-License-Identifier: Apache-2.0
"""The motor-driven infrared-cut filter: a short pulse on one of two pins moves it, and there it stays."""

from __future__ import annotations

import atexit
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Final

from drivers.errors import BadOption, PinBusy
from drivers.options import Options
from drivers.ports import Gpio
from drivers.registry import open_gpio

PULSE_MS: Final = (10, 500)  # the coil gets hot: no configuration can pulse for longer
Sleep = Callable[[float], None]


class PulsedFilter:
    """Two pins of an H-bridge: never both high, and both low but for the pulse."""

    def __init__(self, gpio: Gpio, pins: tuple[int, int], pulse_s: float, sleep: Sleep = time.sleep) -> None:
        self._gpio, self._pins, self._pulse_s, self._sleep = gpio, pins, pulse_s, sleep
        self._closed = False
        self._rest()

    def _rest(self) -> None:
        """Both low, whatever one of them does: a coil that stays on burns. Raises PinBusy at the end."""
        with contextlib.ExitStack() as writes:
            for pin in self._pins:
                writes.callback(self._gpio.write, pin, False)  # noqa: FBT003 - a pin's level

    def place(self, *, inside: bool) -> None:
        """Moves it and waits for the pulse's length; raises PinBusy."""
        if self._closed:
            raise PinBusy("ir_filter: its pins were released")
        self._rest()
        try:
            self._gpio.write(self._pins[0 if inside else 1], True)  # noqa: FBT003
            self._sleep(self._pulse_s)
        finally:
            self._rest()

    def close(self) -> None:
        """Both pins low and released."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        try:
            self._rest()
        finally:
            self._gpio.close()


class NoIrFilter:
    """A camera without the filter (all infrared passes), or with one that moves by itself."""

    def place(self, *, inside: bool) -> None:
        """Nothing moves."""

    def close(self) -> None:
        """Nothing to release."""


def _open_pins(driver: str, options: Mapping[str, object], gpio_options: tuple[str, ...]) -> PulsedFilter:
    read = Options(f"ir_filter {driver}", options)
    pins = read.integer("in_pin", -1, 0, 1023), read.integer("out_pin", -1, 0, 1023)
    pulse_ms = read.number("pulse_ms", 100.0, *PULSE_MS)
    passed = {name: value for name in gpio_options if (value := read.thing(name)) is not None}
    read.finish()
    if min(pins) < 0 or pins[0] == pins[1]:
        raise BadOption(f"ir_filter {driver}: give 'in_pin' and 'out_pin', two different pins")
    gpio = open_gpio(driver, passed)
    try:
        device = PulsedFilter(gpio, pins, pulse_ms / 1000.0)
    except PinBusy:
        with contextlib.suppress(PinBusy):  # the first one tells enough
            gpio.close()
        raise
    atexit.register(device.close)
    return device


def open_gpiozero(options: Mapping[str, object]) -> PulsedFilter:
    """Options: in_pin, out_pin, pulse_ms, pin_factory (in process only)."""
    return _open_pins("gpiozero", options, ("pin_factory",))


def open_gpiod(options: Mapping[str, object]) -> PulsedFilter:
    """Options: in_pin, out_pin, pulse_ms, chip, library (in process only)."""
    return _open_pins("gpiod", options, ("chip", "library"))


def open_none(options: Mapping[str, object]) -> NoIrFilter:
    """No filter; it has no options."""
    Options("ir_filter none", options).finish()
    return NoIrFilter()
