# SPDX-License-Identifier: Apache-2.0
"""Fits what makes a box a plate (`accept`) and how far its text can be believed (`confidence`) on training pictures.

Texts that `labels.held_out` names were kept from every net, so the confidence is fitted on their plates alone; the
acceptance on the pictures with such a plate and a share of the others. A second manifest is only measured.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import floor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inference import logistic
from inference.accept import Acceptance, kind_of, log_odds
from inference.calibrate import Example, calibrate
from inference.confidence import Confidence
from inference.evaluate import CLEAR_WIDTH_PX, MIN_WIDTH_AT_INPUT_PX, AccuracyArgs, run, truth_of
from inference.labels import Entry, held_out, load_picture, read_manifest
from inference.models import MANIFEST, MODELS_DIR, Models, load_models
from inference.models import read_manifest as read_model_manifest
from inference.pipeline import Pipeline, PipelineSettings, fit_scale
from inference.preprocess import to_grey
from inference.scoring import Predicted, Tally, Truth, match
from inference.types import PlateRead
from inference.zoom import LOOKS

FALSE_TARGET: Final = 0.036  # false plates a picture of the usual look; then 1 ghost in 100 plate-free ones
ZOOM_TARGET: Final = 0.002  # ... and that the closer look may add
CANDIDATE_SCORE: Final = 0.3  # of the detector; what is below is not looked at
PLATE_SCORE: Final = 0.02  # of the corner net; what is below is not read
SMALL_WEIGHT: Final = 0.25  # of a plate narrower than what the recall is measured on
OTHERS: Final = 4  # one picture in so many of those without a held-out text
SIGNS: Final = (1, 1, 1, -1, -1)  # what would count the wrong way gets no weight
TAKING_ALL: Final = Acceptance(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture: its truth, and all that was read there with nothing rejected."""

    truths: list[Truth]
    reads: list[PlateRead]


@dataclass(frozen=True, slots=True)
class Source:
    """Labelled pictures and the nets to fit to."""

    entries: list[Entry]
    root: Path
    models: Models

    def pipeline(self, acceptance: Acceptance, **changed: Any) -> Pipeline:
        """One with this acceptance that otherwise looks as it will at stills."""
        tuned = PipelineSettings().tuned(self.models.thresholds)
        fixed = {"candidate_score": CANDIDATE_SCORE, "plate_score": PLATE_SCORE, "closer_looks": LOOKS}
        return Pipeline(self.models, replace(tuned, acceptance=acceptance, **{**fixed, **changed}))


def chosen(entries: Sequence[Entry], others: int = OTHERS) -> list[Entry]:
    """The pictures with a plate whose text was held out, and one in `others` of the rest."""
    rest = [entry for entry in entries if not has_held_out(entry)]
    return [entry for entry in entries if has_held_out(entry)] + rest[::others]


def has_held_out(entry: Entry) -> bool:
    """Whether a text of the picture was kept out of training."""
    return any(held_out(text) for plate in entry.plates or [] if (text := plate.get("text")))


def collect(source: Source) -> list[Seen]:
    """Every picture, read with nothing rejected and no second look."""
    pipeline = source.pipeline(TAKING_ALL, doubt=0.0, closer_looks=0)
    return [Seen(*_seen(source, entry, pipeline)) for entry in source.entries]


def collect_closer(source: Source, seen: Sequence[Seen], acceptance: Acceptance) -> list[Seen]:
    """The pictures where the usual look accepted nothing, looked at closer; the others without reads."""
    pipeline = source.pipeline(TAKING_ALL, doubt=0.0)
    out = []
    for entry, one in zip(source.entries, seen, strict=True):
        if any(score_of(acceptance, read) >= acceptance.accept_score for read in one.reads):
            out.append(Seen(one.truths, []))
        else:
            out.append(Seen(one.truths, pipeline.look_closer(load_picture(source.root, entry)).reads))
    return out


def collect_texts(source: Source, acceptance: Acceptance) -> list[Example]:
    """What an untuned confidence says of plates whose texts were held out, as they will be read."""
    pipeline = source.pipeline(acceptance, confidence=Confidence())
    out: list[Example] = []
    for entry in source.entries:
        if has_held_out(entry):
            truths, reads = _seen(source, entry, pipeline)
            pairs = match([t.box for t in truths], predicted(reads))
            out += [(reads[j], text) for i, j in pairs.items() if (text := truths[i].text) and held_out(text)]
    return out


def _seen(source: Source, entry: Entry, pipeline: Pipeline) -> tuple[list[Truth], list[PlateRead]]:
    picture = load_picture(source.root, entry)
    asked, scale = AccuracyArgs(source.root, source.root), fit_scale(to_grey(picture))
    truths = [truth_of(plate, asked, scale) for plate in entry.plates or []]
    return [t for t in truths if t.box], pipeline.process(picture).reads


def tune(seen: Sequence[Seen], false_target: float = FALSE_TARGET) -> Acceptance:
    """The weights that tell plates from others best, and the lowest threshold within the false target."""
    fitted = fit(*examples(seen))
    score = lowest(seen, fitted, false_target)
    return with_threshold(fitted, fitted.accept_score if score is None else score)


def tune_zoom(closer: Sequence[Seen], fitted: Acceptance, false_target: float = ZOOM_TARGET) -> Acceptance:
    """The lowest threshold of the closer look within the false target, never below the usual look's."""
    score = lowest(closer, fitted, false_target)
    return fitted if score is None else replace(fitted, accept_zoomed=max(score, fitted.accept_score))


def lowest(seen: Sequence[Seen], fitted: Acceptance, false_target: float) -> float | None:
    """The lowest threshold with no more false plates a picture; None where nothing was read."""
    scores = sorted({floor(score_of(fitted, read) * 1e3) / 1e3 for one in seen for read in one.reads})
    low, high = 0, len(scores) - 1
    while low < high:
        middle = (low + high) // 2
        if false_rate(seen, with_threshold(fitted, scores[middle])) <= false_target:
            high = middle
        else:
            low = middle + 1
    return scores[high] if scores else None


def examples(seen: Sequence[Seen]) -> tuple[Floats, Floats, Floats]:
    """What was read -> log-odds of detector, corner net and reader, and the kind of text (N, 5); is it a plate (N,);
    weight (N,).
    """
    rows: list[tuple[float, ...]] = []
    labels: list[float] = []
    weights: list[float] = []
    for one in seen:
        plates = [t for t in one.truths if t.is_plate]
        matched = {j: plates[i] for i, j in match([t.box for t in plates], predicted(one.reads)).items()}
        for j, read in enumerate(one.reads):
            nets = (read.score, read.plate_score, read.text_score)
            rows.append((*map(log_odds, nets), *kind_of(read.text)))
            labels.append(float(j in matched))
            small = j in matched and matched[j].width_at_input < MIN_WIDTH_AT_INPUT_PX
            weights.append(SMALL_WEIGHT if small else 1.0)
    return np.array(rows).reshape(-1, len(SIGNS)), np.array(labels), np.array(weights)


def fit(rows: Floats, labels: Floats, weights: Floats) -> Acceptance:
    """Logistic regression over the nets' log-odds and the kind of text."""
    found = [round(float(v), 4) for v in logistic.fit(rows, labels, weights, signs=SIGNS)]
    detector, plate, text, letters, digits, bias = found
    return Acceptance(detector, plate, text, bias, accept_letters=letters, accept_digits=digits)


def score_of(acceptance: Acceptance, read: PlateRead) -> float:
    """The acceptance's probability of a read whose text comes from the first look."""
    return acceptance.score(read.score, read.plate_score, read.text_score, read.text)


def with_threshold(acceptance: Acceptance, score: float) -> Acceptance:
    """The same weights with another threshold."""
    return replace(acceptance, accept_score=score)


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


def write(models: Path, acceptance: Acceptance, confidence: Confidence | None = None) -> None:
    """Replaces the thresholds in the models' manifest."""
    manifest = read_model_manifest(models)
    thresholds = manifest.setdefault("thresholds", {})
    thresholds.update(asdict(acceptance), candidate_score=CANDIDATE_SCORE, plate_score=PLATE_SCORE)
    thresholds.update(asdict(confidence or Confidence()))
    _replace(models, manifest)


def record(models: Path, labels: Path, root: Path) -> None:
    """Measures what the manifest's thresholds give and replaces its accuracy."""
    figures = run(AccuracyArgs(labels, root, models=models))
    figures.pop("risk_coverage", None)
    clear = run(
        AccuracyArgs(labels, root, models=models, country="US", quality="clear", min_width=CLEAR_WIDTH_PX)
    )
    chosen = f"--country US --quality clear --min-width {CLEAR_WIDTH_PX:g}"
    clear.pop("risk_coverage", None)
    command = f"wayside bench accuracy --manifest {labels.name} --root {root.name}"
    manifest = read_model_manifest(models)
    us_clear = {**clear, "command": f"{command} {chosen}"}
    manifest["accuracy"] = {**figures, "command": command, "us_clear": us_clear}
    _replace(models, manifest)


def _replace(models: Path, manifest: dict[str, Any]) -> None:
    part = (models / MANIFEST).with_suffix(".part")
    part.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(models / MANIFEST)


def figures_of(source: Source, seen: Sequence[Seen], closer: Sequence[Seen], found: Acceptance) -> Any:
    """What the fit gives on its own pictures, those with held-out texts beside all: is it over-confident?"""
    held = [has_held_out(entry) for entry in source.entries]
    ours = [one for one, is_held in zip(seen, held, strict=True) if is_held]
    tally = measured(seen, found)
    zoomed = measured(closer, replace(found, accept_score=found.accept_zoomed))
    return {
        "pictures": len(seen),
        "pictures_held_out": len(ours),
        "recall_30_at24": round((tally.wide_found_30 + zoomed.wide_found_30) / max(tally.wide, 1), 4),
        "recall_30_at24_first_look": round(tally.wide_found_30 / max(tally.wide, 1), 4),
        "false_per_image_first_look": round(false_rate(seen, found), 4),
        "false_per_image_first_look_held_out": round(false_rate(ours, found), 4),
        "false_per_image_closer": round(zoomed.false_plates / max(len(seen), 1), 4),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m inference.tune`: fits on a manifest, writes thresholds, records accuracy, prints the fit."""
    options = _parser().parse_args(argv)
    entries = chosen(list(read_manifest(options.manifest)), options.others)[: options.limit]
    source = Source(entries, options.root, load_models(options.models))
    seen = collect(source)
    acceptance = tune(seen, options.false_target)
    closer = collect_closer(source, seen, acceptance)
    acceptance = tune_zoom(closer, acceptance, options.zoom_target)
    texts = collect_texts(source, acceptance)
    confidence = calibrate(texts)
    write(options.models, acceptance, confidence)
    if options.report:
        record(options.models, options.report, options.root)
    figures = {**asdict(acceptance), **asdict(confidence), **figures_of(source, seen, closer, acceptance)}
    sys.stdout.write(json.dumps({**figures, "texts": len(texts)}, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m inference.tune", description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True, help="training pictures to fit on")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--report", type=Path, help="manifest whose accuracy is measured and recorded")
    parser.add_argument("--models", type=Path, default=MODELS_DIR)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--others", type=int, default=OTHERS)
    parser.add_argument("--false-target", type=float, default=FALSE_TARGET)
    parser.add_argument("--zoom-target", type=float, default=ZOOM_TARGET)
    return parser


if __name__ == "__main__":
    sys.exit(main())
