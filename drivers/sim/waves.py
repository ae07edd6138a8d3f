# SPDX-License-Identifier: Apache-2.0
"""How the head of a queue stops and goes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

WAVE_STEPS: Final = 400
CREEP_MPS: Final = 0.002


@dataclass(frozen=True, slots=True)
class Wave:
    """How the head of a queue drives: stands for `stopped` of each period, then swells and dies as half a sine does."""

    period_s: float
    stopped: float
    cruise_mps: float  # the fastest

    def way_m(self, at_s: float) -> float:
        """Metres since world time 0."""
        times, way = _wave_table(self)
        turn, rest = divmod(at_s, self.period_s)
        return float(turn * way[-1] + np.interp(rest, times, way))

    def when_s(self, way_m: float) -> float:
        """World time at which it has come so far: the inverse of `way_m`."""
        times, way = _wave_table(self)
        turn, rest = divmod(way_m, float(way[-1]))
        return float(turn * self.period_s + np.interp(rest, way, times))


@lru_cache(maxsize=16)
def _wave_table(wave: Wave) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    times: NDArray[np.float64] = np.linspace(0.0, wave.period_s, WAVE_STEPS, dtype=np.float64)
    begin = wave.stopped * wave.period_s
    phase = np.clip((times - begin) / (wave.period_s - begin), 0.0, 1.0)
    way = wave.cruise_mps * (wave.period_s - begin) * (1.0 - np.cos(np.pi * phase)) / np.pi
    return times, way + CREEP_MPS * times  # it never quite stands: so each place has its time
