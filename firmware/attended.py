# SPDX-License-Identifier: Apache-2.0
"""A device that a thread of its own looks at: a port that hangs or is missing holds up nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from drivers.errors import DriverError
from firmware.reopening import Reopening

END_S: Final = 2.0  # a thread that does not end by then hangs in a port: it is left to the process's end


class Closeable(Protocol):
    """Every device."""

    def close(self) -> None:
        """Gives it back."""


T = TypeVar("T", bound=Closeable)


class Attended(Generic[T]):
    """`look` gets the open device every `every_s` seconds; a DriverError out of it closes the device, to be opened
    again after a pause. `look` runs on the thread (or in whoever calls `step`, where nobody calls `start`).
    """

    def __init__(
        self,
        name: str,
        open_it: Callable[[], T],
        look: Callable[[T], None],
        *,
        every_s: float,
        longest_pause_s: float,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look, self._every_s, self._monotonic_s = look, every_s, monotonic_s
        self._device = Reopening(
            open_it,
            lambda device: device.close(),
            longest_pause_s=longest_pause_s,
            monotonic_s=monotonic_s,
        )
        self._stepped_s = monotonic_s()
        self._problem = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def problem(self) -> str:
        """Why the device can't be looked at; empty when it can."""
        return self._problem

    def away_s(self) -> float:
        """How long the thread has not come back from a look: it hangs when that is long."""
        return self._monotonic_s() - self._stepped_s

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and gives the device back."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(END_S)
        else:
            self._device.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.step()
            self._stop.wait(self._every_s)
        self._device.close()

    def step(self) -> None:
        """One look."""
        device = self._device.get()
        try:
            if device is not None:
                self._look(device)
                self._device.good()
        except DriverError as error:
            self._device.lose(error)
        self._problem = "" if self._device.problem is None else str(self._device.problem)
        self._stepped_s = self._monotonic_s()
