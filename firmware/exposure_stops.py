# SPDX-License-Identifier: Apache-2.0
"""One number for how much light a frame gets, in stops (log2), and how shutter, lamp and gain share it.

On the way up the shutter opens to its bound first (it costs nothing), then the lamp gets brighter (it costs heat), and
gain comes last (it costs noise); on the way down they go back in the reverse order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Range = tuple[float, float]


def stops(shutter_us: float, gain: float, lamp: float = 1.0) -> float:
    """How much signal these give, log2 of microseconds * gain * lamp power; all must be positive."""
    return math.log2(shutter_us) + math.log2(gain) + math.log2(lamp)


@dataclass(frozen=True, slots=True)
class Share:
    """What each part does: `lamp` is 0 by day."""

    shutter_us: float
    lamp: float
    gain: float


@dataclass(frozen=True, slots=True)
class Stops:
    """The range that a camera and its lamp cover; `lamp` is None where no lamp is lit (by day)."""

    shutter_us: Range
    gain: Range
    lamp: Range | None = None

    @property
    def lowest(self) -> float:
        """The least signal that can be had."""
        return stops(self.shutter_us[0], self.gain[0], self.lamp[0] if self.lamp else 1.0)

    @property
    def highest(self) -> float:
        """The most."""
        return stops(self.shutter_us[1], self.gain[1], self.lamp[1] if self.lamp else 1.0)

    def clamped(self, wanted: float) -> float:
        """The nearest amount in the range."""
        return min(max(wanted, self.lowest), self.highest)

    def share(self, wanted: float) -> Share:
        """How to make that much signal, in the order of the module's docstring; clamped to the range."""
        rest = self.clamped(wanted) - self.lowest
        taken = []
        for low, high in (self.shutter_us, self.lamp or (1.0, 1.0), self.gain):
            step = min(rest, math.log2(high / low))
            taken.append(min(low * 2.0**step, high))
            rest -= step
        return Share(taken[0], taken[1] if self.lamp else 0.0, taken[2])
