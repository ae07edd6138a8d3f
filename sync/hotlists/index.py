# SPDX-License-Identifier: Apache-2.0
"""Plates and patterns indexed by their folded form, so that a read finds its candidates without a scan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Generic, TypeVar

from sync.hotlists.fold import fold, pattern_regex

T = TypeVar("T")


class PlateIndex(Generic[T]):
    """Three indexes: whole plates by folded text, `?` patterns by mask, `*` patterns by an end character."""

    def __init__(self) -> None:
        self._whole: dict[str, list[T]] = {}
        # length -> positions of the fixed characters -> those characters, folded -> values
        self._masked: dict[int, dict[tuple[int, ...], dict[str, list[T]]]] = {}
        # ("^", first character), ("$", last character) or ("", ""): both ends open
        self._starred: dict[tuple[str, str], list[tuple[re.Pattern[str], T]]] = {}

    def add(self, plate: str, value: T) -> None:
        """Index a plate or a pattern."""
        key = fold(plate)
        if "*" in key:
            self._starred.setdefault(_end(key), []).append((pattern_regex(plate), value))
        elif "?" in key:
            mask = tuple(at for at, char in enumerate(key) if char != "?")
            masks = self._masked.setdefault(len(key), {})
            masks.setdefault(mask, {}).setdefault(key.replace("?", ""), []).append(value)
        else:
            self._whole.setdefault(key, []).append(value)

    def find(self, plate: str) -> Iterator[T]:
        """Everything whose folded form the folded plate meets."""
        key = fold(plate)
        yield from self._whole.get(key, ())
        for mask, by_chars in self._masked.get(len(key), {}).items():
            yield from by_chars.get("".join([key[at] for at in mask]), ())
        for end in {("^", key[:1]), ("$", key[-1:]), ("", "")}:
            for pattern, value in self._starred.get(end, ()):
                if pattern.fullmatch(key):
                    yield value


def _end(key: str) -> tuple[str, str]:
    if key[0] not in "?*":
        return "^", key[0]
    if key[-1] not in "?*":
        return "$", key[-1]
    return "", ""
