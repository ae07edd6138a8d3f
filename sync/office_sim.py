# SPDX-License-Identifier: Apache-2.0
"""An office in memory that speaks the wire: for trying a device without a server, and for every test.

It implements Transport, so the real agent runs against it. `faults` scripts the link, one letter a request:

    .  works            r  reset before the office saw it     l  the office acted, its answer was lost
    t  timeout          5  HTTP 503                            4  HTTP 422 (in doubt: tried again for a while)
    a  HTTP 401         f  HTTP 403                            g  HTTP 413 (refused for good)
    b  HTTP 429, Retry-After: 7

After the script's end everything works.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec

from sync import wire
from sync.errors import BadRecord, ReplyTooLarge, TransportError
from sync.hotlists.delta import make_delta
from sync.hotlists.envelope import sign_envelope
from sync.hotlists.listfile import ListDocument, manifest_item, sign_list, sign_manifest, verify_list
from sync.schema import Heartbeat, HeartbeatReply, ListManifest, ManifestItem, SignedDocument
from sync.wire import Response

_DAY_US = 86_400_000_000
_NO_HEADERS: Mapping[str, str] = {}
_STATUSES = {"5": 503, "4": 422, "g": 413, "a": 401, "f": 403}
_CONTENT_RANGE = re.compile(r"^bytes (?:(\d{1,15})-(\d{1,15})|\*)/(\d{1,15})$")


@dataclass(slots=True)
class SegmentUpload:
    """A segment as far as it has arrived."""

    total: int
    data: bytearray = field(default_factory=bytearray)


class OfficeSim:
    """The office's side of WIRE.md in memory. Public attributes are what tests look at."""

    def __init__(self, list_key: ec.EllipticCurvePrivateKey, *, now_us: int, faults: str = "") -> None:
        self.list_key = list_key
        self.now_us = now_us
        self.faults = faults
        self.requests: list[tuple[str, str]] = []
        self.hits: dict[str, bytes] = {}
        self.receipts: dict[str, bytes] = {}
        self.heartbeats: list[Heartbeat] = []
        self.segments: dict[str, SegmentUpload] = {}
        self.pull_requests: list[str] = []
        self.documents: list[SignedDocument] = []
        self.deliveries: list[str] = []
        self._lists: dict[str, dict[int, bytes]] = {}
        self._items: dict[str, ManifestItem] = {}
        self._manifest_version = 0

    def publish(self, document: ListDocument) -> bytes:
        """Sign and offer a list version; its signed bytes."""
        signed = sign_list(document, self.list_key)
        keys = (self.list_key.public_key(),)
        self._items[document.list_id] = manifest_item(
            verify_list(
                signed, keys, floor_version=0, now_us=0
            )  # an expired list can be offered, to be refused
        )
        self._lists.setdefault(document.list_id, {})[document.version] = signed
        self._manifest_version += 1
        return signed

    def withdraw(self, list_id: str) -> None:
        """Take a list out of the manifest."""
        del self._items[list_id]
        self._manifest_version += 1

    def send_document(self, kind: str, body: bytes) -> None:
        """Put a signed document into every heartbeat reply from now on."""
        self.documents.append(SignedDocument(kind=kind, signed=sign_envelope(kind, body, self.list_key)))

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, *, max_bytes: int | None = None
    ) -> Response:
        """Transport.get."""
        response = self._exchange("GET", path, b"", headers)
        if max_bytes is not None and len(response.body) > max_bytes:
            raise ReplyTooLarge(f"the answer has more than {max_bytes} bytes")
        return response

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
        """Transport.post."""
        return self._exchange("POST", path, body, headers)

    def put(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
        """Transport.put."""
        return self._exchange("PUT", path, body, headers)

    def handle(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Response:
        """One request without faults; `headers` with lower-case names."""
        route, _, query = path.partition("?")
        if (method, route) == ("POST", wire.HITS):
            return self._keep(self.hits, body, headers)
        if (method, route) == ("POST", wire.RECEIPTS):
            return self._keep(self.receipts, body, headers)
        if (method, route) == ("POST", wire.HEARTBEAT):
            return self._heartbeat(body)
        if (method, route) == ("GET", wire.HOTLISTS):
            return self._manifest(headers)
        if method == "GET" and route.startswith(wire.HOTLISTS + "/"):
            return self._list(route.removeprefix(wire.HOTLISTS + "/"), query)
        if method == "PUT" and route.startswith(wire.SEGMENTS + "/"):
            return self._segment(route.removeprefix(wire.SEGMENTS + "/"), body, headers)
        return Response(404)

    def _exchange(self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None) -> Response:
        self.requests.append((method, path))
        fault, self.faults = self.faults[:1] or ".", self.faults[1:]
        if fault == "r":
            raise TransportError("the connection was reset (scripted)")
        if fault == "t":
            raise TransportError("the office did not answer in time (scripted)")
        if fault == "b":
            return Response(429, {"retry-after": "7"})
        if fault in _STATUSES:
            return Response(_STATUSES[fault])
        low = {name.lower(): value for name, value in (headers or _NO_HEADERS).items()}
        response = self.handle(method, path, body, low)
        if fault == "l":
            raise TransportError("the answer was lost (scripted)")
        return response

    def _keep(self, kept: dict[str, bytes], body: bytes, headers: Mapping[str, str]) -> Response:
        item_id = headers.get(wire.ID_HEADER.lower(), "")
        if not re.fullmatch(r"[a-z0-9-]{1,64}", item_id) or not body:
            return Response(400)
        self.deliveries.append(item_id)
        echo = {wire.ID_HEADER.lower(): item_id}
        if item_id in kept:
            return Response(200 if kept[item_id] == body else wire.DUPLICATE, echo)
        kept[item_id] = body
        return Response(201, echo)

    def _heartbeat(self, body: bytes) -> Response:
        try:
            self.heartbeats.append(Heartbeat.decode(body))
        except BadRecord:
            return Response(400)
        reply = HeartbeatReply(
            server_time_us=self.now_us,
            pull_requests=tuple(self.pull_requests),
            documents=tuple(self.documents),
        )
        return Response(200, {}, reply.encode())

    def _manifest(self, headers: Mapping[str, str]) -> Response:
        items = tuple(self._items.values())
        manifest = ListManifest(
            version=self._manifest_version,
            issued_us=self.now_us,
            expires_us=self.now_us + _DAY_US,
            lists=items,
        )
        etag = f'"{self._manifest_version}"'
        if headers.get("if-none-match") == etag:
            return Response(304, {"etag": etag})
        return Response(200, {"etag": etag}, sign_manifest(manifest, self.list_key))

    def _list(self, list_id: str, query: str) -> Response:
        versions = self._lists.get(list_id)
        if list_id not in self._items or not versions:
            return Response(404)
        newest = versions[self._items[list_id].version]
        found = re.fullmatch(r"from=(\d{1,15})", query)
        base = versions.get(int(found[1])) if found else None
        return Response(200, {}, newest if base is None else make_delta(base, newest))

    def _segment(self, segment_id: str, body: bytes, headers: Mapping[str, str]) -> Response:
        found = _CONTENT_RANGE.match(headers.get("content-range", ""))
        if found is None:
            return Response(400)
        upload = self.segments.setdefault(segment_id, SegmentUpload(int(found[3])))
        if found[1] is not None:
            if int(found[1]) != len(upload.data) or int(found[2]) - int(found[1]) + 1 != len(body):
                return Response(409, {wire.HAVE_HEADER.lower(): str(len(upload.data))})
            upload.data += body
        have = {wire.HAVE_HEADER.lower(): str(len(upload.data))}
        return Response(201 if len(upload.data) == upload.total else 202, have)

    def segment_sha256(self, segment_id: str) -> str:
        """The SHA-256 of what has arrived of a segment."""
        return hashlib.sha256(self.segments[segment_id].data).hexdigest()
