# SPDX-License-Identifier: Apache-2.0
"""Looks at supply, heat and battery now and then, and says what has to be given up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog

from drivers.errors import PowerUnreadable
from drivers.ports import Power
from drivers.types import PowerReading
from firmware.health import Finding
from firmware.ladder import Budget, Ladder, Rung
from storage.atomic import write_atomic

LOOK_S: Final = 2.0  # the Pi's own alarm is that fresh
REQUEST_FILE: Final = "poweroff-request"
SHOWN: Final = (
    "temperature_c", "battery_v", "battery_a", "supply_v", "supply_w", "undervoltage", "throttled",
    "undervoltage_since_boot", "throttled_since_boot",
)  # fmt: skip

log = structlog.get_logger(__name__)


class PowerWatch:
    """For the eye's main thread; `poll` may be called as often as one likes and never raises DriverError."""

    def __init__(
        self, power: Power, ladder: Ladder, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._power, self._ladder, self._monotonic_s = power, ladder, monotonic_s
        self._looked_s = -float("inf")
        self._taken: Counter[str] = Counter()
        self.reading: PowerReading | None = None

    @property
    def rung(self) -> Rung:
        """What is given up now."""
        return self._ladder.rung

    @property
    def budget(self) -> Budget:
        """What may still be done."""
        return self._ladder.budget

    @property
    def empty(self) -> bool:
        """The battery is at its end: stop the eye, which seals what it has, then `request_poweroff`."""
        return self._ladder.empty

    def poll(self) -> list[Finding]:
        """Looks when it is time; the findings that stand."""
        now_s = self._monotonic_s()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._look(now_s)
        return self.findings()

    def _look(self, now_s: float) -> None:
        try:
            self.reading = self._power.reading()
        except PowerUnreadable:
            self.reading = None
        before = self.rung
        rung = self._ladder.step(self.reading, now_s)
        if rung is not before:
            self._taken.update(Rung(deeper).words for deeper in range(before + 1, rung + 1))
            log.warning("power_rung", rung=rung.words, **self._numbers())

    def findings(self) -> list[Finding]:
        """How supply, heat and battery are."""
        return self._ladder.findings()

    def given_up(self) -> dict[str, int]:
        """How often each rung was taken since the start, for the ledger."""
        return dict(self._taken)

    def status(self) -> dict[str, Any]:
        """For the status screen: what is given up, the sensors' values, and those that gave none."""
        unreadable = list(self.reading.unreadable) if self.reading else []
        return {"given_up": self.rung.words, **self._numbers(), "unreadable": unreadable}

    def _numbers(self) -> dict[str, Any]:
        return {name: getattr(self.reading, name, None) for name in SHOWN}

    def close(self) -> None:
        """Releases the sensors; may be called twice."""
        self._power.close()


def request_poweroff(run: Path) -> None:
    """Asks the system (wayside-poweroff.path) to switch off. Only after the eye has ended: its reads are sealed then.

    Raises OSError when the file cannot be written.
    """
    write_atomic(run / REQUEST_FILE, b"the battery is empty\n")
    log.error("poweroff_requested", reason="the battery is empty")
