# SPDX-License-Identifier: Apache-2.0
"""Accuracy and speed of the pipeline on a manifest of pictures; every picture is a still, nothing votes."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np

from inference.labels import Entry, as_box, label_errors, load_picture, mended, read_manifest, truth_text
from inference.models import Models, load_models
from inference.pipeline import Pipeline, PipelineSettings, fit_scale
from inference.preprocess import to_grey
from inference.scoring import (
    ECE_BINS,
    Predicted,
    Tally,
    Truth,
    calibration_error,
    coverage_at,
    risk_coverage,
)
from inference.types import FrameResult, PlateRead, Rejected
from inference.zoom import LOOKS

MIN_WIDTH_AT_INPUT_PX: Final = 24.0  # narrower plates are left out of the `_at24` recalls
REJECTED_NUMBERS: Final = ("score", "plate_score", "text_score", "accept_score", "threshold", "width_px")
CURVE_POINTS: Final = 64  # of the risk-coverage curve at most
CLEAR_WIDTH_PX: Final = 60.0  # in the stored picture, of the plates of the second figures
WARM_UP: Final = 2  # runs before the clock, so that first-use costs don't count


@dataclass(frozen=True, slots=True)
class AccuracyArgs:
    """What `wayside bench accuracy` was asked; paths of pictures are relative to `root`."""

    manifest: Path
    root: Path
    threads: int = 1
    limit: int | None = None  # pictures
    min_width: float | None = None  # px of the plate in the stored picture
    country: str | None = None
    quality: str | None = None
    reads: Path | None = None  # one JSON line per picture goes here
    json_out: Path | None = None
    models: Path | None = None
    settings: PipelineSettings | None = None  # None: the manifest's, for stills
    closer_looks: int = LOOKS  # at parts of a picture in which no plate was accepted


@dataclass(slots=True)
class Costs:
    """Milliseconds per picture."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Tallies:
    """The same reads counted against the labels as they are, and with the known label errors mended."""

    errors: dict[tuple[str, str], str]
    labelled: Tally = field(default_factory=Tally)
    mended: Tally = field(default_factory=Tally)
    errors_met: int = 0


def run(args: AccuracyArgs, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Reads every picture of the manifest -> the figures; writes `reads` and `json_out` when given."""
    models = load_models(args.models, args.threads)
    pipeline = Pipeline(models, args.settings or for_stills(models, args.closer_looks))
    entries = list(read_manifest(args.manifest))[: args.limit]
    tally, costs = Tallies(label_errors()), Costs()
    sink = args.reads.open("w", encoding="utf-8") if args.reads else None
    try:
        for done, entry in enumerate(entries, 1):
            _one(entry, args, pipeline, tally, costs, sink)
            if progress:
                progress(done, len(entries))
    finally:
        if sink:
            sink.close()
    figures = report(tally, costs, models)
    if args.json_out:
        args.json_out.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return figures


def for_stills(models: Models, closer_looks: int = LOOKS) -> PipelineSettings:
    """The manifest's settings, with closer looks where no plate was accepted."""
    return replace(PipelineSettings().tuned(models.thresholds), closer_looks=closer_looks)


def _one(
    entry: Entry, args: AccuracyArgs, pipeline: Pipeline, tally: Tallies, costs: Costs, sink: TextIO | None
) -> None:
    picture = load_picture(args.root, entry)
    for _ in range(0 if costs.wall else WARM_UP):
        pipeline.process(picture)
    wall, cpu = time.perf_counter(), time.process_time()
    result = pipeline.process(picture)
    costs.cpu.append((time.process_time() - cpu) * 1e3)
    costs.wall.append((time.perf_counter() - wall) * 1e3)
    _count_both(entry, args, fit_scale(to_grey(picture)), result, tally)
    if sink:
        line = as_line(entry.image, result, costs.wall[-1], costs.cpu[-1])
        sink.write(json.dumps(line, separators=(",", ":")) + "\n")


def _count_both(
    entry: Entry, args: AccuracyArgs, scale: float, result: FrameResult, tallies: Tallies
) -> None:
    predictions = [Predicted(read.box, read.text, read.score, read.confidence) for read in result.reads]
    if entry.plates is None:
        tallies.labelled.images += 1
        tallies.mended.images += 1
        return
    truths = [truth_of(plate, args, scale) for plate in entry.plates]
    shown = [replace(t, text=mended(entry.image, t.text, tallies.errors)) for t in truths]
    tallies.errors_met += sum(a.text != b.text and a.counted for a, b in zip(truths, shown, strict=True))
    _count(truths, predictions, tallies.labelled)
    _count(shown, predictions, tallies.mended)


def _count(truths: list[Truth], predictions: list[Predicted], tally: Tally) -> None:
    if truths and all(t.box is None for t in truths):
        tally.add_unboxed([t.text for t in truths if t.text and t.counted], predictions)
    else:
        tally.add([t for t in truths if t.box], predictions, MIN_WIDTH_AT_INPUT_PX)
        tally.boxed = True


def truth_of(plate: dict[str, Any], args: AccuracyArgs, scale: float) -> Truth:
    """A plate of the manifest -> truth, counted when it passes the filters; `scale` is net px per px."""
    box = as_box(plate.get("box"))
    width = box[2] if box else 0.0
    counted = (
        (args.min_width is None or box is None or width >= args.min_width)
        and (args.country is None or plate.get("country") == args.country)
        and (args.quality is None or plate.get("quality") == args.quality)
    )
    return Truth(box, truth_text(plate), width * scale, counted, plate.get("quality") != "notplate")


def as_line(image: str, result: FrameResult, ms: float, cpu_ms: float) -> dict[str, Any]:
    """One picture's reads as the reads file has them."""
    plates = [_plate_line(read) for read in result.reads]
    rejected = [_rejected_line(one) for one in result.rejected]
    times = {"ms": round(ms, 3), "cpu_ms": round(cpu_ms, 3)}
    return {"image": image, **times, "plates": plates, "rejected": rejected}


def _plate_line(read: PlateRead) -> dict[str, Any]:
    return {
        "text": read.text,
        "confidence": round(read.confidence, 4),
        "box": [round(v, 2) for v in read.box],
        "corners": [[round(float(v), 2) for v in corner] for corner in read.corners],
        "state": read.state,
        "score": round(read.score, 4),
        "plate_score": round(read.plate_score, 4),
        "text_score": round(read.text_score, 4),
        "accept_score": round(read.accept_score, 4),
        "width_px": round(read.width_px, 1),
        "height_px": round(read.height_px, 1),
        "sharpness": round(read.sharpness, 1),
        "looks": read.looks,
        "agreed": read.agreed,
        "two_rows": read.two_rows,
        "zoomed": read.zoomed,
        "chars": [
            [c.char, round(c.probability, 4), [[o, round(p, 4)] for o, p in c.alternatives]]
            for c in read.chars
        ],
    }


def _rejected_line(rejected: Rejected) -> dict[str, Any]:
    numbers = {name: getattr(rejected, name) for name in REJECTED_NUMBERS}
    told = {name: round(value, 4) for name, value in numbers.items() if value is not None}
    return {"reason": str(rejected.reason), "box": [round(v, 2) for v in rejected.box], **told}


def report(tallies: Tallies, costs: Costs, models: Models) -> dict[str, Any]:
    """The figures; those that the manifest had no truth for are None."""
    tally = tallies.labelled
    boxed = tally.plates if tally.boxed else 0
    return {
        "images": tally.images,
        "plates": tally.plates,
        "plates_with_text": tally.texts,
        "exact": ratio(tally.exact, tally.texts),
        "exact_folded": ratio(tally.exact_folded, tally.texts),
        "detection_recall_50": ratio(tally.found_50, boxed),
        "detection_recall_30": ratio(tally.found_30, boxed),
        "detection_recall_50_at24": ratio(tally.wide_found_50, tally.wide),
        "detection_recall_30_at24": ratio(tally.wide_found_30, tally.wide),
        "plates_at24": tally.wide,
        "min_width_at_input_px": MIN_WIDTH_AT_INPUT_PX,
        "false_plates_per_image": ratio(tally.false_plates, tally.images if tally.boxed else 0),
        "character_error_rate": ratio(tally.edits, tally.characters),
        "ece": digits(calibration_error(tally.judged)),
        "ece_bins": ECE_BINS,
        "coverage_at_99": digits(coverage_at(tally.judged, tally.texts, 0.99)),
        "coverage_at_95": digits(coverage_at(tally.judged, tally.texts, 0.95)),
        "label_errors_mended": _of_mended(tallies),
        "risk_coverage": curve(tally),
        "ms_p50": percentile(costs.wall, 50),
        "ms_p95": percentile(costs.wall, 95),
        "cpu_ms_p50": percentile(costs.cpu, 50),
        "model_bytes": models.model_bytes,
        "peak_rss_mb": round(peak_rss_mb(), 1),
    }


def _of_mended(tallies: Tallies) -> dict[str, Any]:
    """The figures of texts once more, with the known label errors mended."""
    tally = tallies.mended
    return {
        "labels": tallies.errors_met,
        "exact_folded": ratio(tally.exact_folded, tally.texts),
        "ece": digits(calibration_error(tally.judged)),
        "coverage_at_99": digits(coverage_at(tally.judged, tally.texts, 0.99)),
    }


def curve(tally: Tally) -> list[list[float]]:
    """[threshold, share of plates read, share of these right], thinned."""
    points = risk_coverage(tally.judged, tally.texts)
    step = max(1, -(-len(points) // CURVE_POINTS))
    return [[round(v, 4) for v in point] for point in points[step - 1 :: step]]


def digits(value: float | None) -> float | None:
    """To four digits."""
    return None if value is None else round(value, 4)


def ratio(part: int, whole: int) -> float | None:
    """part / whole to four digits, None of nothing."""
    return round(part / whole, 4) if whole else None


def percentile(values: list[float], q: float) -> float | None:
    """The q-th percentile to three digits, None of nothing."""
    return round(float(np.percentile(values, q)), 3) if values else None


def peak_rss_mb() -> float:
    """The most memory this process has held, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 1024**2


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m inference.evaluate`: prints the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m inference.evaluate", description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--min-width", type=float)
    parser.add_argument("--country")
    parser.add_argument("--quality")
    parser.add_argument("--models", type=Path)
    parser.add_argument("--reads", type=Path)
    parser.add_argument("--closer-looks", type=int, default=LOOKS, help="0: the usual look only, as live")
    parser.add_argument("--json", type=Path, dest="json_out")
    figures = run(AccuracyArgs(**vars(parser.parse_args(argv))))
    sys.stdout.write(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
