# SPDX-License-Identifier: Apache-2.0
"""Buzzer, lamp and button of a mobile unit on lines of libgpiod 2 (Jetson and others)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from drivers.alert import PinAlertOutput, read_pins
from drivers.gpio_gpiod import CHIP, library_of, line_of, output, request
from drivers.options import Options


def open_gpiod(options: Mapping[str, object]) -> PinAlertOutput:
    """Options: buzzer_pin, lamp_pin, button_pin (numbers or names of lines), chip, active_high.

    `library` is for in process only.
    """
    read = Options("alert gpiod", options)
    pins, button_pin = read_pins("alert gpiod", read)
    chip, active_high = read.text("chip", CHIP), read.flag("active_high", default=True)
    library = library_of(read.thing("library"))
    read.finish()
    with contextlib.ExitStack() as stack:
        switches = {
            what: _claim(stack, library, chip, pin, active_high=active_high) for what, pin in pins.items()
        }
        pressed = _button(stack, library, chip, button_pin) if button_pin else None
        held = stack.pop_all()
    return PinAlertOutput(switches, pressed, held.close, lambda: (OSError,))


def _claim(
    stack: contextlib.ExitStack, library: Any, chip: str, pin: str, *, active_high: bool
) -> Callable[[bool], None]:
    """Claims an output, off at first; gives its switch."""
    line, value = line_of(pin), library.line.Value
    held = output(library, chip, line, active_high=active_high)
    stack.callback(held.release)

    def switch(level: bool) -> None:  # noqa: FBT001 -- a line's level
        held.set_value(line, value(int(level)))

    return switch


def _button(stack: contextlib.ExitStack, library: Any, chip: str, pin: str) -> Callable[[], bool]:
    """Claims the button's input, which is low while it is held down."""
    line, kinds = line_of(pin), library.line
    held = request(
        library, chip, line, direction=kinds.Direction.INPUT, bias=kinds.Bias.PULL_UP, active_low=True
    )
    stack.callback(held.release)
    return lambda: bool(held.get_value(line))
