# SPDX-License-Identifier: Apache-2.0
"""The developer's tap: live reads over a pipe that `wayside run` makes and the eye inherits, and nothing else.

No configuration key opens it: a device on a pole, whose eye is started by systemd, has no such descriptor.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping


class Tap:
    """Writes events as JSON lines; without a descriptor, or once the reader has gone, it does nothing."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, event: str, **fields: object) -> None:
        """Sends one event; a reader that has gone away ends the tap, never the eye."""
        with self._lock:
            if self._fd is None:
                return
            line = json.dumps({"event": event, **fields}, separators=(",", ":")).encode() + b"\n"
            try:
                while line:
                    line = line[os.write(self._fd, line) :]
            except OSError:
                self._fd = None


def read_tap(fd: int) -> Iterator[Mapping[str, object]]:
    """The other end: yields events until the eye has closed its side; a last half line (kill -9) is left out."""
    with os.fdopen(fd, "rb") as pipe:
        for line in pipe:
            if line.endswith(b"\n"):
                yield json.loads(line)
