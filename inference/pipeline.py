# SPDX-License-Identifier: Apache-2.0
"""One frame through all nets: boxes, corners, texts; what gave no read comes back with its reason."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference import corners as corner_stage
from inference import detector, ocr
from inference.accept import Acceptance
from inference.corners import bounds
from inference.detector import Candidate, as_box, suppress
from inference.errors import BadPictureError
from inference.models import Models
from inference.plates import NOT_READ
from inference.preprocess import DETECTOR_SIZE, Grey, quad_size, to_grey
from inference.types import Box, Decoded, Detection, FrameResult, PlateRead, Reason, Rejected

MIN_SIDE: Final = 32  # px, of a picture
MAX_SIDE: Final = 16384
MAX_PIXELS: Final = 64_000_000


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """What the pipeline accepts; the manifest's thresholds stand in for these defaults."""

    detector_score: float = 0.3  # below it a box is not looked at
    plate_score: float = 0.1  # of the corner net; below it a box is not read
    acceptance: Acceptance = field(default_factory=Acceptance)  # of what was read
    corner_looks: int = 1  # a second would start from the first one's corners
    two_rows: float = 0.5  # above it the rows are read one by one
    temperature: float = 1.0  # of the reader's logits
    min_width_px: float = 10.0  # narrower plates are not tried
    max_plates: int = 12  # per frame, best first
    coarse_when_large: bool = True  # a second look at half the size when a box is very wide
    coarse_when_empty: bool = True  # ... when there is no box; costs a live view twice the time
    coarse_share: float = 0.45  # of the net's input width; a wider box asks for the second look

    def tuned(self, thresholds: Mapping[str, float]) -> PipelineSettings:
        """These settings with the manifest's figures; names that are not settings are left out."""
        known = {f.name: type(getattr(self, f.name)) for f in fields(self)}
        del known["acceptance"]
        figures = {name: known[name](v) for name, v in thresholds.items() if name in known}
        return replace(self, acceptance=self.acceptance.tuned(thresholds), **figures)


class Pipeline:
    """Reads plates in single frames; one caller at a time."""

    def __init__(self, models: Models, settings: PipelineSettings | None = None) -> None:
        self.models = models
        self.settings = settings or PipelineSettings().tuned(models.thresholds)

    def process(self, pixels: NDArray[np.uint8]) -> FrameResult:
        """(H, W, 3) BGR or (H, W) uint8 -> reads and rejects; raises BadPictureError."""
        check_picture(pixels)
        watch = Stopwatch()
        with watch.stage("grey"):
            grey = to_grey(pixels)
        with watch.stage("detect"):
            candidates = self._candidates(grey)
        reads: list[PlateRead] = []
        rejected: list[Rejected] = []
        for candidate in candidates:
            outcome = self._read_one(grey, candidate, len(reads), watch)
            if isinstance(outcome, Rejected):
                rejected.append(outcome)
            else:
                reads.append(outcome)
        return FrameResult(reads, rejected, watch.finish())

    def _candidates(self, grey: Grey) -> list[Candidate]:
        """Boxes of the usual look and, where it may help, of a coarser one."""
        settings = self.settings
        found = detector.detect(self.models.detector, grey, settings.detector_score)
        widest = max((c.box[2] for c in found), default=0.0) * fit_scale(grey)
        large = widest > settings.coarse_share * DETECTOR_SIZE[0]
        if not (settings.coarse_when_large and large) and not (settings.coarse_when_empty and not found):
            return found
        coarse = detector.detect(self.models.detector, grey, settings.detector_score, shrink=0.5)
        return merge(found + coarse)

    def _read_one(
        self, grey: Grey, candidate: Candidate, done: int, watch: Stopwatch
    ) -> PlateRead | Rejected:
        settings = self.settings
        if done >= settings.max_plates:
            return Rejected(Reason.TOO_MANY, candidate.box, candidate.score)
        if candidate.box[2] < settings.min_width_px:
            return Rejected(Reason.TOO_SMALL, candidate.box, candidate.score)
        with watch.stage("corners"):
            found = self._locate(grey, candidate)
        if found.plate_score < settings.plate_score:
            return Rejected(Reason.NOT_A_PLATE, candidate.box, candidate.score)
        with watch.stage("read"):
            decoded, sharpness = self._text(grey, found)
        if not settings.acceptance.takes(found.score, found.plate_score, decoded.confidence):
            return Rejected(Reason.NOT_A_PLATE, found.box, found.score)
        return plate_read(found, decoded, sharpness)

    def _locate(self, grey: Grey, candidate: Candidate) -> Detection:
        located = corner_stage.locate(self.models.corners, grey, candidate.box)
        for _ in range(self.settings.corner_looks - 1):
            located = corner_stage.locate(self.models.corners, grey, bounds(located.corners))
        box = bounds(located.corners)
        return Detection(box, located.corners, candidate.score, located.plate_score, located.two_rows)

    def _text(self, grey: Grey, found: Detection) -> tuple[Decoded, float]:
        temperature = self.settings.temperature
        decoded, sharpness = ocr.read(self.models.reader, grey, found.corners, temperature)
        if found.two_rows >= self.settings.two_rows:
            decoded = ocr.read_rows(self.models.reader, grey, found.corners, temperature)
        return decoded, sharpness


class Stopwatch:
    """Milliseconds per stage, and of the whole since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of its body to a stage."""
        start = time.perf_counter()
        yield
        self._stages[name] = self._stages.get(name, 0.0) + (time.perf_counter() - start) * 1e3

    def finish(self) -> dict[str, float]:
        """Stage -> ms, with "total"."""
        return {**self._stages, "total": (time.perf_counter() - self._start) * 1e3}


def check_picture(pixels: NDArray[np.uint8]) -> None:
    """Raises BadPictureError unless it is a (H, W[, 1 or 3]) uint8 picture within the limits."""
    if pixels.dtype != np.uint8 or pixels.ndim not in {2, 3}:
        raise BadPictureError(f"a picture is (H, W) or (H, W, 3) uint8, not {pixels.shape} {pixels.dtype}")
    if pixels.ndim == 3 and pixels.shape[2] not in {1, 3}:
        raise BadPictureError(f"a picture has 1 or 3 channels, not {pixels.shape[2]}")
    h, w = pixels.shape[:2]
    if min(h, w) < MIN_SIDE or max(h, w) > MAX_SIDE or h * w > MAX_PIXELS:
        raise BadPictureError(f"a picture of {w}x{h} px is outside {MIN_SIDE}..{MAX_SIDE} px a side")


def fit_scale(grey: Grey) -> float:
    """Net px per picture px of the usual look."""
    h, w = grey.shape
    return min(DETECTOR_SIZE[0] / w, DETECTOR_SIZE[1] / h, 1.0)


def merge(candidates: list[Candidate]) -> list[Candidate]:
    """Candidates of several looks without those that overlap a better one, best first."""
    if not candidates:
        return []
    boxes = np.array([_corner_form(c.box) for c in candidates], dtype=np.float32)
    kept = suppress(boxes, np.array([c.score for c in candidates], dtype=np.float32))
    return [Candidate(as_box(boxes[i]), candidates[i].score) for i in kept]


def _corner_form(box: Box) -> tuple[float, float, float, float]:
    x, y, w, h = box
    return x, y, x + w, y + h


def plate_read(found: Detection, decoded: Decoded, sharpness: float) -> PlateRead:
    """What one detection and its text make together."""
    width, height = quad_size(found.corners)
    return PlateRead(
        text=decoded.text,
        confidence=decoded.confidence,
        chars=decoded.chars,
        state=None,
        state_confidence=0.0,
        state_note=NOT_READ,
        corners=found.corners,
        box=found.box,
        score=found.score,
        plate_score=found.plate_score,
        width_px=width,
        height_px=height,
        sharpness=sharpness,
        others=decoded.others,
    )
