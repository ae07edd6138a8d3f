# SPDX-License-Identifier: Apache-2.0
"""Who passes and when: a seeded schedule, each vehicle a pure function of the seed and its number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from drivers.sim.bodies import BODIES, PAINTS, Body
from drivers.sim.designs import Colour, Design, listed_plate, random_plate
from drivers.sim.scene import FAR_LANE_X_M, NEAR_LANE_X_M

PLATE_W_M: Final = 0.3048
PLATE_H_M: Final = 0.1524
NEAREST_M: Final = 3.2  # the end that the camera sees is drawn from here ...
FARTHEST_M: Final = 95.0  # ... to here
CENTRAL_M: Final = {True: 9.0, False: 15.0}  # distance at the schedule's time: near lane, far lane
FADE_M: Final = 20.0
PLANNED_AHEAD_S: Final = 2.0
GAPS: Final = (0.78, 1.22)  # of the mean time between two vehicles


@dataclass(frozen=True, slots=True)
class Vehicle:
    """One vehicle. The near lane drives away from the camera (rear plate), the far lane towards it (front)."""

    number: int
    plate: str
    design: Design
    body: Body
    paint: Colour
    infrared: int  # grey of the paint at 850 nm
    near_lane: bool
    lane_x_m: float
    speed_mps: float
    central_s: float  # world time at which it is CENTRAL_M away

    @property
    def vehicle_id(self) -> str:
        """Stable name in the truth."""
        return f"v{self.number:05d}"

    @property
    def plate_y_m(self) -> float:
        """Height of the seen plate's centre."""
        return self.body.rear_plate_y if self.near_lane else self.body.front_plate_y

    def distance_m(self, at_s: float) -> float:
        """How far away the seen end is."""
        travelled = self.speed_mps * (at_s - self.central_s)
        return CENTRAL_M[self.near_lane] + (travelled if self.near_lane else -travelled)

    @property
    def enters_s(self) -> float:
        """World time at which it can first be seen."""
        start = NEAREST_M if self.near_lane else FARTHEST_M
        return self.central_s - abs(start - CENTRAL_M[self.near_lane]) / self.speed_mps

    @property
    def leaves_s(self) -> float:
        """World time at which it is out of sight."""
        end = FARTHEST_M if self.near_lane else NEAREST_M
        return self.central_s + abs(end - CENTRAL_M[self.near_lane]) / self.speed_mps

    def speed_between(self) -> float:
        """Metres a second away from the camera (negative: towards it)."""
        return self.speed_mps if self.near_lane else -self.speed_mps


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens on the road; times in seconds of world time."""

    every_s: float = 3.5  # mean time between vehicles
    day_seconds: float = 25.0  # day, then as long a night, and so on; 0: always night
    listed: tuple[str, ...] = ()  # plates that must pass by, one each `listed_every`-th vehicle
    listed_every: int = 5
    speed_mps: tuple[float, float] = (9.0, 14.0)
    far_share: float = 0.3  # of the vehicles drive in the far lane, towards the camera


class Traffic:
    """The schedule; vehicles are made in order and kept while somebody may still see them."""

    def __init__(self, seed: int, scenario: Scenario) -> None:
        self._seed, self._scenario = seed, scenario
        self._listed = [listed_plate(text) for text in scenario.listed]
        self._made: list[Vehicle] = []
        self._next_s = 2.0

    def _make(self, number: int) -> Vehicle:
        rng = np.random.default_rng([self._seed, 1, number])
        scenario = self._scenario
        design, plate = random_plate(rng)
        turn, rest = divmod(number, scenario.listed_every)
        if self._listed and rest == min(1, scenario.listed_every - 1):
            design, plate = self._listed[turn % len(self._listed)]
        shares = np.array([body.share for body in BODIES])
        body = BODIES[int(rng.choice(len(BODIES), p=shares / shares.sum()))]
        near = bool(rng.random() >= scenario.far_share)
        lane_x = (NEAR_LANE_X_M if near else FAR_LANE_X_M) + float(rng.normal(0.0, 0.12))
        low, high = scenario.speed_mps
        vehicle = Vehicle(
            number=number,
            plate=plate,
            design=design,
            body=body,
            paint=PAINTS[int(rng.integers(len(PAINTS)))],
            infrared=int(rng.integers(35, 170)),
            near_lane=near,
            lane_x_m=lane_x,
            speed_mps=float(rng.uniform(low, high)),
            central_s=self._next_s,
        )
        self._next_s += scenario.every_s * float(rng.uniform(*GAPS))
        return vehicle

    def _plan(self, at_s: float) -> None:
        reach_s = abs(FARTHEST_M - CENTRAL_M[False]) / self._scenario.speed_mps[0]
        horizon = at_s + reach_s + PLANNED_AHEAD_S
        while self._next_s <= horizon:
            number = self._made[-1].number + 1 if self._made else 0
            self._made.append(self._make(number))
        self._made = [v for v in self._made if v.leaves_s >= at_s - 1.0] or self._made[-1:]

    def coming(self, at_s: float) -> list[Vehicle]:
        """Who comes into sight within PLANNED_AHEAD_S."""
        self._plan(at_s)
        return [v for v in self._made if at_s < v.enters_s <= at_s + PLANNED_AHEAD_S]

    def present(self, at_s: float) -> list[Vehicle]:
        """Who is in sight, farthest first."""
        self._plan(at_s)
        seen = [v for v in self._made if v.enters_s <= at_s <= v.leaves_s]
        return sorted(seen, key=lambda v: -v.distance_m(at_s))

    def is_night(self, at_s: float) -> bool:
        """Day and night take turns of `day_seconds`."""
        day = self._scenario.day_seconds
        return day <= 0.0 or int(at_s / day) % 2 == 1
