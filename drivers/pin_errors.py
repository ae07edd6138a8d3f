# SPDX-License-Identifier: Apache-2.0
"""What a pin under gpiozero may raise: gpiozero lets the errors of its pin libraries through."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from gpiozero import GPIOZeroError

from drivers.errors import PinBusy


def pin_errors() -> tuple[type[Exception], ...]:
    """For an `except` clause. A pin that another process holds is `lgpio.error: 'GPIO busy'` on a Raspberry Pi."""
    lgpio = sys.modules.get("lgpio")
    library: tuple[type[Exception], ...] = (lgpio.error,) if lgpio is not None else ()
    return (GPIOZeroError, OSError, *library)


@contextlib.contextmanager
def busy_if_lost(what: str) -> Iterator[None]:
    """Whatever a pin raises within becomes PinBusy; `what` begins its message."""
    try:
        yield
    except pin_errors() as error:
        raise PinBusy(f"{what} ({type(error).__name__}: {error})") from error
