# SPDX-License-Identifier: Apache-2.0
"""Feeds every watchdog of the unit, and only while every stage advances.

Two at once: systemd restarts the service, and where that does not help the kernel's device restarts the board (its time
is the longer one). Each is opened, lost and opened again by itself: a missing device must not silence systemd's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from drivers.errors import DriverError
from drivers.ports import Watchdog
from drivers.types import WatchdogInfo
from firmware.health import Condition, Finding, well
from firmware.reopening import Reopening

PART = "watchdog"

log = structlog.get_logger(__name__)


class Feeder:
    """`openers` by name ("systemd", "device"); none: nobody watches. For one thread; never raises DriverError."""

    def __init__(
        self,
        openers: Mapping[str, Callable[[], Watchdog]],
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dogs = {
            name: Reopening(_armed(name, opener), _close, monotonic_s=monotonic_s)
            for name, opener in openers.items()
        }
        self.infos: tuple[WatchdogInfo, ...] = ()  # who watched at the last feed, for the status screen

    def feed(self, stalled: Sequence[str] = ()) -> Finding:
        """Feeds all unless a stage is `stalled`; how the watchdogs are."""
        if stalled:
            what = " and ".join(stalled)
            return Finding(
                PART, Condition.FAILED, "starving", f"{what} stands still: the unit restarts by itself."
            )
        fed = [self._feed(dog) for dog in self._dogs.values()]
        self.infos = tuple(info for info in fed if info is not None)
        problems = [str(dog.problem) for dog in self._dogs.values() if dog.problem is not None]
        if not problems:
            return well(PART) if self.infos else Finding(PART, Condition.ABSENT)
        worst = Condition.FAILED if len(problems) == len(self._dogs) else Condition.DEGRADED
        advice = f"A unit that hangs may not restart by itself: {'; '.join(problems)}."
        return Finding(PART, worst, "unavailable", advice)

    @staticmethod
    def _feed(dog: Reopening[Watchdog]) -> WatchdogInfo | None:
        device = dog.get()
        if device is None:
            return None
        try:
            device.feed()
        except DriverError as error:
            dog.lose(error)
            return None
        dog.good()
        return device.info()

    def close(self) -> None:
        """Stops all watching that can be stopped; may be called twice."""
        for dog in self._dogs.values():
            dog.close()


def _armed(name: str, opener: Callable[[], Watchdog]) -> Callable[[], Watchdog]:
    """Says in the log what watches from now on."""

    def opened() -> Watchdog:
        dog = opener()
        info = dog.info()
        if info is not None:
            log.info(
                "watchdog_armed",
                name=name,
                identity=info.identity,
                timeout_s=info.timeout_s,
                nowayout=info.nowayout,
                restarted_board=info.bit,
            )
        return dog

    return opened


def _close(dog: Watchdog) -> None:
    dog.close()
