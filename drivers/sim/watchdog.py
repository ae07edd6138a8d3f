# SPDX-License-Identifier: Apache-2.0
"""A simulated watchdog that remembers when it was fed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from drivers.errors import WatchdogUnavailable
from drivers.options import Options
from drivers.sim.faults import FaultScript
from drivers.types import WatchdogInfo

FAULTS: Final = {"x": "takes no feed"}


class SimWatchdog:
    """`starved` says whether a real one would have restarted the board by now."""

    def __init__(self, timeout_s: float, faults: FaultScript, monotonic_s: Callable[[], float]) -> None:
        self._timeout_s, self._faults, self._monotonic_s = timeout_s, faults, monotonic_s
        self._fed_s = monotonic_s()
        self._bitten = False
        self.feeds = 0
        self.closed = False

    @property
    def starved(self) -> bool:
        """Whether `timeout_s` ever passed between two feeds."""
        self._check()
        return self._bitten

    def _check(self) -> None:
        if not self.closed and self._monotonic_s() - self._fed_s > self._timeout_s:
            self._bitten = True

    def feed(self) -> None:
        """Counts a feed; raises WatchdogUnavailable as scripted or after close."""
        self._check()
        if self.closed or self._faults.at(self.feeds) == "x":
            raise WatchdogUnavailable("the simulated watchdog takes no feed")
        self.feeds += 1
        self._fed_s = self._monotonic_s()

    def info(self) -> WatchdogInfo:
        """A device that can be stopped."""
        return WatchdogInfo("simulated", self._timeout_s, nowayout=False, bit=False)

    def close(self) -> None:
        """Stops watching."""
        self._check()
        self.closed = True


def open_sim(options: Mapping[str, object]) -> SimWatchdog:
    """Options: timeout_s, faults (a letter a feed), monotonic_s (in process only: a clock)."""
    read = Options("watchdog sim", options)
    timeout_s = read.number("timeout_s", 15.0, 0.01, 3600.0)
    faults, clock = FaultScript("watchdog sim", read.text("faults", ""), FAULTS), read.thing("monotonic_s")
    read.finish()
    return SimWatchdog(timeout_s, faults, clock if callable(clock) else time.monotonic)
