# SPDX-License-Identifier: Apache-2.0
"""The state's name where it stands in words: the reader is shown the plate's edges and asked for each of the names.

The reader learned serials only, but capitals are capitals. What it says of a name is the name's CTC probability
against that of the best path, so a strip without letters speaks for no state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.decode import ALPHABET, BLANK, Probabilities
from inference.ocr import probabilities
from inference.preprocess import Floats, Grey, normalise, rectify
from inference.runtime import Net
from inference.types import Corners

STATE_NAMES: Final[Mapping[str, str]] = {
    "AK": "Alaska", "AL": "Alabama", "AR": "Arkansas", "AZ": "Arizona", "CA": "California", "CO": "Colorado",
    "CT": "Connecticut", "DC": "Washington, D.C.", "DE": "Delaware", "FL": "Florida", "GA": "Georgia",
    "HI": "Hawaii", "IA": "Iowa", "ID": "Idaho", "IL": "Illinois", "IN": "Indiana", "KS": "Kansas",
    "KY": "Kentucky", "LA": "Louisiana", "MA": "Massachusetts", "MD": "Maryland", "ME": "Maine",
    "MI": "Michigan", "MN": "Minnesota", "MO": "Missouri", "MS": "Mississippi", "MT": "Montana",
    "NC": "North Carolina", "ND": "North Dakota", "NE": "Nebraska", "NH": "New Hampshire", "NJ": "New Jersey",
    "NM": "New Mexico", "NV": "Nevada", "NY": "New York", "OH": "Ohio", "OK": "Oklahoma", "OR": "Oregon",
    "PA": "Pennsylvania", "RI": "Rhode Island", "SC": "South Carolina", "SD": "South Dakota",
    "TN": "Tennessee", "TX": "Texas", "UT": "Utah", "VA": "Virginia", "VT": "Vermont", "WA": "Washington",
    "WI": "Wisconsin", "WV": "West Virginia", "WY": "Wyoming",
}  # fmt: skip
STRIPS: Final = ((0.2, 0.04, 0.8, 0.22), (0.2, 0.09, 0.8, 0.28), (0.2, 0.74, 0.8, 0.93))
"""Parts of the plate that names stand in: left, top, right, bottom; the reader's own margin comes on top."""
FAR: Final = 10.0  # log-odds below the best path from which on a name is simply not there
_TINY: Final = 1e-9
_LEAST: Final = 1e-37  # single precision holds it
_RESCALED: Final = 4  # steps after which the sums are brought back to 1: they shrink by up to _TINY a step


def _words() -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.intp]]:
    """Per name, in the order of the codes: its letters with blanks between (51, N), where a blank may be skipped
    (51, N), and its last place (51,).
    """
    words = ["".join(filter(str.isalpha, STATE_NAMES[code])).upper() for code in sorted(STATE_NAMES)]
    places = np.full((len(words), 2 * max(map(len, words)) + 1), BLANK, dtype=np.intp)
    for row, word in zip(places, words, strict=True):
        row[1 : 2 * len(word) : 2] = [ALPHABET.index(letter) for letter in word]
    skip = np.zeros(places.shape, dtype=np.bool_)
    skip[:, 3::2] = (places[:, 3::2] != places[:, 1:-2:2]) & (places[:, 3::2] != BLANK)
    return places, skip, np.array([2 * len(word) for word in words])


_PLACES, _SKIP, _LAST = _words()
_HOP: Final = _SKIP[:, 2:].astype(np.float32)


def name_scores(reader: Net, grey: Grey, corners: Corners) -> Floats:
    """(H, W) and corners (4, 2) px of a plate -> how much its lettering speaks for each state (51,), 0 to FAR."""
    strips = [probabilities(reader, normalise(rectify(grey, part(corners, *s))), 1.0) for s in STRIPS]
    seen = np.stack(strips)
    odds = named(seen) - np.log(seen.max(axis=2)).sum(axis=1)[:, None]
    return np.asarray(np.log(np.exp(np.maximum(odds, -FAR)).mean(axis=0)) + FAR, dtype=np.float32)


def part(corners: Corners, left: float, top: float, right: float, bottom: float) -> Corners:
    """Corners (4, 2) of a part of the plate, given in shares of its sides."""
    tl, tr, br, bl = np.asarray(corners, dtype=np.float32)
    spots = ((left, top), (right, top), (right, bottom), (left, bottom))
    found = [(tl * (1 - u) + tr * u) * (1 - v) + (bl * (1 - u) + br * u) * v for u, v in spots]
    return np.asarray(found, dtype=np.float32)


def named(strips: Probabilities) -> Probabilities:
    """Probabilities (n, T, 37) of n strips -> log probability (n, 51) of each name there: CTC's forward sums."""
    emit = strips.astype(np.float32).transpose(1, 0, 2)[:, :, _PLACES] + np.float32(_TINY)
    alpha = np.zeros_like(emit[0])
    alpha[..., :2] = emit[0, :, :, :2]
    total = np.zeros(alpha.shape[:2])
    for t in range(1, len(emit)):
        reach = alpha.copy()
        reach[..., 1:] += alpha[..., :-1]
        reach[..., 2:] += alpha[..., :-2] * _HOP
        alpha = reach * emit[t]
        if t % _RESCALED == 0:
            scale = alpha.max(axis=2, keepdims=True)
            alpha /= scale
            total += np.log(scale[..., 0])
    rows = np.arange(len(_LAST))
    return np.asarray(total + np.log(alpha[:, rows, _LAST] + alpha[:, rows, _LAST - 1] + _LEAST))
