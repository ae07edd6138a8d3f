# SPDX-License-Identifier: Apache-2.0
"""Pieces of work for the disk that come again and again: when each is due, and what becomes of one that fails."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from storage.errors import KeyringElsewhereError, KeyringRolledBackError, StorageError

# A person changed the keyring: only a service that starts again can go on with it as it is now.
START_AGAIN = (KeyringElsewhereError, KeyringRolledBackError)

log = structlog.get_logger(__name__)


class Pace:
    """Says every so many seconds, and the first time at once, that something is due."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._last_s = -every_s

    def due(self) -> bool:
        """Whether it is time; if so, the next time is `every_s` from now."""
        now_s = time.monotonic()
        if now_s - self._last_s < self._every_s:
            return False
        self._last_s = now_s
        return True


class Chores:
    """Does one piece at a time: what storage refuses of one keeps no other from its turn, and is told once a reason."""

    def __init__(self) -> None:
        self._failing: dict[str, str] = {}

    def do(self, what: str, work: Callable[[], object]) -> None:
        """Tries `work`; `what` names it in the log. Raises the kinds of START_AGAIN."""
        try:
            work()
        except START_AGAIN:
            raise
        except (StorageError, OSError) as error:
            reason = str(error)
            if self._failing.get(what) != reason:
                log.error("disk_work_failed", work=what, reason=reason)
            self._failing[what] = reason
        else:
            self._failing.pop(what, None)
