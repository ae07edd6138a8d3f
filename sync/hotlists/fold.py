# SPDX-License-Identifier: Apache-2.0
"""Characters that look alike on a plate, patterns, and how a read lines up with a listed plate."""

from __future__ import annotations

import re

# Each class is taken as one character when folding. 2/7 is left out on purpose: that misread stands behind
# wrongful stops, so it must never make a hit; it shows as a doubt of the reader instead.
CONFUSABLE = ("0ODQ", "1I", "8B", "5S", "2Z", "6G")

_FOLD = str.maketrans({char: group[0] for group in CONFUSABLE for char in group})
_GROUP = {char: group for group in CONFUSABLE for char in group}


def fold(text: str) -> str:
    """Every character replaced by the first of its confusable class; wildcards stay."""
    return text.translate(_FOLD)


def why_alike(read: str, listed: str) -> str:
    """Why two different characters were taken as equal."""
    if {read, listed} == {"O", "0"}:
        return "letter O and digit 0 look alike, and some feeds write O as 0"
    return f"{read} and {listed} look alike" if _GROUP.get(read) == _GROUP.get(listed) else "different"


def pattern_regex(pattern: str) -> re.Pattern[str]:
    """The folded pattern as a regular expression over folded text; short and bounded by the plate's length."""
    parts = (
        ".*" if char == "*" else "." if char == "?" else char for char in re.sub(r"\*+", "*", fold(pattern))
    )
    return re.compile("".join(parts))


def align(pattern: str, text: str) -> list[str | None] | None:
    """For each character of the read, the listed character it stands against, or None under a wildcard.

    Among the ways in which a `*` can stretch, the one with the fewest differences; None when there is no way.
    """
    best: dict[tuple[int, int], tuple[int, list[str | None]] | None] = {}
    for i in range(len(pattern), -1, -1):
        for j in range(len(text), -1, -1):
            best[i, j] = _step(pattern, text, i, j, best)
    found = best[0, 0]
    return None if found is None else found[1]


def _step(
    pattern: str, text: str, i: int, j: int, best: dict[tuple[int, int], tuple[int, list[str | None]] | None]
) -> tuple[int, list[str | None]] | None:
    if i == len(pattern):
        return (0, []) if j == len(text) else None
    if pattern[i] == "*":
        skip = best[i + 1, j]
        take = best.get((i, j + 1)) if j < len(text) else None
        stretched = None if take is None else (take[0], [None, *take[1]])
        ways = [way for way in (skip, stretched) if way is not None]
        return min(ways, key=lambda way: way[0], default=None)
    rest = best.get((i + 1, j + 1)) if j < len(text) else None
    if rest is None:
        return None
    if pattern[i] == "?":
        return rest[0], [None, *rest[1]]
    if fold(pattern[i]) != fold(text[j]):
        return None
    return rest[0] + (pattern[i] != text[j]), [pattern[i], *rest[1]]
