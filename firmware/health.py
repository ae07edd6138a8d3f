# SPDX-License-Identifier: Apache-2.0
"""How each part of the appliance is: what was found, since when, and what a person should do about it.

Watchers (the camera's check, the lamp's, the receiver's, ...) report a `Finding` whenever they look; only a change of
it is told: to the log, to the ledger and as an alarm. What does not change is not told again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import structlog

MAX_PARTS = 32  # watchers name their parts in code; more are a mistake there

log = structlog.get_logger(__name__)


class Condition(StrEnum):
    """From best to worst; `ABSENT`: this unit has no such part, which is no fault."""

    OK = "ok"
    ABSENT = "absent"
    DEGRADED = "degraded"  # works, with something missing
    FAILED = "failed"  # does not do its work


@dataclass(frozen=True, slots=True)
class Finding:
    """What a watcher found: `part` ("camera"), `code` ("frozen"; empty when well), `advice` for the technician."""

    part: str
    condition: Condition
    code: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A part that is now otherwise than it was; `before` is None for the first look at it."""

    finding: Finding
    before: Finding | None
    at_us: int

    @property
    def recovered(self) -> bool:
        """Whether something that was wrong is well again."""
        return self.finding.condition is Condition.OK


@dataclass(frozen=True, slots=True)
class _Standing:
    finding: Finding
    since_us: int


def _same(a: Finding, b: Finding) -> bool:
    """Whether they tell the same trouble; its advice may name other sensors each time."""
    return (a.condition, a.code) == (b.condition, b.code)


def well(part: str) -> Finding:
    """Nothing is wrong with it."""
    return Finding(part, Condition.OK)


class Health:
    """Thread-safe. `tell` gets each change, once, in order; what it raises ends in the caller."""

    def __init__(self, tell: Callable[[Change], None] = lambda _change: None) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._parts: dict[str, _Standing] = {}

    def report(self, finding: Finding, at_us: int) -> None:
        """Takes what a watcher found at Unix µs `at_us`.

        A first finding that is good or absent is no change, nor is new advice for the same trouble.
        """
        with self._lock:
            standing = self._parts.get(finding.part)
            if standing is not None and _same(standing.finding, finding):
                self._parts[finding.part] = _Standing(finding, standing.since_us)
                return
            if standing is None and len(self._parts) >= MAX_PARTS:
                raise ValueError(f"more than {MAX_PARTS} parts report their health")
            self._parts[finding.part] = _Standing(finding, at_us)
        if standing is None and finding.condition in (Condition.OK, Condition.ABSENT):
            return
        self._changed(Change(finding, standing.finding if standing else None, at_us))

    def _changed(self, change: Change) -> None:
        finding = change.finding
        fields = {"part": finding.part, "condition": finding.condition.value, "code": finding.code}
        if finding.condition is Condition.OK:
            log.info("health_recovered", **fields)
        else:
            log.warning("health_changed", **fields)
        self._tell(change)

    def of(self, part: str) -> Finding | None:
        """What stands for a part; None before the first look."""
        with self._lock:
            standing = self._parts.get(part)
        return standing.finding if standing else None

    def snapshot(self) -> list[dict[str, Any]]:
        """Every part, the worst first, for the status socket: `part, condition, code, advice, since_us`."""
        order = list(Condition)
        with self._lock:
            found = [(standing.finding, standing.since_us) for standing in self._parts.values()]
        found.sort(key=lambda item: (-order.index(item[0].condition), item[0].part))
        return [
            {**asdict(finding), "condition": finding.condition.value, "since_us": since}
            for finding, since in found
        ]
