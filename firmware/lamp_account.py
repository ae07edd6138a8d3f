# SPDX-License-Identifier: Apache-2.0
"""What the lamp really gave and gives, as exposure has to reckon with it: asked for, granted, held back, refused."""

from __future__ import annotations

from collections import deque
from typing import Final

from drivers.types import IlluminatorState
from firmware.exposure_settings import ExposureSettings
from firmware.exposure_stops import Range

KEPT: Final = 64  # changes of its power that are remembered
HELD_BACK_NS: Final = 30_000_000_000  # how long it is not asked for more than its interlock gave
REFUSED_NS: Final = 1_000_000_000  # after which a lamp that stays dark is no longer reckoned with


class LampAccount:
    """`out`: it is asked for and stays dark (too hot, no current to spare). Times are on the frames' clock."""

    def __init__(self, settings: ExposureSettings) -> None:
        self._settings = settings
        self._powers: deque[tuple[int, float]] = deque(maxlen=KEPT)
        self._ceiling, self._ceiling_until_ns = settings.lamp_max, 0
        self._dimmable = True
        self._asked_since_ns = 0
        self.out = False

    @property
    def range(self) -> Range:
        """From the least to the most that may be asked for; a lamp that is on or off is on."""
        return (min(self._settings.lamp_min, self._ceiling), self._ceiling) if self._dimmable else (1.0, 1.0)

    def asked(self, power: float, now_ns: int) -> None:
        """From now on it is asked for so much."""
        self._powers.append((now_ns, power))

    def at(self, at_ns: int, otherwise: float) -> float:
        """Its power at a moment; `otherwise` before the first that is remembered."""
        given = [power for since_ns, power in self._powers if since_ns < at_ns]
        return given[-1] if given else otherwise

    def heed(self, state: IlluminatorState, now_ns: int, *, wanted: bool) -> bool:
        """What it does now; `wanted`: it was asked to shine -> whether `out` has changed."""
        self._dimmable = state.dimmable
        if self._powers:
            self._powers[-1] = (self._powers[-1][0], state.power)
        if state.limited and state.power > 0.0:
            self._ceiling = max(self._settings.lamp_min, state.power)
            self._ceiling_until_ns = now_ns + HELD_BACK_NS
        elif now_ns > self._ceiling_until_ns:
            self._ceiling = max(self._settings.lamp_min, min(self._settings.lamp_max, state.sustained))
        if not wanted or state.power > 0.0:
            self._asked_since_ns = now_ns
        out = (self.out or now_ns - self._asked_since_ns > REFUSED_NS) and state.power <= 0.0
        changed, self.out = out is not self.out, out
        return changed
