# SPDX-License-Identifier: Apache-2.0
"""Who passes and when: a seeded schedule, each vehicle a pure function of the seed and its number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Final

import numpy as np

from drivers.sim.bodies import BODIES, PAINTS, Body
from drivers.sim.designs import Colour, Design, listed_plate, random_plate
from drivers.sim.scene import FAR_LANE_X_M, NEAR_LANE_X_M
from drivers.sim.tables import Bounds, Share, Words
from drivers.sim.waves import Wave

PLATE_W_M: Final = 0.3048
PLATE_H_M: Final = 0.1524
NEAREST_M: Final = 3.2  # the end that the camera sees is drawn from here ...
FARTHEST_M: Final = 95.0  # ... to here
CENTRAL_M: Final = {True: 9.0, False: 15.0}  # distance at the schedule's time: near lane, far lane
FADE_M: Final = 20.0
PARKED_REACH_M: Final = 14.0  # to both sides, parked vehicles are drawn
CREEP: Final = 0.1  # of a gap, by which vehicles of the other lane move the queue's schedule on
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
    central_s: float  # world time at which it is CENTRAL_M away, or a parked one before the camera
    plateless: bool = False
    parked_m: float | None = None  # stands so far away, and the camera drives past at `speed_mps`
    wave: Wave | None = None  # how the first of its queue drives ...
    behind: tuple[float, float] = (0.0, 0.0)  # ... and how much later (s) and farther back (m) this one does

    @property
    def vehicle_id(self) -> str:
        """Stable name in the truth."""
        return f"v{self.number:05d}"

    @property
    def plate_y_m(self) -> float:
        """Height of the seen plate's centre."""
        return self.body.rear_plate_y if self.near_lane else self.body.front_plate_y

    def place(self, at_s: float) -> tuple[float, float]:
        """Where the seen end's middle is, x and z in metres before the camera."""
        if self.parked_m is not None:  # the camera drives past
            return self.lane_x_m - self.speed_mps * (at_s - self.central_s), self.parked_m
        return self.lane_x_m, self.distance_m(at_s)

    def distance_m(self, at_s: float) -> float:
        """How far away the seen end is, along the road."""
        if self.parked_m is not None:
            return self.parked_m
        travelled = self.speed_mps * (at_s - self.central_s)
        if self.wave is not None:
            travelled = self.wave.way_m(at_s - self.behind[0]) - self.behind[1]
        return CENTRAL_M[self.near_lane] + (travelled if self.near_lane else -travelled)

    @property
    def drives(self) -> bool:
        """Whether its lamps burn: what is parked is dark."""
        return self.parked_m is None

    @property
    def enters_s(self) -> float:
        """World time at which it can first be seen."""
        if self.parked_m is not None:
            return self.central_s - PARKED_REACH_M / self.speed_mps
        return self._reaches_s(NEAREST_M if self.near_lane else FARTHEST_M)

    @property
    def leaves_s(self) -> float:
        """World time at which it is out of sight."""
        if self.parked_m is not None:
            return self.central_s + PARKED_REACH_M / self.speed_mps
        return self._reaches_s(FARTHEST_M if self.near_lane else NEAREST_M)

    def _reaches_s(self, distance_m: float) -> float:
        way = abs(distance_m - CENTRAL_M[self.near_lane]) * (
            1.0 if (distance_m > CENTRAL_M[self.near_lane]) == self.near_lane else -1.0
        )
        if self.wave is not None:
            return self.wave.when_s(way + self.behind[1]) + self.behind[0]
        return self.central_s + way / self.speed_mps


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens on the road; times in seconds of world time. Scenario files have a sun, no `day_seconds`.

    `wave_s` > 0: a queue that stops and goes, all vehicles in the near lane following one another (Newell's rule: each
    drives as the one before it did, `lag_s` later and `jam_gap_m` behind). `parked_cars` > 0: a car park that the
    camera drives along (`patrol_mps`), again and again.
    """

    every_s: Annotated[float, Bounds(0.5, 3600.0)] = 3.5  # mean time between vehicles
    day_seconds: float = 25.0  # day, then as long a night, and so on; 0: always night
    listed: Annotated[
        tuple[str, ...], Words()
    ] = ()  # plates that must pass, one each `listed_every`-th vehicle
    listed_every: Annotated[int, Bounds(1, 1000)] = 5
    speed_mps: Annotated[tuple[float, float], Bounds(0.5, 45.0)] = (9.0, 14.0)  # 45: 100 mph
    far_share: Share = 0.3  # of the vehicles drive in the far lane, towards the camera
    min_gap_m: Annotated[float, Bounds(0.0, 200.0)] = 0.0  # between two vehicles of a lane; 0: nobody looks
    plateless_share: Share = 0.0  # of the vehicles have lettering and stickers where the plate would be
    signs: Annotated[int, Bounds(0, 12)] = 0  # boards with words along the road
    wave_s: Annotated[float, Bounds(0.0, 600.0)] = 0.0  # from one standstill to the next
    stopped_share: Annotated[float, Bounds(0.0, 0.9)] = 0.4  # of the wave's time
    lag_s: Annotated[float, Bounds(0.2, 5.0)] = 1.2
    jam_gap_m: Annotated[float, Bounds(5.5, 30.0)] = 8.5  # from rear end to rear end in a standing queue
    parked_cars: Annotated[int, Bounds(0, 2000)] = 0
    stall_m: Annotated[float, Bounds(2.2, 12.0)] = 2.8  # from one parked car to the next
    parked_m: Annotated[float, Bounds(3.0, 40.0)] = 7.0  # how far away they stand
    empty_share: Share = 0.2  # of the stalls
    patrol_mps: Annotated[float, Bounds(0.5, 30.0)] = 4.5


ORDINARY: Final = Scenario()


class Traffic:
    """The schedule; vehicles are made in order and kept while somebody may still see them."""

    def __init__(self, seed: int, scenario: Scenario) -> None:
        self._seed, self._scenario = seed, scenario
        self._listed = [listed_plate(text) for text in scenario.listed]
        self._made: list[Vehicle] = []
        self._last: dict[bool, Vehicle] = {}  # of each lane
        self._queued = 0
        self._next_s = 2.0
        self._lot = Lot(self, scenario) if scenario.parked_cars else None

    def make(self, number: int) -> tuple[Vehicle, float]:
        """The vehicle of this number as the seed has it, due at the schedule's next time, and the gap after it."""
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
        vehicle = Vehicle(
            number=number,
            plate=plate,
            design=design,
            body=body,
            paint=PAINTS[int(rng.integers(len(PAINTS)))],
            infrared=int(rng.integers(35, 170)),
            near_lane=near,
            lane_x_m=lane_x,
            speed_mps=float(rng.uniform(*scenario.speed_mps)),
            central_s=self._next_s,
        )
        gap_s = scenario.every_s * float(rng.uniform(*GAPS))
        return replace(vehicle, plateless=bool(rng.random() < scenario.plateless_share)), gap_s

    def _schedule(self, number: int) -> Vehicle:
        scenario, (vehicle, gap_s) = self._scenario, self.make(number)
        if scenario.wave_s:
            return self._beside_queue(vehicle, gap_s)
        if scenario.min_gap_m:
            vehicle = _kept_apart(vehicle, self._last.get(vehicle.near_lane), scenario.min_gap_m)
        self._last[vehicle.near_lane] = vehicle
        self._next_s = max(self._next_s, vehicle.central_s) + gap_s
        return vehicle

    def _beside_queue(self, vehicle: Vehicle, gap_s: float) -> Vehicle:
        """The near lane's vehicles follow the queue (G. F. Newell, A simplified car-following theory, 2002)."""
        scenario = self._scenario
        if not vehicle.near_lane:
            vehicle = _kept_apart(vehicle, self._last.get(False), scenario.min_gap_m)
            self._last[False] = vehicle
            self._next_s += gap_s * CREEP
            return vehicle
        wave = Wave(scenario.wave_s, scenario.stopped_share, scenario.speed_mps[1])
        behind = (scenario.lag_s * self._queued, scenario.jam_gap_m * self._queued)
        self._queued += 1
        self._next_s = behind[0] + wave.when_s(behind[1])
        return replace(vehicle, wave=wave, behind=behind, central_s=self._next_s)

    def _plan(self, at_s: float) -> None:
        reach_s = abs(FARTHEST_M - CENTRAL_M[False]) / self._scenario.speed_mps[0]
        horizon = at_s + reach_s + self._scenario.wave_s + PLANNED_AHEAD_S
        while self._next_s <= horizon:
            number = self._made[-1].number + 1 if self._made else 0
            self._made.append(self._schedule(number))
        self._made = [v for v in self._made if v.leaves_s >= at_s - 1.0] or self._made[-1:]

    def coming(self, at_s: float) -> list[Vehicle]:
        """Who comes into sight within PLANNED_AHEAD_S."""
        return [v for v in self._all(at_s) if at_s < v.enters_s <= at_s + PLANNED_AHEAD_S]

    def present(self, at_s: float) -> list[Vehicle]:
        """Who is in sight, farthest first."""
        seen = [v for v in self._all(at_s) if v.enters_s <= at_s <= v.leaves_s]
        return sorted(seen, key=lambda v: (-v.place(at_s)[1], -abs(v.place(at_s)[0])))

    def _all(self, at_s: float) -> list[Vehicle]:
        if self._lot is not None:
            return self._lot.near(at_s)
        self._plan(at_s)
        return self._made


class Lot:
    """A row of parked vehicles that the camera drives past, lap after lap."""

    def __init__(self, traffic: Traffic, scenario: Scenario) -> None:
        self._scenario, self._traffic = scenario, traffic
        self._parked: dict[int, Vehicle] = {}

    def near(self, at_s: float) -> list[Vehicle]:
        """Those before the camera, and soon to be."""
        scenario = self._scenario
        here = at_s * scenario.patrol_mps / scenario.stall_m
        reach = (PARKED_REACH_M + scenario.patrol_mps * PLANNED_AHEAD_S) / scenario.stall_m
        found = [self._at(stall) for stall in range(max(0, int(here - reach)), int(here + reach) + 1)]
        return [vehicle for vehicle in found if vehicle is not None]

    def _at(self, stall: int) -> Vehicle | None:
        """Who stands in a stall, counted over all laps; the same vehicle each lap."""
        scenario, number = self._scenario, stall % self._scenario.parked_cars
        if number not in self._parked:
            self._parked[number] = self._traffic.make(number)[0]
        vehicle = self._parked[number]
        rng = np.random.default_rng([vehicle.infrared, 9, number])
        if rng.random() < scenario.empty_share:
            return None
        central_s = (stall * scenario.stall_m + rng.normal(0.0, STALL_SPREAD_M)) / scenario.patrol_mps
        return replace(
            vehicle,
            lane_x_m=0.0,
            speed_mps=scenario.patrol_mps,
            central_s=central_s,
            parked_m=scenario.parked_m,
        )


STALL_SPREAD_M: Final = 0.12


def _kept_apart(vehicle: Vehicle, before: Vehicle | None, gap_m: float) -> Vehicle:
    """The vehicle, later if need be, so that it stays `gap_m` behind the one before it in its lane all the way."""
    if before is None:
        return vehicle
    apart = gap_m + (vehicle.body.length if vehicle.near_lane else before.body.length)
    lead = (vehicle.central_s - vehicle.enters_s) * vehicle.speed_mps  # from entering to the centre
    at_entry = before.central_s + lead / vehicle.speed_mps + (apart - lead) / before.speed_mps
    end = before.leaves_s
    at_end = end + (apart - before.speed_mps * (end - before.central_s)) / vehicle.speed_mps
    return replace(vehicle, central_s=max(vehicle.central_s, at_entry, at_end))
