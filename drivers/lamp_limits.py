# SPDX-License-Identifier: Apache-2.0
"""What a lamp stands, in code so that no configuration can exceed it: heat over time, and temperature. Pure."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

from drivers.errors import BadOption


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
CUT_C: Final = 85.0  # the heat sink's temperature at which the lamp goes dark
DERATE_C: Final = 15.0  # below that, power falls in a straight line
BACK_C: Final = 10.0  # below that, a lamp that was cut may shine again
BLIND_CAP: Final = 0.3  # a thermometer that was promised gives no value
# Colder is no night but a sensor torn off (-127). Exactly 0.0, which a DS18B20 without supply gives too, is believed:
# in winter it is true for hours, a switched lamp would stay dark then, and the heat budget needs no thermometer.
BROKEN_C: Final = -60.0
LINE_WINDOW_S: Final = 1.0  # over which a strobe line's duty is measured


def lowered(limit: DutyLimit, sustained: float | None) -> DutyLimit:
    """The limit with a lower sustained power; raises BadOption for a higher one."""
    if sustained is None:
        return limit
    if not 0.0 < sustained <= limit.sustained:
        raise BadOption(f"illuminator: 'sustained' can only lower the interlock: 0 to {limit.sustained}")
    return DutyLimit(sustained, limit.burst_s)


class HeatBudget:
    """Pure book-keeping of the lamp's heat over time; seconds come from the caller.

    What was before is not known, so it starts warm, or a program that starts again and again would burn the lamp:
    dimmed at its sustained power until it has rested, switched (where resting is darkness) with half of its burst.
    """

    def __init__(self, limit: DutyLimit, *, switched: bool) -> None:
        self._limit, self._switched = limit, switched
        self._heat = limit.cap / 2 if switched else limit.cap
        self._resting = False
        self._power = 0.0
        self._duty = 1.0
        self._at_s: float | None = None

    def grant(self, requested: float, now_s: float, duty: float = 1.0) -> tuple[float, float | None]:
        """The power allowed from `now_s` on, and after how many seconds to ask again (None: it can stay).

        `duty` is the share of the time from now on in which a strobe lets that power through.
        """
        self._age(now_s)
        self._duty = min(1.0, max(0.0, duty))
        cap, sustained = self._limit.cap, self._limit.sustained
        if self._heat >= cap - 1e-9:
            self._resting = True
        elif self._heat <= cap / 2:
            self._resting = False
        rest = min(1.0, sustained / self._duty) if self._duty > 0.0 else 1.0
        power = min(requested, rest) if self._resting else requested
        if self._switched:
            held = self._resting and self._duty > sustained
            power = float(power >= ON_OFF_THRESHOLD and not held)
        self._power = power
        return power, self._again_s(requested, cap, sustained)

    def _again_s(self, requested: float, cap: float, sustained: float) -> float | None:
        warmth = self._power * self._duty
        if warmth > sustained + 1e-12:
            return (cap - self._heat) / (warmth - sustained)
        if self._resting and requested > self._power and warmth < sustained - 1e-12:
            return (self._heat - cap / 2) / (sustained - warmth) + 1e-6
        return None

    def _age(self, now_s: float) -> None:
        if self._at_s is not None:
            self._heat += (self._power * self._duty - self._limit.sustained) * max(0.0, now_s - self._at_s)
            self._heat = min(self._limit.cap, max(0.0, self._heat))
        self._at_s = now_s


class TemperatureLimit:
    """Power by the heat sink's temperature: full below the derating, none from `cut_c` on until it has cooled."""

    def __init__(self, cut_c: float = CUT_C) -> None:
        if not 0.0 < cut_c <= CUT_C:
            raise BadOption(f"illuminator: 'hot_c' can only lower the interlock: up to {CUT_C:.0f}")
        self._cut_c = cut_c
        self._cut = False

    def cap(self, celsius: float | None) -> float:
        """The highest power now, 0..1; None or no number: the thermometer fails."""
        if celsius is None or not math.isfinite(celsius) or celsius < BROKEN_C:
            return 0.0 if self._cut else BLIND_CAP
        if celsius >= self._cut_c:
            self._cut = True
        elif celsius < self._cut_c - BACK_C:
            self._cut = False
        return 0.0 if self._cut else min(1.0, max(0.0, (self._cut_c - celsius) / DERATE_C))


class StrobeLine:
    """The duty of a camera's strobe line, from its edges; a line that rests counts as always on.

    Edges come in a thread of the pin library, questions from the camera's and the interlock's.
    """

    def __init__(self) -> None:
        self._pulses: deque[tuple[float, float]] = deque()
        self._high_since_s: float | None = None
        self._lock = threading.Lock()

    def edge(self, high: bool, at_s: float) -> None:  # noqa: FBT001 - a line's level
        """The line changed at a monotonic time."""
        with self._lock:
            if high:
                self._high_since_s = at_s
            elif self._high_since_s is not None:
                self._pulses.append((self._high_since_s, max(at_s, self._high_since_s)))
                self._high_since_s = None
            while self._pulses and self._pulses[0][1] < at_s - LINE_WINDOW_S:
                self._pulses.popleft()

    def duty(self, now_s: float) -> float:
        """Share of the last LINE_WINDOW_S in which it was high; 1.0 when nothing moved in it."""
        begin_s = now_s - LINE_WINDOW_S
        with self._lock:
            pulses, high_since_s = tuple(self._pulses), self._high_since_s
        high = [(max(begin_s, since), min(now_s, until)) for since, until in pulses if until > begin_s]
        if not high:
            return 1.0
        if high_since_s is not None:
            high.append((max(begin_s, high_since_s), now_s))
        return min(1.0, sum(max(0.0, until - since) for since, until in high) / LINE_WINDOW_S)
