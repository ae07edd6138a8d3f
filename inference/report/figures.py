# SPDX-License-Identifier: Apache-2.0
"""From what was read to figures: pure, so that every rule has its test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inference.detector import iou
from inference.evaluate import CLEAR_WIDTH_PX, MIN_WIDTH_AT_INPUT_PX
from inference.labels import mended
from inference.plates import align, distance
from inference.report.records import Case, Seen, Shot
from inference.scoring import ECE_BINS, Predicted, by_threshold, calibration_table, match

PRECISION: Final = 0.99
STATE_COVERAGE: Final = 0.6
Z95: Final = 1.96
RENDERED_WIDTH_PX: Final = 40.0
GAP: Final = "-"  # a character that is not there

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole with its 95 % interval (Wilson)."""

    part: int
    whole: int

    @property
    def value(self) -> float | None:
        """part / whole, None of nothing."""
        return self.part / self.whole if self.whole else None

    def interval(self) -> tuple[float, float]:
        """Lower and upper end; (0, 1) of nothing."""
        if not self.whole:
            return 0.0, 1.0
        n, p = self.whole, self.part / self.whole
        middle = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 * sqrt(p * (1 - p) / n + Z95**2 / (4 * n * n)) / (1 + Z95**2 / n)
        return max(0.0, middle - half), min(1.0, middle + half)

    def as_json(self) -> dict[str, Any]:
        """For the figures file."""
        low, high = self.interval()
        value = None if self.value is None else round(self.value, 4)
        return {"value": value, "of": self.whole, "low": round(low, 4), "high": round(high, 4)}


def share(flags: Iterable[bool]) -> Share:
    """How many of them are true."""
    every = list(flags)
    return Share(sum(every), len(every))


def with_text(found: Iterable[Case]) -> list[Case]:
    """Those whose text is known in full."""
    return [case for case in found if case.truth.text]


def us_clear(found: Iterable[Case]) -> list[Case]:
    """Clear US plates at least 60 px wide in the stored picture."""
    return [
        case
        for case in with_text(found)
        if case.truth.country == "US" and case.truth.quality == "clear" and case.truth.width >= CLEAR_WIDTH_PX
    ]


def two_rows(found: Iterable[Case]) -> list[Case]:
    """Plates with two rows or small stacked letters."""
    return [case for case in with_text(found) if case.truth.two_rows]


def exact(found: Sequence[Case], *, folded: bool = True) -> Share:
    """Whole texts right; a plate that was not found is wrong."""
    return share(case.right(folded=folded) for case in found)


def recall(found: Iterable[Case], overlap: float, min_width: float = MIN_WIDTH_AT_INPUT_PX) -> Share:
    """Plates at least `min_width` px wide at the detector's input that have a read at this IoU."""
    wide = [case for case in found if case.truth.width_at_input >= min_width]
    return share(c.read is not None and iou(c.truth.box, c.read.box) >= overlap for c in wide)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the confidence is worth; `noise` is the error that perfect confidences would show on as few reads."""

    error: float
    noise: float
    reads: int
    bins: tuple[tuple[float, float, int], ...]  # mean confidence, share right, reads


def read_pairs(found: Iterable[Case]) -> tuple[Floats, NDArray[np.bool_]]:
    """Confidences and rightness (folded) of the reads of plates with a known text."""
    read = [case for case in with_text(found) if case.read is not None and case.read.text]
    return (
        np.array([case.read.confidence for case in read if case.read], dtype=np.float64),
        np.array([case.right() for case in read], dtype=np.bool_),
    )


def with_labels_mended(found: Iterable[Case], errors: Mapping[tuple[str, str], str]) -> list[Case]:
    """The same cases with the known label errors ((image, label) -> what the picture shows) mended."""
    return [
        replace(case, truth=replace(case.truth, text=mended(case.image, case.truth.text, errors)))
        for case in found
    ]


def calibration(confidences: Floats, right: NDArray[np.bool_], bins: int = ECE_BINS) -> Calibration:
    """Expected calibration error over bins of equally many reads."""
    table = calibration_table(list(zip(confidences, right, strict=True)), bins)
    error = sum(abs(told - share) * n for told, share, n in table) / max(len(confidences), 1)
    return Calibration(error, _noise(confidences, bins), len(confidences), tuple(table))


def _noise(confidences: Floats, bins: int, rounds: int = 200) -> float:
    """The mean error if every read were right with just its confidence."""
    if not len(confidences):
        return 0.0
    ordered = np.sort(confidences)
    drawn = np.random.default_rng(0).random((rounds, len(ordered))) < ordered
    parts = [p for p in np.array_split(np.arange(len(ordered)), bins) if len(p)]
    gaps = [np.abs(drawn[:, p].mean(axis=1) - ordered[p].mean()) * len(p) for p in parts]
    return float(np.sum(gaps, axis=0).mean() / len(ordered))


def coverage_at(
    confidences: Floats, right: NDArray[np.bool_], plates: int, precision: float = PRECISION
) -> float:
    """The largest share of `plates` whose reads, the surest first, are right this often."""
    enough = (
        kept for _, kept, correct in by_threshold(_judged(confidences, right)) if correct >= precision * kept
    )
    return max(enough, default=0) / plates if plates else 0.0


def _judged(confidences: Floats, right: NDArray[np.bool_]) -> list[tuple[float, bool]]:
    return list(zip(confidences.tolist(), right.tolist(), strict=True))


def risk_coverage(confidences: Floats, right: NDArray[np.bool_], plates: int) -> list[tuple[float, float]]:
    """(share of the plates kept, share of those read wrong), the surest first."""
    ranked = by_threshold(_judged(confidences, right))
    return [(kept / plates, 1 - correct / kept) for _, kept, correct in ranked]


def precision_recall(shots: Sequence[Shot], overlap: float) -> list[tuple[float, float, float]]:
    """(recall, precision, threshold of the acceptance); plates under 24 px at the input count neither way."""
    marks: list[tuple[float, bool]] = []
    wide = 0
    for shot in shots:
        plates = [t for t in shot.truths if t.is_plate]
        wide += sum(t.width_at_input >= MIN_WIDTH_AT_INPUT_PX for t in plates)
        pairs = match([t.box for t in plates], [Predicted(c.box, c.text, c.score) for c in shot.candidates])
        of = {j: plates[i] for i, j in pairs.items()}
        for j, candidate in enumerate(shot.candidates):
            if j in of and of[j].width_at_input < MIN_WIDTH_AT_INPUT_PX:
                continue
            marks.append((candidate.score, j in of and iou(of[j].box, candidate.box) >= overlap))
    return [
        (correct / max(wide, 1), correct / kept, threshold)
        for threshold, kept, correct in by_threshold(marks)
    ]


def state_figures(found: Iterable[Case]) -> dict[str, Any]:
    """Top-1 over US plates with a known state, what is told, and precision at 60 % coverage.

    The surest come first: those whose state the device names (without colour it asks for more), then by probability.
    """
    known = [case for case in found if case.truth.country == "US" and case.truth.state]
    reads = [(case.read, case.truth.state) for case in known if case.read is not None]
    guesses = [
        ((r.state is not None, r.state_probability), r.state_guess == state)
        for r, state in reads
        if r.state_guess
    ]
    told = [r.state == state for r, state in reads if r.state is not None]
    wanted = int(np.ceil(STATE_COVERAGE * len(known)))
    surest = sorted(guesses, key=lambda pair: pair[0], reverse=True)[:wanted]
    enough = len(surest) == wanted > 0
    return {
        "plates": len(known),
        "read": len(reads),
        "top1": Share(sum(hit for _, hit in guesses), len(known)).as_json(),
        "top1_of_read": Share(sum(hit for _, hit in guesses), len(reads)).as_json(),
        "told": Share(len(told), len(known)).as_json(),
        "told_right": share(told).as_json(),
        "right_at_60": share(hit for _, hit in surest).as_json() if enough else None,
        "any": bool(guesses),
    }


def confusions(found: Iterable[Case]) -> Counter[tuple[str, str]]:
    """(true, read) -> how often, over reads that are at most half wrong; `-` stands for no character."""
    counts: Counter[tuple[str, str]] = Counter()
    for case in with_text(found):
        text, read = case.truth.text or "", case.read.text if case.read else ""
        if not read or distance(text, read) * 2 > len(text):
            continue
        for i, j in align(text, read):
            counts[GAP if i is None else text[i], GAP if j is None else read[j]] += 1
    return counts


def by_bins(
    found: Sequence[Case], edges: Sequence[float], value: Callable[[Case], float | None]
) -> list[tuple[str, Share]]:
    """Exact texts in bins of a value; the last bin is open."""
    ends = [*edges[1:], float("inf")]
    table = []
    for low, high in zip(edges, ends, strict=True):
        part = [c for c in found if (v := value(c)) is not None and low <= v < high]
        name = f"{low:g}-{high:g}" if high != float("inf") else f"{low:g} and more"
        table.append((name, exact(part)))
    return table


def by_name(found: Sequence[Case], name: Callable[[Case], str], least: int = 5) -> list[tuple[str, Share]]:
    """Exact texts by a name, most plates first; names with fewer than `least` plates are put together."""
    groups: dict[str, list[Case]] = {}
    for case in found:
        groups.setdefault(name(case), []).append(case)
    rest = [case for group in groups.values() if len(group) < least for case in group]
    table = [(key, exact(group)) for key, group in groups.items() if len(group) >= least]
    table.sort(key=lambda row: (-row[1].whole, row[0]))
    return [*table, ("others", exact(rest))] if rest else table


def failures(found: Iterable[Case]) -> tuple[list[Case], list[Case]]:
    """Wrong reads, the surest first; and plates with a text that were not found, the widest first."""
    wrong = [c for c in with_text(found) if c.read is not None and not c.right()]
    missed = [c for c in with_text(found) if c.read is None]
    wrong.sort(key=lambda c: -(c.read.confidence if c.read else 0.0))
    return wrong, sorted(missed, key=lambda c: -c.truth.width)


def false_ranked(reads: Iterable[tuple[Shot, Seen]]) -> list[tuple[Shot, Seen]]:
    """Reads of nothing, the likeliest plate first."""
    return sorted(reads, key=lambda pair: -pair[1].score)
