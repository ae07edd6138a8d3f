# SPDX-License-Identifier: Apache-2.0
"""Measures everything that the goals and the report speak of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inference.evaluate import AccuracyArgs, for_stills, run
from inference.ghosts import collect as collect_ghosts
from inference.ghosts import count as count_ghosts
from inference.labels import label_errors, read_manifest
from inference.models import Models, load_models
from inference.pipeline import Pipeline
from inference.report import figures as rules
from inference.report.records import Case, Shot, cases, collect, false_reads, sources_of
from inference.report.speed import Peer, one_plate_frames, time_frames, time_peer

RENDERED: Final = "rendered"  # what the source of a rendered picture begins with


@dataclass(frozen=True, slots=True)
class Asked:
    """What to measure on; pictures of `acceptance` and `plate_free` lie relative to their manifests' folders."""

    data: Path  # folder of val.jsonl
    models: Path | None = None
    limit: int | None = None  # pictures
    plate_free: Path | None = None
    acceptance: Mapping[str, Path] = field(default_factory=dict)  # US, EU, BR -> manifest
    peer: str | None = None  # the interpreter that has fast-alpr
    frames: Sequence[NDArray[np.uint8]] = ()  # to be timed: 1280x720
    rendered: Mapping[str, Path] = field(default_factory=dict)  # light -> manifest of rendered pictures
    candidates: bool = False  # for the curve of precision and recall: twice the time


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures, and every picture that they come from; `rendered` by light."""

    figures: dict[str, Any]
    shots: list[Shot]
    rendered: dict[str, list[Shot]] = field(default_factory=dict)


def measure(asked: Asked, progress: Callable[[int, int], None] | None = None) -> Measured:
    """Everything, on the models of a folder (the shipped ones by default)."""
    models = load_models(asked.models)
    shots = collect(
        models,
        asked.data / "val.jsonl",
        asked.data,
        limit=asked.limit,
        candidates=asked.candidates,
        progress=progress,
    )
    frames = one_plate_frames(models, asked.frames)
    peer = Peer(None, "not asked for (`--peer`)")
    if frames and asked.peer:
        peer = time_peer(frames, asked.peer)
    found = accuracy_figures(shots)
    found |= {
        "models": dict(models.digests),
        "model_bytes": models.model_bytes,
        "accept_score": Pipeline(models).settings.acceptance.accept_score,
        "time": time_frames(models, frames) if frames else None,
        "peer": {"ms": peer.ms, "note": peer.note},
        "ghosts": ghosts(models, asked.plate_free) if asked.plate_free else None,
        "acceptance": {
            name: run(AccuracyArgs(path, path.parent, models=asked.models))
            for name, path in asked.acceptance.items()
        },
    }
    rendered = {light: collect(models, path, path.parent) for light, path in asked.rendered.items()}
    found["rendered"] = {light: rendered_figures(of_light) for light, of_light in rendered.items()}
    return Measured(found, shots, rendered)


def rendered_figures(shots: Sequence[Shot]) -> dict[str, Any]:
    """Of rendered pictures: plates in full sight and at least 40 px wide."""
    found = [case for case in rules.with_text(cases(shots)) if case.truth.width >= rules.RENDERED_WIDTH_PX]
    return {
        "pictures": len(shots),
        **texts(found),
        "recall_30": rules.recall(found, 0.3, 0.0).as_json(),
    }


def accuracy_figures(shots: Sequence[Shot]) -> dict[str, Any]:
    """All that follows from the pictures alone."""
    found = cases(shots)
    confidences, right = rules.read_pairs(found)
    plates = len(rules.with_text(found))
    table = rules.calibration(confidences, right)
    false = len(false_reads(shots))
    return {
        "pictures": len(shots),
        "us_clear": texts(rules.us_clear(found)),
        "two_rows": texts(rules.two_rows(found)),
        "all_texts": texts(rules.with_text(found)),
        "detection": {
            "recall_30": rules.recall(found, 0.3).as_json(),
            "recall_50": rules.recall(found, 0.5).as_json(),
            "recall_30_any_width": rules.recall(found, 0.3, 0.0).as_json(),
            "false": false,
            "images": len(shots),
            "false_per_image": round(false / max(len(shots), 1), 4),
        },
        "state": rules.state_figures(found),
        "label_errors_mended": _mended(found, plates),
        "confidence": {
            "ece": round(table.error, 4),
            "noise": round(table.noise, 4),
            "reads": table.reads,
            "plates": plates,
            "coverage_at_99": round(rules.coverage_at(confidences, right, plates), 4),
            "coverage_at_99_of_read": round(rules.coverage_at(confidences, right, len(confidences)), 4),
        },
    }


def _mended(found: Sequence[Case], plates: int) -> dict[str, Any]:
    """The figures of texts once more, with the known label errors mended."""
    shown = rules.with_labels_mended(found, label_errors())
    kept = rules.coverage_at(*rules.read_pairs(shown), plates)
    changed = sum(a.truth.text != b.truth.text for a, b in zip(found, shown, strict=True))
    return {"labels": changed, "all_texts": texts(rules.with_text(shown)), "coverage_at_99": round(kept, 4)}


def texts(found: Sequence[Case]) -> dict[str, Any]:
    """Exact shares of some plates."""
    return {
        "exact_folded": rules.exact(found).as_json(),
        "exact": rules.exact(found, folded=False).as_json(),
    }


def ghosts(models: Models, manifest: Path) -> dict[str, Any]:
    """What is read in pictures that show no plate, looked at as those that do; rendered ones are counted apart."""
    sources = sources_of(manifest)
    images = [entry.image for entry in read_manifest(manifest)]
    found = collect_ghosts(Pipeline(models, for_stills(models)), manifest.parent, images)
    rendered = [image for image in images if sources.get(image, "").startswith(RENDERED)]
    real = [reads for image, reads in found.items() if image not in rendered]
    return {**count_ghosts(real), "rendered": count_ghosts(found[image] for image in rendered)}


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """The figures as a file that a program reads."""
    path.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n", encoding="utf-8")
