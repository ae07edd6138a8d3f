# SPDX-License-Identifier: Apache-2.0
"""How bright the road is, whatever the camera does: an estimate that passing vehicles and head lamps don't move."""

from __future__ import annotations

import math
from typing import Final

from firmware.metering import Road

FOLLOW_S: Final = 1.0  # time constant
JUMP: Final = 1.0  # stops: more than this is no drift ...
JUMP_FRAMES: Final = 5  # ... and is believed after so many frames: a lorry or head lamps pass, a cloud stays


class RoadLight:
    """`value`: the road's level in stops at one microsecond, gain 1 and full lamp; None before the first look.

    `at_most`: the last look showed only that the road is darker than can be seen.
    """

    def __init__(self) -> None:
        self.value: float | None = None
        self.at_most = False
        self._odd = 0

    def see(self, found: Road, applied: float, passed_s: float) -> None:
        """A look at the road under `applied` stops of signal, `passed_s` after the last one."""
        light, value = found.level - applied, self.value
        self.at_most = found.floor
        if value is None:
            self.value = light
        elif found.washed_out:  # bounds are facts
            self.value = max(value, light)
        elif found.floor:
            self.value = min(value, light)
        elif abs(light - value) > JUMP:
            self._odd += 1
            if self._odd >= JUMP_FRAMES:
                self.value, self._odd = light, 0
        else:
            self._odd = 0
            self.value = value + (light - value) * (1.0 - math.exp(-passed_s / FOLLOW_S))
