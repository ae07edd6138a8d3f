# SPDX-License-Identifier: Apache-2.0
"""How long one frame with one plate takes, on one thread; and the peer beside it where it is at hand."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.evaluate import peak_rss_mb, percentile
from inference.models import Models
from inference.pipeline import Pipeline

ROUNDS: Final = 5
PEER_SCRIPT: Final = Path(__file__).with_name("peer.py")
PEER_SECONDS: Final = 300.0
PEER_PUBLISHED_MS: Final = (58.0, 63.0)  # an image, fast-alpr, one x86 thread: not measured here

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Peer:
    """What the peer took, ms an image; or why it could not be measured."""

    ms: float | None
    note: str


def one_plate_frames(models: Models, frames: Sequence[Pixels]) -> list[Pixels]:
    """Those in which exactly one plate is read."""
    pipeline = Pipeline(models)
    return [frame for frame in frames if len(pipeline.process(frame).reads) == 1]


@dataclass(frozen=True, slots=True)
class Run:
    """One frame through the pipeline, ms."""

    wall: float
    cpu: float
    stages: dict[str, float]


def time_frames(models: Models, frames: Sequence[Pixels], rounds: int = ROUNDS) -> dict[str, Any]:
    """Frames (H, W, 3) -> p50 and p95 ms over the frames, each the best of `rounds` runs: other work disturbs least."""
    cv2.setNumThreads(1)
    pipeline = Pipeline(models)
    for frame in frames[:2]:
        pipeline.process(frame)
    runs = [[_run(pipeline, frame) for frame in frames] for _ in range(rounds)]
    best = [min(same, key=lambda run: run.wall) for same in zip(*runs, strict=True)]
    cpu = [min(run.cpu for run in same) for same in zip(*runs, strict=True)]
    names = list(dict.fromkeys(name for run in best for name in run.stages))
    stages = {name: [run.stages[name] for run in best if name in run.stages] for name in names}
    return {
        "frames": len(frames),
        "runs": len(frames) * rounds,
        "ms_p50": percentile([run.wall for run in best], 50),
        "ms_p95": percentile([run.wall for run in best], 95),
        "cpu_ms_p50": percentile(cpu, 50),
        "cpu_ms_p95": percentile(cpu, 95),
        "stages_ms": {
            name: {"p50": percentile(ms, 50), "p95": percentile(ms, 95)} for name, ms in stages.items()
        },
        "peak_rss_mb": round(peak_rss_mb(), 1),
    }


def _run(pipeline: Pipeline, frame: Pixels) -> Run:
    wall, cpu = time.perf_counter(), time.process_time()
    result = pipeline.process(frame)
    return Run((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3, dict(result.timings))


def time_peer(frames: Sequence[Pixels], python: str = sys.executable) -> Peer:
    """fast-alpr on the same frames, in the interpreter that has it; a process of its own, one thread."""
    with tempfile.TemporaryDirectory(prefix="wayside-peer-") as folder:
        for number, frame in enumerate(frames):
            cv2.imwrite(str(Path(folder) / f"{number:03d}.png"), frame)
        command = [python, str(PEER_SCRIPT), folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PEER_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Peer(None, f"not measured: {type(error).__name__}")
    try:
        told = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return Peer(None, "not measured: the peer's process ended without an answer")
    if "error" in told:
        return Peer(None, f"not measured: {told['error']}")
    return Peer(
        float(told["ms_p50"]), f"fast-alpr {told['version']}, {told['read']} of {told['frames']} frames read"
    )
