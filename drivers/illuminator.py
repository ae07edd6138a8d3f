# SPDX-License-Identifier: Apache-2.0
"""The lamp's interlock, in code so that no configuration can exceed it, and the pole without a lamp."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from drivers.errors import BadOption
from drivers.options import Options
from drivers.types import IlluminatorState


@dataclass(frozen=True, slots=True)
class DutyLimit:
    """What a lamp stands: `sustained` 0..1 of full power for ever, full for `burst_s` seconds when cold."""

    sustained: float
    burst_s: float

    @property
    def cap(self) -> float:
        """Heat (full-power seconds above `sustained`) at which power is cut back."""
        return self.burst_s * (1.0 - self.sustained)


PWM_LIMIT: Final = DutyLimit(sustained=0.6, burst_s=30.0)  # LEDs driven straight from a PWM stage
SWITCH_LIMIT: Final = DutyLimit(sustained=0.9, burst_s=600.0)  # a lamp with its own current driver
ON_OFF_THRESHOLD: Final = 0.5  # a switched lamp is on from this power upwards


def lowered(limit: DutyLimit, sustained: float | None) -> DutyLimit:
    """The limit with a lower sustained power; raises BadOption for a higher one."""
    if sustained is None:
        return limit
    if not 0.0 < sustained <= limit.sustained:
        raise BadOption(f"illuminator: 'sustained' can only lower the interlock: 0 to {limit.sustained}")
    return DutyLimit(sustained, limit.burst_s)


class HeatBudget:
    """Pure book-keeping of the lamp's heat over time; seconds come from the caller."""

    def __init__(self, limit: DutyLimit, *, switched: bool) -> None:
        self._limit, self._switched = limit, switched
        self._heat = 0.0
        self._resting = False
        self._power = 0.0
        self._at_s: float | None = None

    def grant(self, requested: float, now_s: float) -> tuple[float, float | None]:
        """The power allowed from `now_s` on, and after how many seconds to ask again (None: it can stay)."""
        self._age(now_s)
        cap, sustained = self._limit.cap, self._limit.sustained
        if self._heat >= cap - 1e-9:
            self._resting = True
        elif self._heat <= cap / 2:
            self._resting = False
        power = min(requested, sustained) if self._resting else requested
        self._power = float(power >= ON_OFF_THRESHOLD and not self._resting) if self._switched else power
        if self._power > sustained:
            return self._power, (cap - self._heat) / (self._power - sustained)
        if self._resting and requested > self._power and self._power < sustained:
            return self._power, (self._heat - cap / 2) / (sustained - self._power) + 1e-6
        return self._power, None

    def _age(self, now_s: float) -> None:
        if self._at_s is not None:
            self._heat += (self._power - self._limit.sustained) * max(0.0, now_s - self._at_s)
            self._heat = min(self._limit.cap, max(0.0, self._heat))
        self._at_s = now_s


class LimitedLamp:
    """Drives a lamp through its heat budget; a timer cuts the power back even when nobody calls."""

    def __init__(
        self,
        drive: Callable[[float], None],
        release: Callable[[], None],
        limit: DutyLimit,
        *,
        switched: bool = False,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._drive, self._release, self._monotonic_s = drive, release, monotonic_s
        self._budget = HeatBudget(limit, switched=switched)
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._requested, self._power = 0.0, 0.0
        self._closed = False
        drive(0.0)

    def set_power(self, power: float) -> None:
        """Asks for 0..1 of full power (clamped); raises BadOption for NaN."""
        if math.isnan(power):
            raise BadOption("illuminator: the power must be a number from 0 to 1")
        with self._lock:
            self._requested = 0.0 if self._closed else min(1.0, max(0.0, power))
            self._apply()

    def _apply(self) -> None:
        if self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._power, again_s = self._budget.grant(self._requested, self._monotonic_s())
        self._drive(self._power)
        if again_s is not None:
            self._timer = threading.Timer(again_s, self.check)
            self._timer.daemon = True
            self._timer.start()

    def check(self) -> None:
        """Applies the interlock now; the timer calls it."""
        with self._lock:
            self._apply()

    def off(self) -> None:
        """Dark at once."""
        self.set_power(0.0)

    def state(self) -> IlluminatorState:
        """What the lamp does now."""
        with self._lock:
            limited = self._power < self._requested
            return IlluminatorState(self._power, self._requested, limited)

    def close(self) -> None:
        """Dark, and the pin released."""
        with self._lock:
            if self._closed:
                return
            self.off()
            self._closed = True
            self._release()


class NoIlluminator:
    """A pole without a lamp, or with one that switches itself."""

    def set_power(self, power: float) -> None:
        """Nothing to switch; raises BadOption for NaN like every lamp."""
        if math.isnan(power):
            raise BadOption("illuminator: the power must be a number from 0 to 1")

    def off(self) -> None:
        """It is dark."""

    def state(self) -> IlluminatorState:
        """Always dark."""
        return IlluminatorState(power=0.0, requested=0.0, limited=False)

    def close(self) -> None:
        """Nothing to release."""


def open_none(options: Mapping[str, object]) -> NoIlluminator:
    """No lamp; it has no options."""
    Options("illuminator none", options).finish()
    return NoIlluminator()
