# SPDX-License-Identifier: Apache-2.0
"""A lamp behind its interlock (drivers/lamp_limits.py), and the pole without a lamp."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from drivers.errors import BadOption, DriverError
from drivers.lamp_limits import CUT_C, DutyLimit, HeatBudget, StrobeLine, TemperatureLimit, lowered
from drivers.options import Options
from drivers.thermometer import SlowThermometer, millidegrees
from drivers.types import IlluminatorState

POLL_S: Final = 1.0  # how often a thermometer or a strobe line is looked at while the lamp shines
EARLY_S: Final = 0.01  # a timer that fires so much earlier than needed need not be set anew
DARKER: Final = 1e-9  # of power: less is rounding

Celsius = Callable[[], float | None]


@dataclass(frozen=True, slots=True)
class Interlock:
    """What holds a lamp back: its heat budget, a thermometer on its heat sink, the strobe line that gates it.

    The thermometer is asked in the camera's thread: it has to answer at once.
    """

    limit: DutyLimit
    thermometer: Celsius | None = None
    cut_c: float = CUT_C
    strobe: StrobeLine | None = None
    switched: bool = False


def read_interlock(
    read: Options, limit: DutyLimit, *, switched: bool, strobe: StrobeLine | None = None
) -> Interlock:
    """Options: sustained and hot_c (both can only lower), temperature_path (a sysfs file in millidegrees)."""
    sustained, path = read.optional("sustained", 0.0, 1.0), read.optional_path("temperature_path")
    cut_c = read.number("hot_c", CUT_C, 20.0, CUT_C)
    thermometer = None if path is None else SlowThermometer(millidegrees(path))
    return Interlock(lowered(limit, sustained), thermometer, cut_c, strobe, switched)


class LimitedLamp:
    """Drives a lamp through its interlock; a timer cuts the power back even when nobody calls."""

    def __init__(
        self,
        drive: Callable[[float], None],
        release: Callable[[], None],
        interlock: Interlock,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._drive, self._release, self._interlock = drive, release, interlock
        self._monotonic_s = monotonic_s
        self._budget = HeatBudget(interlock.limit, switched=interlock.switched)
        self._heat_sink = TemperatureLimit(interlock.cut_c)
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._due_s = 0.0
        self._told_duty = 1.0
        self._driven = 0.0  # what the pin took last
        self._problem: DriverError | None = None  # it did not take the newest
        self._closed = False
        drive(0.0)
        self._state, _ = self._grant(0.0, monotonic_s())

    def set_power(self, power: float) -> None:
        """Asks for 0..1 of full power (clamped); raises BadOption for NaN."""
        if math.isnan(power):
            raise BadOption("illuminator: the power must be a number from 0 to 1")
        with self._lock:
            self._apply(min(1.0, max(0.0, power)))

    def set_strobe(self, exposure_us: int, fps: float) -> None:
        """Says how long and how often the shutter opens; counts only where a strobe line is wired."""
        duty = exposure_us * fps / 1e6
        with self._lock:
            self._told_duty = min(1.0, duty) if math.isfinite(duty) and duty > 0.0 else 1.0
            self._apply(self._state.requested)

    def _duty(self, now_s: float) -> float:
        """The larger of what was said and what the line does: a wrong word can't overheat the lamp."""
        line = self._interlock.strobe
        return 1.0 if line is None else max(self._told_duty, line.duty(now_s))

    def _grant(self, requested: float, now_s: float) -> tuple[IlluminatorState, float | None]:
        """What the interlock gives from now on, and after how many seconds to look again."""
        thermometer = self._interlock.thermometer
        celsius = None if thermometer is None else thermometer()
        cap = 1.0 if thermometer is None else self._heat_sink.cap(celsius)
        duty = self._duty(now_s)
        power, again_s = self._budget.grant(min(requested, cap), now_s, duty)
        state = IlluminatorState(
            power,
            requested,
            limited=power < requested - DARKER,
            dimmable=not self._interlock.switched,
            duty=duty,
            sustained=min(1.0, self._interlock.limit.sustained / duty) if duty > 0.0 else 1.0,
            hot=cap < min(requested, 1.0),
            temperature_c=celsius,
        )
        return state, again_s

    def _apply(self, requested: float) -> None:
        """Raises DriverError when the pin does not take it; the timer tries again, and until then `state` raises it."""
        if self._closed:
            return
        now_s = self._monotonic_s()
        self._state, again_s = self._grant(requested, now_s)
        power = self._state.power
        try:
            self._put(min(power, self._driven))  # less at once: setting the timer may fail
            self._arm(again_s, now_s)
            if power > self._driven:
                self._put(power)
            self._problem = None
        except DriverError as error:
            self._problem = error
            self._start(POLL_S, now_s)
            raise

    def _put(self, power: float) -> None:
        self._drive(power)
        self._driven = power

    def _arm(self, again_s: float | None, now_s: float) -> None:
        """Looks again in time; a timer that fires soon enough anyway is left alone."""
        watched = self._interlock.thermometer is not None or self._interlock.strobe is not None
        if watched and self._state.requested > 0.0:
            again_s = min(POLL_S, again_s if again_s is not None else POLL_S)
        if again_s is None:
            self._disarm()
            return
        if self._timer is not None and now_s < self._due_s <= now_s + again_s + EARLY_S:
            return
        self._start(again_s, now_s)

    def _start(self, after_s: float, now_s: float) -> None:
        """Sets the timer anew; without one nobody would cut the power back: dark, and raises DriverError."""
        self._disarm()
        timer = threading.Timer(after_s, self.check)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError as error:
            self._put(0.0)
            raise DriverError("illuminator: no thread for its interlock, so it stays dark") from error
        self._timer, self._due_s = timer, now_s + after_s

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def check(self) -> None:
        """Applies the interlock now; the timer calls it."""
        with self._lock:
            self._disarm()
            with contextlib.suppress(DriverError):  # kept for whoever asks next
                self._apply(self._state.requested)

    def off(self) -> None:
        """Dark at once."""
        self.set_power(0.0)

    def state(self) -> IlluminatorState:
        """What the lamp does now; raises DriverError while its pin does not take what the interlock says."""
        with self._lock:
            if self._problem is not None:
                raise self._problem
            if self._interlock.thermometer is not None:
                self._interlock.thermometer()  # so that the next lamp light finds a fresh value
            return self._state

    def close(self) -> None:
        """Dark, and the pin released."""
        with self._lock:
            if self._closed:
                return
            try:
                self.off()
            finally:
                self._closed, self._problem = True, None
                self._disarm()
                self._release()


class NoIlluminator:
    """A pole without a lamp, or with one that switches itself."""

    def set_power(self, power: float) -> None:
        """Nothing to switch; raises BadOption for NaN like every lamp."""
        if math.isnan(power):
            raise BadOption("illuminator: the power must be a number from 0 to 1")

    def set_strobe(self, exposure_us: int, fps: float) -> None:
        """Nothing flashes."""

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
