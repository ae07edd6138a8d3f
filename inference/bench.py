# SPDX-License-Identifier: Apache-2.0
"""How long each stage of the pipeline takes on this machine."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inference.errors import BadPictureError
from inference.evaluate import percentile
from inference.models import load_models
from inference.pipeline import Pipeline

WARM_UP: Final = 3
DEFAULT_FRAMES: Final = 100
NOISE_SIZE: Final = (720, 1280)  # height, width px of the picture used when none is given


def bench_pipeline(
    *,
    images: Sequence[NDArray[np.uint8]] | None = None,
    frames: int | None = None,
    seconds: float | None = None,
    threads: int = 1,
    models: Path | None = None,
) -> dict[str, Any]:
    """Runs pictures round and round for so many frames or seconds -> stage -> p50 and p95 in ms."""
    pictures = list(images) if images is not None else [noise()]
    if not pictures:
        raise BadPictureError("no pictures to run: give at least one")
    pipeline = Pipeline(load_models(models, threads))
    for _ in range(WARM_UP):
        pipeline.process(pictures[0])
    limit = frames if frames is not None else (DEFAULT_FRAMES if seconds is None else None)
    return _figures(*_collect(pipeline, pictures, limit, seconds))


def noise() -> NDArray[np.uint8]:
    """(720, 1280, 3) of seeded noise: the cost of a frame without a plate."""
    return np.random.default_rng(0).integers(0, 256, (*NOISE_SIZE, 3), dtype=np.uint8)


def _collect(
    pipeline: Pipeline, pictures: Sequence[NDArray[np.uint8]], frames: int | None, seconds: float | None
) -> tuple[dict[str, list[float]], int, float]:
    stages: defaultdict[str, list[float]] = defaultdict(list)
    start, plates, done = time.perf_counter(), 0, 0
    while (frames is None or done < frames) and (seconds is None or time.perf_counter() - start < seconds):
        result = pipeline.process(pictures[done % len(pictures)])
        plates += len(result.reads)
        done += 1
        for stage, ms in result.timings.items():
            stages[stage].append(ms)
    return dict(stages), plates, time.perf_counter() - start


def _figures(stages: dict[str, list[float]], plates: int, elapsed: float) -> dict[str, Any]:
    frames = len(stages.get("total", []))
    return {
        "frames": frames,
        "plates": plates,
        "seconds": round(elapsed, 3),
        "frames_per_second": round(frames / elapsed, 2) if elapsed > 0 else None,
        "stages_ms": {
            stage: {"p50": percentile(ms, 50), "p95": percentile(ms, 95), "frames": len(ms)}
            for stage, ms in stages.items()
        },
    }
