# SPDX-License-Identifier: Apache-2.0
"""The ledger: what was seen and not read, counted per camera and UTC hour and by reason. Counts only, never texts."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path

from storage.atomic import write_atomic

US_PER_HOUR = 3_600_000_000
MAX_HOURS = 24 * 14  # hours kept on the device; the office has them all by heartbeat


class Ledger:
    """Thread-safe counters; `persist` writes them whole, `load` continues them after a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._hours: dict[str, Counter[str]] = _load(path)

    def count(self, camera: str, at_us: int, what: str, number: int = 1) -> None:
        """Adds `number` of `what` ("frames", "reads", or a reason for no read)."""
        key = f"{camera}/{at_us // US_PER_HOUR}"
        with self._lock:
            self._hours.setdefault(key, Counter())[what] += number
            while len(self._hours) > MAX_HOURS:
                self._hours.pop(min(self._hours, key=_hour))

    def totals(self) -> dict[str, int]:
        """All hours and cameras together."""
        with self._lock:
            total: Counter[str] = Counter()
            for counter in self._hours.values():
                total.update(counter)
        return dict(total)

    def hours(self) -> dict[str, dict[str, int]]:
        """`{"camera/hour": {what: number}}`."""
        with self._lock:
            return {key: dict(counter) for key, counter in self._hours.items()}

    def persist(self) -> None:
        """Replaces the file atomically."""
        write_atomic(self._path, json.dumps(self.hours(), sort_keys=True).encode())


def _hour(key: str) -> int:
    return int(key.rsplit("/", 1)[1])


def _load(path: Path) -> dict[str, Counter[str]]:
    """Earlier counts; a file that can't be read is set aside under another name, so that nothing is lost silently."""
    try:
        raw = json.loads(path.read_bytes())
        return {str(key): Counter({str(k): int(v) for k, v in counts.items()}) for key, counts in raw.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        path.replace(path.with_suffix(".damaged"))
        return {}
