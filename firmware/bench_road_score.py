# SPDX-License-Identifier: Apache-2.0
"""What was read on the simulated road against what passed there: pure sums over frames and reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from drivers.sim.world import SeenPlate
from inference.detector import iou
from inference.evaluate import percentile, ratio
from inference.plates import fold
from inference.types import Box, FrameResult, PlateRead
from sync.schema import ReadRecord

MATCH_IOU: Final = 0.2  # of a read's box with a plate's
MIN_FRAMES: Final = 3  # a vehicle whose plate is in sight in fewer frames is not counted
GONE_S: Final = 1.5  # a vehicle in sight this shortly before the end has not passed yet
S_PER_HOUR: Final = 3600.0
US_PER_S: Final = 1_000_000


@dataclass(slots=True)
class Pass:
    """One vehicle's pass: the frames in which its plate was in sight, and what was read of it."""

    plate: str
    first_index: int = 0
    frames: int = 0
    last_index: int = 0
    singles: list[tuple[bool, float, float]] = field(
        default_factory=list
    )  # exact, detector's score, width px
    reads: list[tuple[str, float]] = field(default_factory=list)  # text and confidence

    def exact(self, text: str) -> bool:
        """Whether a text is the plate's, O taken as 0 and I as 1."""
        return fold(text) == fold(self.plate)


class Scorer:
    """Takes frames in order, then the reads; `figures` are those of the vehicles that have passed.

    Of the first `settle` frames nothing counts, nor of a vehicle that was in sight in them.
    """

    def __init__(self, fps: float, start_us: int, settle: int = 0) -> None:
        self._fps, self._start_us, self._settle = fps, start_us, settle
        self._passes: dict[int, Pass] = {}
        self._plates: list[list[SeenPlate]] = []
        self._costs: list[tuple[float, float]] = []
        self._told = 0  # reads that were scored
        self._false: list[tuple[str, float]] = []
        self._delays_ms: list[float] = []

    def see(
        self,
        index: int,
        result: FrameResult,
        plates: list[SeenPlate],
        reads: Sequence[ReadRecord],
        cost_s: tuple[float, float],
    ) -> None:
        """One frame: its reads, the plates that were there, all reads told so far, wall and processor s."""
        self._plates.append(plates)
        if index >= self._settle:
            self._costs.append(cost_s)
        for plate in plates:
            if plate.visible:
                here = self._passes.setdefault(plate.vehicle.number, Pass(plate.vehicle.plate, index))
                here.frames += 1
                here.last_index = index
        for read in result.reads:
            self._single(read, plates)
        self._tell(reads, index / self._fps + cost_s[0])

    def _single(self, read: PlateRead, plates: Sequence[SeenPlate]) -> None:
        seen = nearest(read.box, plates)
        if seen is not None and seen.visible:
            here = self._passes[seen.vehicle.number]
            here.singles.append((here.exact(read.text), read.score, read.width_px))

    def end(self, reads: Sequence[ReadRecord]) -> None:
        """The reads that the end of the road brought; they say nothing about delays."""
        self._tell(reads, None)

    def _tell(self, reads: Sequence[ReadRecord], now_s: float | None) -> None:
        for read in reads[self._told :]:
            frame = round((read.captured_us - self._start_us) / US_PER_S * self._fps)
            seen = nearest(read.box, self._plates[frame])
            if seen is None:
                if frame >= self._settle:
                    self._false.append((read.text, read.confidence))
                continue
            here = self._passes.setdefault(seen.vehicle.number, Pass(seen.vehicle.plate, frame))
            here.reads.append((read.text, read.confidence))
            if now_s is not None and here.frames:
                self._delays_ms.append((now_s - here.last_index / self._fps) * 1e3)
        self._told = len(reads)

    def passed(self) -> list[Pass]:
        """The vehicles that count."""
        end = len(self._plates) - GONE_S * self._fps
        begun = [p for p in self._passes.values() if p.first_index >= self._settle]
        return [p for p in begun if p.frames >= MIN_FRAMES and p.last_index < end]

    def figures(self) -> dict[str, Any]:
        """The bench's figures; rates are None where nothing was measured."""
        passed = self.passed()
        captured = [p for p in passed if p.reads]
        single = [p for p in captured if p.singles]
        exact = sum(p.exact(p.reads[0][0]) for p in captured)
        means = [sum(s[0] for s in p.singles) / len(p.singles) for p in single]
        hours = (len(self._plates) - self._settle) / self._fps / S_PER_HOUR
        return {
            "vehicles": len(passed),
            "captured_rate": ratio(len(captured), len(passed)),
            "exact_rate": ratio(exact, len(captured)),
            "exact_rate_single_frame": round(float(np.mean(means)), 4) if means else None,
            "exact_rate_best_score": _picked(single, 1),
            "exact_rate_widest": _picked(single, 2),
            "frames_read_rate": ratio(sum(len(p.singles) for p in passed), sum(p.frames for p in passed)),
            "frames_a_vehicle": round(float(np.mean([p.frames for p in passed])), 1) if passed else None,
            "duplicates_per_vehicle": ratio(sum(max(0, len(p.reads) - 1) for p in passed), len(passed)),
            "false_reads": len(self._false),
            "false_reads_per_hour": round(len(self._false) / hours, 2) if hours else None,
            "last_sight_to_read_ms_p95": percentile(self._delays_ms, 95),
            "ms_per_frame_p50": percentile([wall * 1e3 for wall, _ in self._costs], 50),
            "cpu_ms_per_frame_p50": percentile([cpu * 1e3 for _, cpu in self._costs], 50),
            "frames": len(self._costs),
            "frames_dropped": 0,  # the road waits for the reader
            "wrong": [
                {"plate": p.plate, "read": text, "confidence": round(confidence, 3)}
                for p in captured
                for text, confidence in p.reads[:1]
                if not p.exact(text)
            ],
            "missed": [p.plate for p in passed if not p.reads],
        }


def _picked(passes: Sequence[Pass], key: int) -> float | None:
    """Share of the passes whose one frame with the most of `key` is read right."""
    return ratio(sum(max(p.singles, key=lambda s: s[key])[0] for p in passes), len(passes))


def nearest(box: Box, plates: Sequence[SeenPlate]) -> SeenPlate | None:
    """The plate that a read's box lies on, None for none."""
    best = max(plates, key=lambda p: iou(box, bounds(p)), default=None)
    return best if best is not None and iou(box, bounds(best)) >= MATCH_IOU else None


def bounds(plate: SeenPlate) -> Box:
    """The box around a plate's corners."""
    (x0, y0), (x1, y1) = plate.corners.min(axis=0), plate.corners.max(axis=0)
    return float(x0), float(y0), float(x1 - x0), float(y1 - y0)
