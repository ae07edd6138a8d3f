# SPDX-License-Identifier: Apache-2.0
"""One frame through all nets: boxes, corners, texts; what gave no read comes back with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from inference import corners as corner_stage
from inference import detector, zoom
from inference.accept import Acceptance
from inference.confidence import Confidence
from inference.corners import bounds
from inference.detector import Candidate, suppress
from inference.frame import Frame, Stopwatch, check_picture
from inference.models import Models
from inference.plates import NOT_READ, is_lettering
from inference.preprocess import DETECTOR_SIZE, Floats, Grey, quad_size, to_grey
from inference.second_look import first_look, look_again
from inference.state import StateSettings, read_state
from inference.state_names import name_scores
from inference.types import Box, Detection, FrameResult, PlateRead, Reading, Reason, Rejected


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """What the pipeline accepts; the manifest's thresholds stand in for these defaults."""

    candidate_score: float = 0.3  # of the detector; below it a box is not looked at
    plate_score: float = 0.1  # of the corner net; below it a box is not read
    acceptance: Acceptance = field(default_factory=Acceptance)  # of what was read
    state: StateSettings = field(default_factory=StateSettings)  # of issuance
    confidence: Confidence = field(default_factory=Confidence)  # in what was read
    two_rows: float = 0.5  # above it the rows are read one by one
    temperature: float = 1.0  # of the reader's logits
    doubt: float = 1.1  # of the reader's text: below it other crops of the plate are read too (1.1: always)
    min_width_px: float = 10.0  # narrower plates are not tried
    min_aspect: float = 0.5  # width over height of a plate's corners
    max_aspect: float = 8.0
    max_plates: int = 12  # per frame, best first
    closer_looks: int = 0  # at parts of a frame in which no plate was accepted
    closer_score: float = 0.2  # of the detector, from which it is worth a closer look
    closer_width_px: float = 32.0  # at the usual look; wider plates are not looked for closer, it sees those

    def tuned(self, thresholds: Mapping[str, float]) -> PipelineSettings:
        """These settings with the manifest's figures; names that are not settings are left out."""
        known = {f.name: type(getattr(self, f.name)) for f in fields(self)}
        del known["acceptance"], known["state"], known["confidence"]
        figures = {name: known[name](v) for name, v in thresholds.items() if name in known}
        return replace(
            self,
            acceptance=self.acceptance.tuned(thresholds),
            state=self.state.tuned(thresholds),
            confidence=self.confidence.tuned(thresholds),
            **figures,
        )


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
        frame = Frame(pixels, grey, watch)
        candidates = self._candidates(frame)
        likely = [c for c in candidates if c.score >= self.settings.candidate_score]
        reads, rejected = self._reads(frame, likely, zoomed=False)
        if not reads and self.settings.closer_looks:
            reads, others = self._closer(frame, candidates)
            rejected += others
        return FrameResult(reads, rejected, watch.finish())

    def look_closer(self, pixels: NDArray[np.uint8]) -> FrameResult:
        """The closer look alone, as at a frame in which the usual one accepted no plate."""
        check_picture(pixels)
        frame = Frame(pixels, to_grey(pixels), Stopwatch())
        reads, rejected = self._closer(frame, self._candidates(frame))
        return FrameResult(reads, rejected, frame.watch.finish())

    def read_at(self, pixels: NDArray[np.uint8], box: Box) -> PlateRead:
        """The plate that is known to be at a box px of the picture; the detector is not asked."""
        check_picture(pixels)
        frame = Frame(pixels, to_grey(pixels), Stopwatch())
        found = self._locate(frame.grey, Candidate(box, 1.0))
        return self._read(frame, found, self._first_look(frame.grey, found), 1.0, zoomed=False)

    def _candidates(self, frame: Frame) -> list[Candidate]:
        """What the usual look half sees, too; best first."""
        lowest = self.settings.candidate_score
        if self.settings.closer_looks:
            lowest = min(lowest, self.settings.closer_score)
        with frame.watch.stage("detect"):
            return detector.detect(self.models.detector, frame.grey, lowest)

    def _closer(self, frame: Frame, candidates: list[Candidate]) -> tuple[list[PlateRead], list[Rejected]]:
        """Parts of a frame around the candidates, each plate once: its reads, and what gave none."""
        found: list[Candidate] = []
        height, width = frame.grey.shape
        for region in zoom.parts(candidates, width, height, self.settings.closer_looks):
            with frame.watch.stage("closer look"):
                found += zoom.look(self.models.detector, frame.grey, region, self.settings.candidate_score)
        limit = self.settings.closer_width_px / fit_scale(frame.grey)
        wide = [_rejected(Reason.DOUBTFUL, c) for c in found if c.box[2] >= limit]
        found = [c for c in found if c.box[2] < limit]
        once = suppress(_corner_forms([c.box for c in found]), np.array([c.score for c in found]))
        reads, rejected = self._reads(frame, [found[i] for i in once], zoomed=True)
        again = [_rejected(Reason.SEEN_TWICE, c) for i, c in enumerate(found) if i not in once]
        return reads, rejected + wide + again

    def _reads(
        self, frame: Frame, candidates: list[Candidate], *, zoomed: bool
    ) -> tuple[list[PlateRead], list[Rejected]]:
        """Candidates -> the plates among them, read; and the others."""
        plates, rejected = self._plates(frame.grey, candidates, frame.watch)
        acceptance = self.settings.acceptance
        threshold = acceptance.accept_zoomed if zoomed else acceptance.accept_score
        reads: list[PlateRead] = []
        for found in plates:
            with frame.watch.stage("read"):
                reading = self._first_look(frame.grey, found)
            text = reading.decoded.text
            score = acceptance.score(found.score, found.plate_score, reading.decoded.confidence, text)
            if is_lettering(text):
                rejected.append(_refused(Reason.LETTERING, found, reading, score, threshold))
            elif score >= threshold:
                reads.append(self._read(frame, found, reading, score, zoomed=zoomed))
            else:
                rejected.append(_refused(Reason.DOUBTFUL, found, reading, score, threshold))
        return reads, rejected

    def _read(
        self, frame: Frame, found: Detection, reading: Reading, score: float, *, zoomed: bool
    ) -> PlateRead:
        """An accepted plate -> its read, looked at again unless the text is above all doubt."""
        if reading.decoded.confidence < self.settings.doubt:
            with frame.watch.stage("second look"):
                reading = self._look_again(frame.grey, found, reading)
        read = plate_read(found, reading, score, two_rows=self._has_rows(found), zoomed=zoomed)
        read = replace(read, confidence=self.settings.confidence.of(read))
        return self._with_state(frame, read)

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
                reason = self._unlike(found)
                if reason is None:
                    plates.append(found)
                else:
                    rejected.append(_rejected(reason, found, found.plate_score))
            else:
                rejected.append(_rejected(reason, candidate))
        once = suppress(_corner_forms([p.box for p in plates]), np.array([p.score for p in plates]))
        again = [p for i, p in enumerate(plates) if i not in once]
        rejected += [_rejected(Reason.SEEN_TWICE, p, p.plate_score) for p in again]
        return [plates[i] for i in once], rejected

    def _hopeless(self, candidate: Candidate, done: int) -> Reason | None:
        if done >= self.settings.max_plates:
            return Reason.TOO_MANY
        return Reason.TOO_SMALL if candidate.box[2] < self.settings.min_width_px else None

    def _unlike(self, found: Detection) -> Reason | None:
        """What the corners say against a plate."""
        if found.plate_score < self.settings.plate_score:
            return Reason.NOT_A_PLATE
        width, height = quad_size(found.corners)
        likely = self.settings.min_aspect * height <= width <= self.settings.max_aspect * height
        return None if likely else Reason.ODD_SHAPE

    def _locate(self, grey: Grey, candidate: Candidate) -> Detection:
        located = corner_stage.locate(self.models.corners, grey, candidate.box)
        box = bounds(located.corners)
        return Detection(box, located.corners, candidate.score, located.plate_score, located.two_rows)

    def _has_rows(self, found: Detection) -> bool:
        return found.two_rows >= self.settings.two_rows

    def _first_look(self, grey: Grey, found: Detection) -> Reading:
        rows, temperature = self._has_rows(found), self.settings.temperature
        return first_look(self.models.reader, grey, found, two_rows=rows, temperature=temperature)

    def _look_again(self, grey: Grey, found: Detection, first: Reading) -> Reading:
        rows, temperature = self._has_rows(found), self.settings.temperature
        return look_again(self.models.reader, grey, found, first, two_rows=rows, temperature=temperature)

    def _with_state(self, frame: Frame, read: PlateRead) -> PlateRead:
        """The read with its state of issuance, where there is a net for it."""
        if self.models.state is None or not read.text:
            return read
        with frame.watch.stage("state"):
            found = read_state(
                self.models.state,
                frame.pixels,
                read.corners,
                read.text,
                self.settings.state,
                lambda: name_scores(self.models.reader, frame.grey, read.corners),
            )
        named = replace(read, state=found.state, state_confidence=found.confidence)
        return replace(named, state_note=found.note, states=found.likely)


def fit_scale(grey: Grey) -> float:
    """Net px per picture px of the usual look."""
    h, w = grey.shape
    return min(DETECTOR_SIZE[0] / w, DETECTOR_SIZE[1] / h, 1.0)


def _corner_forms(boxes: list[Box]) -> Floats:
    """Boxes (x, y, w, h) -> (N, 4) x1, y1, x2, y2."""
    forms = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    forms[:, 2:] += forms[:, :2]
    return forms


def _rejected(reason: Reason, seen: Candidate | Detection, plate_score: float | None = None) -> Rejected:
    return Rejected(reason, seen.box, seen.score, seen.box[2], plate_score)


def _refused(reason: Reason, found: Detection, reading: Reading, score: float, threshold: float) -> Rejected:
    """What was read and is not taken for a plate, with the word of each net."""
    return Rejected(
        reason,
        found.box,
        found.score,
        width_px=quad_size(found.corners)[0],
        plate_score=found.plate_score,
        text_score=reading.decoded.confidence,
        accept_score=score,
        threshold=threshold,
    )


def plate_read(
    found: Detection, reading: Reading, accept_score: float, *, two_rows: bool, zoomed: bool
) -> PlateRead:
    """What one detection and its text make together; the confidence is the reader's own."""
    width, height = quad_size(found.corners)
    return PlateRead(
        text=reading.decoded.text,
        confidence=reading.decoded.confidence,
        chars=reading.decoded.chars,
        state=None,
        state_confidence=0.0,
        state_note=NOT_READ,
        corners=found.corners,
        box=found.box,
        score=found.score,
        plate_score=found.plate_score,
        width_px=width,
        height_px=height,
        sharpness=reading.sharpness,
        others=reading.decoded.others,
        text_score=reading.decoded.confidence,
        accept_score=accept_score,
        looks=reading.looks,
        agreed=reading.agreed,
        two_rows=two_rows,
        zoomed=zoomed,
    )
