# SPDX-License-Identifier: Apache-2.0
"""A device that may be missing: opened at its first use, and again, with growing pauses, after it was lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from drivers.errors import DriverError

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0

T = TypeVar("T")


class Reopening(Generic[T]):
    """`get` gives the device, or None while it is not there; `problem` says why. Not thread-safe."""

    def __init__(
        self,
        open_it: Callable[[], T],
        close_it: Callable[[T], None] = lambda _device: None,
        *,
        longest_pause_s: float = LONGEST_PAUSE_S,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open, self._close, self._monotonic_s = open_it, close_it, monotonic_s
        self._longest_pause_s = longest_pause_s
        self._pause_s = min(FIRST_PAUSE_S, longest_pause_s)
        self._again_s = -float("inf")
        self._device: T | None = None
        self.problem: DriverError | None = None

    def get(self) -> T | None:
        """The open device; tries to open it when it is time. Only DriverError counts as not being there."""
        if self._device is None and self._monotonic_s() >= self._again_s:
            try:
                self._device = self._open()
                self.problem = None
            except DriverError as error:
                self._wait(error)
        return self._device

    def good(self) -> None:
        """The device did its work: the next pause is short again."""
        self._pause_s = min(FIRST_PAUSE_S, self._longest_pause_s)

    def lose(self, error: DriverError) -> None:
        """The device failed in use: it is closed, and opened again after a pause."""
        self.close()
        self._wait(error)

    def _wait(self, error: DriverError) -> None:
        self.problem = error
        self._again_s = self._monotonic_s() + self._pause_s
        self._pause_s = min(2 * self._pause_s, self._longest_pause_s)

    def close(self) -> None:
        """Gives the device back; the next `get` would open it again."""
        if self._device is not None:
            device, self._device = self._device, None
            self._close(device)
