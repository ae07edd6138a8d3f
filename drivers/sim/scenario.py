# SPDX-License-Identifier: Apache-2.0
"""Scenario files: a whole simulated road in TOML, read strictly; the shipped ones lie in `scenarios/`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from drivers.sim.optics import BESIDE, ROADSIDE, Lamp, Mount, View
from drivers.sim.sky import CLEAR_DAY, Daylight
from drivers.sim.tables import BadScenario, Bounds, read_number, read_table
from drivers.sim.traffic import ORDINARY, Scenario
from drivers.sim.weather import CLEAR, Weather

FOLDER: Final = Path(__file__).parent / "scenarios"
SUFFIX: Final = ".toml"
MPS_PER_MPH: Final = 0.44704
MAX_BYTES: Final = 65_536  # of a scenario file
MAX_TITLE: Final = 200  # characters
MINUTES: Final = Bounds(0.05, 1440.0)
FPS: Final = Bounds(1.0, 120.0)
SECTIONS: Final[Mapping[str, type[object]]] = {
    "light": Daylight,
    "weather": Weather,
    "traffic": Scenario,
    "camera": Mount,
    "lamp": Lamp,
}


@dataclass(frozen=True, slots=True)
class Road:
    """Everything that a scenario says. `minutes` and `fps` are what a run of it takes unless it is told otherwise."""

    name: str = "road"
    title: str = ""
    minutes: float = 1.0
    fps: float = 15.0
    light: Daylight = CLEAR_DAY
    weather: Weather = CLEAR
    traffic: Scenario = ORDINARY
    camera: Mount = ROADSIDE
    lamp: Lamp = BESIDE

    @property
    def view(self) -> View:
        """The camera with the scenario's picture size."""
        return View(self.camera.width_px, self.camera.height_px, self.camera)

    @property
    def speed_mph(self) -> float:
        """The fastest that plates move past the camera."""
        parked = self.traffic.parked_cars > 0
        return (self.traffic.patrol_mps if parked else self.traffic.speed_mps[1]) / MPS_PER_MPH


def plain(traffic: Scenario | None = None, weather: Weather = CLEAR) -> Road:
    """A road of the default camera and lamp, day and night taking turns as the traffic's `day_seconds` says."""
    traffic = traffic or ORDINARY
    return Road(light=Daylight(turns_s=traffic.day_seconds), weather=weather, traffic=traffic)


def names() -> tuple[str, ...]:
    """The shipped scenarios."""
    return tuple(sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}")))


def load_scenario(name_or_path: str | Path) -> Road:
    """A shipped scenario by name, or a file (its path ends in .toml); raises BadScenario that says what to do."""
    path = Path(name_or_path)
    if path.suffix != SUFFIX:
        if str(name_or_path) not in names():
            raise BadScenario(
                f"there is no scenario {str(name_or_path)!r}; there are: {', '.join(names())}, or a path to a {SUFFIX}"
            )
        path = FOLDER / f"{name_or_path}{SUFFIX}"
    return parse(_text(path), path.stem)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise BadScenario(f"{path}: a scenario has at most {MAX_BYTES} bytes")
        return data.decode("utf-8")
    except OSError as error:
        raise BadScenario(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BadScenario(f"{path}: not UTF-8 text") from error


def parse(text: str, name: str) -> Road:
    """The road that a TOML text describes."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadScenario(f"scenario {name}: not TOML: {error}") from error
    known = {"title", "minutes", "fps", *SECTIONS}
    for key in data:
        if key not in known:
            raise BadScenario(f"scenario {name}: unknown key {key!r}; there are: {', '.join(sorted(known))}")
    title = data.get("title", "")
    if not isinstance(title, str) or len(title) > MAX_TITLE:
        raise BadScenario(f"scenario {name}: title must be a text of at most {MAX_TITLE} characters")
    sections = {
        key: read_table(cls, data.get(key, {}), f"scenario {name} [{key}]") for key, cls in SECTIONS.items()
    }
    road = Road(name, title, **sections)  # type: ignore[arg-type]
    return replace(
        road,
        minutes=read_number(data.get("minutes", road.minutes), MINUTES, f"scenario {name}: minutes"),
        fps=read_number(data.get("fps", road.fps), FPS, f"scenario {name}: fps"),
    )
