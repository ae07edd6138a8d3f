# SPDX-License-Identifier: Apache-2.0
"""`wayside bench road`: the eye's reader, tracker and vote on the simulated road, against what really passed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from drivers.sim.optics import DAY_REFERENCE, NIGHT_REFERENCE
from drivers.sim.traffic import Scenario
from drivers.sim.weather import SEVERITIES
from drivers.sim.world import LampLine, SeenPlate, SimWorld
from drivers.types import Exposure, Frame
from firmware.alerts import Alerts
from firmware.bench_road_score import Scorer
from firmware.clock import DeviceClock
from firmware.config import EyeConfig
from firmware.ledger import Ledger
from firmware.matching import Watch
from firmware.reader import Reader
from firmware.records import Origin
from firmware.sealing import Vault
from firmware.tap import Tap
from inference.models import load_models
from inference.pipeline import Pipeline
from inference.tracker import Tracker
from inference.types import FrameResult
from storage.types import SealedRecordRef
from sync.hotlists.policy import MatchPolicy
from sync.schema import HitRecord, ImageKind, ImageRecord, ReadRecord, RecordRef

MPH: Final = 0.44704  # m/s
DAYLIGHT_S: Final = 1e9
SPREAD: Final = 0.04  # of the speed: vehicles are that much slower or faster
GAP_S: Final = 0.9  # mean time between two vehicles ...
GAP_M: Final = 18.0  # ... or, in slow traffic, this much road
FAR_SHARE: Final = 0.4  # of the vehicles, with two lanes
SHUTTER_RULE: Final = 18.0  # the shutter is 1 / (18 * mph) s
SHUTTER_US: Final = (100.0, 2000.0)
TOO_LONG: Final = (1.0, 1.0, 2.0, 4.0)  # severity -> how much longer the shutter is than the rule
LAMP: Final = (1.0, 0.8, 0.6, 0.4)  # severity -> the illuminator's power: old, dirty or too far away
GAIN: Final = (0.25, 16.0)
TAIL_S: Final = 3.0  # after the last vehicle that is counted, so that its track has ended
START_US: Final = 1_800_000_000_000_000  # the device's time when the road begins
US_PER_S: Final = 1_000_000

Hook = Callable[[int, FrameResult, list[SeenPlate]], None]


@dataclass(frozen=True, slots=True)
class RoadArgs:
    """What `wayside bench road` was asked."""

    night: bool = False
    speed_mph: float = 55.0
    lanes: int = 2
    seconds: float | None = None  # of road; None: what `vehicles` take
    vehicles: int = 100
    fps: float = 30.0
    seed: int = 1
    severity: int = 1
    threads: int = 1
    models: Path | None = None

    @property
    def every_s(self) -> float:
        """Mean time between two vehicles."""
        return max(GAP_S, GAP_M / (self.speed_mph * MPH))

    @property
    def length_s(self) -> float:
        """How much road is driven."""
        return self.vehicles * self.every_s + TAIL_S if self.seconds is None else self.seconds

    def exposure(self) -> Exposure:
        """The shutter that the rule gives for this speed (too long by severity); the gain makes up for it."""
        reference = NIGHT_REFERENCE if self.night else DAY_REFERENCE
        rule = 1e6 / (SHUTTER_RULE * self.speed_mph)
        shutter = min(rule, reference.exposure_us) * TOO_LONG[self.severity]
        shutter = min(max(shutter, SHUTTER_US[0]), SHUTTER_US[1])
        gain = reference.exposure_us * reference.gain / shutter
        return Exposure(round(shutter), min(max(gain, GAIN[0]), GAIN[1]))


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


class Road:
    """The simulated road before the eye's reader; everything follows from the arguments, nothing from the clock."""

    def __init__(self, args: RoadArgs, folder: Path) -> None:
        self.args = args
        speed = args.speed_mph * MPH
        scenario = Scenario(
            every_s=args.every_s,
            day_seconds=0.0 if args.night else DAYLIGHT_S,
            speed_mps=(speed * (1 - SPREAD), speed * (1 + SPREAD)),
            far_share=FAR_SHARE if args.lanes > 1 else 0.0,
        )
        lamp = LampLine(LAMP[args.severity] if args.night else 0.0)
        self.world = SimWorld(args.seed, scenario, lamp=lamp, weather=SEVERITIES[args.severity])
        self.world.exposure = args.exposure()
        self.kept = Kept()
        self.ledger = Ledger(folder / "ledger.json")
        self._at_s = 0.0
        self.reader = self._reader(folder)

    def _reader(self, folder: Path) -> Reader:
        settings = EyeConfig(threads=self.args.threads)
        clock = DeviceClock(
            folder / "clock.json",
            system_us=lambda: START_US + round(self._at_s * US_PER_S),
            monotonic_ns=lambda: round(self._at_s * US_PER_S) * 1000,
        )
        vault, tap = cast("Vault", self.kept), Tap(None)
        return Reader(
            Pipeline(load_models(self.args.models, self.args.threads)),
            Tracker(),
            vault,
            Watch(list, lambda: None, MatchPolicy(), ring_reads=0, ring_hours=0),
            Alerts(vault, self.ledger, tap, folder / "alerts.json", settings.realert_s),
            clock=clock,
            ledger=self.ledger,
            tap=tap,
            origin=Origin("bench", "cam0", None),
            settings=settings,
        )

    def frame(self, index: int) -> tuple[Frame, list[SeenPlate]]:
        """The picture of one moment, and the plates in it."""
        self._at_s = index / self.args.fps
        at_us = round(self._at_s * US_PER_S)
        pixels, light = self.world.frame(self._at_s, index, START_US + at_us)
        frame = Frame(pixels, START_US + at_us, at_us * 1000, index, light.exposure, ir=light.night)
        return frame, self.world.plates(self._at_s)


def run(args: RoadArgs, hook: Hook | None = None) -> dict[str, Any]:
    """Drives the road frame by frame, as fast as it goes -> the figures; `hook` sees what each frame gave."""
    scorer = Scorer(args.fps, START_US)
    with tempfile.TemporaryDirectory(prefix="wayside-road-") as folder:
        road = Road(args, Path(folder))
        for index in range(round(args.length_s * args.fps)):
            frame, plates = road.frame(index)
            wall, cpu = time.perf_counter(), time.process_time()
            result = road.reader.take(frame)
            cost = time.perf_counter() - wall, time.process_time() - cpu
            scorer.see(index, result, plates, road.kept.reads, cost)
            if hook:
                hook(index, result, plates)
        road.reader.flush()
        scorer.end(road.kept.reads)
        return {**told(args), **scorer.figures(), "ledger": _unread(road.ledger)}


def told(args: RoadArgs) -> dict[str, Any]:
    """What the figures were measured on."""
    exposure = args.exposure()
    return {
        "rendered": True,
        "light": "night" if args.night else "day",
        "speed_mph": args.speed_mph,
        "lanes": args.lanes,
        "seed": args.seed,
        "severity": args.severity,
        "fps": args.fps,
        "seconds": round(args.length_s, 1),
        "exposure_us": exposure.exposure_us,
        "gain": round(exposure.gain, 2),
        "lamp": LAMP[args.severity] if args.night else 0.0,
    }


def _unread(ledger: Ledger) -> dict[str, int]:
    """Why tracks gave no read, or not another one."""
    return {what: n for what, n in ledger.totals().items() if what.startswith(("unread", "repeated"))}
