# SPDX-License-Identifier: Apache-2.0
"""Digital pins through libgpiod 2 (Jetson and every other board whose kernel has GPIO character devices)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from drivers.errors import LibraryMissing, PinBusy
from drivers.options import Options

CONSUMER = "wayside"  # what `gpioinfo` shows
CHIP = "/dev/gpiochip0"

Line = int | str  # a line's number on its chip, or the name that the board gives it


def library_of(given: object | None) -> Any:
    """The gpiod library, or what a caller in process gives in its place; raises LibraryMissing."""
    if given is not None:
        return given
    try:
        return import_module("gpiod")
    except ImportError as error:
        raise LibraryMissing("gpiod is not installed: pip install 'gpiod>=2.2,<3'") from error


def line_of(text: str) -> Line:
    """A line by its number or by its name."""
    return int(text) if text.isdecimal() else text


def request(library: Any, chip: str, line: Line, **settings: Any) -> Any:
    """One line of a chip with `LineSettings`; raises PinBusy when it is not there or held by somebody."""
    try:
        config = {line: library.LineSettings(**settings)}
        return library.request_lines(chip, consumer=CONSUMER, config=config)
    except (OSError, ValueError) as error:
        raise PinBusy(f"line {line} of {chip} cannot be had ({error})") from error


def output(library: Any, chip: str, line: Line, *, active_high: bool = True) -> Any:
    """A line that is driven, inactive at first."""
    kinds = library.line
    return request(
        library,
        chip,
        line,
        direction=kinds.Direction.OUTPUT,
        active_low=not active_high,
        output_value=kinds.Value.INACTIVE,
    )


class GpiodGpio:
    """Lines are requested on first use; one that turns from input to output is busy, as with every driver."""

    def __init__(self, library: Any, chip: str, *, pull_up: bool) -> None:
        self._library, self._chip, self._pull_up = library, chip, pull_up
        self._outputs: dict[int, Any] = {}
        self._inputs: dict[int, Any] = {}

    def write(self, pin: int, value: bool) -> None:  # noqa: FBT001 - a pin's level
        """Drives an output; raises PinBusy."""
        if pin in self._inputs:
            raise PinBusy(f"pin {pin} cannot be an output: it is read as an input")
        if pin not in self._outputs:
            self._outputs[pin] = output(self._library, self._chip, pin)
        try:
            self._outputs[pin].set_value(pin, self._library.line.Value(int(value)))
        except OSError as error:
            raise PinBusy(f"pin {pin} was lost ({error})") from error

    def read(self, pin: int) -> bool:
        """The level of an input (True = high); an output reads back what it drives."""
        if pin not in self._outputs and pin not in self._inputs:
            kinds = self._library.line
            bias = kinds.Bias.PULL_UP if self._pull_up else kinds.Bias.DISABLED
            self._inputs[pin] = request(
                self._library, self._chip, pin, direction=kinds.Direction.INPUT, bias=bias
            )
        held = self._outputs.get(pin) or self._inputs[pin]
        try:
            return bool(held.get_value(pin))
        except OSError as error:
            raise PinBusy(f"pin {pin} was lost ({error})") from error

    def close(self) -> None:
        """Outputs low, every line released, whatever one of them does; raises PinBusy at the end."""
        outputs, inputs = dict(self._outputs), [*self._inputs.values()]
        self._outputs.clear()
        self._inputs.clear()
        try:
            with contextlib.ExitStack() as ends:  # last in, first out
                for line in (*outputs.values(), *inputs):
                    ends.callback(line.release)
                for pin, line in outputs.items():
                    ends.callback(line.set_value, pin, self._library.line.Value.INACTIVE)
        except OSError as error:
            raise PinBusy(f"a pin was lost ({error})") from error


def open_gpiod(options: Mapping[str, object]) -> GpiodGpio:
    """Options: chip, pull_up (inputs), library (in process only)."""
    read = Options("gpio gpiod", options)
    chip, pull_up = read.text("chip", CHIP), read.flag("pull_up", default=True)
    library = library_of(read.thing("library"))
    read.finish()
    return GpiodGpio(library, chip, pull_up=pull_up)
