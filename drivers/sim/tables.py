# SPDX-License-Identifier: Apache-2.0
"""Frozen dataclasses read from TOML tables: every field annotated with its bounds is a key, nothing else is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

from drivers.errors import BadOption

MAX_TEXTS: Final = 1000  # in a list of texts
T = TypeVar("T")


class BadScenario(BadOption):
    """A scenario is not there, or holds a key or a value that it must not."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The range of a number (both ends included), in the unit that ends its key's name."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Words:
    """The words that a text may be; none: any text."""

    allowed: tuple[str, ...] = ()


Share = Annotated[float, Bounds(0.0, 1.0)]


def keys(cls: type[object]) -> dict[str, Any]:
    """The annotated fields of a dataclass: name to `Annotated[...]`."""
    hints = get_type_hints(cls, include_extras=True)
    return {name: hint for name, hint in hints.items() if get_origin(hint) is Annotated}


def read_table(cls: type[T], table: object, where: str) -> T:
    """The dataclass with what the table says; raises BadScenario naming the key, its bounds and what exists."""
    if not isinstance(table, Mapping):
        raise BadScenario(f"{where} must be a table")
    known = keys(cls)
    for key in table:
        if key not in known:
            raise BadScenario(f"{where}: unknown key {key!r}; there are: {', '.join(sorted(known))}")
    return cls(**{key: _value(known[key], value, f"{where}: {key}") for key, value in table.items()})


def _value(hint: Any, value: object, where: str) -> object:
    kind, bound = get_args(hint)[:2]
    if isinstance(bound, Words):
        return _texts(kind, value, bound, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, list) or len(value) != 2:
            raise BadScenario(f"{where} must be two numbers, [lowest, highest]")
        low, high = (read_number(item, bound, where) for item in value)
        if low > high:
            raise BadScenario(f"{where}: the lowest, {low:g}, is above the highest, {high:g}")
        return (low, high)
    if kind is bool:
        if not isinstance(value, bool):
            raise BadScenario(f"{where} must be true or false, not {value!r}")
        return value
    number = read_number(value, bound, where, whole=kind is int)
    return int(number) if kind is int else number


def _texts(kind: object, value: object, words: Words, where: str) -> object:
    if kind is str:
        if not isinstance(value, str) or (words.allowed and value not in words.allowed):
            wanted = "one of " + ", ".join(words.allowed) if words.allowed else "a text"
            raise BadScenario(f"{where} must be {wanted}, not {value!r}")
        return value
    if not isinstance(value, list) or len(value) > MAX_TEXTS or not all(isinstance(v, str) for v in value):
        raise BadScenario(f"{where} must be a list of at most {MAX_TEXTS} texts")
    return tuple(value)


def read_number(value: object, bound: Bounds, where: str, *, whole: bool = False) -> float:
    """A finite number within its bounds; raises BadScenario."""
    right = isinstance(value, int) or (isinstance(value, float) and not whole)
    if isinstance(value, bool) or not right or not isinstance(value, (int, float)):
        raise BadScenario(f"{where} must be a {'whole ' if whole else ''}number, not {value!r}")
    if not math.isfinite(value) or not bound.low <= value <= bound.high:
        raise BadScenario(f"{where} must be from {bound.low:g} to {bound.high:g}, not {value!r}")
    return float(value)
