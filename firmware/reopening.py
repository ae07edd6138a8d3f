# SPDX-License-Identifier: Apache-2.0
"""A device that may be missing: opened at its first use, and again, with growing pauses, after it was lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from drivers.errors import DriverError

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


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
        self._ended = False
        self.problem: DriverError | None = None

    def get(self) -> T | None:
        """The open device; tries to open it when it is time. Only DriverError counts as not being there."""
        if self._device is None and not self._ended and self._monotonic_s() >= self._again_s:
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
        self._give_back()
        self._wait(error)

    def _wait(self, error: DriverError) -> None:
        self.problem = error
        self._again_s = self._monotonic_s() + self._pause_s
        self._pause_s = min(2 * self._pause_s, self._longest_pause_s)

    def close(self) -> None:
        """Gives the device back for good: a thread that still runs cannot open it again."""
        self._ended = True
        self._give_back()

    def _give_back(self) -> None:
        """A device that is broken may refuse to be closed too: it counts as closed."""
        if self._device is None:
            return
        device, self._device = self._device, None
        try:
            self._close(device)
        except DriverError as error:
            log.warning("device_close_failed", reason=str(error))
