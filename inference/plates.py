# SPDX-License-Identifier: Apache-2.0
"""Plate texts as such: cleaning, folding of look-alikes, distances and alignment."""

from __future__ import annotations

from typing import Final

from inference.decode import ALPHABET

FOLDED: Final = {"O": "0", "I": "1"}
CONFUSIONS: Final = (
    "0ODQ",
    "1ILT",
    "8B",
    "5S",
    "2Z",
    "6G",
    "VY",
    "MNW",
    "7T1",
    "4A",
    "CG",
    "EF",
    "PR",
    "KX",
    "UV",
    "HN",
)
NOT_READ: Final = "not read"  # the note beside a state of None
MAX_TEXT: Final = 16  # characters; longer is no plate

LONGEST_OF_A_KIND: Final = 8  # letters alone or digits alone: no serial known to us has more

_KEPT: Final = frozenset(ALPHABET)
_FOLD: Final = str.maketrans(FOLDED)


def clean(text: str) -> str:
    """Upper case, letters and digits only."""
    return "".join(c for c in text.upper() if c in _KEPT)


def fold(text: str) -> str:
    """The text with O as 0 and I as 1: what plates of many states don't tell apart."""
    return text.translate(_FOLD)


def of_digits(text: str) -> bool:
    """Whether a text is a number, O and I taken for digits."""
    return fold(text).isdigit()


def of_letters(text: str) -> bool:
    """Whether a text is a word, 0 and 1 taken for letters; what may be a number is none."""
    return not of_digits(text) and text.replace("0", "O").replace("1", "I").isalpha()


def is_lettering(text: str) -> bool:
    """Whether a text is a word or a number longer than any serial, such as SCHOOLBUS or a telephone number's."""
    return len(text) > LONGEST_OF_A_KIND and (of_letters(text) or of_digits(text))


def confusable(a: str, b: str) -> bool:
    """Whether two characters are easily taken for each other."""
    return a == b or any(a in group and b in group for group in CONFUSIONS)


def distance(a: str, b: str) -> int:
    """Edit distance: insertions, deletions and substitutions."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def similarity(a: str, b: str) -> float:
    """1 for equal folded texts, 0 for texts with nothing in common; 0 when either is empty."""
    if not a or not b:
        return 0.0
    return 1.0 - distance(fold(a), fold(b)) / max(len(a), len(b))


def align(reference: str, other: str) -> list[tuple[int | None, int | None]]:
    """Pairs of positions (in reference, in other) of a cheapest alignment; None stands for a gap."""
    costs = _costs(reference, other)
    pairs: list[tuple[int | None, int | None]] = []
    i, j = len(reference), len(other)
    while i or j:
        if i and j and costs[i][j] == costs[i - 1][j - 1] + (reference[i - 1] != other[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and costs[i][j] == costs[i - 1][j] + 1:
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return pairs[::-1]


def _costs(a: str, b: str) -> list[list[int]]:
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (x != y)))
        rows.append(row)
    return rows
