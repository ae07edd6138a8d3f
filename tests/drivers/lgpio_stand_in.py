# SPDX-License-Identifier: Apache-2.0
"""What a Raspberry Pi's pin library raises through gpiozero, without the library; pins of its kind for MockFactory."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from gpiozero.pins.mock import MockPWMPin


class LgpioError(Exception):
    """As lgpio's: an Exception, and nothing more particular."""


def install(patch: pytest.MonkeyPatch) -> None:
    """Makes it the one that `drivers.pin_errors` finds."""
    patch.setitem(sys.modules, "lgpio", SimpleNamespace(error=LgpioError))  # type: ignore[arg-type]


class HeldPin(MockPWMPin):
    """A pin that another process holds."""

    def __init__(self, factory: object, info: object) -> None:
        raise LgpioError("GPIO busy")


class LostPin(MockPWMPin):
    """A pin whose handle is gone as soon as something shall come out of it."""

    def _set_state(self, value: float) -> None:
        if value:
            raise LgpioError("unknown handle")
        super()._set_state(value)


class StuckPin(MockPWMPin):
    """GPIO5 can be switched on but not off; other pins are sound."""

    def _set_state(self, value: float) -> None:
        if self.info.name == "GPIO5" and self.state and not value:
            raise LgpioError("unknown handle")
        super()._set_state(value)
