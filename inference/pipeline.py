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
from inference.detector import Candidate, suppress
from inference.errors import BadPictureError
from inference.models import Models
from inference.plates import NOT_READ
from inference.preprocess import DETECTOR_SIZE, Floats, Grey, quad_size, to_grey
from inference.types import Box, Decoded, Detection, FrameResult, PlateRead, Reason, Rejected

MIN_SIDE: Final = 32  # px, of a picture
MAX_SIDE: Final = 16384
MAX_PIXELS: Final = 64_000_000
NOTHING: Final = Decoded("", 0.0, ())  # surely no text is no text with confidence


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """What the pipeline accepts; the manifest's thresholds stand in for these defaults."""

    candidate_score: float = 0.3  # of the detector; below it a box is not looked at
    plate_score: float = 0.1  # of the corner net; below it a box is not read
    acceptance: Acceptance = field(default_factory=Acceptance)  # of what was read
    two_rows: float = 0.5  # above it the rows are read one by one
    temperature: float = 1.0  # of the reader's logits
    min_width_px: float = 10.0  # narrower plates are not tried
    max_plates: int = 12  # per frame, best first

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
            candidates = detector.detect(self.models.detector, grey, self.settings.candidate_score)
        plates, rejected = self._plates(grey, candidates, watch)
        reads: list[PlateRead] = []
        for found in plates:
            with watch.stage("read"):
                decoded, sharpness = self._text(grey, found)
            if self.settings.acceptance.takes(found.score, found.plate_score, decoded.confidence):
                reads.append(plate_read(found, decoded, sharpness))
            else:
                rejected.append(Rejected(Reason.NOT_A_PLATE, found.box, found.score))
        return FrameResult(reads, rejected, watch.finish())

    def _plates(
        self, grey: Grey, candidates: list[Candidate], watch: Stopwatch
    ) -> tuple[list[Detection], list[Rejected]]:
        """Candidates -> those with the corners of a plate, each plate once; and the others."""
        plates: list[Detection] = []
        rejected: list[Rejected] = []
        for candidate in candidates:
            reason = self._hopeless(candidate, len(plates))
            if reason is None:
                with watch.stage("corners"):
                    found = self._locate(grey, candidate)
                if found.plate_score >= self.settings.plate_score:
                    plates.append(found)
                    continue
            rejected.append(Rejected(reason or Reason.NOT_A_PLATE, candidate.box, candidate.score))
        once = suppress(_corner_forms([p.box for p in plates]), np.array([p.score for p in plates]))
        again = [p for i, p in enumerate(plates) if i not in once]
        rejected += [Rejected(Reason.SEEN_TWICE, p.box, p.score) for p in again]
        return [plates[i] for i in once], rejected

    def _hopeless(self, candidate: Candidate, done: int) -> Reason | None:
        if done >= self.settings.max_plates:
            return Reason.TOO_MANY
        return Reason.TOO_SMALL if candidate.box[2] < self.settings.min_width_px else None

    def _locate(self, grey: Grey, candidate: Candidate) -> Detection:
        located = corner_stage.locate(self.models.corners, grey, candidate.box)
        box = bounds(located.corners)
        return Detection(box, located.corners, candidate.score, located.plate_score, located.two_rows)

    def _text(self, grey: Grey, found: Detection) -> tuple[Decoded, float]:
        temperature = self.settings.temperature
        decoded, sharpness = ocr.read(self.models.reader, grey, found.corners, temperature)
        if found.two_rows >= self.settings.two_rows:
            decoded = ocr.read_rows(self.models.reader, grey, found.corners, temperature)
        return decoded if decoded.text else NOTHING, sharpness


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


def _corner_forms(boxes: list[Box]) -> Floats:
    """Boxes (x, y, w, h) -> (N, 4) x1, y1, x2, y2."""
    forms = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    forms[:, 2:] += forms[:, :2]
    return forms


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
