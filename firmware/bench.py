# SPDX-License-Identifier: Apache-2.0
"""`wayside bench`: figures by command, JSON out, repeatable inputs."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.registry import open_camera
from firmware import bench_road, bench_sets
from inference import bench as inference_bench
from inference import evaluate
from inference.plate_free import write_manifest
from inference.report import document, goals, measure
from storage.bench import bench_store
from sync.hotlists.entry import Category, ListEntry
from sync.hotlists.listfile import HotList, ListDocument
from sync.hotlists.match import Matcher

MATCH_ENTRIES = 200_000
MATCH_SEED = 7
PIPELINE_SEED = 3
PIPELINE_FRAMES = 300  # 20 s of road ...
PIPELINE_EVERY = 6  # ... of which every sixth frame is kept
RENDERED = 60  # stills of each light in the models' report
RENDERED_SEED = 11
REPORT_COMMAND = "make report"
MODEL_FRAMES = 120  # of road in the models' figures: only those with one plate are timed
DAY_US = 86_400_000_000
LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"


def run_bench(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of the chosen bench."""
    if options.kind == "accuracy":
        return _accuracy(options)
    if options.kind == "pipeline":
        return inference_bench.bench_pipeline(images=road_frames(), seconds=options.seconds)
    if options.kind == "match":
        return bench_match(options.seconds)
    if options.kind in {"road", "night", "ghosts"}:
        return _rendered(options)
    with tempfile.TemporaryDirectory(prefix="wayside-bench-") as folder:
        return bench_store(Path(folder))


def _rendered(options: argparse.Namespace) -> dict[str, Any]:
    if options.kind == "night":
        return bench_sets.bench_night(options.out, options.seed, options.count)
    if options.kind == "ghosts":
        return bench_sets.bench_ghosts(
            options.out, options.manifest, options.root, options.count, options.seed
        )
    return bench_road.run(
        bench_road.RoadArgs(
            scenario=options.scenario,
            night=options.light == "night",
            speed_mph=min(max(options.speed_mph, 5.0), 100.0),
            lanes=options.lanes,
            seconds=options.minutes * 60 if options.minutes else options.seconds,
            vehicles=options.vehicles,
            fps=options.fps,
            seed=options.seed,
            severity=options.severity,
            threads=options.threads,
        )
    )


def _accuracy(options: argparse.Namespace) -> dict[str, Any]:
    return evaluate.run(
        evaluate.AccuracyArgs(
            manifest=options.manifest,
            root=options.root,
            threads=options.threads,
            limit=options.limit,
            min_width=options.min_width,
            country=options.country,
            quality=options.quality,
            reads=options.reads,
        )
    )


def road_frames(frames: int = PIPELINE_FRAMES) -> list[NDArray[np.uint8]]:
    """1280x720 frames of the simulated roadside, the same in every run; every sixth of so many."""
    camera = open_camera("sim", {"seed": PIPELINE_SEED, "pace": "max"})
    try:
        kept = []
        for number in range(frames):
            frame = camera.capture(1.0)
            if frame is not None and number % PIPELINE_EVERY == 0:
                kept.append(frame.pixels)
        return kept
    finally:
        camera.close()


def bench_models(options: argparse.Namespace) -> str:
    """The table of goals; writes the figures to `options.json` where it is given."""
    measured = measure.measure(_asked(options))
    if options.json:
        measure.write_json(options.json, measured.figures)
    return goals.table(goals.goals(measured.figures))


def _asked(options: argparse.Namespace) -> measure.Asked:
    return measure.Asked(
        options.data,
        limit=options.limit,
        plate_free=options.plate_free,
        acceptance=dict(options.acceptance),
        peer=options.peer,
        frames=road_frames(MODEL_FRAMES),
    )


def write_report(options: argparse.Namespace) -> list[Path]:
    """The models' report; rendered stills and the failures' pictures go beside the gallery."""
    rendered = options.gallery / "rendered"
    asked = replace(
        _asked(options),
        rendered={light: _stills(rendered, light) for light in ("night", "day")},
        candidates=True,
    )
    places = document.Places(
        options.out, options.gallery, options.data, REPORT_COMMAND, f"{datetime.now(UTC):%Y-%m-%d}"
    )
    return document.build(measure.measure(asked), places)


def _stills(folder: Path, light: str) -> Path:
    """Rendered pictures of a light -> their manifest."""
    lines = bench_sets.write_stills(folder, RENDERED_SEED, RENDERED, night=light == "night")
    manifest = folder / f"{light}.jsonl"
    write_manifest(manifest, lines)
    return manifest


def bench_match(seconds: float) -> dict[str, Any]:
    """Looks reads up in a list of 200,000 entries (1 % with a wildcard): half of the reads are listed."""
    rng = random.Random(MATCH_SEED)  # noqa: S311 -- repeatable inputs, no secrets
    plates = [
        "".join(rng.choices(LETTERS, k=2)) + f"{rng.randrange(100_000):05d}" for _ in range(MATCH_ENTRIES)
    ]
    entries = tuple(
        ListEntry(f"e{n}", p if n % 100 else f"{p[:3]}?{p[4:]}", "IL", Category.STOLEN_VEHICLE)
        for n, p in enumerate(plates)
    )
    now_us = 1_800_000_000_000_000
    document = ListDocument("bench", 1, now_us, now_us, now_us + DAY_US, entries)
    started = time.perf_counter()
    matcher = Matcher([HotList(document, "0" * 16, "0" * 64, 0)])
    build_s = time.perf_counter() - started
    asked = [plates[n] if n % 2 else f"ZZ{n:05d}" for n in range(1000)]
    times: list[float] = []
    hits = 0
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        for text in asked:
            start = time.perf_counter()
            hits += bool(matcher.match(text, "IL", now_us=now_us))
            times.append((time.perf_counter() - start) * 1e3)
    times.sort()
    return {
        "entries": MATCH_ENTRIES,
        "build_s": round(build_s, 3),
        "lookups": len(times),
        "hit_ratio": round(hits / len(times), 4),
        "ms_p50": round(times[len(times) // 2], 4),
        "ms_p95": round(times[int(len(times) * 0.95)], 4),
    }
