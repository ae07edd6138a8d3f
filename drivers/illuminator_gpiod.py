# SPDX-License-Identifier: Apache-2.0
"""The infrared lamp on a line of libgpiod 2: a lamp with its own driver that is switched, with or without a strobe.

There is no dimming here: libgpiod has none, and the kernel's PWM devices go on after the process that set them died.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from drivers.errors import PinBusy
from drivers.gpio_gpiod import CHIP, library_of, line_of, output, request
from drivers.illuminator import LimitedLamp, read_interlock
from drivers.lamp_limits import SWITCH_LIMIT, StrobeLine
from drivers.options import Options

WAIT: Final = timedelta(milliseconds=200)  # for an edge, before looking whether to end
JOIN_S: Final = 2.0


class _Listener:
    """A thread that feeds the edges of the camera's strobe line to its book-keeping, with the kernel's times."""

    def __init__(self, library: Any, held: Any, line: StrobeLine) -> None:
        self._library, self._held, self._line = library, held, line
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="strobe", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        rising = self._library.EdgeEvent.Type.RISING_EDGE
        while not self._stop.is_set():
            try:
                if self._held.wait_edge_events(WAIT):
                    for event in self._held.read_edge_events():
                        self._line.edge(event.event_type is rising, event.timestamp_ns / 1e9)
            except OSError:
                return  # the line is gone: a line that rests counts as always on

    def close(self) -> None:
        """Ends the thread and releases the line."""
        self._stop.set()
        self._thread.join(JOIN_S)
        self._held.release()


def open_gpiod(options: Mapping[str, object]) -> LimitedLamp:
    """Options: pin (number or name of a line), chip, active_high, strobe_pin, sustained, hot_c, temperature_path.

    `library` is for in process only. The lamp goes dark on close and on exit; a killed process lets go of the line,
    and the pull-down has to make it dark (docs/hardware/illuminator.md).
    """
    read = Options("illuminator gpiod", options)
    pin, chip = line_of(read.text("pin")), read.text("chip", CHIP)
    active_high, strobe_pin = read.flag("active_high", default=True), read.text("strobe_pin", "")
    edges = StrobeLine() if strobe_pin else None
    interlock = read_interlock(read, SWITCH_LIMIT, switched=True, strobe=edges)
    library = library_of(read.thing("library"))
    read.finish()

    def drive(power: float) -> None:
        try:
            held.set_value(pin, library.line.Value(int(power > 0.0)))
        except OSError as error:
            raise PinBusy(f"illuminator: line {pin} of {chip} was lost ({error})") from error

    def release() -> None:
        atexit.unregister(lamp.close)
        everything.close()

    with contextlib.ExitStack() as stack:
        held = output(library, chip, pin, active_high=active_high)
        stack.callback(held.release)
        if edges is not None:
            kinds = library.line
            sense = request(
                library,
                chip,
                line_of(strobe_pin),
                direction=kinds.Direction.INPUT,
                edge_detection=kinds.Edge.BOTH,
                bias=kinds.Bias.PULL_DOWN,
            )
            stack.callback(_Listener(library, sense, edges).close)
        lamp = LimitedLamp(drive, release, interlock)
        everything = stack.pop_all()
    atexit.register(lamp.close)
    return lamp
