# SPDX-License-Identifier: Apache-2.0
"""Fits what makes a box a plate (`accept`) on labelled pictures; writes it and the accuracy to the manifest."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inference.accept import Acceptance, log_odds
from inference.evaluate import MIN_WIDTH_AT_INPUT_PX, AccuracyArgs, run, truth_of
from inference.labels import load_picture, read_manifest
from inference.models import MANIFEST, MODELS_DIR, load_models
from inference.models import read_manifest as read_model_manifest
from inference.pipeline import Pipeline, PipelineSettings, fit_scale
from inference.preprocess import to_grey
from inference.scoring import Predicted, Tally, Truth, match
from inference.types import PlateRead

FALSE_TARGET: Final = 0.10  # false plates a picture that the threshold may give
CANDIDATE_SCORE: Final = 0.3  # of the detector; what is below is not looked at
PLATE_SCORE: Final = 0.02  # of the corner net; what is below is not read
SMALL_WEIGHT: Final = 0.25  # of a plate narrower than what the recall is measured on
SHRINKAGE: Final = 1.0  # of the weights: squares added to the loss
STEPS: Final = 50
CLEAR_WIDTH_PX: Final = 60.0  # in the stored picture, of the plates of the second figures

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture: its truth, and all that was read there with nothing rejected."""

    truths: list[Truth]
    reads: list[PlateRead]


def collect(manifest: Path, root: Path, models: Path | None = None, limit: int | None = None) -> list[Seen]:
    """Every picture of a manifest, read with nothing rejected."""
    taking_all = Acceptance(0.0, 0.0, 0.0, 0.0, 0.0)
    settings = PipelineSettings(
        candidate_score=CANDIDATE_SCORE, plate_score=PLATE_SCORE, acceptance=taking_all
    )
    pipeline = Pipeline(load_models(models), settings)
    asked = AccuracyArgs(manifest, root)
    seen = []
    for entry in list(read_manifest(manifest))[:limit]:
        picture = load_picture(root, entry)
        scale = fit_scale(to_grey(picture))
        truths = [truth_of(plate, asked, scale) for plate in entry.plates or []]
        seen.append(Seen([t for t in truths if t.box], pipeline.process(picture).reads))
    return seen


def tune(seen: Sequence[Seen], false_target: float = FALSE_TARGET) -> Acceptance:
    """The weights that tell plates from others best, and the lowest threshold within the false target."""
    fitted = fit(*examples(seen))
    scores = sorted({round(score_of(fitted, read), 3) for one in seen for read in one.reads})
    low, high = 0, len(scores) - 1
    while low < high:
        middle = (low + high) // 2
        if false_rate(seen, with_threshold(fitted, scores[middle])) <= false_target:
            high = middle
        else:
            low = middle + 1
    return with_threshold(fitted, scores[high] if scores else fitted.accept_score)


def examples(seen: Sequence[Seen]) -> tuple[Floats, Floats, Floats]:
    """What was read -> log-odds (N, 3) of detector, corner net and reader; is it a plate (N,); weight (N,)."""
    rows: list[tuple[float, float, float]] = []
    labels: list[float] = []
    weights: list[float] = []
    for one in seen:
        plates = [t for t in one.truths if t.is_plate]
        matched = {j: plates[i] for i, j in match([t.box for t in plates], predicted(one.reads)).items()}
        for j, read in enumerate(one.reads):
            rows.append((log_odds(read.score), log_odds(read.plate_score), log_odds(read.confidence)))
            labels.append(float(j in matched))
            small = j in matched and matched[j].width_at_input < MIN_WIDTH_AT_INPUT_PX
            weights.append(SMALL_WEIGHT if small else 1.0)
    return np.array(rows).reshape(-1, 3), np.array(labels), np.array(weights)


def fit(rows: Floats, labels: Floats, weights: Floats) -> Acceptance:
    """Logistic regression by Newton's method; a net whose word would count against itself gets no weight."""
    used = np.ones(rows.shape[1] + 1, dtype=bool)
    while True:
        solved = _newton(rows, labels, weights, used)
        wrong = np.append(solved[:-1] < 0, np.False_)
        if not wrong.any():
            return Acceptance(*(round(float(v), 4) for v in solved))
        used &= ~wrong


def _newton(rows: Floats, labels: Floats, weights: Floats, used: NDArray[np.bool_]) -> Floats:
    x = np.column_stack([rows, np.ones(len(rows))])[:, used]
    w = np.zeros(x.shape[1])
    shrink = np.full(x.shape[1], SHRINKAGE)
    shrink[-1] = 1e-3
    for _ in range(STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ w, -30.0, 30.0)))
        slope = x.T @ (weights * (p - labels)) + shrink * w
        curve = (x * (weights * p * (1 - p))[:, None]).T @ x + np.diag(shrink)
        w -= np.linalg.solve(curve, slope)
    out = np.zeros(len(used))
    out[used] = w
    return out


def score_of(acceptance: Acceptance, read: PlateRead) -> float:
    """The acceptance's probability of a read."""
    return acceptance.score(read.score, read.plate_score, read.confidence)


def with_threshold(acceptance: Acceptance, score: float) -> Acceptance:
    """The same weights with another threshold."""
    return Acceptance(**{**asdict(acceptance), "accept_score": score})


def false_rate(seen: Sequence[Seen], acceptance: Acceptance) -> float:
    """False plates a picture when only accepted reads count."""
    return measured(seen, acceptance).false_plates / max(len(seen), 1)


def measured(seen: Sequence[Seen], acceptance: Acceptance) -> Tally:
    """All figures when only accepted reads count."""
    tally = Tally()
    for one in seen:
        taken = [r for r in one.reads if score_of(acceptance, r) >= acceptance.accept_score]
        tally.add(one.truths, predicted(taken), MIN_WIDTH_AT_INPUT_PX)
    return tally


def predicted(reads: Sequence[PlateRead]) -> list[Predicted]:
    """Reads as the scoring wants them."""
    return [Predicted(read.box, read.text, read.score) for read in reads]


def write(models: Path, acceptance: Acceptance) -> None:
    """Replaces the thresholds in the models' manifest."""
    manifest = read_model_manifest(models)
    thresholds = manifest.setdefault("thresholds", {})
    thresholds.update(asdict(acceptance), candidate_score=CANDIDATE_SCORE, plate_score=PLATE_SCORE)
    _replace(models, manifest)


def record(models: Path, labels: Path, root: Path) -> None:
    """Measures what the manifest's thresholds give and replaces its accuracy."""
    figures = run(AccuracyArgs(labels, root, models=models))
    clear = run(
        AccuracyArgs(labels, root, models=models, country="US", quality="clear", min_width=CLEAR_WIDTH_PX)
    )
    chosen = f"--country US --quality clear --min-width {CLEAR_WIDTH_PX:g}"
    command = f"wayside bench accuracy --manifest {labels.name} --root {root.name}"
    manifest = read_model_manifest(models)
    us_clear = {**clear, "command": f"{command} {chosen}"}
    manifest["accuracy"] = {**figures, "command": command, "us_clear": us_clear}
    _replace(models, manifest)


def _replace(models: Path, manifest: dict[str, Any]) -> None:
    part = (models / MANIFEST).with_suffix(".part")
    part.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(models / MANIFEST)


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m inference.tune`: fits on a manifest, writes thresholds and accuracy, prints the fit."""
    parser = argparse.ArgumentParser(prog="python -m inference.tune", description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=MODELS_DIR)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--false-target", type=float, default=FALSE_TARGET)
    options = parser.parse_args(argv)
    seen = collect(options.manifest, options.root, options.models, options.limit)
    acceptance = tune(seen, options.false_target)
    write(options.models, acceptance)
    record(options.models, options.manifest, options.root)
    tally = measured(seen, acceptance)
    found = tally.wide_found_30 / max(tally.wide, 1)
    exact = tally.exact_folded / max(tally.texts, 1)
    figures = {
        **asdict(acceptance),
        "recall_30_at24": round(found, 4),
        "false_per_image": round(tally.false_plates / max(len(seen), 1), 4),
        "exact_folded": round(exact, 4),
    }
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
