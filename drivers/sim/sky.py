# SPDX-License-Identifier: Apache-2.0
"""What the sky gives: light from sun to night without a step, and where the sun stands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np

from drivers.sim.tables import Bounds

HIGH_SUN_DEG: Final = 31.0  # about 50 klx, the light that the pictures are drawn for
BELOW_DEG: Final = -30.0
LOWEST_SUN_DEG: Final = 2.0  # lower, its light is taken as from here
MAX_BEAM_LUX: Final = 100_000.0
OVERCAST: Final = 0.6  # so much cloud leaves no shadow
ROAD_ALBEDO: Final = 0.2
MOST_FACING: Final = 3.0
DARK_LUX: Final = (
    500.0  # less is night: the plates' shutter is too short for it, filter out, lamp on (about sunset)
)

# Illuminance in lux of level ground under a clear sky by the sun's height in degrees (RCA Electro-Optics Handbook,
# 1974, section 6, natural illuminance; the twilight part is also that of the Explanatory Supplement to the
# Astronomical Almanac). Between these it is interpolated in its logarithm.
_SKY: Final = (
    (-90.0, 6.5e-4), (-18.0, 6.5e-4), (-12.0, 8.3e-3), (-6.0, 3.4), (-0.8, 453.0), (0.0, 759.0),
    (5.0, 4760.0), (10.0, 1.09e4), (20.0, 2.73e4), (30.0, 4.67e4), (40.0, 6.67e4), (50.0, 8.5e4),
    (60.0, 1.02e5), (90.0, 1.24e5),
)  # fmt: skip
_HEIGHT_DEG: Final = tuple(height for height, _ in _SKY)
_LOG_LUX: Final = tuple(math.log(lux) for _, lux in _SKY)


def clear_sky_lux(height_deg: float) -> float:
    """Illuminance of level ground with the sun at a height above (below: negative) the horizon."""
    return math.exp(float(np.interp(height_deg, _HEIGHT_DEG, _LOG_LUX)))


@dataclass(frozen=True, slots=True)
class Daylight:
    """Where the sun stands and what lights the road besides it. `turns_s`: day and night take turns of so many
    seconds (0: always night), a time lapse without dusk; None: the sun moves as said.
    """

    sun_elevation_deg: Annotated[float, Bounds(-90.0, 90.0)] = HIGH_SUN_DEG  # at the start
    sun_deg_per_min: Annotated[float, Bounds(-60.0, 60.0)] = 0.0
    sun_azimuth_deg: Annotated[float, Bounds(-180.0, 180.0)] = 130.0  # 0: over the road's end, right positive
    cloud: Annotated[float, Bounds(0.0, 0.99)] = 0.0  # share of the light that clouds take
    street_lux: Annotated[float, Bounds(0.0, 200.0)] = 2.0  # of street lamps, by night and day
    turns_s: float | None = None

    def sun_deg(self, at_s: float) -> float:
        """Height of the sun above the horizon."""
        if self.turns_s is not None:
            dark = self.turns_s <= 0.0 or int(at_s / self.turns_s) % 2 == 1
            return BELOW_DEG if dark else self.sun_elevation_deg
        return max(-90.0, min(90.0, self.sun_elevation_deg + self.sun_deg_per_min * at_s / 60.0))

    def lux(self, at_s: float) -> float:
        """Illuminance of the road, of sun, sky and street lamps."""
        return clear_sky_lux(self.sun_deg(at_s)) * (1.0 - self.cloud) + self.street_lux

    def sky_lux(self, at_s: float) -> float:
        """The part of `lux` that sun and sky give."""
        return self.lux(at_s) - self.street_lux

    def diffuse(self, at_s: float) -> float:
        """Share of the sky's light that comes from all sides; the rest comes from the sun's direction."""
        clear = float(
            np.interp(self.sun_deg(at_s), (0.0, 5.0, 10.0, 20.0, 40.0), (1.0, 0.6, 0.4, 0.28, 0.18))
        )
        return clear + (1.0 - clear) * min(1.0, self.cloud / OVERCAST)

    def beam_lux(self, at_s: float) -> float:
        """Illuminance by the sun alone of what faces it."""
        height = math.radians(max(self.sun_deg(at_s), LOWEST_SUN_DEG))
        return min(MAX_BEAM_LUX, self.sky_lux(at_s) * (1.0 - self.diffuse(at_s)) / math.sin(height))

    def facing(self, at_s: float) -> float:
        """Light on an upright surface that faces the camera, of that on the level road: small with the sun behind it.

        Sun by the angle at which it falls, half of the sky, and the road's own reflection from below.
        """
        level = self.lux(at_s)
        height, side = math.radians(self.sun_deg(at_s)), math.radians(self.sun_azimuth_deg)
        beam = self.beam_lux(at_s) * max(0.0, -math.cos(height) * math.cos(side))
        around = 0.5 * self.sky_lux(at_s) * self.diffuse(at_s) + 0.5 * ROAD_ALBEDO * level
        return min(MOST_FACING, (beam + around + self.street_lux) / level)

    def is_night(self, at_s: float) -> bool:
        """Whether there is less light than DARK_LUX."""
        return self.lux(at_s) < DARK_LUX


CLEAR_DAY: Final = Daylight()
