# SPDX-License-Identifier: Apache-2.0
"""The simulated camera on the simulated road."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import cv2
import numpy as np

from drivers.errors import CameraClosed, CameraLost, CameraTimeout
from drivers.options import Options
from drivers.pacing import Pacer
from drivers.sim.faults import FaultScript
from drivers.sim.lines import DEFAULT_WORLD, wires
from drivers.sim.optics import View
from drivers.sim.scenario import Road, load_scenario, plain
from drivers.sim.traffic import Scenario
from drivers.sim.world import SimWorld
from drivers.types import CameraCaps, Exposure, Frame, FrameMetadata

FAULTS: Final = {
    "u": "unplugged",
    "t": "no frames",
    "f": "frozen picture",
    "d": "dark picture",
    "b": "blinded",
    "o": "out of focus",
    "a": "turned away",
}
DEFOCUS_SHARE: Final = 0.005  # of the picture's width: the blur's standard deviation
DAY_SECONDS: Final = 25.0  # of day, then as long a night, without a scenario
SHORTEST_US: Final = 20  # microseconds that the shutter needs
GAINS: Final = (1.0, 16.0)


@dataclass(frozen=True, slots=True)
class _Cut:
    """A camera that its script unplugged: the same one, opened again, goes on in the script's and the road's time."""

    options: dict[str, object]
    pacer: Pacer
    next: int


_CUT: Final[dict[str, _Cut]] = {}  # by world


class SimCamera:
    """Frames of a world at a steady rate; in real time it skips frames that nobody took in time."""

    def __init__(
        self,
        world: SimWorld,
        *,
        fps: float,
        pacer: Pacer,
        frames: int | None,
        faults: FaultScript,
        first: int = 0,
        cut: Callable[[int], None] = lambda _next: None,
    ) -> None:
        self.world = world
        self._fps, self._pacer, self._frames, self._faults = fps, pacer, frames, faults
        self._next, self._cut = first, cut
        self._last: Frame | None = None
        self._closed = False

    def capture(self, timeout_s: float) -> Frame | None:
        """The newest frame; None after the last one; raises CameraTimeout, CameraLost as scripted."""
        if self._closed:
            raise CameraClosed("the simulated camera was closed")
        index = max(self._next, self._pacer.latest())
        if self._frames is not None and index >= self._frames:
            return None
        wait_s = self._pacer.due_in_s(index)
        if wait_s > timeout_s:
            time.sleep(max(0.0, timeout_s))
            raise CameraTimeout(f"the simulated camera gave no frame in {timeout_s:.2f} s")
        time.sleep(wait_s)
        self._next = index + 1
        fault = self._faults.at(int(index / self._fps))
        if fault == "u":
            self._cut(self._next)
            raise CameraLost("the simulated camera is unplugged")
        if fault == "t":
            raise CameraTimeout("the simulated camera gives no frames")
        return self._take(index, fault)

    def _take(self, index: int, fault: str) -> Frame:
        at_us, at_ns = self._pacer.stamp(index)
        at_s = index / self._fps
        pixels, light = self.world.frame(at_s, index, at_us)
        seen = FrameMetadata(applied=True, lux=light.lux)
        frame = Frame(pixels, at_us, at_ns, index, light.exposure, ir=light.ir, metadata=seen)
        if fault == "f" and self._last is not None:
            return replace(frame, pixels=self._last.pixels.copy())
        if fault in ("d", "b"):
            return replace(frame, pixels=np.full_like(pixels, 3 if fault == "d" else 254))
        if fault == "o":
            sigma = DEFOCUS_SHARE * pixels.shape[1]
            return replace(frame, pixels=np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8))
        if fault == "a":
            return replace(frame, pixels=self.world.aside(at_s, index))
        self._last = frame
        return frame

    def capabilities(self) -> CameraCaps:
        """What the road's camera can do; `strobe`: its lamp flashes with the shutter."""
        view, road = self.world.view, self.world.road
        longest = min(int(1e6 / self._fps), road.camera.max_exposure_us)
        shutter: Literal["global", "rolling"] = "rolling" if road.camera.shutter == "rolling" else "global"
        strobe = road.lamp.pulse_us > 0.0 and road.lamp.pulse_hz <= 0.0
        size = (view.width, view.height)
        return CameraCaps((SHORTEST_US, longest), GAINS, self._fps, size, shutter, strobe)

    def configure(self, exposure: Exposure) -> None:
        """The next frame has this exposure."""
        self.world.exposure = self.capabilities().bounded(exposure)

    def close(self) -> None:
        """Writes the rest of the truth."""
        if not self._closed:
            self._closed = True
            self.world.close()


def _traffic(read: Options, given: Scenario) -> Scenario:
    low = read.number("speed_min_mps", given.speed_mps[0], 0.5, 45.0)
    return replace(
        given,
        every_s=read.number("every_s", given.every_s, 0.5, 3600.0),
        listed=read.texts("listed") or given.listed,
        listed_every=read.integer("listed_every", given.listed_every, 1, 1000),
        speed_mps=(low, max(low, read.number("speed_max_mps", given.speed_mps[1], 0.5, 45.0))),
        far_share=read.number("far_share", given.far_share, 0.0, 1.0),
    )


def _road(read: Options) -> Road:
    """The scenario that was asked for, or the plain road; other options stand in for what it says."""
    name = read.text("scenario", "")
    road = load_scenario(name) if name else plain()
    turns_s = (
        read.number("day_seconds", DAY_SECONDS, 0.0, 1e9)
        if not name
        else read.optional("day_seconds", 0.0, 1e9)
    )
    return replace(road, light=replace(road.light, turns_s=turns_s), traffic=_traffic(read, road.traffic))


def open_sim(options: Mapping[str, object]) -> SimCamera:
    """Options: see docs/hardware; `.world` of the camera opened is for tests in the same process."""
    read = Options("camera sim", options)
    road = _road(read)
    seed, name = read.integer("seed", 1, 0, 2**31), read.text("world", DEFAULT_WORLD)
    width = read.integer("width", road.camera.width_px, 320, 4096)
    height = read.integer("height", road.camera.height_px, 240, 2160)
    fps, real_time = (
        read.number("fps", road.fps, 1.0, 120.0),
        read.choice("pace", "real", ("real", "max")) == "real",
    )
    duration_s, limit = read.optional("duration_s", 0.0, 1e7), read.optional("frames", 0, 1e9)
    start_us = read.optional("start_us", 0, 4e15)
    faults = FaultScript("camera sim", read.text("faults", ""), FAULTS)
    truth_path = read.optional_path("truth_path")
    read.finish()
    if duration_s is not None:
        limit = min(limit or np.inf, round(duration_s * fps))
    given = dict(options)
    before = _CUT.pop(name, None)
    again = before if before is not None and before.options == given else None
    start = None if start_us is None else int(start_us)
    pacer = again.pacer if again else Pacer(fps, real_time=real_time, start_us=start)

    def cut(following: int) -> None:
        _CUT[name] = _Cut(given, pacer, following)

    view = View(width, height, road.camera)
    world = SimWorld(seed, road, view=view, truth_path=truth_path, wires=wires(name))
    return SimCamera(
        world,
        fps=fps,
        pacer=pacer,
        frames=None if limit is None else int(limit),
        faults=faults,
        first=again.next if again else 0,
        cut=cut,
    )
