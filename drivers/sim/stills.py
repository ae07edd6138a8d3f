# SPDX-License-Identifier: Apache-2.0
"""Single pictures of the simulated road in many lights and weathers, each vehicle once, with their truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from drivers.sim.art import Picture
from drivers.sim.optics import DAY_REFERENCE, NIGHT_REFERENCE
from drivers.sim.traffic import Scenario
from drivers.sim.weather import SEVERITIES
from drivers.sim.world import LampLine, SeenPlate, SimWorld
from drivers.types import Exposure

SHUTTERS_US: Final = (250, 500, 1000, 2000)
SIGNAL: Final = (0.5, 2.0)  # exposure times gain, of what gives the drawn grey levels
LAMP: Final = (0.35, 1.0)  # of the illuminator's power
MAX_GAIN: Final = 16.0
SEVERITY_SHARES: Final = (0.4, 0.3, 0.2, 0.1)
SPEEDS_MPS: Final = (6.7, 35.8)  # 15 to 80 mph
EVERY_S: Final = 2.0
STEP_S: Final = 0.1
CHOSEN: Final = 0.25  # chance that a plate in sight is taken at this step: all distances come up
DAYLIGHT_S: Final = 1e9


@dataclass(frozen=True, slots=True)
class Still:
    """A picture (H, W, 3) BGR, its plates, and what it was taken with."""

    pixels: Picture
    plates: list[SeenPlate]
    night: bool
    severity: int
    exposure: Exposure
    lamp: float


def stills(seed: int, count: int, *, night: bool) -> Iterator[Still]:
    """`count` pictures; the same seed gives the same ones."""
    rng = np.random.default_rng([seed, int(night)])
    severities = rng.choice(len(SEVERITIES), count, p=SEVERITY_SHARES)
    for severity in range(len(SEVERITIES)):
        wanted = int((severities == severity).sum())
        yield from _of_weather(seed, severity, wanted, night=night)


def _of_weather(seed: int, severity: int, count: int, *, night: bool) -> Iterator[Still]:
    rng = np.random.default_rng([seed, int(night), severity])
    lamp = LampLine(1.0)
    scenario = Scenario(every_s=EVERY_S, day_seconds=0.0 if night else DAYLIGHT_S, speed_mps=SPEEDS_MPS)
    world = SimWorld(int(rng.integers(2**31)), scenario, lamp=lamp, weather=SEVERITIES[severity])
    shown: set[int] = set()
    step = made = 0
    while made < count:
        step += 1
        plates = world.plates(step * STEP_S)
        fresh = {p.vehicle.number for p in plates if p.visible} - shown
        if not fresh or rng.random() > CHOSEN:
            continue
        shown |= fresh
        made += 1
        world.exposure = _exposure(rng, night=night)
        lamp.power = float(rng.uniform(*LAMP)) if night else 0.0
        pixels, light = world.frame(step * STEP_S, step, 0)
        yield Still(pixels, plates, night, severity, light.exposure, light.lamp)


def _exposure(rng: np.random.Generator, *, night: bool) -> Exposure:
    reference = NIGHT_REFERENCE if night else DAY_REFERENCE
    signal = reference.exposure_us * reference.gain * float(np.exp(rng.uniform(*np.log(SIGNAL))))
    shutter = int(rng.choice(SHUTTERS_US))
    return Exposure(shutter, float(np.clip(signal / shutter, 0.25, MAX_GAIN)))
