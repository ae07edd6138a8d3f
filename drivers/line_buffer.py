# SPDX-License-Identifier: Apache-2.0
"""Bytes as they come, to whole lines; noise without line ends must not pile up."""

from __future__ import annotations

import re
from typing import Final

LINE_FEED: Final = re.compile(rb"\n")
ANY_END: Final = re.compile(rb"[\r\n]")


class LineBuffer:
    """A line of more than `max_bytes` is dropped whole and counted in `dropped`."""

    def __init__(self, max_bytes: int, end: re.Pattern[bytes] = LINE_FEED) -> None:
        self._max_bytes, self._end = max_bytes, end
        self._pending = b""
        self._skipping = False
        self.dropped = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` ends, without their ends."""
        *lines, self._pending = self._end.split(self._pending + data)
        if lines and self._skipping:
            lines, self._skipping = lines[1:], False
        if len(self._pending) > self._max_bytes:
            self.dropped += not self._skipping
            self._pending, self._skipping = b"", True
        return lines
