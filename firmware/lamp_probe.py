# SPDX-License-Identifier: Apache-2.0
"""Looks at the road without the lamp for a moment, rarely and when no plate is near: how much light is its own?

The same frames answer two questions: whether it is still night, and whether the lamp gives light at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from drivers.types import Exposure, Frame
from firmware.metering import Road

DARK_FRAMES: Final = 5  # three may still have been lit: a camera's commands and frames lag by as many
LIT_FRAMES: Final = 5
QUIET_S: Final = 1.0  # without a plate before the lamp may go dark ...
PATIENCE: Final = 10  # ... unless that many probes' time has passed
MOST_S: Final = 12.0  # a probe that takes longer (the camera is gone, or below a frame a second) is given up
HURRY_S: Final = 2.0  # between probes that were asked for


@dataclass(frozen=True, slots=True)
class Probe:
    """Mean grey of the near field with the lamp, without it, and with it again, all under one `exposure`.

    `road`: the road in the darkest frame; `power`: what the lamp gave in the lit ones (0..1).
    """

    before: float
    dark: float
    after: float
    road: Road
    exposure: Exposure
    power: float


class Prober:
    """Says when the lamp is to be dark, and gathers the frames; nanoseconds are on the frames' clock."""

    def __init__(self, probe_s: float) -> None:
        self._probe_s = probe_s
        self._last_ns: int | None = None
        self._plate_ns = 0
        self._begun_ns: int | None = None
        self._lit_ns: int | None = None
        self._before: tuple[float, Exposure, float] | None = None
        self._dark: list[tuple[Road, Exposure]] = []
        self._lit: list[tuple[Road, Exposure]] = []

    @property
    def running(self) -> bool:
        """Whether a probe is under way: exposure must not change."""
        return self._begun_ns is not None

    @property
    def dark(self) -> bool:
        """Whether the lamp has to be dark now."""
        return self.running and self._lit_ns is None

    def plate_seen(self, now_ns: int) -> None:
        """A plate is in the picture: no time to go dark."""
        self._plate_ns = now_ns

    def due(self, now_ns: int, *, hurry: bool) -> bool:
        """Whether it is time; `hurry`: somebody wants to know soon."""
        if self._last_ns is None:
            self._last_ns = now_ns
        waited_s = (now_ns - self._last_ns) / 1e9
        quiet = now_ns - self._plate_ns > QUIET_S * 1e9
        every_s = HURRY_S if hurry else self._probe_s
        return waited_s > every_s * PATIENCE or (quiet and waited_s > every_s)

    def begin(self, road: Road, exposure: Exposure, power: float, now_ns: int) -> None:
        """The lamp goes dark; `road` is the last lit look, under the exposure that stands."""
        self._begun_ns = self._last_ns = now_ns
        self._lit_ns = None
        self._before = (road.near_grey, exposure, power)
        self._dark, self._lit = [], []

    def cancel(self) -> None:
        """Nothing comes of this one."""
        self._begun_ns = None

    def take(self, frame: Frame, road: Road, now_ns: int) -> Probe | None:
        """A frame while it runs -> the finished probe; None while unfinished, or when it came to nothing."""
        if self._begun_ns is None or self._before is None:
            return None
        if now_ns - self._begun_ns > MOST_S * 1e9:
            self.cancel()
            return None
        if self._lit_ns is None:
            if frame.monotonic_ns > self._begun_ns:
                self._dark.append((road, frame.exposure))
            if len(self._dark) >= DARK_FRAMES:
                self._lit_ns = now_ns
            return None
        if frame.monotonic_ns > self._lit_ns:
            self._lit.append((road, frame.exposure))
        return self._finished() if len(self._lit) >= LIT_FRAMES else None

    def _finished(self) -> Probe | None:
        self.cancel()
        if self._before is None:
            return None
        before, exposure, power = self._before
        dark = [road for road, had in self._dark if had == exposure]
        if not dark or self._lit[-1][1] != exposure:
            return None  # the exposure changed meanwhile: nothing to compare
        darkest = min(dark, key=lambda road: road.near_grey)
        return Probe(before, darkest.near_grey, self._lit[-1][0].near_grey, darkest, exposure, power)
