# SPDX-License-Identifier: Apache-2.0
"""Day or night: contrary evidence has to last before the mode turns, and between dusk and dawn lies a wide band."""

from __future__ import annotations

import math
from typing import Final

NIGHT_STOPS: Final = (
    2.0  # by day: gain that a plate needs at the longest shutter (2 stops = 4x) when night falls
)
DAY_STOPS: Final = 0.0  # by night with the lamp dark: day breaks when the longest shutter needs no gain
FIRST_DWELL_S: Final = 1.0  # the first look decides fast: a start at night must not be blind for long


def by_need(need: float) -> bool | None:
    """Night by the stops of gain that a plate would need without the lamp; None: neither."""
    if math.isnan(need):
        return None
    return True if need > NIGHT_STOPS else False if need < DAY_STOPS else None


def by_lux(lux: float | None, night_lux: float, day_lux: float) -> bool | None:
    """Night by a photodiode's lux; None: neither, or it says nothing."""
    if lux is None or not math.isfinite(lux):
        return None
    return True if lux < night_lux else False if lux > day_lux else None


def told(sky: bool | None, lux: float | None, need: float | None) -> bool | None:  # noqa: FBT001 - evidence
    """What both say together: night when the sky is dark, or when plates need more light than it gives.

    Day needs the picture's word, and a sky that is bright where there is a photodiode (`sky`: `by_lux`).
    """
    if sky:
        return True
    dark = None if need is None else by_need(need)
    between = sky is None and lux is not None and math.isfinite(lux)
    return None if between and dark is False else dark


class DayNight:
    """`night` turns when contrary evidence has lasted for `dwell_s`."""

    def __init__(self, dwell_s: float) -> None:
        self._dwell_s = dwell_s
        self._contrary_since_s: float | None = None
        self._settled = False
        self.night = False

    @property
    def doubted(self) -> bool:
        """Whether the last evidence spoke against the mode."""
        return self._contrary_since_s is not None

    def see(self, dark: bool | None, now_s: float) -> bool:  # noqa: FBT001 - the evidence itself
        """Takes evidence (None: between the thresholds) -> whether the mode has turned."""
        if dark is None or dark is self.night:
            self._contrary_since_s = None
            self._settled = self._settled or dark is not None
            return False
        if self._contrary_since_s is None:
            self._contrary_since_s = now_s
        if now_s - self._contrary_since_s < (self._dwell_s if self._settled else FIRST_DWELL_S):
            return False
        self.night = dark
        self._contrary_since_s, self._settled = None, True
        return True
