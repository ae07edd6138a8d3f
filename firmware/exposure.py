# SPDX-License-Identifier: Apache-2.0
"""Exposure for plates, not for pretty pictures: after each frame, what camera, lamp and filter do next.

The light of the road is estimated from each frame under the exposure that the frame says it had, so that a delay of
some frames between a command and its effect cannot make it swing. How much brighter than the road plates are is learned
from plates that were found; while a plate is in the picture, it must stay in the band in which characters can be read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from drivers.types import CameraCaps, Exposure, Frame, IlluminatorState
from firmware.daynight import DayNight, by_lux, told
from firmware.exposure_settings import ExposureSettings
from firmware.exposure_stops import Stops, stops
from firmware.lamp_account import LampAccount
from firmware.lamp_probe import Probe, Prober
from firmware.metering import Grey, Road, level, plate_levels, road, sample, usable
from firmware.road_light import RoadLight

TARGET: Final = level(130)  # where a plate's ground should come out
BAND: Final = (
    level(75),
    0.8,
)  # where characters can be read: from dark, but above the noise, to a washed-out ground
SCENE_TARGET: Final = level(75)  # where the road should come out in the long frame
PLATE_OVER_ROAD: Final = {False: 1.8, True: 3.5}  # stops, without and under the lamp, until plates were seen
PLATE_OVER_ROAD_RANGE: Final = (0.5, 8.0)
LEARNING: Final = 0.1  # share of what a frame's plates say
PULL: Final = 1.0  # stops by which plates in sight move the exposure: when it acts, a fast car is elsewhere
NOISY_GAIN: Final = 4.0  # above it plates may come out darker ...
NOISE_SLOPE: Final = 0.3  # ... by that many stops for each further doubling
UP: Final = 1.5  # stops a frame
DOWN: Final = 2.0
HYSTERESIS: Final = 0.25  # stops: smaller changes are not made
SETTLE_S: Final = 0.35  # after day turned to night or back: the filter moves, frames are on their way
FRAME_SHARE: Final = 0.9  # of the time between frames that the shutter may take
LONG_OVER_SHORT: Final = 1.5  # a long frame is at least that much longer
MOST_LONG: Final = 4  # frames in a row: if more are that long, the camera does not do what it is told
STEADY_FRAMES: Final = 6  # with one exposure before the lamp is probed
BRIGHT: Final = 2.0  # stops above the least that lamp and camera can do: it may be day
FASTEST_MPH: Final = 150.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to do next. `lamp_power` 0..1; `filter_in`: the IR-cut filter before the sensor; `long`: a scene exposure.

    `probe`: what a look without the lamp has just shown, None for most frames.
    """

    exposure: Exposure
    lamp_power: float
    night: bool
    filter_in: bool
    long: bool = False
    probe: Probe | None = None


class ExposureControl:
    """Driven frame by frame, no clock and no device of its own; call it from one thread."""

    def __init__(self, caps: CameraCaps, settings: ExposureSettings) -> None:
        self._caps, self._settings = caps, settings
        self._modes = DayNight(settings.dwell_s)
        self._prober = Prober(settings.probe_s)
        self._light = RoadLight()
        self._ratio = dict(PLATE_OVER_ROAD)
        self._mph = settings.road_speed_mph
        self._lamp = LampAccount(settings)
        self._now_ns = self._seen_ns = self._settled_ns = 0
        self._looked: Grey | None = None
        self._sky_is_bright = False
        self._last_lit: tuple[Road, Exposure] | None = None
        self._steady = self._since_long = self._longs = 0
        self._applied = True  # the camera says which exposure its frames had
        self._long_us: float | None = None
        self._wanted = self._at = self._stops().highest - 4.0
        self._command = self._short(self._at)

    def first(self) -> Command:
        """What to begin with, before the first frame: day, the lamp dark."""
        return self._command

    def faster(self, mph: float | None) -> None:
        """The measured speed of the road: can only shorten the shutter; None or no number: nothing is known."""
        known = mph is not None and math.isfinite(mph)
        measured = min(mph, FASTEST_MPH) if known and mph is not None else 0.0
        self._mph = max(self._settings.road_speed_mph, measured)

    def is_long(self, frame: Frame) -> bool:
        """Whether a frame has the long exposure: the scene picture is taken of it, plates in it are smeared.

        Long ones come one at a time. Where all are, the camera keeps its own shutter: better to read them than none.
        """
        return self._alternates and frame.metadata.applied and self._as_long(frame)

    def _as_long(self, frame: Frame) -> bool:
        """Whether its shutter is nearer to the long one's than to the longest for plates."""
        long_us = self._long_us
        return long_us is not None and frame.exposure.exposure_us > math.sqrt(self._longest_us() * long_us)

    @property
    def _alternates(self) -> bool:
        """Whether the camera gives long and short frames in turn, as far as is known."""
        return self._caps.per_frame and self._applied and self._longs < MOST_LONG

    def after(
        self,
        frame: Frame,
        plates: Sequence[NDArray[Any]],
        now_ns: int,
        *,
        lamp: IlluminatorState | None = None,
        lux: float | None = None,
    ) -> Command:
        """The next command. `plates`: corners (4, 2) px found in `frame`; `now_ns` on the frames' clock.

        `lamp` is what the lamp does now, `lux` what a photodiode says. A frame that tells nothing (a broken or repeated
        picture, an exposure that is no number) changes nothing.
        """
        self._now_ns = max(self._now_ns, now_ns)
        if lamp is not None:
            self._heed(lamp)
        probe = None
        if usable(frame.pixels) and _sound(frame.exposure):
            looked = sample(frame.pixels)
            if not self._repeated(looked):
                probe = self._look(frame, road(looked), plates)
                self._decide(probe, lux)
        self._longs, self._applied = self._longs + 1 if self._as_long(frame) else 0, frame.metadata.applied
        self._maybe_probe()
        self._command = replace(self._maybe_long(self._short(self._steered())), probe=probe)
        self._lamp.asked(self._command.lamp_power, self._now_ns)
        return self._command

    def _heed(self, lamp: IlluminatorState) -> None:
        """What the lamp gives is all there is; one that stays dark leaves it all to the gain until it is back."""
        wanted = self._command.night and self._command.lamp_power > 0.0 and not self._prober.running
        if self._lamp.heed(lamp, self._now_ns, wanted=wanted):
            self._turn()

    def _repeated(self, looked: Grey) -> bool:
        """A hung camera gives the same picture again and again; a living sensor's noise never repeats."""
        same = self._looked is not None and np.array_equal(self._looked, looked)
        self._looked = looked
        return same

    @property
    def _lit(self) -> bool:
        """Whether the lamp belongs to the reckoning."""
        return self._modes.night and self._settings.lamp and not self._lamp.out

    def _lamp_at(self, at_ns: int) -> float:
        """The lamp's power when a frame was exposed; 1.0 where the lamp does not count."""
        return self._lamp.at(at_ns, self._command.lamp_power) if self._lit else 1.0

    def _look(self, frame: Frame, found: Road, plates: Sequence[NDArray[Any]]) -> Probe | None:
        """Meters one frame, unless it is a long or a dark one."""
        passed_s = min(1.0, max(0.0, (frame.monotonic_ns - self._seen_ns) / 1e9))
        self._seen_ns = frame.monotonic_ns
        if plates:
            self._prober.plate_seen(self._now_ns)
        if self._prober.running:
            return self._prober.take(frame, found, self._now_ns)
        power = self._lamp_at(frame.monotonic_ns)
        if self.is_long(frame) or power <= 0.0 or frame.monotonic_ns < self._settled_ns:
            return None
        applied = stops(frame.exposure.exposure_us, frame.exposure.gain, power)
        self._light.see(found, applied, passed_s)
        self._steady = self._steady + 1 if self._is_mine(frame) else 0
        self._last_lit = (found, frame.exposure)
        self._meter([shown - applied for shown in plate_levels(frame.pixels, plates)])
        return None

    def _is_mine(self, frame: Frame) -> bool:
        """Whether the frame has the exposure that was last asked for plates."""
        return self._last_lit is not None and frame.exposure == self._last_lit[1]

    def _meter(self, plates: list[float]) -> None:
        """Turns the road's light and the plates' (stops at one microsecond) into how much signal is wanted."""
        lit, light = self._lit, self._light.value
        if light is None:
            return
        wanted = self._quieter(TARGET - self._ratio[lit] - light)
        if self._light.at_most:
            wanted = max(wanted, self._wanted)  # what can't be seen is no reason to go darker
        if plates:
            low, high = PLATE_OVER_ROAD_RANGE
            learned = self._ratio[lit] + LEARNING * (sum(plates) / len(plates) - light - self._ratio[lit])
            self._ratio[lit] = min(max(learned, low), high)
            held = min(max(wanted, BAND[0] - min(plates)), BAND[1] - max(plates))
            wanted = min(max(held, wanted - PULL), wanted + PULL)
        self._wanted = self._stops().clamped(wanted)

    def _quieter(self, wanted: float) -> float:
        """Less signal where the rest would be gain, which brings noise along."""
        gain = self._stops().share(wanted).gain
        return wanted - NOISE_SLOPE * max(0.0, math.log2(gain / NOISY_GAIN))

    def _decide(self, probe: Probe | None, lux: float | None) -> None:
        """Day or night: by the light that plates would need, unless a photodiode says that it is dark anyway."""
        settings, light = self._settings, self._light.value
        need = None
        if probe is not None:
            seen = probe.road.level - stops(probe.exposure.exposure_us, probe.exposure.gain)
            need = self._need(seen)
        elif not self._lit and light is not None and self._now_ns >= self._settled_ns:
            need = self._need(light)
        sky = by_lux(lux, settings.night_lux, settings.day_lux)
        self._sky_is_bright = sky is False
        if need is None and not sky:
            return  # under the lamp only a probe tells
        if self._modes.see(told(sky, lux, need), self._now_ns / 1e9):
            self._turn()

    def _need(self, light: float) -> float:
        """Stops of gain that plates would need at the longest shutter in this light of the road."""
        return TARGET - PLATE_OVER_ROAD[False] - light - stops(self._longest_us(), 1.0)

    def _turn(self) -> None:
        """Day became night or night day: what was learned of the light is void, frames on their way are too."""
        self._light = RoadLight()
        self._settled_ns = self._now_ns + int(SETTLE_S * 1e9)
        self._long_us, self._since_long, self._steady = None, 0, 0
        self._last_lit = None
        self._prober = Prober(self._settings.probe_s)
        reach = self._stops()
        self._wanted = reach.clamped(stops(self._longest_us(), NOISY_GAIN if self._lit else 1.0))
        self._at = self._wanted

    def _frame_us(self) -> float:
        """What the time between frames leaves for the shutter."""
        return FRAME_SHARE * 1e6 / max(1.0, self._caps.fps)

    def _longest_us(self) -> float:
        """The shutter's bound for plates: speed, the camera, and the time between frames."""
        low, high = self._caps.exposure_us
        rule = self._settings.shutter_us(self._mph)
        return max(1.0, low, min(rule, high, self._frame_us()))

    def _stops(self) -> Stops:
        """What can be done now."""
        low, high = max(1.0, self._caps.gain[0]), self._caps.gain[1]
        gain = (low, max(low, min(high, self._settings.max_gain)))
        lamp = self._lamp.range if self._lit else None
        return Stops((max(1.0, float(self._caps.exposure_us[0])), self._longest_us()), gain, lamp)

    def _steered(self) -> float:
        """Towards what is wanted, not too fast; nothing moves while the lamp is probed."""
        step = self._wanted - self._at
        if self._prober.running or abs(step) < HYSTERESIS:
            return self._at
        self._steady = 0
        return self._at + min(max(step, -DOWN), UP)

    def _short(self, wanted: float) -> Command:
        """A command for plates."""
        self._at = self._stops().clamped(wanted)
        share = self._stops().share(self._at)
        night = self._modes.night
        exposure = Exposure(max(1, math.floor(share.shutter_us)), round(share.gain, 3))
        lamp = 0.0 if self._prober.dark else round(share.lamp, 3)
        if night and self._lamp.out:
            lamp = self._settings.lamp_max  # asked for all the same: it may come back
        return Command(exposure, lamp, night, filter_in=not night)

    def _maybe_probe(self) -> None:
        if not self._lit or self._prober.running or self._last_lit is None or self._steady < STEADY_FRAMES:
            return
        bright = self._at < self._stops().lowest + BRIGHT
        if self._prober.due(self._now_ns, hurry=bright or self._sky_is_bright or self._modes.doubted):
            self._prober.begin(*self._last_lit, self._lamp_at(self._now_ns), self._now_ns)

    def _maybe_long(self, short: Command) -> Command:
        """A long exposure for the scene now and then by night."""
        wanted = self._modes.night and self._alternates and self._settings.scene_every > 0
        if not wanted or self._prober.running:
            return short
        self._since_long += 1
        if self._since_long < self._settings.scene_every:
            return short
        self._since_long = 0
        return self._long(short)

    def _long(self, short: Command) -> Command:
        """A long exposure that shows the road, where the short one does not."""
        low = short.exposure.exposure_us * LONG_OVER_SHORT
        most = self._settings.scene_exposure_us, self._caps.exposure_us[1], self._frame_us()
        if self._light.value is None or min(most) <= low:
            return short
        lamp = math.log2(short.lamp_power) if short.lamp_power > 0.0 else 0.0
        wanted = SCENE_TARGET - self._light.value - lamp
        if wanted <= stops(low, short.exposure.gain):
            return short
        gain = max(1.0, self._caps.gain[0]), short.exposure.gain
        share = Stops((low, min(most)), (min(gain), max(gain))).share(wanted)
        self._long_us = share.shutter_us
        exposure = Exposure(math.floor(share.shutter_us), round(share.gain, 3))
        return replace(short, exposure=exposure, long=True)


def _sound(exposure: Exposure) -> bool:
    """Whether a frame's exposure can be reckoned with."""
    shutter, gain = float(exposure.exposure_us), float(exposure.gain)
    return math.isfinite(shutter) and math.isfinite(gain) and shutter > 0.0 and gain > 0.0
