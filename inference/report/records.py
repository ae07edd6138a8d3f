# SPDX-License-Identifier: Apache-2.0
"""Every picture of a manifest with what is on it, what was read there, and what was seen and not taken."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.evaluate import for_stills
from inference.labels import Entry, as_box, load_picture, read_manifest, truth_text
from inference.models import Models
from inference.pipeline import Pipeline, PipelineSettings, fit_scale
from inference.plates import fold
from inference.preprocess import to_grey
from inference.scoring import Predicted, match
from inference.types import Box, PlateRead

TWO_ROWS: Final = Path(__file__).with_name("two_rows.json")
WARM_UP: Final = 2  # runs before the clock


@dataclass(frozen=True, slots=True)
class TruePlate:
    """One annotated plate; `text` is None where it is not known in full."""

    box: Box
    text: str | None = None
    country: str | None = None
    state: str | None = None
    quality: str | None = None
    width_at_input: float = 0.0  # px at the detector's input
    two_rows: bool = False  # marked by eye: two rows, or small stacked letters
    is_plate: bool = True

    @property
    def width(self) -> float:
        """Px of the stored picture."""
        return self.box[2]


@dataclass(frozen=True, slots=True)
class Seen:
    """One read; `score` is the acceptance's probability that it is a plate."""

    text: str
    confidence: float
    box: Box
    score: float = 1.0
    state: str | None = None
    state_guess: str | None = None  # the likeliest state, also where the pipeline keeps quiet
    state_probability: float = 0.0  # of the guess
    sharpness: float = 0.0


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: truth, what was read, and `candidates`: what would be read if nothing were rejected."""

    image: str
    source: str
    truths: tuple[TruePlate, ...]
    reads: tuple[Seen, ...]
    candidates: tuple[Seen, ...] = ()
    stages: dict[str, float] = field(default_factory=dict)  # ms
    cpu_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Case:
    """An annotated plate and its read, if there is one (IoU at least 0.3)."""

    image: str
    source: str
    truth: TruePlate
    read: Seen | None

    def right(self, *, folded: bool = True) -> bool:
        """Whether the text is right, with O as 0 and I as 1 unless told otherwise."""
        if self.read is None or not self.truth.text:
            return False
        if folded:
            return fold(self.read.text) == fold(self.truth.text)
        return self.read.text == self.truth.text


def collect(
    models: Models,
    manifest: Path,
    root: Path,
    *,
    limit: int | None = None,
    candidates: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Shot]:
    """Reads every picture of a manifest; for the `candidates` once more with nothing rejected."""
    cv2.setNumThreads(1)
    shipped = Pipeline(models, for_stills(models))
    everything = taking_all(models) if candidates else None
    sources, marked = sources_of(manifest), marked_two_rows()
    entries = list(read_manifest(manifest))[:limit]
    shots: list[Shot] = []
    for done, entry in enumerate(entries, 1):
        picture = load_picture(root, entry)
        for _ in range(0 if shots else WARM_UP):
            shipped.process(picture)
        shots.append(_shot(entry, picture, shipped, everything, (sources, marked)))
        if progress:
            progress(done, len(entries))
    return shots


def taking_all(models: Models) -> Pipeline:
    """A pipeline that rejects nothing for its score; states and second looks are left out, they cost time."""
    settings = PipelineSettings().tuned(models.thresholds)
    acceptance = replace(settings.acceptance, accept_score=0.0)
    return Pipeline(replace(models, state=None), replace(settings, acceptance=acceptance, doubt=0.0))


def _shot(
    entry: Entry,
    picture: NDArray[np.uint8],
    shipped: Pipeline,
    everything: Pipeline | None,
    known: tuple[dict[str, str], dict[str, list[int]]],
) -> Shot:
    started = time.process_time()
    result = shipped.process(picture)
    cpu_ms = (time.process_time() - started) * 1e3
    scale = fit_scale(to_grey(picture))
    sources, marked = known
    return Shot(
        entry.image,
        sources.get(entry.image, ""),
        truths_of(entry.plates or [], scale, marked.get(entry.image, [])),
        tuple(seen(read) for read in result.reads),
        tuple(seen(read) for read in everything.process(picture).reads) if everything else (),
        dict(result.timings),
        cpu_ms,
    )


def truths_of(
    plates: Sequence[dict[str, Any]], scale: float, two_rows: Sequence[int]
) -> tuple[TruePlate, ...]:
    """The annotated plates that have a box; `scale` is net px per px, `two_rows` their marked positions."""
    found = []
    for position, plate in enumerate(plates):
        box = as_box(plate.get("box"))
        if box is not None:
            found.append(
                TruePlate(
                    box,
                    truth_text(plate),
                    plate.get("country"),
                    plate.get("state"),
                    plate.get("quality"),
                    box[2] * scale,
                    position in two_rows,
                    plate.get("quality") != "notplate",
                )
            )
    return tuple(found)


def seen(read: PlateRead) -> Seen:
    """A read of the pipeline as it is kept here."""
    return Seen(
        read.text,
        read.confidence,
        read.box,
        read.accept_score,
        read.state,
        read.states[0][0] if read.states else None,
        read.states[0][1] if read.states else 0.0,
        read.sharpness,
    )


def sources_of(manifest: Path) -> dict[str, str]:
    """Image -> the source that the manifest names."""
    lines = (json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines() if line.strip())
    return {str(line["image"]): str(line.get("source") or "") for line in lines}


def marked_two_rows() -> dict[str, list[int]]:
    """Image -> positions of the plates that were marked by eye as having two rows or stacked letters."""
    marked: dict[str, list[int]] = json.loads(TWO_ROWS.read_text(encoding="utf-8"))["two_rows"]
    return marked


def cases(shots: Iterable[Shot]) -> list[Case]:
    """Every annotated plate with its read."""
    found = []
    for shot in shots:
        plates = [t for t in shot.truths if t.is_plate]
        pairs = match([t.box for t in plates], [Predicted(r.box, r.text, r.score) for r in shot.reads])
        for i, truth in enumerate(plates):
            found.append(Case(shot.image, shot.source, truth, shot.reads[pairs[i]] if i in pairs else None))
    return found


def false_reads(shots: Iterable[Shot]) -> list[tuple[Shot, Seen]]:
    """Reads that lie on no annotated plate."""
    found = []
    for shot in shots:
        boxes = [t.box for t in shot.truths if t.is_plate]
        pairs = match(boxes, [Predicted(r.box, r.text, r.score) for r in shot.reads])
        found += [(shot, read) for j, read in enumerate(shot.reads) if j not in pairs.values()]
    return found
