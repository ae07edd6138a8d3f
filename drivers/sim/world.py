# SPDX-License-Identifier: Apache-2.0
"""The simulated roadside: traffic, light, the lamp's line, and the frames that a camera there gets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from drivers.sim.art import Picture, Quad
from drivers.sim.light import Light, auto_exposure
from drivers.sim.lines import DEFAULT_WORLD, FilterLine, LampLine, PhotoLine, Wires, lamp_line
from drivers.sim.optics import View
from drivers.sim.places import before, plate_corners
from drivers.sim.render import Renderer
from drivers.sim.scenario import Road, plain
from drivers.sim.traffic import Scenario, Traffic, Vehicle
from drivers.sim.truth import TruthLedger, hidden, visible_plates
from drivers.sim.weather import CLEAR, Weather
from drivers.types import Exposure

__all__ = ["DEFAULT_WORLD", "FilterLine", "LampLine", "PhotoLine", "SeenPlate", "SimWorld", "lamp_line"]

ROW_STEPS: Final = 60  # at which a flash under a rolling shutter is followed
TURNED_DEG: Final = 50.0  # by which a camera that was turned away looks to the left


@dataclass(frozen=True, slots=True)
class SeenPlate:
    """One plate at one moment: corners (4, 2) px; `visible`: whole, wide enough and not hidden."""

    vehicle: Vehicle
    corners: Quad
    visible: bool
    hidden: bool  # behind a nearer vehicle


class SimWorld:
    """A seeded world; everything in a frame follows from the seed, the time and the commands given.

    `road`: a whole scenario, or only its traffic. `weather` and `view` stand in for the road's own.
    """

    def __init__(
        self,
        seed: int = 1,
        road: Road | Scenario | None = None,
        *,
        view: View | None = None,
        truth_path: Path | None = None,
        lamp: LampLine | None = None,
        weather: Weather | None = None,
        wires: Wires | None = None,
    ) -> None:
        self.seed = seed
        self.road = road if isinstance(road, Road) else plain(road, weather or CLEAR)
        if weather is not None:
            self.road = replace(self.road, weather=weather)
        self.view = view or self.road.view
        self.wires = wires or Wires(lamp=lamp or LampLine())
        self.exposure: Exposure | None = None  # None: the camera exposes by itself
        self.truth = TruthLedger(self.view, truth_path)
        self._traffic = Traffic(seed, self.road.traffic)
        self._renderer = Renderer(self.view, seed, self.road)
        self._turned: Renderer | None = None

    @property
    def lamp(self) -> LampLine:
        """The wire that the illuminator drives."""
        return self.wires.lamp

    def light(self, at_s: float) -> Light:
        """The light at a world time, under the last commands."""
        sky, filter_in = self.road.light, self.wires.filter.filter_in
        night = sky.is_night(at_s)
        exposure = self.exposure or auto_exposure(sky.lux(at_s), self.road.camera.max_exposure_us)
        shares = self._shares(at_s, exposure.exposure_us)
        share = max(shares)
        power = self.lamp.power if self.lamp.power is not None else self.road.lamp.level * night
        out = night if filter_in is None else not filter_in
        return Light(
            night=night,
            lamp=power * share,
            exposure=exposure,
            lux=sky.lux(at_s),
            facing=sky.facing(at_s),
            sun_lux=sky.sky_lux(at_s),
            filter_in=not out,
            smear_us=exposure.exposure_us * (share if out and night else 1.0),
            rows=tuple(one / share for one in shares) if share > 0.0 and len(shares) > 1 else (),
        )

    def _shares(self, at_s: float, exposure_us: int) -> list[float]:
        """Share of the exposure in which the lamp shines; with a rolling shutter row by row."""
        flash, rolling_s = self._flash(), self.view.mount.rolling_s
        if flash.pulse_us is None or rolling_s <= 0.0:
            return [flash.lit_share(at_s - exposure_us / 2e6, exposure_us)]
        begin_s = at_s - rolling_s / 2 - exposure_us / 2e6
        late = [rolling_s * 1e6 * step / (ROW_STEPS - 1) for step in range(ROW_STEPS)]
        return [flash.lit_share(begin_s, exposure_us, late_us=late_us) for late_us in late]

    def _flash(self) -> LampLine:
        """How the lamp flashes: as its driver says, else as the road's lamp does."""
        lamp = self.road.lamp
        if self.lamp.pulse_us is not None or lamp.pulse_us <= 0.0:
            return self.lamp
        return LampLine(None, lamp.pulse_us, lamp.delay_us, lamp.pulse_hz or None)

    def frame(self, at_s: float, index: int, captured_us: int) -> tuple[Picture, Light]:
        """The picture (H, W, 3) BGR at a world time; the truth takes note of what is visible in it."""
        light = self.light(at_s)
        self.wires.photo.lux = self.road.light.lux(at_s)
        vehicles = self._traffic.present(at_s)
        pixels = self._renderer.draw(vehicles, self._traffic.coming(at_s), light, at_s, index)
        self.truth.see(vehicles, at_s, captured_us, index, night=light.night, view=self.shown(at_s))
        return pixels, light

    def aside(self, at_s: float, index: int) -> Picture:
        """What the camera sees when somebody has turned it away from the road."""
        if self._turned is None:
            mount = replace(self.view.mount, yaw_left_deg=self.view.mount.yaw_left_deg + TURNED_DEG)
            self._turned = Renderer(replace(self.view, mount=mount), self.seed, self.road)
        return self._turned.draw([], [], self.light(at_s), at_s, index)

    def plates(self, at_s: float) -> list[SeenPlate]:
        """The plates in or near the picture at a world time, farthest first; what no frame need show too."""
        view, vehicles = self.shown(at_s), self._traffic.present(at_s)
        visible = {vehicle.number for vehicle, _ in visible_plates(view, vehicles, at_s)}
        return [
            SeenPlate(
                vehicle,
                corners,
                vehicle.number in visible,
                hidden(view, corners, vehicles[index + 1 :], at_s),
            )
            for index, vehicle in enumerate(vehicles)
            if not vehicle.plateless and before(view, vehicle, at_s)
            for corners in [plate_corners(view, vehicle, at_s)]
        ]

    def shown(self, at_s: float) -> View:
        """The camera as the pole's swing has turned it at this moment."""
        return replace(self.view, shift=self._renderer.sway.at(at_s))

    def close(self) -> None:
        """Writes the rest of the truth."""
        self.truth.close()
