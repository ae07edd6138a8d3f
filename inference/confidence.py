# SPDX-License-Identifier: Apache-2.0
"""How far a read can be believed: the chance that its whole text is right, from all that the read rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import exp, log
from typing import Final

from inference.accept import log_odds
from inference.types import PlateRead

USUAL_CHAR_PX: Final = 16.0  # height of a row of characters
USUAL_SHARPNESS: Final = 3000.0


@dataclass(frozen=True, slots=True)
class Confidence:
    """Weights of a logistic regression; these leave the reader's word as it is, the manifest has the fitted ones."""

    read_text: float = 1.0  # log-odds of the text
    read_weakest: float = 0.0  # ... of its least sure character
    read_plate: float = 0.0  # ... of the corner net
    read_height: float = 0.0  # log of the row's height
    read_sharpness: float = 0.0  # log of the sharpness
    read_two_rows: float = 0.0
    read_disputed: float = 0.0  # share of the looks that gave another text
    read_bias: float = 0.0

    def tuned(self, thresholds: Mapping[str, float]) -> Confidence:
        """These weights with the manifest's figures."""
        known = {field.name for field in fields(self)}
        return replace(self, **{name: float(v) for name, v in thresholds.items() if name in known})

    def of(self, read: PlateRead) -> float:
        """The chance (0..1) that the text is right; 0 of no text."""
        if not read.text:
            return 0.0
        weights = [getattr(self, field.name) for field in fields(self)]
        total = sum(w * x for w, x in zip(weights, (*evidence(read), 1.0), strict=True))
        return 1.0 / (1.0 + exp(-total))


def evidence(read: PlateRead) -> tuple[float, ...]:
    """What the weights are for, in their order, without the bias."""
    row_px = read.height_px / (2.0 if read.two_rows else 1.0)
    return (
        log_odds(read.text_score),
        log_odds(min((c.probability for c in read.chars), default=0.0)),
        log_odds(read.plate_score),
        log(max(row_px, 1.0) / USUAL_CHAR_PX),
        log(max(read.sharpness, 1.0) / USUAL_SHARPNESS),
        float(read.two_rows),
        1.0 - read.agreed / read.looks,
    )
