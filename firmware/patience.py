# SPDX-License-Identifier: Apache-2.0
"""How long a hung camera is borne before the watchdog may restart the service, over restarts that did not help.

A new process helps where a driver hangs, and never where the camera itself is broken: the first restart comes at once,
the next ones ever later, so that a broken camera does not restart the unit (and write alarms) a thousand times a day.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import structlog

from storage.atomic import write_atomic

BORNE_S = (0.0, 300.0, 1800.0)  # after no, one, two and more restarts in vain
RESTARTS_S = 15.0  # of not being borne: now the restart is near, and is counted
SOUND_S = 60.0  # of living frames, after which the restarts are forgotten

log = structlog.get_logger(__name__)


class Patience:
    """`bears` while the camera is hung, `sound` at each living frame; `path` None keeps no memory."""

    def __init__(self, path: Path | None, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._path, self._monotonic_s = path, monotonic_s
        self._restarts = _recall(path)
        self._hung_since_s: float | None = None
        self._sound_since_s: float | None = None
        self._given_up = False

    def bears(self, least_s: float = 0.0) -> bool:
        """Whether the hung camera is borne still: for `least_s`, and longer after restarts that did not help."""
        now_s, self._sound_since_s = self._monotonic_s(), None
        if self._hung_since_s is None:
            self._hung_since_s = now_s
        over_s = now_s - self._hung_since_s - max(least_s, BORNE_S[min(self._restarts, len(BORNE_S) - 1)])
        if over_s < 0.0 and not self._given_up:
            return True
        if over_s >= RESTARTS_S and not self._given_up:
            self._given_up = True
            self._remember(self._restarts + 1)
        return False

    def sound(self) -> None:
        """A living frame came."""
        now_s = self._monotonic_s()
        self._hung_since_s, self._given_up = None, False
        if self._sound_since_s is None:
            self._sound_since_s = now_s
        if self._restarts and now_s - self._sound_since_s >= SOUND_S:
            self._remember(0)

    def _remember(self, restarts: int) -> None:
        self._restarts = restarts
        if self._path is None:
            return
        try:
            write_atomic(self._path, str(restarts).encode())
        except OSError as error:
            log.error("state_not_saved", part="Patience", reason=str(error.strerror))


def _recall(path: Path | None) -> int:
    try:
        return 0 if path is None else max(0, int(path.read_bytes()[:8]))
    except (OSError, ValueError):
        return 0
