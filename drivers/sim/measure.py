# SPDX-License-Identifier: Apache-2.0
"""How fast the simulated road is drawn: frames a second of processor time, on one core."""

from __future__ import annotations

import time
from typing import Any, Final

import cv2
import numpy as np

from drivers.sim.scenario import load_scenario
from drivers.sim.world import SimWorld

WARM_FRAMES: Final = 5  # drawn before the clock runs: what is drawn once is not counted


def frames_per_s(name: str, seconds: float = 10.0, *, seed: int = 1) -> dict[str, Any]:
    """Draws so many seconds of a scenario, spread over its length: frames, their rate and processor ms a frame.

    Parts that start anywhere in the scenario see its whole light; each vehicle's pictures are drawn within them.
    """
    road = load_scenario(name)
    world, threads = SimWorld(seed, road), cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        costs = _drawn(world, seconds)
    finally:
        cv2.setNumThreads(threads)
        world.close()
    return {
        "scenario": name,
        "width": world.view.width,
        "height": world.view.height,
        "frames": len(costs),
        "frames_per_s": round(1e3 / float(np.mean(costs)), 1),
        "ms_per_frame_mean": round(float(np.mean(costs)), 2),
        "ms_per_frame_p50": round(float(np.percentile(costs, 50)), 2),
        "ms_per_frame_p95": round(float(np.percentile(costs, 95)), 2),
    }


PARTS: Final = 5


def _drawn(world: SimWorld, seconds: float) -> list[float]:
    """Milliseconds of processor time of each frame."""
    road, costs = world.road, []
    each = max(1, round(seconds * road.fps / PARTS))
    for part in range(PARTS):
        begin_s = (part + 0.5) / PARTS * road.minutes * 60.0
        for index in range(-WARM_FRAMES, each):
            start = time.process_time()
            world.frame(begin_s + index / road.fps, index + WARM_FRAMES, 0)
            if index >= 0:
                costs.append((time.process_time() - start) * 1e3)
    return costs
