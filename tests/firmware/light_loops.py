# SPDX-License-Identifier: Apache-2.0
"""The loop of picture, exposure and lamp, really closed: on the simulated road, and on a road of one grey."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from drivers.sim.world import SimWorld
from drivers.types import CameraCaps, Exposure, Frame, FrameMetadata, IlluminatorState
from firmware.exposure import Command, ExposureControl
from firmware.exposure_settings import ExposureSettings
from firmware.health import Finding
from firmware.lamp_check import LampCheck
from firmware.metering import plate_levels

FPS = 15.0
CAPS = CameraCaps(exposure_us=(30, 60_000), gain=(1.0, 16.0), fps=FPS, size=(640, 360))
SMALLEST_PX = 22.0  # plates that a detector finds in a picture of this size
APPLIED = FrameMetadata(applied=True)  # the camera tells which exposure it had
Change = Callable[[Frame, float], Frame]


def turns(commands: list[Command]) -> int:
    """How often day became night or night day."""
    return sum(before.night != after.night for before, after in pairwise(commands))


@dataclass
class Loop:
    """A road, a camera that obeys `delay` frames late, a lamp that obeys at once."""

    world: SimWorld
    control: ExposureControl
    delay: int = 2
    change: Change = lambda frame, _at_s: frame
    lamp_works: bool = True
    sustained: float = 0.6
    asked: float = 0.0
    begin_s: float = 0.0
    check: LampCheck = field(default_factory=LampCheck)
    findings: list[Finding] = field(default_factory=list)
    index: int = 0
    commands: list[Command] = field(default_factory=list)
    plates: list[tuple[int, float]] = field(default_factory=list)  # frame index, level of a plate's ground
    _queue: deque[Exposure] = field(default_factory=deque)

    def start(self, exposure: Exposure) -> None:
        self._queue.extend([exposure] * (self.delay + 1))

    def step(self) -> Frame:
        at_s = self.begin_s + self.index / FPS
        if not self._queue:
            self.start(self.control.first().exposure)
        self.world.exposure = self._queue.popleft()
        pixels, light = self.world.frame(at_s, self.index, 0)
        at_ns = round(at_s * 1e9) + 1
        shown = Frame(pixels, 0, at_ns, self.index, light.exposure, ir=light.night, metadata=APPLIED)
        frame = self.change(shown, at_s)
        corners = self._found(at_s)
        if not self.control.is_long(frame):
            self.plates += [(self.index, shown) for shown in plate_levels(frame.pixels, corners)]
        power = self.asked
        state = IlluminatorState(power, power, limited=False, sustained=self.sustained)
        command = self.control.after(frame, corners, at_ns, lamp=state)
        self._queue.append(command.exposure)
        self.asked = command.lamp_power
        self.world.lamp.power = command.lamp_power if self.lamp_works else 0.0
        self.commands.append(command)
        self.findings.append(self.check.see(command, state, at_ns))
        self.index += 1
        return frame

    def run(self, seconds: float) -> list[Command]:
        begun = len(self.commands)
        for _ in range(round(seconds * FPS)):
            self.step()
        return self.commands[begun:]

    @property
    def turns(self) -> int:
        return turns(self.commands)

    @property
    def codes(self) -> set[str]:
        return {finding.code for finding in self.findings}

    def _found(self, at_s: float) -> list[NDArray[np.float64]]:
        width, height = self.world.view.width, self.world.view.height
        return [
            plate.corners
            for plate in self.world.plates(at_s)
            if not plate.hidden
            and np.linalg.norm(plate.corners[1] - plate.corners[0]) >= SMALLEST_PX
            and plate.corners.min() >= 0
            and (plate.corners.max(axis=0) < (width, height)).all()
        ]


@dataclass
class FlatLoop:
    """Light = ambient + lamp, per microsecond; no plates, no pictures of cars."""

    ambient: float
    lamp_gives: float = 0.0
    tone: float = 2.2
    delay: int = 2
    settings: ExposureSettings = field(default_factory=lambda: ExposureSettings(scene_every=0))
    state: Callable[[float], IlluminatorState] = lambda power: IlluminatorState(power, power, limited=False)
    fps: float = FPS
    index: int = 0
    given: float = 0.0
    commands: list[Command] = field(default_factory=list)
    lux: float | None = None
    shines: Callable[[float], float] = lambda power: power  # what a lamp that fails makes of its power
    findings: list[Finding] = field(default_factory=list)
    caps: CameraCaps = CAPS
    metadata: FrameMetadata = APPLIED
    obeys: Callable[[Exposure], Exposure] = lambda asked: asked
    long_frames: int = 0

    def __post_init__(self) -> None:
        self.control = ExposureControl(self.caps, self.settings)
        self.check = LampCheck()
        self._queue = deque([self.control.first().exposure] * (self.delay + 1))
        self._rng = np.random.default_rng(1)
        self._noise = self._rng.normal(0.0, 1.5, (40, 48, 64))

    def grey(self, exposure: Exposure) -> float:
        light = (
            (self.ambient + self.lamp_gives * self.shines(self.given)) * exposure.exposure_us * exposure.gain
        )
        return 255.0 * min(1.0, light) ** (1.0 / self.tone)

    def level(self) -> float:
        return 2.2 * math.log2(max(4.0, self.grey(self.commands[-1].exposure)) / 255.0)

    def step(self) -> Command:
        exposure = self.obeys(self._queue.popleft())
        noise = self._noise[self._rng.integers(40)] * math.sqrt(exposure.gain)
        pixels = np.clip(self.grey(exposure) + noise, 0, 255).astype(np.uint8)
        at_ns = round(self.index / self.fps * 1e9) + 1
        frame = Frame(pixels, 0, at_ns, self.index, exposure, ir=False, metadata=self.metadata)
        self.long_frames += self.control.is_long(frame)
        state = self.state(self.commands[-1].lamp_power if self.commands else 0.0)
        command = self.control.after(frame, [], at_ns, lamp=state, lux=self.lux)
        self._queue.append(command.exposure)
        self.given = self.state(command.lamp_power).power
        self.commands.append(command)
        self.findings.append(self.check.see(command, self.state(command.lamp_power), at_ns))
        self.index += 1
        return command

    def run(self, seconds: float) -> list[Command]:
        begun = len(self.commands)
        for _ in range(round(seconds * self.fps)):
            self.step()
        return self.commands[begun:]

    @property
    def codes(self) -> list[str]:
        """What was found of the lamp, each change once."""
        told = [finding.code for finding in self.findings]
        return [code for code, before in zip(told, [None, *told], strict=False) if code != before]

    @property
    def turns(self) -> int:
        return turns(self.commands)
