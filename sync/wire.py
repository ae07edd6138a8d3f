# SPDX-License-Identifier: Apache-2.0
"""Routes, headers and status codes of WIRE.md, and the reading of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sync.errors import AuthRejected, BadReply, OfficeUnavailable, RequestRejected

HITS = "/v1/hits"
HOTLISTS = "/v1/hotlists"
HEARTBEAT = "/v1/heartbeat"
SEGMENTS = "/v1/segments"
RECEIPTS = "/v1/receipts"
SHARES = "/v1/shares"

ID_HEADER = "X-Wayside-Id"
HAVE_HEADER = "X-Wayside-Have"
AUDIT_HEADER = "X-Wayside-Audit"  # a heartbeat and its answer: the signed end of the sender's audit log

DUPLICATE = 409
# For good: the request itself is wrong. Any other refusal (a missing route, too many requests) is the office's
# state and passes; 401 and 403 concern the whole device.
_FOR_GOOD = frozenset({400, 406, 409, 410, 411, 412, 413, 414, 415, 416, 422})
_MAX_RETRY_AFTER_S = 3600.0  # seconds; an office cannot silence a device for longer


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: status, headers with lower-case names, body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Transport(Protocol):
    """The link to the office; every method raises TransportError kinds and nothing else."""

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, *, max_bytes: int | None = None
    ) -> Response:
        """GET; `max_bytes` bounds the answer's body."""

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
        """POST a body."""

    def put(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
        """PUT a body."""


def expect(response: Response, *accepted: int) -> Response:
    """The response when its status is accepted, else the error that its status means."""
    status = response.status
    if status in accepted:
        return response
    if status in {401, 403}:
        raise AuthRejected(status)
    if status in _FOR_GOOD:
        raise RequestRejected(status)
    if 400 <= status < 600:
        raise OfficeUnavailable(status, _retry_after(response.headers.get("retry-after", "")))
    raise BadReply(f"the office answered HTTP {status}, which this route does not have")


def _retry_after(text: str) -> float | None:
    return min(float(text), _MAX_RETRY_AFTER_S) if text.isascii() and text.isdigit() else None
