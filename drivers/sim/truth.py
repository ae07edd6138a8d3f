# SPDX-License-Identifier: Apache-2.0
"""What really passed: one record a vehicle whose plate could be seen, written when it has left."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TextIO

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.optics import View
from drivers.sim.places import before, outline, plate_corners, post
from drivers.sim.traffic import Vehicle

MIN_VISIBLE_PX: Final = 40.0  # a plate counts as visible from this width in pixels upwards
GONE_AFTER_S: Final = 1.5  # a plate unseen for this long has left
Quad = NDArray[np.float64]


@dataclass(slots=True)
class Sight:
    """One vehicle's record; `corners` belong to the frame in which the plate was widest."""

    vehicle_id: str
    plate: str
    state: str
    first_seen_us: int
    last_seen_us: int
    max_plate_width_px: float
    visible_frames: int
    night: bool
    corners: list[list[float]]
    near_lane: bool
    best_frame: int
    parked: bool = False  # it stands, and the camera drove past
    hidden_frames: int = 0  # in the picture and wide enough, but behind a vehicle or the post
    complete: bool = False

    def encode(self) -> str:
        """Canonical JSON on one line."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


def _inside(corners: Quad, view: View) -> bool:
    low, high = corners.min(axis=0), corners.max(axis=0)
    return bool(low.min() >= 0.0 and high[0] <= view.width - 1 and high[1] <= view.height - 1)


def visible_plates(view: View, vehicles: list[Vehicle], at_s: float) -> list[tuple[Vehicle, Quad]]:
    """The plates wholly in the picture, wide enough and not hidden; `vehicles` come farthest first."""
    return [(vehicle, corners) for vehicle, corners, covered in framed(view, vehicles, at_s) if not covered]


def framed(view: View, vehicles: list[Vehicle], at_s: float) -> list[tuple[Vehicle, Quad, bool]]:
    """The plates wholly in the picture and wide enough, and whether each is hidden."""
    found = []
    for index, vehicle in enumerate(vehicles):
        if vehicle.plateless or not before(view, vehicle, at_s):
            continue
        corners = plate_corners(view, vehicle, at_s)
        if np.linalg.norm(corners[1] - corners[0]) >= MIN_VISIBLE_PX and _inside(corners, view):
            found.append((vehicle, corners, hidden(view, corners, vehicles[index + 1 :], at_s)))
    return found


def hidden(view: View, corners: Quad, nearer: list[Vehicle], at_s: float) -> bool:
    """Whether any corner of a plate, or its middle, lies behind a vehicle that is nearer, or behind the post."""
    hulls = [outline(view, other, at_s).astype(np.float32) for other in nearer if before(view, other, at_s)]
    standing = post(view)
    if standing is not None:
        hulls.append(standing.astype(np.float32))
    points = [(float(x), float(y)) for x, y in (*corners, corners.mean(axis=0))]
    return any(
        cv2.pointPolygonTest(hull, point, measureDist=False) >= 0 for hull in hulls for point in points
    )


class TruthLedger:
    """Follows what is visible frame by frame; finished records are appended to the file and to `finished`."""

    def __init__(self, view: View, path: Path | None) -> None:
        self._view = view
        self._file: TextIO | None = path.open("a", encoding="utf-8") if path else None
        self._open: dict[int, tuple[Sight, float]] = {}
        self.finished: list[Sight] = []

    def see(
        self,
        vehicles: list[Vehicle],
        at_s: float,
        captured_us: int,
        frame: int,
        *,
        night: bool,
        view: View | None = None,
    ) -> None:
        """Takes one frame into account; `view` as the pole's swing has turned it."""
        for vehicle, corners, covered in framed(view or self._view, vehicles, at_s):
            if covered:
                if vehicle.number in self._open:
                    self._open[vehicle.number][0].hidden_frames += 1
                continue
            width = float(np.linalg.norm(corners[1] - corners[0]))
            sight = self._sight(vehicle, captured_us, night=night)
            sight.last_seen_us = captured_us
            sight.visible_frames += 1
            if width > sight.max_plate_width_px:
                sight.max_plate_width_px, sight.night, sight.best_frame = round(width, 1), night, frame
                sight.corners = [[round(float(x), 1), round(float(y), 1)] for x, y in corners]
            self._open[vehicle.number] = (sight, at_s)
        for number, (sight, seen_s) in list(self._open.items()):
            if at_s - seen_s > GONE_AFTER_S:
                sight.complete = True
                self._write(number)

    def _sight(self, vehicle: Vehicle, captured_us: int, *, night: bool) -> Sight:
        if vehicle.number in self._open:
            return self._open[vehicle.number][0]
        return Sight(
            vehicle_id=vehicle.vehicle_id,
            plate=vehicle.plate,
            state=vehicle.design.state,
            first_seen_us=captured_us,
            last_seen_us=captured_us,
            max_plate_width_px=0.0,
            visible_frames=0,
            night=night,
            corners=[],
            near_lane=vehicle.near_lane,
            best_frame=0,
            parked=not vehicle.drives,
        )

    def _write(self, number: int) -> None:
        sight, _ = self._open.pop(number)
        self.finished.append(sight)
        if self._file is not None:
            self._file.write(sight.encode() + "\n")
            self._file.flush()

    def close(self) -> None:
        """Writes the vehicles still in sight too (`complete` false)."""
        for number in sorted(self._open):
            self._write(number)
        if self._file is not None:
            self._file.close()
            self._file = None
