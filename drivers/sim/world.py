# SPDX-License-Identifier: Apache-2.0
"""The simulated roadside: traffic, light, the lamp's line, and the frames that a camera there gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drivers.sim.art import Picture, Quad
from drivers.sim.optics import DAY_REFERENCE, NIGHT_REFERENCE, Light, View
from drivers.sim.render import Renderer, plate_corners
from drivers.sim.traffic import Scenario, Traffic, Vehicle
from drivers.sim.truth import TruthLedger, hidden, visible_plates
from drivers.sim.weather import CLEAR, Weather
from drivers.types import Exposure

DEFAULT_WORLD: Final = "road"


@dataclass(slots=True)
class LampLine:
    """The wire from an illuminator to the world; None: no illuminator, the lamp switches itself at night."""

    power: float | None = None


@dataclass(frozen=True, slots=True)
class SeenPlate:
    """One plate at one moment: corners (4, 2) px; `visible`: whole, wide enough and not hidden."""

    vehicle: Vehicle
    corners: Quad
    visible: bool
    hidden: bool  # behind a nearer vehicle


_LINES: Final[dict[str, LampLine]] = {}


def lamp_line(name: str) -> LampLine:
    """The wire of the world of this name in this process."""
    return _LINES.setdefault(name, LampLine())


class SimWorld:
    """A seeded world; everything in a frame follows from the seed, the time and the commands given."""

    def __init__(
        self,
        seed: int = 1,
        scenario: Scenario | None = None,
        *,
        view: View | None = None,
        truth_path: Path | None = None,
        lamp: LampLine | None = None,
        weather: Weather = CLEAR,
    ) -> None:
        self.seed = seed
        self.scenario = scenario or Scenario()
        self.view = view or View(1280, 720)
        self.lamp = lamp or LampLine()
        self.exposure: Exposure | None = None  # None: the camera exposes by itself
        self.truth = TruthLedger(self.view, truth_path)
        self._traffic = Traffic(seed, self.scenario)
        self._renderer = Renderer(self.view, seed, weather)

    def light(self, at_s: float) -> Light:
        """The light at a world time, under the last commands."""
        night = self._traffic.is_night(at_s)
        exposure = self.exposure or (NIGHT_REFERENCE if night else DAY_REFERENCE)
        power = self.lamp.power if self.lamp.power is not None else float(night)
        return Light(night, power, exposure)

    def frame(self, at_s: float, index: int, captured_us: int) -> tuple[Picture, Light]:
        """The picture (H, W, 3) BGR at a world time; the truth takes note of what is visible in it."""
        light = self.light(at_s)
        vehicles = self._traffic.present(at_s)
        pixels = self._renderer.draw(vehicles, self._traffic.coming(at_s), light, at_s, index)
        self.truth.see(vehicles, at_s, captured_us, index, night=light.night)
        return pixels, light

    def plates(self, at_s: float) -> list[SeenPlate]:
        """The plates in or near the picture at a world time, farthest first; what no frame need show too."""
        vehicles = self._traffic.present(at_s)
        visible = {vehicle.number for vehicle, _ in visible_plates(self.view, vehicles, at_s)}
        return [
            SeenPlate(vehicle, corners, vehicle.number in visible, hidden(self.view, corners, nearer, at_s))
            for index, vehicle in enumerate(vehicles)
            for corners in [plate_corners(self.view, vehicle, at_s)]
            for nearer in [vehicles[index + 1 :]]
        ]

    def close(self) -> None:
        """Writes the rest of the truth."""
        self.truth.close()
