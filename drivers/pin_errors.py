# SPDX-License-Identifier: Apache-2.0
"""What a pin under gpiozero may raise: gpiozero lets the errors of its pin libraries through."""

from __future__ import annotations

import sys

from gpiozero import GPIOZeroError


def pin_errors() -> tuple[type[Exception], ...]:
    """For an `except` clause. A pin that another process holds is `lgpio.error: 'GPIO busy'` on a Raspberry Pi."""
    lgpio = sys.modules.get("lgpio")
    library: tuple[type[Exception], ...] = (lgpio.error,) if lgpio is not None else ()
    return (GPIOZeroError, OSError, *library)
