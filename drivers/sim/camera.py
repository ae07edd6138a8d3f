# SPDX-License-Identifier: Apache-2.0
"""The simulated camera on the simulated road."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from drivers.errors import CameraClosed, CameraLost, CameraTimeout
from drivers.options import Options
from drivers.pacing import Pacer
from drivers.sim.faults import FaultScript
from drivers.sim.optics import View
from drivers.sim.traffic import Scenario
from drivers.sim.world import DEFAULT_WORLD, SimWorld, lamp_line
from drivers.types import Exposure, Frame

FAULTS: Final = {
    "u": "unplugged",
    "t": "no frames",
    "f": "frozen picture",
    "d": "dark picture",
    "b": "blinded",
}


class SimCamera:
    """Frames of a world at a steady rate; in real time it skips frames that nobody took in time."""

    def __init__(
        self, world: SimWorld, *, fps: float, pacer: Pacer, frames: int | None, faults: FaultScript
    ) -> None:
        self.world = world
        self._fps, self._pacer, self._frames, self._faults = fps, pacer, frames, faults
        self._next = 0
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
            raise CameraLost("the simulated camera is unplugged")
        if fault == "t":
            raise CameraTimeout("the simulated camera gives no frames")
        return self._take(index, fault)

    def _take(self, index: int, fault: str) -> Frame:
        at_us, at_ns = self._pacer.stamp(index)
        pixels, light = self.world.frame(index / self._fps, index, at_us)
        ir = light.night and light.lamp > 0.0
        frame = Frame(pixels, at_us, at_ns, index, light.exposure, ir=ir)
        if fault == "f" and self._last is not None:
            return replace(frame, pixels=self._last.pixels.copy())
        if fault in ("d", "b"):
            return replace(frame, pixels=np.full_like(pixels, 3 if fault == "d" else 254))
        self._last = frame
        return frame

    def configure(self, exposure: Exposure) -> None:
        """The next frame has this exposure."""
        self.world.exposure = exposure

    def close(self) -> None:
        """Writes the rest of the truth."""
        if not self._closed:
            self._closed = True
            self.world.close()


def _scenario(read: Options) -> Scenario:
    low = read.number("speed_min_mps", 9.0, 1.0, 45.0)
    return Scenario(
        every_s=read.number("every_s", 3.5, 0.5, 3600.0),
        day_seconds=read.number("day_seconds", 25.0, 0.0, 1e9),
        listed=read.texts("listed"),
        listed_every=read.integer("listed_every", 5, 1, 1000),
        speed_mps=(low, max(low, read.number("speed_max_mps", 14.0, 1.0, 45.0))),
        far_share=read.number("far_share", 0.3, 0.0, 1.0),
    )


def open_sim(options: Mapping[str, object]) -> SimCamera:
    """Options: see docs/hardware; `.world` of the camera opened is for tests in the same process."""
    read = Options("camera sim", options)
    scenario = _scenario(read)
    seed, name = read.integer("seed", 1, 0, 2**31), read.text("world", DEFAULT_WORLD)
    width, height = read.integer("width", 1280, 320, 4096), read.integer("height", 720, 240, 2160)
    fps, real_time = (
        read.number("fps", 15.0, 1.0, 120.0),
        read.choice("pace", "real", ("real", "max")) == "real",
    )
    duration_s, limit = read.optional("duration_s", 0.0, 1e7), read.optional("frames", 0, 1e9)
    start_us = read.optional("start_us", 0, 4e15)
    faults = FaultScript("camera sim", read.text("faults", ""), FAULTS)
    truth_path = read.optional_path("truth_path")
    read.finish()
    if duration_s is not None:
        limit = min(limit or np.inf, round(duration_s * fps))
    pacer = Pacer(fps, real_time=real_time, start_us=None if start_us is None else int(start_us))
    world = SimWorld(seed, scenario, view=View(width, height), truth_path=truth_path, lamp=lamp_line(name))
    frames = None if limit is None else int(limit)
    return SimCamera(world, fps=fps, pacer=pacer, frames=frames, faults=faults)
