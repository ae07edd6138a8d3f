# SPDX-License-Identifier: Apache-2.0
"""Faults scripted by a short string: one letter a step, a dot for none, sound again after its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from drivers.errors import BadOption

OK: Final = "."
MAX_STEPS: Final = 100_000  # letters of one script


class FaultScript:
    """`.at(step)` gives the letter of a step."""

    def __init__(self, driver: str, script: str, letters: Mapping[str, str]) -> None:
        unknown = set(script) - set(letters) - {OK}
        if unknown or len(script) > MAX_STEPS:
            known = ", ".join(f"{letter} = {meaning}" for letter, meaning in letters.items())
            raise BadOption(f"{driver}: 'faults' has a letter a step, at most {MAX_STEPS}: . = none, {known}")
        self._script = script

    def at(self, step: int) -> str:
        """The letter of step 0, 1, 2 ..."""
        return self._script[step] if 0 <= step < len(self._script) else OK
