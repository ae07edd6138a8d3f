# SPDX-License-Identifier: Apache-2.0
"""Where a change of health is written down: the ledger counts it, the audit log keeps it, the heartbeat tells it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from firmware.health import Change, Condition
from firmware.keeper import Later, at_once
from firmware.ledger import Ledger
from storage.audit import AuditLog
from storage.errors import StorageError
from sync.limits import MAX_TEXT_CHARS

US_PER_S = 1_000_000
HOUR_US: Final = 3_600 * US_PER_S
AUDITED_AN_HOUR: Final = 20  # changes of one part; a loose plug makes thousands, each signed and synced

log = structlog.get_logger(__name__)


def book(ledger: Ledger, audit: AuditLog, source: str, later: Later = at_once) -> Callable[[Change], None]:
    """What `Health` tells its changes to; `source` is the camera (or service) that the ledger counts them under.

    The ledger counts every change; the audit log takes AUDITED_AN_HOUR of each part, when `later` does it.
    """
    audited: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=AUDITED_AN_HOUR))

    def write(change: Change) -> None:
        finding = change.finding
        how = words(finding.code) if finding.code else finding.condition.value
        ledger.count(source, change.at_us, f"health: {finding.part} {how}")
        last = audited[finding.part]
        if len(last) == AUDITED_AN_HOUR and 0 <= change.at_us - last[0] < HOUR_US:
            ledger.count(source, change.at_us, "health: changes not in the audit log")
            return
        last.append(change.at_us)
        later(lambda: _keep(audit, change))

    return write


def _keep(audit: AuditLog, change: Change) -> None:
    """Signed at once: the part may take the unit down with it."""
    finding = change.finding
    fields = {
        "part": finding.part,
        "condition": finding.condition.value,
        "code": finding.code,
        "before": change.before.code if change.before else "",
    }
    try:
        audit.append("health_changed", fields, at_us=change.at_us)
        audit.checkpoint(at_us=change.at_us)
    except (OSError, StorageError) as error:
        log.error("health_not_recorded", part=finding.part, reason=type(error).__name__)


def words(code: str) -> str:
    """A code as a person says it."""
    return code.replace("_", " ")


def problems(entries: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The parts of a snapshot that are not well, one sentence each, worst first: what the office's page shows."""
    return tuple(
        _sentence(entry)[:MAX_TEXT_CHARS]
        for entry in entries
        if entry["condition"] in (Condition.DEGRADED.value, Condition.FAILED.value)
    )


def device_health(
    eye: Mapping[str, Any] | None, own: Sequence[Mapping[str, Any]], counted: Mapping[str, int]
) -> dict[str, Any]:
    """The heartbeat's `counters`, `health` and `problems`: the eye's status, and the sync service's own health."""
    if not eye:
        told = ("the eye does not answer", *problems(own))
        return {"counters": dict(counted), "health": {"eye": "not running"}, "problems": told}
    ledger, parts, sources = eye.get("ledger"), eye.get("health"), eye.get("time_sources")
    return {
        "time_sources": tuple(sources) if isinstance(sources, list) else (),
        "counters": {**(ledger if isinstance(ledger, dict) else {}), **counted},
        "health": {name: value for name, value in eye.items() if isinstance(value, bool | int | float | str)},
        "problems": problems([*(parts if isinstance(parts, list) else []), *own]),
    }


def _sentence(entry: Mapping[str, Any]) -> str:
    since = datetime.fromtimestamp(int(entry["since_us"]) / US_PER_S, tz=UTC)
    how = words(entry["code"]) or entry["condition"]
    return f"{words(entry['part'])}: {how} since {since:%Y-%m-%d %H:%M} UTC - {entry['advice']}"
