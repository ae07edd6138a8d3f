# SPDX-License-Identifier: Apache-2.0
"""`wayside bench road`: the eye on the simulated road, its loop of light closed, against what really passed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

from drivers.pacing import Pacer
from drivers.registry import open_daylight, open_illuminator, open_ir_filter
from drivers.sim.camera import FAULTS, SimCamera
from drivers.sim.faults import FaultScript
from drivers.sim.lines import forget, wires
from drivers.sim.optics import Lamp
from drivers.sim.scenario import MPS_PER_MPH, Road, load_scenario
from drivers.sim.sky import Daylight
from drivers.sim.traffic import Scenario
from drivers.sim.weather import SEVERITIES
from drivers.sim.world import SeenPlate, SimWorld
from drivers.types import Exposure, Frame
from firmware.alerts import Alerts
from firmware.bench_road_score import Scorer
from firmware.clock import DeviceClock
from firmware.config import EyeConfig
from firmware.exposure_settings import ExposureSettings
from firmware.eye import look
from firmware.ledger import Ledger
from firmware.light import Light, LightParts
from firmware.matching import Watch
from firmware.reader import Reader
from firmware.records import Origin
from firmware.reopening import Reopening
from firmware.sealing import Vault
from firmware.tap import Tap
from firmware.track import M_PER_DEG
from inference.evaluate import percentile
from inference.models import load_models
from inference.pipeline import Pipeline
from inference.tracker import Tracker
from inference.types import FrameResult
from storage.types import SealedRecordRef
from sync.hotlists.policy import MatchPolicy
from sync.schema import HitRecord, ImageKind, ImageRecord, Position, ReadRecord, RecordRef

SPREAD: Final = 0.04  # of the speed: vehicles are that much slower or faster
GAP_S: Final = 0.9  # mean time between two vehicles ...
GAP_M: Final = 18.0  # ... or, in slow traffic, this much road
FAR_SHARE: Final = 0.4  # of the vehicles, with two lanes
NIGHT_DEG: Final = -25.0  # the sun's height
DAY_DEG: Final = 40.0
TOO_FAST: Final = (1.0, 1.0, 2.0, 4.0)  # severity -> how much faster than the site says the road is
LAMP: Final = (1.0, 0.8, 0.6, 0.4)  # severity -> of the lamp's light: old, dirty or too far away
SLOWEST_MPH: Final = 5.0
SETTLE_S: Final = 20.0  # of road before anything counts: day or night is told, exposure found
TAIL_S: Final = 3.0  # after the last vehicle that is counted, so that its track has ended
START_US: Final = 1_800_000_000_000_000  # the device's time when the road begins
PATROL_LAT_LON: Final = (40.0, -88.0)  # where a patrol begins its lap, northwards
US_PER_S: Final = 1_000_000

Hook = Callable[[int, FrameResult, list[SeenPlate]], None]


@dataclass(frozen=True, slots=True)
class RoadArgs:
    """What `wayside bench road` was asked; a `scenario` says itself what the road is like."""

    scenario: str | None = None
    night: bool = False
    speed_mph: float = 55.0
    lanes: int = 2
    seconds: float | None = None  # of road that counts; None: what `vehicles` take, or the scenario's minutes
    vehicles: int = 100
    fps: float | None = None  # None: the scenario's, or 30
    seed: int = 1
    severity: int = 1
    threads: int = 1
    models: Path | None = None

    @property
    def every_s(self) -> float:
        """Mean time between two vehicles."""
        return max(GAP_S, GAP_M / (self.speed_mph * MPS_PER_MPH))

    def road(self) -> Road:
        """The whole road, at the pace and for as long as was asked."""
        road = load_scenario(self.scenario) if self.scenario else self._plain()
        seconds = self.seconds if self.seconds is not None else road.minutes * 60
        return replace(road, minutes=seconds / 60, fps=self.fps or road.fps)

    def _plain(self) -> Road:
        speed = self.speed_mph * MPS_PER_MPH
        traffic = Scenario(
            every_s=self.every_s,
            speed_mps=(speed * (1 - SPREAD), speed * (1 + SPREAD)),
            far_share=FAR_SHARE if self.lanes > 1 else 0.0,
        )
        return Road(
            minutes=(self.vehicles * self.every_s + TAIL_S) / 60,
            fps=30.0,
            light=Daylight(sun_elevation_deg=NIGHT_DEG if self.night else DAY_DEG),
            weather=SEVERITIES[self.severity],
            traffic=traffic,
            lamp=Lamp(power_w=Lamp().power_w * LAMP[self.severity]),
        )

    def site(self, road: Road) -> ExposureSettings:
        """What the site's configuration says; on a severe road it is out of date."""
        speed = road.speed_mph if self.scenario else self.speed_mph / TOO_FAST[self.severity]
        return ExposureSettings(road_speed_mph=max(SLOWEST_MPH, speed))


class Kept:
    """In the place of the vault: keeps the reads in memory, with the frame after which each came out."""

    def __init__(self) -> None:
        self.reads: list[ReadRecord] = []

    def keep_read(self, read: ReadRecord) -> None:
        """Takes a read."""
        self.reads.append(read)

    def keep_images(self, images: list[ImageRecord], _at_us: int) -> dict[ImageKind, RecordRef]:
        """Names places for the pictures, which are let go."""
        ref = SealedRecordRef("none", 0)
        return {image.kind: RecordRef(segment=ref.segment, index=ref.index) for image in images}

    def raise_hit(self, _hit: HitRecord) -> bool:
        """No list is loaded: there are none."""
        return False


class Drive:
    """The simulated road before the eye's parts; everything follows from the arguments, nothing from the clock."""

    def __init__(self, args: RoadArgs, road: Road, folder: Path) -> None:
        self.road = road
        self._name = f"bench-{id(self)}"
        self.world = SimWorld(args.seed, road, wires=wires(self._name))
        pacer = Pacer(road.fps, real_time=False, start_us=START_US)
        self._camera = SimCamera(
            self.world, fps=road.fps, pacer=pacer, frames=None, faults=FaultScript("bench", "", FAULTS)
        )
        self._begun_ns = self._now_ns = pacer.at(0.0)[1]
        self.light = self._light(args.site(road))
        self.kept = Kept()
        self.ledger = Ledger(folder / "ledger.json")
        self.reader = self._reader(args, folder)

    def _light(self, settings: ExposureSettings) -> Light:
        world, strobe = {"world": self._name}, self.road.lamp.pulse_us > 0
        lamp = {**world, "strobe": strobe, "monotonic_s": lambda: self._now_ns / 1e9}
        parts = LightParts(
            Reopening(lambda: open_illuminator("sim", lamp), lambda device: device.close()),
            Reopening(lambda: open_daylight("sim", world), lambda device: device.close()),
            Reopening(lambda: open_ir_filter("sim", world), lambda device: device.close()),
        )
        return Light(settings, parts, lambda: self._now_ns)

    def _reader(self, args: RoadArgs, folder: Path) -> Reader:
        settings = EyeConfig(threads=args.threads)
        clock = DeviceClock(
            folder / "clock.json",
            system_us=lambda: START_US + (self._now_ns - self._begun_ns) // 1000,
            monotonic_ns=lambda: self._now_ns,
        )
        vault, tap = cast("Vault", self.kept), Tap(None)
        return Reader(
            Pipeline(load_models(args.models, args.threads)),
            Tracker(),
            vault,
            Watch(list, lambda: None, MatchPolicy(), ring_reads=0, ring_hours=0),
            Alerts(vault, self.ledger, tap, folder / "alerts.json", settings.realert_s),
            clock=clock,
            ledger=self.ledger,
            tap=tap,
            origin=Origin("bench", "cam0"),
            settings=settings,
            place=self._place,
        )

    def _place(self, at_us: int) -> Position | None:
        """Where a patrol is on its lap; a pole has no receiver here."""
        traffic = self.road.traffic
        if traffic.parked_cars == 0:
            return None
        driven_m = (at_us - START_US) / US_PER_S * traffic.patrol_mps
        lap_m = traffic.parked_cars * traffic.stall_m
        lat, lon = PATROL_LAT_LON
        return Position(lat=lat + driven_m % lap_m / M_PER_DEG, lon=lon, source="gnss")

    def frame(self) -> tuple[Frame, list[SeenPlate]]:
        """The next picture under the last commands, and the plates in it."""
        self.light.between(self._camera)
        frame = self._camera.capture(0.0)
        if frame is None:
            raise RuntimeError("a road without an end has ended")
        self._now_ns = frame.monotonic_ns
        return self.light.seen(frame), self.world.plates(frame.sequence / self.road.fps)

    def look(self, frame: Frame) -> FrameResult:
        """What the eye's inference thread does with a frame."""
        return look(frame, self.reader, self.light)

    def close(self) -> None:
        """Lamp and wires are given back."""
        self.light.close()
        self._camera.close()
        forget(self._name)


def run(args: RoadArgs, hook: Hook | None = None) -> dict[str, Any]:
    """Drives the road frame by frame, as fast as it goes -> the figures; `hook` sees what each frame gave."""
    road = args.road()
    settle = round(SETTLE_S * road.fps)
    scorer = Scorer(road.fps, START_US, settle)
    with tempfile.TemporaryDirectory(prefix="wayside-road-") as folder:
        drive = Drive(args, road, Path(folder))
        lit: list[tuple[Exposure, bool]] = []
        for index in range(settle + round(road.minutes * 60 * road.fps)):
            frame, plates = drive.frame()
            wall, cpu = time.perf_counter(), time.process_time()
            result = drive.look(frame)
            cost = time.perf_counter() - wall, time.process_time() - cpu
            scorer.see(index, result, plates, drive.kept.reads, cost)
            lit.append((frame.exposure, frame.ir))
            if hook:
                hook(index, result, plates)
        drive.reader.flush()
        drive.close()
        scorer.end(drive.kept.reads)
        return {
            **told(args, road),
            **_lighting(lit[settle:]),
            **scorer.figures(),
            "ledger": _unread(drive.ledger),
        }


def told(args: RoadArgs, road: Road) -> dict[str, Any]:
    """What the figures were measured on."""
    asked = {"light": "night" if args.night else "day", "lanes": args.lanes, "severity": args.severity}
    return {
        "rendered": True,
        "scenario": args.scenario,
        **({} if args.scenario else asked),
        "speed_mph": round(road.speed_mph, 1) if args.scenario else args.speed_mph,
        "seed": args.seed,
        "fps": road.fps,
        "seconds": round(road.minutes * 60, 1),
    }


def _lighting(frames: list[tuple[Exposure, bool]]) -> dict[str, Any]:
    """What the loop of light made of the road: each frame's exposure, and whether the lamp lit it."""
    return {
        "exposure_us_p50": percentile([float(exposure.exposure_us) for exposure, _ in frames], 50),
        "gain_p50": percentile([exposure.gain for exposure, _ in frames], 50),
        "ir_share": round(sum(ir for _, ir in frames) / len(frames), 4) if frames else None,
    }


def _unread(ledger: Ledger) -> dict[str, int]:
    """Why tracks gave no read, or not another one."""
    return {what: n for what, n in ledger.totals().items() if what.startswith(("unread", "repeated"))}
