# SPDX-License-Identifier: Apache-2.0
"""From light to grey levels: how bright paint, plates, air and lamps come out at one moment.

Signal 1.0 is a white pixel: a perfect white surface in 50 klx at DAY_REFERENCE. Grey levels are 255 times the square
root of the signal, so grey levels are scaled by the root of what scales the light, and lights add as squares do.
The sensor sees two bands: the visible one in colour, and with its infrared-cut filter out the near infrared in grey.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from drivers.sim.optics import DAY_REFERENCE, Lamp, View
from drivers.types import Exposure

DRAWN_LUX: Final = 50_000.0  # the pictures are drawn as this light shows them
SUN_INFRARED: Final = (
    0.5  # of its visible effect, what the sun's near infrared does to a sensor without its filter
)
LUX_PER_W_M2: Final = 500.0  # visible light that has the effect of 1 W/m2 at 850 nm on the same sensor
NEAREST_M: Final = 1.0  # the lamp's light is not followed nearer than this
MIN_SHOWN: Final = 12.0  # grey levels of white in the visible band below which nobody sees its colours
# Response of a silicon sensor, of that at 850 nm, by wavelength in nm: read from makers' curves of machine-vision
# sensors (Sony Pregius family), which differ among each other by a fifth.
_RESPONSE: Final = (
    (700.0, 2.2),
    (750.0, 1.75),
    (800.0, 1.35),
    (850.0, 1.0),
    (900.0, 0.65),
    (940.0, 0.43),
    (1000.0, 0.15),
)

Plane = NDArray[np.float32]


def response(wavelength_nm: float) -> float:
    """How well the sensor sees infrared of a wavelength, 1.0 at 850 nm."""
    nanometres, seen = np.array(_RESPONSE).T
    return float(np.interp(wavelength_nm, nanometres, seen))


def watts_per_sr(lamp: Lamp) -> float:
    """Intensity in the beam's middle: the power over the solid angle of a Gaussian beam."""
    half = math.radians(lamp.half_angle_deg)
    return lamp.power_w / (math.pi * half * half / math.log(2.0))


def lamp_lux(lamp: Lamp, view: View, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """What the lamp at full power gives at points (..., 3) m, in lux of the same effect."""
    away = np.asarray(points, dtype=np.float64) - view.eye
    square = np.maximum((away**2).sum(axis=-1), NEAREST_M**2)
    cosine = (away @ view.rotation()[2]) / np.sqrt(square)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0)) / math.radians(lamp.half_angle_deg)
    beam = np.exp2(-(angle**2))
    return np.asarray(watts_per_sr(lamp) * response(lamp.wavelength_nm) * LUX_PER_W_M2 * beam / square)


@dataclass(frozen=True, slots=True)
class Light:
    """The light on the road and what the camera makes of it; methods give factors on drawn grey levels.

    `lux`: sun, sky and street lamps on the level road; `facing`: what of it falls on what faces the camera;
    `lamp`: 0..1 of the illuminator's power, over the exposure.
    """

    night: bool
    lamp: float
    exposure: Exposure
    lux: float = DRAWN_LUX
    facing: float = 1.0
    sun_lux: float = 0.0  # of it from the sky: it has infrared too
    filter_in: bool = True
    smear_us: float = 0.0  # how long what moves leaves its trace
    rows: tuple[float, ...] = ()  # of the lamp's light, from the first row to the last; none: all rows alike

    @property
    def ir(self) -> bool:
        """Whether the infrared lamp lights the picture."""
        return self.lamp > 0.0 and not self.filter_in

    @property
    def per_lux(self) -> float:
        """Signal of a white surface for each lux."""
        return self.exposure.exposure_us * self.exposure.gain / (DAY_REFERENCE.exposure_us * DRAWN_LUX)

    @property
    def visible(self) -> float:
        """Signal of white level ground in the visible band."""
        return self.per_lux * self.lux

    @property
    def infrared(self) -> float:
        """Signal of white level ground in the infrared band without the lamp, and of light too weak to colour."""
        if self.filter_in:
            return 0.0
        return self.per_lux * self.sun_lux * SUN_INFRARED + (0.0 if self.shows_colour else self.visible)

    @property
    def shows_colour(self) -> bool:
        """Whether the visible band can be seen at all."""
        return self.filter_in or 255.0 * math.sqrt(self.visible) >= MIN_SHOWN

    def lit(self, lux: float) -> float:
        """Signal of a white surface on which the lamp at full power throws so much."""
        return 0.0 if self.filter_in else self.per_lux * self.lamp * lux

    def source(self) -> float:
        """For lamps that shine by themselves: at 1 ms and gain 4 they are drawn as they are."""
        return math.sqrt(self.exposure.exposure_us * self.exposure.gain / 4000.0)


def auto_exposure(lux: float, longest_us: int) -> Exposure:
    """What a camera does that nobody tells: the drawn grey levels while a 1 ms shutter and a gain of 4 reach."""
    wanted = DAY_REFERENCE.exposure_us * DRAWN_LUX / max(lux, 1e-3)
    shutter = min(wanted, AUTO_LONGEST_US, longest_us)
    return Exposure(max(1, round(shutter)), min(max(wanted / shutter, 1.0), AUTO_GAIN))


AUTO_LONGEST_US: Final = 1000
AUTO_GAIN: Final = 4.0
