# SPDX-License-Identifier: Apache-2.0
"""Reads a plate, then other crops of it, and weighs what all of them say: a text that hangs on the crop is doubtful."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from inference import ocr
from inference.decode import MAX_ALTERNATIVES, MAX_OTHERS, MIN_ALTERNATIVE
from inference.preprocess import Grey, normalise, rectify
from inference.rectify import grown, sharpness, shifted
from inference.runtime import Net
from inference.types import CharRead, Decoded, Detection, Reading

OTHER_CROPS: Final = (
    (0.06, 0.06, 0.0),
    (0.0, 0.0, -0.04),
)  # shares: wider and taller a side, down; wider; higher
ROWS_DOUBT: Final = 0.6  # of the first text: below it the other reading of rows is tried too
ROWS_POSSIBLE: Final = 0.1  # of the corner net's word on two rows, from which rows are tried too
NOTHING: Final = Decoded("", 0.0, ())  # surely no text is no text with confidence


def first_look(
    net: Net, grey: Grey, found: Detection, *, two_rows: bool, temperature: float = 1.0
) -> Reading:
    """What the plate's own corners give: one crop, or one a row."""
    if two_rows:
        decoded = ocr.read_rows(net, grey, found.corners, temperature)
        sharp = sharpness(normalise(rectify(grey, found.corners)))
    else:
        decoded, sharp = ocr.read(net, grey, found.corners, temperature)
    return Reading(decoded if decoded.text else NOTHING, sharp)


def look_again(
    net: Net, grey: Grey, found: Detection, first: Reading, *, two_rows: bool, temperature: float = 1.0
) -> Reading:
    """The first look together with those at other crops."""
    readings = [first.decoded]
    readings += _others(net, grey, found, first.decoded, two_rows=two_rows, temperature=temperature)
    if first.decoded.confidence < ROWS_DOUBT:
        readings += _otherwise(net, grey, found, two_rows=two_rows, temperature=temperature)
    decoded = merged(readings)
    agreed = sum(reading.text == decoded.text for reading in readings)
    return Reading(decoded, first.sharpness, len(readings), agreed)


def _others(
    net: Net, grey: Grey, found: Detection, first: Decoded, *, two_rows: bool, temperature: float
) -> Iterator[Decoded]:
    for width, height, down in OTHER_CROPS:
        corners = shifted(grown(found.corners, width, height), down)
        if two_rows:
            yield ocr.read_rows(net, grey, corners, temperature)
        else:
            yield ocr.read(net, grey, corners, temperature, first)[0]


def _otherwise(
    net: Net, grey: Grey, found: Detection, *, two_rows: bool, temperature: float
) -> Iterator[Decoded]:
    """The plate as one row where it was read as two, and the other way round where that is possible."""
    if two_rows:
        yield ocr.read(net, grey, found.corners, temperature)[0]
    elif found.two_rows >= ROWS_POSSIBLE:
        yield ocr.read_rows(net, grey, found.corners, temperature)


def merged(readings: Sequence[Decoded]) -> Decoded:
    """The text with the highest mean probability among the readings' best texts; "" only when all say so."""
    totals: defaultdict[str, float] = defaultdict(float)
    for reading in readings:
        for text, p in ((reading.text, reading.confidence), *reading.others):
            if text:
                totals[text] += p / len(readings)
    best = max((r.text for r in readings if r.text), key=lambda text: totals[text], default="")
    if not best:
        return NOTHING
    others = sorted(((t, p) for t, p in totals.items() if t != best), key=lambda item: -item[1])
    agreeing = [reading for reading in readings if reading.text == best]
    return Decoded(best, min(1.0, totals[best]), _characters(agreeing), tuple(others[:MAX_OTHERS]))


def _characters(agreeing: Sequence[Decoded]) -> tuple[CharRead, ...]:
    """Per position the mean over readings of the same text, surer ones counting more."""
    weights = [reading.confidence + 1e-9 for reading in agreeing]
    columns: list[defaultdict[str, float]] = [defaultdict(float) for _ in agreeing[0].chars]
    for reading, weight in zip(agreeing, weights, strict=True):
        for column, char in zip(columns, reading.chars, strict=True):
            for other, p in ((char.char, char.probability), *char.alternatives):
                column[other] += p * weight / sum(weights)
    return tuple(
        _character(column, char.char) for column, char in zip(columns, agreeing[0].chars, strict=True)
    )


def _character(column: dict[str, float], char: str) -> CharRead:
    ranked = sorted((item for item in column.items() if item[0] != char), key=lambda item: -item[1])
    kept = [(other, p) for other, p in ranked if p >= MIN_ALTERNATIVE]
    return CharRead(char, column[char], tuple(kept[:MAX_ALTERNATIVES]))
