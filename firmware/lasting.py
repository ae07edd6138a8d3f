# SPDX-License-Identifier: Apache-2.0
"""Hysteresis in time: what is told of a condition follows it only once it has lasted."""

from __future__ import annotations


class Lasting:
    """Becomes true after a condition held for `set_s` seconds, false again after it was absent for `clear_s`."""

    def __init__(self, set_s: float, clear_s: float) -> None:
        self._set_s, self._clear_s = set_s, clear_s
        self._since_s: float | None = None  # since when the condition is otherwise than what is told
        self.told = False

    def step(self, condition: bool, now_s: float) -> bool:  # noqa: FBT001 -- the condition is the subject
        """What is told from now on; `now_s` is monotonic."""
        if condition == self.told:
            self._since_s = None
            return self.told
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s >= (self._clear_s if self.told else self._set_s):
            self.told, self._since_s = condition, None
        return self.told
