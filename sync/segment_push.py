# SPDX-License-Identifier: Apache-2.0
"""Segments that the office asked for, pushed in pieces; it resumes where the office says that it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from sync.errors import BadReply, RequestRejected
from sync.limits import MAX_PULL_REQUESTS
from sync.wire import HAVE_HEADER, SEGMENTS, Transport, expect

log = structlog.get_logger(__name__)


class SegmentPush:
    """A queue of segment ids; each `step` sends one piece. `find` gives a closed segment's path, or None."""

    def __init__(self, transport: Transport, find: Callable[[str], Path | None], *, chunk_bytes: int) -> None:
        self._transport = transport
        self._find = find
        self._chunk_bytes = chunk_bytes
        self._queue: deque[str] = deque(maxlen=MAX_PULL_REQUESTS)
        self._offset: int | None = None

    def request(self, segment_ids: Iterable[str]) -> None:
        """Add what the office asks for; what waits already is not added twice."""
        for segment_id in segment_ids:
            if segment_id not in self._queue:
                self._queue.append(segment_id)

    @property
    def waiting(self) -> int:
        """How many segments wait."""
        return len(self._queue)

    def step(self) -> str | None:
        """Send one piece; the id of a segment that is complete now. Raises TransportError kinds."""
        if not self._queue:
            return None
        segment_id = self._queue[0]
        path = self._find(segment_id)
        if path is None:
            log.warning("segment_not_here", segment=segment_id)
            self._next()
            return None
        return self._send(segment_id, path)

    def _send(self, segment_id: str, path: Path) -> str | None:
        try:
            total = path.stat().st_size
            with path.open("rb") as file:
                file.seek(self._offset or 0)
                piece = file.read(self._chunk_bytes) if self._offset is not None else b""
        except OSError:  # deleted by retention in this moment
            self._next()
            return None
        span = (
            f"{self._offset}-{self._offset + len(piece) - 1}" if self._offset is not None and piece else "*"
        )
        headers = {"Content-Range": f"bytes {span}/{total}", "Content-Type": "application/octet-stream"}
        answer = self._transport.put(f"{SEGMENTS}/{segment_id}", piece, headers)
        if answer.status in {200, 201}:
            self._next()
            return segment_id
        try:
            expect(answer, 202, 409)
        except RequestRejected:  # not asked for, or too large: the office has to ask again
            self._next()
            raise
        self._offset = _have(answer.headers.get(HAVE_HEADER.lower(), ""), total)
        return None

    def _next(self) -> None:
        self._queue.popleft()
        self._offset = None


def _have(text: str, total: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15 and int(text) <= total):
        raise BadReply("the office does not say how much of the segment it has")
    return int(text)
