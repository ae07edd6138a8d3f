# SPDX-License-Identifier: Apache-2.0
"""The office's side of the pull: list a device's segments, fetch them in pieces, ask for shares."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sync.errors import BadRecord, BadReply
from sync.limits import MAX_SHARE_EPOCHS, WireLimits
from sync.schema import SegmentItem, SegmentList, ShareReply, ShareRequest
from sync.wire import SEGMENTS, SHARES, Transport, expect

DEFAULT_LIMITS = WireLimits()
_CONTENT_RANGE = re.compile(r"^bytes (\d{1,15})-(\d{1,15})/(\d{1,15})$")


class PullClient:
    """Speaks to one device's PullService over a Transport that holds the office's certificate."""

    def __init__(self, transport: Transport, limits: WireLimits = DEFAULT_LIMITS) -> None:
        self._transport = transport
        self._limits = limits

    def segments(self) -> SegmentList:
        """What the device holds; raises TransportError kinds."""
        answer = expect(self._transport.get(SEGMENTS, max_bytes=SegmentList.max_bytes()), 200)
        try:
            return SegmentList.decode(answer.body)
        except BadRecord as error:
            raise BadReply(str(error)) from None

    def pieces(self, item: SegmentItem, *, start: int = 0) -> Iterator[bytes]:
        """The segment's bytes from `start` to the size listed, in pieces; raises TransportError kinds."""
        while start < item.size:
            end = min(item.size, start + self._limits.chunk_bytes) - 1
            headers = {"Range": f"bytes={start}-{end}", "Accept-Encoding": "identity"}
            path = f"{SEGMENTS}/{item.segment_id}"
            answer = expect(self._transport.get(path, headers, max_bytes=self._limits.chunk_bytes), 206)
            found = _CONTENT_RANGE.match(answer.headers.get("content-range", ""))
            if found is None or int(found[1]) != start or len(answer.body) != int(found[2]) - start + 1:
                raise BadReply("the device sent another part of the segment than the one asked for")
            if not answer.body:
                raise BadReply("the device sent an empty part")
            yield answer.body
            start += len(answer.body)

    def shares(self, epochs: Sequence[int]) -> ShareReply:
        """The shares of these epochs that are still in retention; asks in bounded requests."""
        device_id, shares, missing = "", dict[int, bytes](), list[int]()
        for at in range(0, len(epochs), MAX_SHARE_EPOCHS):
            request = ShareRequest(epochs=tuple(epochs[at : at + MAX_SHARE_EPOCHS]))
            answer = self._transport.post(SHARES, request.encode(), {"Content-Type": "application/json"})
            try:
                reply = ShareReply.decode(expect(answer, 200).body)
            except BadRecord as error:
                raise BadReply(str(error)) from None
            device_id = reply.device_id
            shares |= {epoch: share for epoch, share in reply.shares.items() if epoch in request.epochs}
            missing += reply.missing
        return ShareReply.model_construct(v=1, device_id=device_id, shares=shares, missing=tuple(missing))
