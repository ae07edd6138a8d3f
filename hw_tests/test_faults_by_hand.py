# SPDX-License-Identifier: Apache-2.0
"""Faults that a person makes on iron: the same watchers and books as in the fault table, on the rig's own devices."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from drivers.registry import open_camera, open_gnss, open_modem
from drivers.types import Frame
from firmware.camera_check import CameraCheck
from firmware.capture import Capture
from firmware.clock import DeviceClock
from firmware.exposure_settings import ExposureSettings
from firmware.health import Finding
from firmware.latest import LatestQueue
from firmware.light import Light, LightParts
from firmware.link_check import LinkCheck
from firmware.place import PlaceWatch

from .conftest import part
from .fault_bench import Bench, Step
from .rig import Rig

LOOK_S = 0.5
WELL_WITHIN_S = 180.0  # a receiver or a modem that was plugged in again starts first

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class ByHand:
    """`ask` makes the fault, `undo` ends it; `code` is told within `within_s` seconds."""

    part: str
    code: str
    ask: str
    undo: str
    within_s: float


ROWS = (
    ByHand("camera", "lost", "unplug the camera now", "plug the camera in again", 30.0),
    ByHand("camera", "dark", "cover the lens now, by day", "uncover the lens", 30.0),
    ByHand("gnss", "lost", "unplug the receiver now", "plug the receiver in again", 30.0),
    ByHand("modem", "mute", "cut the modem's supply now", "give the modem its supply back", 180.0),
)


def _camera(rig: Rig, bench: Bench) -> Step:
    chosen = part(rig.camera, "camera")
    queue: LatestQueue[Frame] = LatestQueue(1)
    capture = Capture(
        lambda: open_camera(chosen.name, chosen.options),
        queue,
        CameraCheck(None, fps=chosen.fps),
        Light(ExposureSettings(), LightParts()),
        lossless=False,
        advanced=lambda: None,
    )
    stop = threading.Event()
    thread = threading.Thread(target=capture.run, args=(stop,), name="camera under test")
    thread.start()
    bench.closing.callback(thread.join)
    bench.closing.callback(stop.set)
    return lambda: [capture.finding()]


def _gnss(rig: Rig, bench: Bench) -> Step:
    chosen = part(rig.gnss, "gnss")
    clock = DeviceClock(bench.folder / "clock.json")
    watch = PlaceWatch(lambda: open_gnss(chosen.name, chosen.options), None, clock, "mobile")
    bench.closing.enter_context(watch)
    return watch.poll


def _modem(rig: Rig, bench: Bench) -> Step:
    chosen = part(rig.modem, "modem")
    watch = LinkCheck(lambda: open_modem(chosen.name, chosen.options))
    bench.closing.enter_context(watch)
    return watch.poll


WATCHERS: dict[str, Callable[[Rig, Bench], Step]] = {"camera": _camera, "gnss": _gnss, "modem": _modem}


def _until(bench: Bench, step: Step, codes: Sequence[str], part_name: str, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s

    def paced() -> Sequence[Finding]:
        time.sleep(LOOK_S)
        return step()

    while bench.codes(part_name) != list(codes) and time.monotonic() < deadline:
        bench.step(paced)
    assert bench.codes(part_name) == list(codes)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.part} {row.code}")
def test_a_fault_made_by_hand(row: ByHand, rig: Rig, person: Callable[[str], None], tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with bench.closing:
        step = WATCHERS[row.part](rig, bench)
        for _ in range(10):
            bench.step(step)
        person(row.ask)
        _until(bench, step, [row.code], row.part, row.within_s)
        person(row.undo)
        _until(bench, step, [row.code, ""], row.part, WELL_WITHIN_S)
    assert bench.audited(row.part) == [row.code, ""]
    assert bench.ledger.totals()[f"health: {row.part} {row.code}"] == 1
