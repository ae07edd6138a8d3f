# SPDX-License-Identifier: Apache-2.0
"""A pin whose level another process sees: every change is a line on a pipe, and the pipe's end is a pin let go.

That is the kernel's own rule for a GPIO line (the character device releases it when its last descriptor closes).
What the board does with a line that nobody drives is the pull-down's part, and no simulation's.

As a program (`python -m hw_tests.wire HOW`) it lights a lamp at full power on such a pin and then ends as it is told.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from gpiozero.pins.mock import MockFactory, MockPWMPin

from drivers.registry import open_illuminator

PIN = 18
READY = b"ready\n"
HOWS = ("return", "exit", "raise", "sigterm", "wait")


class PipePin(MockPWMPin):  # type: ignore[misc]
    """gpiozero's mock pin; each change of its level goes to standard output."""

    def _change_state(self, value: float) -> bool:
        changed = bool(super()._change_state(value))
        if changed:
            os.write(sys.stdout.fileno(), f"{value}\n".encode())
        return changed


def _end(how: str) -> None:
    if how == "exit":
        sys.exit(3)
    if how == "raise":
        raise RuntimeError("as asked")
    if how == "sigterm":  # as a service does: the signal ends the main loop
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        _say_ready()
        stop.wait()
    if how == "wait":
        _say_ready()
        threading.Event().wait()


def _say_ready() -> None:
    os.write(sys.stdout.fileno(), READY)


def light(how: str) -> None:
    """Full power, then the end."""
    factory: Any = MockFactory(pin_class=PipePin)
    lamp = open_illuminator("gpiozero", {"pin": f"GPIO{PIN}", "pin_factory": factory})
    lamp.set_power(1.0)
    _end(how)


if __name__ == "__main__":
    light(sys.argv[1])
