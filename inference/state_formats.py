# SPDX-License-Identifier: Apache-2.0
"""What a serial's format says about its state: a weak hint, for vanity plates fit anything.

The formats are those of ordinary passenger cars that are on the road; 9 is a digit, A a letter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import numpy as np

from inference.preprocess import Floats

FORMATS: Final[Mapping[str, str]] = {
    "AK": "AAA999", "AL": "9AA9999 99AA999 9A9999A 99A999A", "AR": "999AAA AAA99A", "AZ": "AAA9999 AAA9A9A 999AAA",
    "CA": "9AAA999 9A99999 99999A9 AAA999", "CO": "AAA999 999AAA AAAA99", "CT": "AA99999 999AAA 9AAAA9",
    "DC": "AA9999", "DE": "999999 99999", "FL": "AAAA99 A999AA 999AAA AAA9999 99AAAA", "GA": "AAA9999",
    "HI": "AAA999", "IA": "AAA999 999AAA", "ID": "A999999 9A9999A 9A99999 9AA9999",
    "IL": "AA99999 A999999 9999999 999999",
    "IN": "999AAA 999AA 999A 99A9999", "KS": "999AAA 9999AAA AAA999", "KY": "999AAA A9A999 AAA999",
    "LA": "999AAA AAA999", "MA": "9AAA99 9AA999 999AA9 99AA99 999AAA 9999AA", "MD": "9AA9999 AAA9999 9AAA99 A999999",
    "ME": "9999AA 999AAA", "MI": "AAA9999 9AAA99 999A999", "MN": "AAA999 999AAA", "MO": "AA9A9A 999AAA",
    "MS": "AAA999 AAA9999", "MT": "999999A 99999A 999999", "NC": "AAA9999", "ND": "999AAA",
    "NE": "AAA999 99A999 9A9999",
    "NH": "9999999 999999", "NJ": "A99AAA AAA99A", "NM": "999AAA AAA999 AAAA99", "NV": "999AAA 99A999 999A99",
    "NY": "AAA9999 AAA999", "OH": "AAA9999", "OK": "AAA999 999AAA", "OR": "999AAA AAA999", "PA": "AAA9999",
    "RI": "AA999 999999 99999 9AA999", "SC": "AAA999 999AAA 9999AA", "SD": "9AA999 99A999 9A9999",
    "TN": "AAA9999 A9999A 999AAA 99A999", "TX": "AAA9999 AA9A999 A99AAA 999AAA AAA999", "UT": "A999AA 999AAA 9A9AA",
    "VA": "AAA9999 AAA999", "VT": "AAA999", "WA": "AAA9999 999AAA", "WI": "AAA9999 999AAA AAA999",
    "WV": "9AA999 9A9999 99A999", "WY": "999999 99999 99A999",
}  # fmt: skip
_VANITY: Final = 0.35  # of the plates, whatever their state
_ANY: Final = 0.05  # chance of one format among vanity texts
_SIGNS: Final = {"9": "[0-9OI]", "A": "[A-Z01]"}


def _compiled() -> list[tuple[re.Pattern[str], Floats]]:
    """Format -> for every state the chance of that format beside vanity texts; sorted by state."""
    states = sorted(FORMATS)
    chances: dict[str, Floats] = {}
    for column, state in enumerate(states):
        formats = FORMATS[state].split()
        for name in formats:
            row = chances.setdefault(name, np.zeros(len(states), np.float32))
            row[column] += (1 - _VANITY) / len(formats)
    return [(re.compile("".join(_SIGNS.get(c, c) for c in name)), row) for name, row in chances.items()]


_COMPILED: Final = _compiled()


def format_scores(text: str) -> Floats:
    """Log likelihoods (51,) of a text's format, states in alphabetical order; their mean chance is taken as 1."""
    chances = np.full(len(FORMATS), _VANITY * _ANY, np.float32)
    for pattern, row in _COMPILED:
        if pattern.fullmatch(text):
            chances += row
    return np.asarray(np.log(chances / chances.mean()), np.float32)
