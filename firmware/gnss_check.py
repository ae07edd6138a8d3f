# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the receiver, or with where it says the unit is. Pure: fed by PlaceWatch, timed by its caller."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from drivers.types import Fix, GnssCounters
from firmware.health import Condition, Finding, well
from firmware.lasting import Lasting
from firmware.track import Place, metres

LOST_S: Final = 3.0  # a receiver that comes back sooner was not lost
BACK_S: Final = 3.0
NO_FIX_S: Final = 120.0  # a cold start under open sky takes half a minute, in a street longer
WINDOW_S: Final = 30.0  # over which damaged sentences are counted
MIN_DAMAGED: Final = 10  # in a window; a few are plugging in and lightning
MAX_DAMAGED_SHARE: Final = 1 / 3
OLD_WEEK_S: Final = 5.0
NEW_WEEK_S: Final = 60.0
MOVED_S: Final = 300.0  # a pole that was hit stays where it is; reflections wander back
MOVED_M: Final = 25.0
MOVED_ACCURACIES: Final = 3.0

LOST = Finding(
    "gnss", Condition.FAILED, "lost", "the receiver does not answer: check its cable and its power"
)
GARBAGE = Finding(
    "gnss",
    Condition.FAILED,
    "garbage",
    "what it sends is damaged: check the cable's shield and the option `baud`",
)
NO_FIX = Finding(
    "gnss", Condition.DEGRADED, "no_fix", "the receiver sees too little sky: check antenna, plug and view"
)
OLD_WEEK = Finding(
    "gnss",
    Condition.DEGRADED,
    "old_week",
    "its date is years behind and is corrected or left out: renew its firmware",
)
MOVED = Finding(
    "gnss", Condition.FAILED, "moved", "the unit is not where it was surveyed: go and look, or survey it anew"
)


class GnssCheck:
    """`look` gives one finding, the gravest; a fixed unit without position still works and is only degraded."""

    def __init__(self, surveyed: Place | None, *, mobile: bool) -> None:
        self._surveyed = None if mobile else surveyed
        self._mobile = mobile
        self._lost = Lasting(LOST_S, BACK_S)
        self._no_fix = Lasting(NO_FIX_S, BACK_S)
        self._old_week = Lasting(OLD_WEEK_S, NEW_WEEK_S)
        self._moved = Lasting(MOVED_S, MOVED_S)
        self._garbage = False
        self._window_from_s = 0.0
        self._counted = GnssCounters()

    def look(self, now_s: float, *, lost: bool, fix: Fix | None, counters: GnssCounters) -> Finding:
        """`lost`: the port does not answer; `fix`: the newest, None while there is none; `now_s` is monotonic."""
        self._count(now_s, counters)
        self._no_fix.step(fix is None, now_s)
        self._lost.step(lost, now_s)
        if fix is not None:
            self._old_week.step(fix.rollovers > 0, now_s)
            self._moved.step(self._is_away(fix), now_s)
        return self._gravest()

    def distance_m(self, fix: Fix) -> float | None:
        """From the surveyed place; None for a unit that has none."""
        return None if self._surveyed is None else metres(self._surveyed, (fix.lat, fix.lon))

    def _is_away(self, fix: Fix) -> bool:
        distance_m = self.distance_m(fix)
        return distance_m is not None and distance_m > max(MOVED_M, MOVED_ACCURACIES * fix.accuracy_m)

    def _count(self, now_s: float, counters: GnssCounters) -> None:
        """Once a window: whether too many of its sentences were damaged. A port that was opened anew counts anew."""
        if now_s - self._window_from_s < WINDOW_S and counters.used >= self._counted.used:
            return
        damaged = counters.damaged - self._counted.damaged
        sound = counters.used + counters.void - self._counted.used - self._counted.void
        if now_s - self._window_from_s >= WINDOW_S:
            self._garbage = damaged >= MIN_DAMAGED and damaged > MAX_DAMAGED_SHARE * (damaged + sound)
        self._window_from_s, self._counted = now_s, counters

    def _gravest(self) -> Finding:
        """An alarm that stands is not hidden by what follows it (a thief pulls the antenna)."""
        if self._moved.told:
            return MOVED
        told = ((self._lost.told, LOST), (self._garbage, GARBAGE), (self._no_fix.told, NO_FIX))
        failed = next((finding for is_told, finding in told if is_told), None)
        if failed is not None:
            return failed if self._mobile else replace(failed, condition=Condition.DEGRADED)
        return OLD_WEEK if self._old_week.told else well("gnss")
