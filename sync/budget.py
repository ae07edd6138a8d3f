# SPDX-License-Identifier: Apache-2.0
"""Bytes per UTC day: hits always go, the rest stops in the order of how long it can wait."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import structlog

from storage.atomic import write_atomic
from sync.errors import OverBudget
from sync.wire import Response, Transport

log = structlog.get_logger(__name__)
_DAY_US = 86_400_000_000
_OVERHEAD_BYTES = 600  # bytes of headers and TLS records of one request and its answer, as an estimate
_SAVE_EVERY_BYTES = 256 * 1024  # bytes spent between two writes of the state file


class Purpose(StrEnum):
    """What bytes are spent on."""

    HITS = "hits"
    HEARTBEAT = "heartbeat"
    RECEIPTS = "receipts"
    LISTS = "lists"
    SEGMENTS = "segments"


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """`day_bytes` None: no limit. Each part: up to which share of the day's bytes a purpose may still start."""

    day_bytes: int | None = None  # bytes up and down
    heartbeat_part: float = 1.0
    receipts_part: float = 0.95
    lists_part: float = 0.9
    segments_part: float = 0.6

    def bound(self, purpose: Purpose) -> float:
        """The bytes of the day after which this purpose waits for tomorrow."""
        if self.day_bytes is None or purpose is Purpose.HITS:
            return float("inf")
        parts = {
            Purpose.HEARTBEAT: self.heartbeat_part,
            Purpose.RECEIPTS: self.receipts_part,
            Purpose.LISTS: self.lists_part,
            Purpose.SEGMENTS: self.segments_part,
        }
        return self.day_bytes * parts[purpose]


class DailyBudget:
    """Counts bytes of the current UTC day; with a path the count survives a restart, within 256 KiB."""

    def __init__(self, limits: BudgetLimits, path: Path | None = None) -> None:
        self._limits = limits
        self._path = path
        self._day, self._spent = self._load()
        self._saved = self._spent

    def spent(self, now_us: int) -> int:
        """Bytes spent today."""
        self._turn(now_us)
        return self._spent

    def allows(self, purpose: Purpose, size: int, now_us: int) -> bool:
        """Whether a request that sends `size` bytes may start."""
        self._turn(now_us)
        return self._spent + size <= self._limits.bound(purpose)

    def spend(self, size: int, now_us: int) -> None:
        """Count bytes."""
        self._turn(now_us)
        self._spent += size
        if self._spent - self._saved >= _SAVE_EVERY_BYTES:
            self.save()

    def save(self) -> None:
        """Write the count; a full disk loses only the count."""
        self._saved = self._spent
        if self._path is None:
            return
        try:
            write_atomic(self._path, json.dumps({"day": self._day, "spent": self._spent}).encode())
        except OSError as error:
            log.warning("budget_not_saved", reason=type(error).__name__)

    def _turn(self, now_us: int) -> None:
        day = now_us // _DAY_US
        if day > self._day:  # a clock that steps back does not give the day anew
            self._day, self._spent, self._saved = day, 0, 0

    def _load(self) -> tuple[int, int]:
        if self._path is None or not self._path.exists():
            return 0, 0
        try:
            fields = json.loads(self._path.read_bytes())
            return int(fields["day"]), int(fields["spent"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            log.warning("budget_unreadable")
            return 0, 0


class MeteredTransport:
    """A Transport that asks the budget first and counts what went over the link."""

    def __init__(
        self, transport: Transport, budget: DailyBudget, purpose: Purpose, now_us: Callable[[], int]
    ) -> None:
        self._transport = transport
        self._budget = budget
        self._purpose = purpose
        self._now_us = now_us

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, *, max_bytes: int | None = None
    ) -> Response:
        """GET within the budget; raises OverBudget."""
        return self._counted(0, lambda: self._transport.get(path, headers, max_bytes=max_bytes))

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
        """POST within the budget; raises OverBudget."""
        return self._counted(len(body), lambda: self._transport.post(path, body, headers))

    def put(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
        """PUT within the budget; raises OverBudget."""
        return self._counted(len(body), lambda: self._transport.put(path, body, headers))

    def _counted(self, size: int, send: Callable[[], Response]) -> Response:
        if not self._budget.allows(self._purpose, size, self._now_us()):
            raise OverBudget(f"today's bytes for {self._purpose.value} are spent")
        received = 0
        try:
            response = send()
            received = len(response.body)
        finally:  # what was sent counts whether or not an answer came
            self._budget.spend(size + received + _OVERHEAD_BYTES, self._now_us())
        return response
