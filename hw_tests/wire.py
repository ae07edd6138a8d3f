# SPDX-License-Identifier: Apache-2.0
"""A pin whose level another process sees: every change is a line on a pipe, and the pipe's end is a pin let go.

That is the kernel's own rule for a GPIO line (the character device releases it when its last descriptor closes).
What the board does with a line that nobody drives is the pull-down's part, and no simulation's.

As a program (`python -m hw_tests.wire HOW WIRING`) it lights a lamp at full power on such a pin and then ends as told.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from gpiozero.pins.mock import MockFactory, MockPWMPin

from drivers.registry import open_illuminator
from drivers.sim.gpiochip import SimGpioChip

PIN = 18
READY = b"ready\n"
STROBE = 25
HOWS = ("return", "exit", "raise", "sigterm", "wait")
WIRINGS = ("gpiozero", "gpiozero-strobe", "gpiod", "gpiod-strobe")


class PipePin(MockPWMPin):  # type: ignore[misc]
    """gpiozero's mock pin; each change of its level goes to standard output."""

    def _change_state(self, value: float) -> bool:
        changed = bool(super()._change_state(value))
        if changed and self.info.name == f"GPIO{PIN}":
            _tell(value)
        return changed


def _tell(level: float) -> None:
    os.write(sys.stdout.fileno(), f"{float(level)}\n".encode())


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


def _options(wiring: str) -> dict[str, object]:
    """What the driver of a wiring is opened with."""
    strobed = wiring.endswith("-strobe")
    if wiring.startswith("gpiod"):
        chip = SimGpioChip(on_change=lambda line, level: _tell(level) if line == PIN else None)
        return {"pin": str(PIN), "library": chip, **({"strobe_pin": str(STROBE)} if strobed else {})}
    factory: Any = MockFactory(pin_class=PipePin)
    return {
        "pin": f"GPIO{PIN}",
        "pin_factory": factory,
        **({"strobe_pin": f"GPIO{STROBE}", "kind": "switch"} if strobed else {}),
    }


def light(how: str, wiring: str) -> None:
    """Full power, then the end."""
    lamp = open_illuminator(wiring.removesuffix("-strobe"), _options(wiring))
    lamp.set_power(1.0)
    lamp.set_strobe(1000, 30.0)
    _end(how)


if __name__ == "__main__":
    light(*sys.argv[1:])
