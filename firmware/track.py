# SPDX-License-Identifier: Apache-2.0
"""The way of a unit: its last fixes, which of them are believed, and where it was at any moment between. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import replace
from math import cos, hypot, radians, sin
from typing import Final

from drivers.types import Fix

M_PER_DEG: Final = 111_195.0  # of latitude, on a sphere of 6371 km
KEPT_S: Final = 120.0  # a read may be told this long after its best frame
MAX_FIXES: Final = 2400  # of a receiver that gives 20 a second
REACH_S: Final = 5.0  # further from a fix than that nobody knows where a vehicle is
FASTEST_MPS: Final = 100.0  # more between two fixes is a jump
SLACK_M: Final = 50.0  # what a good receiver may be off by when it starts
SETTLED_FIXES: Final = 5  # so many jumped fixes that agree with each other are believed
ACCELERATION_MPS2: Final = 3.0  # of a vehicle that brakes, turns or pulls away, unseen
S_PER_NS: Final = 1e-9

Place = tuple[float, float]  # latitude, longitude, degrees


def _east(degrees: float) -> float:
    """A difference or a value of longitude, in -180..180."""
    return (degrees + 180.0) % 360.0 - 180.0


def metres(a: Place, b: Place) -> float:
    """The distance of two places; flat, so for what a unit can move in minutes (or to tell that it is far)."""
    north = (b[0] - a[0]) * M_PER_DEG
    return hypot(north, _east(b[1] - a[1]) * M_PER_DEG * cos(radians((a[0] + b[0]) / 2)))


def _at_ns(fix: Fix) -> int:
    return fix.monotonic_ns or 0


def _follows(before: Fix, after: Fix) -> bool:
    """Whether a vehicle could have come from one to the other."""
    seconds = (_at_ns(after) - _at_ns(before)) * S_PER_NS
    reach = FASTEST_MPS * seconds + SLACK_M + before.accuracy_m + after.accuracy_m
    return metres((before.lat, before.lon), (after.lat, after.lon)) <= reach


def _joined(before: Fix, after: Fix) -> bool:
    """Whether the way from one to the next is known: no long gap, no jump."""
    return (_at_ns(after) - _at_ns(before)) * S_PER_NS <= 2 * REACH_S and _follows(before, after)


def _between(a: Fix, b: Fix, at_ns: int) -> Fix:
    """On the straight way from one fix to the next."""
    part = (at_ns - _at_ns(a)) / (_at_ns(b) - _at_ns(a))
    near = a if part < 0.5 else b
    lon = _east(a.lon + part * _east(b.lon - a.lon))
    return _doubted(
        replace(
            near, lat=a.lat + part * (b.lat - a.lat), lon=lon, accuracy_m=max(a.accuracy_m, b.accuracy_m)
        ),
        at_ns,
    )


def _reckoned(fix: Fix, at_ns: int) -> Fix:
    """From the nearest fix by its speed and course; without a course the whole way is doubt."""
    way_m = fix.speed_mps * (at_ns - _at_ns(fix)) * S_PER_NS
    if fix.course_deg is None:
        return _doubted(replace(fix, accuracy_m=fix.accuracy_m + abs(way_m)), at_ns)
    course = radians(fix.course_deg)
    lat = fix.lat + way_m * cos(course) / M_PER_DEG
    if abs(lat) >= 90.0:
        return _doubted(fix, at_ns)
    lon = _east(fix.lon + way_m * sin(course) / (M_PER_DEG * max(1e-6, cos(radians(lat)))))
    return _doubted(replace(fix, lat=lat, lon=lon), at_ns)


def _doubted(fix: Fix, at_ns: int) -> Fix:
    """With its age, and the doubt that comes of it and of the fix's own moment."""
    age_s = abs(at_ns - _at_ns(fix)) * S_PER_NS
    doubt_m = ACCELERATION_MPS2 * age_s**2 / 2 + fix.speed_mps * (fix.time_uncertainty_us or 0) * 1e-6
    return replace(fix, accuracy_m=fix.accuracy_m + doubt_m, age_s=age_s)


class Track:
    """Fixes with a `monotonic_ns`, in their order. Not thread-safe."""

    def __init__(self) -> None:
        self._fixes: deque[Fix] = deque(maxlen=MAX_FIXES)
        self._jumped: list[Fix] = []
        self.jumps = 0  # fixes that were not believed when they came

    def add(self, fix: Fix) -> bool:
        """Takes the receiver's next fix; False when it is no news or jumped where no vehicle could have come to."""
        newest = self._jumped[-1] if self._jumped else self._fixes[-1] if self._fixes else None
        if newest is not None and _at_ns(fix) <= _at_ns(newest):
            return False
        if not self._fixes or _follows(self._fixes[-1], fix):
            self._jumped.clear()
            self._keep(fix)
            return True
        if self._jumped and not _follows(self._jumped[-1], fix):
            self._jumped.clear()
        self._jumped.append(fix)
        self.jumps += 1
        if len(self._jumped) < SETTLED_FIXES:
            return False
        settled, self._jumped = self._jumped, []
        for jumped in settled:
            self._keep(jumped)
        return True

    def _keep(self, fix: Fix) -> None:
        self._fixes.append(fix)
        while (_at_ns(fix) - _at_ns(self._fixes[0])) * S_PER_NS > KEPT_S:
            self._fixes.popleft()

    def at(self, monotonic_ns: int) -> Fix | None:
        """Where the unit was, with accuracy and age; None further than REACH_S from any fix."""
        after = bisect_right(self._fixes, monotonic_ns, key=_at_ns)
        around = [self._fixes[i] for i in (after - 1, after) if 0 <= i < len(self._fixes)]
        if len(around) == 2 and _joined(around[0], around[1]):
            return _between(around[0], around[1], monotonic_ns)
        near = min(around, key=lambda fix: abs(_at_ns(fix) - monotonic_ns), default=None)
        if near is None or abs(_at_ns(near) - monotonic_ns) * S_PER_NS > REACH_S:
            return None
        return _reckoned(near, monotonic_ns)
