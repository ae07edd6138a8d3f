# SPDX-License-Identifier: Apache-2.0
"""Whether a box is a plate: the detector, the corner net, the reader and the kind of text each have a say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import exp, log
from typing import Final

from inference.plates import of_digits, of_letters

CLIP: Final = 1e-4  # probabilities nearer to 0 or 1 say no more than this


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Weights of a logistic regression over the three nets' log-odds and the kind of text; the manifest has the
    fitted ones.
    """

    accept_detector: float = 1.0
    accept_plate: float = 0.5
    accept_text: float = 0.2
    accept_bias: float = 0.0
    accept_score: float = 0.5  # a box with less is no plate
    accept_zoomed: float = 0.9  # ... where a closer look found it: it looks at more places
    accept_letters: float = 0.0  # of letters alone: most such texts are words on signs, few are vanity plates
    accept_digits: float = 0.0  # of digits alone

    def tuned(self, thresholds: Mapping[str, float]) -> Acceptance:
        """These weights with the manifest's figures."""
        known = {field.name for field in fields(self)}
        return replace(self, **{name: float(v) for name, v in thresholds.items() if name in known})

    def score(self, detector: float, plate: float, text: float, written: str = "") -> float:
        """The nets' probabilities (0..1) and what is written -> the probability that it is a plate (0..1)."""
        total = self.accept_bias + self.accept_detector * log_odds(detector)
        total += self.accept_plate * log_odds(plate) + self.accept_text * log_odds(text)
        letters, digits = kind_of(written)
        total += self.accept_letters * letters + self.accept_digits * digits
        return 1.0 / (1.0 + exp(-total))

    def takes(self, detector: float, plate: float, text: float, written: str = "") -> bool:
        """Whether a box of the usual look with these probabilities is taken for a plate."""
        return self.score(detector, plate, text, written) >= self.accept_score


def kind_of(written: str) -> tuple[float, float]:
    """1 or 0: whether a text has letters alone, and digits alone."""
    return float(of_letters(written)), float(of_digits(written))


def log_odds(p: float) -> float:
    """log(p / (1 - p)) of a probability, clipped to +-log(1 / CLIP)."""
    p = min(max(p, CLIP), 1.0 - CLIP)
    return log(p / (1.0 - p))
