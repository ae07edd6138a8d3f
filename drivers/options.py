# SPDX-License-Identifier: Apache-2.0
"""Reads a driver's options with types and bounds; a wrong or unknown one is an error that says what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from drivers.errors import BadOption


class Options:
    """The options of one driver; call `finish()` once all known ones were read."""

    def __init__(self, driver: str, given: Mapping[str, object]) -> None:
        self._driver = driver
        self._given = dict(given)
        self._known: set[str] = set()

    def _take(self, key: str) -> object:
        self._known.add(key)
        return self._given.get(key)

    def _bad(self, key: str, wanted: str) -> BadOption:
        return BadOption(f"{self._driver}: option {key!r} must be {wanted}, not {self._given.get(key)!r}")

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """A finite number in [low, high]."""
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._bad(key, f"a number from {low} to {high}")
        if not math.isfinite(value) or not low <= value <= high:
            raise self._bad(key, f"a number from {low} to {high}")
        return float(value)

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        value = self.number(key, default, low, high)
        if value != int(value):
            raise self._bad(key, "a whole number")
        return int(value)

    def optional(self, key: str, low: float, high: float) -> float | None:
        """A number in [low, high], or None when it is not given."""
        return None if self._given.get(key) is None else self.number(key, low, low, high)

    def text(self, key: str, default: str | None = None) -> str:
        """A string; without a default it must be given."""
        value = self._take(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or (default is None and not value):
            raise self._bad(key, "a text")
        return value

    def choice(self, key: str, default: str, allowed: tuple[str, ...]) -> str:
        """One of the allowed words."""
        value = self.text(key, default)
        if value not in allowed:
            raise self._bad(key, "one of " + ", ".join(allowed))
        return value

    def path(self, key: str, default: Path | None = None) -> Path:
        """A path (text or Path); without a default it must be given."""
        value = self._take(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, (str, Path)) or not str(value):
            raise self._bad(key, "a path")
        return Path(value)

    def optional_path(self, key: str) -> Path | None:
        """A path, or None when it is not given."""
        return None if self._take(key) is None else self.path(key)

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false, nothing else."""
        value = self._take(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._bad(key, "true or false")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings; empty when it is not given."""
        value = self._take(key)
        if value is None:
            return ()
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise self._bad(key, "a list of texts")
        return tuple(value)

    def thing(self, key: str) -> object | None:
        """Any object handed over in process, or None."""
        return self._take(key)

    def finish(self) -> None:
        """Refuses options that the driver does not have."""
        unknown = sorted(set(self._given) - self._known)
        if unknown:
            known = ", ".join(sorted(self._known)) or "none"
            raise BadOption(f"{self._driver}: unknown option {unknown[0]!r}; it has: {known}")
