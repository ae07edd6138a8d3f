# SPDX-License-Identifier: Apache-2.0
"""Targets in sync: records, the wire's documents, and both ends of the pull."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, cast

from sync.budget import BudgetLimits, DailyBudget
from sync.documents import Heartbeat, HeartbeatReply, SegmentItem, SegmentList, ShareReply, ShareRequest
from sync.errors import BadRecord, TransportError
from sync.limits import PullLimits
from sync.pull import PullService, _Handler, _span
from sync.pull_client import PullClient
from sync.record import Record
from sync.schema import ImageKind, ImageRecord
from sync.segment_push import _have
from sync.wire import Response, Transport, expect
from tests.fuzz.engine import Target
from tests.fuzz.held import NOW_US, held, memory_folder
from tests.fuzz.sources import either, json_like, mutated, wrapped
from tests.fuzz.targets_segments import SEGMENTS
from tests.sync.factories import hit_record, read_record

# --- records and documents ------------------------------------------------------------------------------------------

_READ = read_record(images=None, state="IL", state_confidence=0.5)
_BEAT = Heartbeat(
    device_id="dev-1",
    boot_id="boot-1",
    sent_us=NOW_US,
    time_sources=("gnss",),
    waiting={"hits": 2},
    counters={"reads": 5},
    health={"temperature_c": 51.5, "disk": "ok", "light": None, "day": True},
    problems=("camera: no picture since 2026-01-02 10:00 UTC - check its cable",),
)
_REPLY = HeartbeatReply(server_time_us=NOW_US, pull_requests=("491000-reads-1-0",), documents=())
_REQUEST = ShareRequest(epochs=(491_000, 491_001))
_SHARES = ShareReply(device_id="dev-1", shares={491_000: bytes(32)}, missing=(491_001,))
_SEGMENT = SegmentItem(segment_id="s-1", kind="reads", epoch=491_000, boot_id="b", size=9, closed=True)
_IMAGE = ImageRecord(read_id="r-1", kind=ImageKind.CROP, media_type="image/jpeg", data=b"\xff\xd8\xff\xd9")


def _record(name: str, record: Record) -> Target:
    """A document, decoded as it came and encoded again: what was taken must be told as it was."""
    kind = type(record)

    def parse(data: bytes) -> bool:
        found = kind.decode(data)
        assert kind.decode(found.encode()) == found
        return True

    seed = record.encode()
    return Target(name, parse, either(json_like(seed), json_like(seed), mutated(seed)), (BadRecord,))


def _image_around(header: bytes) -> bytes:
    return len(header).to_bytes(4, "big") + header + b"\xff\xd8\xff\xd9"


_RECORD_TARGETS = (
    _record("heartbeat", _BEAT),
    _record("heartbeat-reply", _REPLY),
    _record("share-request", _REQUEST),
    _record("share-reply", _SHARES),
    _record("segment-list", SegmentList(device_id="dev-1", segments=(_SEGMENT, _SEGMENT))),
    _record("read-record", _READ),
    _record("hit-record", hit_record()),
    Target(
        "image-record",
        ImageRecord.decode,
        either(mutated(_IMAGE.encode()), wrapped(json_like(_IMAGE.encode()[4:-4]), _image_around)),
        (BadRecord,),
    ),
)

# --- the pull -----------------------------------------------------------------------------------------------------

_STORE = memory_folder()
(_STORE / "reads").mkdir()
(_STORE / "images").mkdir()
(_STORE / "reads" / "s-1.wseg").write_bytes(SEGMENTS[0])


class _Sent(io.BytesIO):
    """What was answered; it can be read after it was closed."""

    def close(self) -> None:
        """Stays open."""


class _Connection:
    """A connection of the office's that has sent these bytes and closed its side."""

    def __init__(self, data: bytes) -> None:
        self._data, self.sent = data, _Sent()

    def makefile(self, mode: str, _size: int) -> io.BytesIO:
        return io.BytesIO(self._data) if mode == "rb" else self.sent

    def getpeercert(self) -> dict[str, object]:
        return {"subject": ((("commonName", "office"),), (("organizationalUnitName", "office"),))}

    def settimeout(self, _seconds: float | None) -> None:
        """Nothing waits."""

    def setsockopt(self, *_arguments: object) -> None:
        """No socket."""


def _service() -> PullService:
    made = PullService.__new__(PullService)
    made.store_root, made.device_id, made.limits = _STORE, "dev-1", PullLimits()
    made.share_source = lambda epoch: bytes(32) if epoch % 2 else None
    made.on_event = lambda _event, _fields: None
    made.in_retention = lambda _epoch: True
    return made


_SERVER = SimpleNamespace(service=_service())


def _pull_request(data: bytes) -> bool:
    connection = _Connection(data)
    _Handler(cast("Any", connection), ("127.0.0.1", 1), cast("Any", _SERVER))
    return connection.sent.getvalue().startswith((b"HTTP/1.1 200", b"HTTP/1.1 206"))


class _Answers:
    """An office or device whose every answer is the input: a line of Content-Range, then the body."""

    def __init__(self, data: bytes) -> None:
        head, _, self._body = data.partition(b"\n")
        status, _, span = head.decode("latin-1").partition(" ")
        self._status = int(status) if status.isascii() and status.isdigit() and len(status) < 5 else 200
        self._headers = {"content-range": span, "retry-after": span}

    def get(self, *_arguments: object, **_bounds: object) -> Response:
        return Response(self._status, self._headers, self._body)

    post = put = get


def _pull_answer(data: bytes) -> bool:
    client = PullClient(cast("Transport", _Answers(data)))
    for _piece in client.pieces(
        SegmentItem(segment_id="s", kind="reads", epoch=1, boot_id="b", size=20, closed=True)
    ):
        return True
    return False


def _pull_documents(data: bytes) -> bool:
    client = PullClient(cast("Transport", _Answers(data)))
    if data[5:6] == b"L":
        client.segments()
    else:
        client.shares((491_000, 491_001))
    return True


def _answered(data: bytes) -> bool:
    """What an office may answer to any request, and to a pushed piece."""
    status, _, text = data.partition(b" ")
    code = int(status) if status.isascii() and status.isdigit() and len(status) < 5 else 0
    expect(Response(code, {"retry-after": text.decode("latin-1")}), 200, 202)
    return _have(text.decode("latin-1"), 1000) >= 0


def _body_length(data: bytes) -> bytes:
    """A request whose Content-Length fits its body."""
    head, mark, body = data.partition(b"\r\n\r\n")
    if not mark:
        return data
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body)]) + mark + body


_REQUESTS = (
    b"GET /v1/segments HTTP/1.1\r\nHost: dev-1\r\n\r\n",
    b"GET /v1/segments/s-1 HTTP/1.1\r\nHost: dev-1\r\nRange: bytes=0-99\r\n\r\n",
    b"GET /v1/segments/s-1 HTTP/1.1\r\nRange: bytes=5-\r\n\r\n",
    b"POST /v1/shares HTTP/1.1\r\nContent-Length: 36\r\n\r\n" + _REQUEST.encode(),
)
_HTTP_WORDS = (
    b"\r\n",
    b"GET ",
    b"POST ",
    b" HTTP/1.1",
    b"Range: bytes=",
    b"Content-Length: ",
    b"Expect: 100-continue\r\n",
    b"../",
    b"Transfer-Encoding: chunked\r\n",
)
_ANSWER = b"206 bytes 0-9/20\n0123456789"

_PULL_TARGETS = (
    Target(
        "pull-range",
        lambda data: _span(data.decode("latin-1"), 100),
        mutated(b"bytes=0-99", b"bytes=7-", tokens=(b"bytes=", b"-")),
    ),
    Target(
        "pull-request",
        _pull_request,
        either(
            mutated(*_REQUESTS, tokens=_HTTP_WORDS),
            wrapped(mutated(_REQUESTS[3], tokens=_HTTP_WORDS), _body_length),
            wrapped(
                json_like(_REQUEST.encode()),
                lambda body: _body_length(b"POST /v1/shares HTTP/1.1\r\n\r\n" + body),
            ),
        ),
    ),
    Target(
        "pull-answer",
        _pull_answer,
        mutated(_ANSWER, tokens=(b"206 ", b"bytes ", b"-", b"/20")),
        (TransportError,),
    ),
    Target(
        "pull-documents",
        _pull_documents,
        either(
            wrapped(json_like(_SHARES.encode()), lambda body: b"200 S\n" + body),
            wrapped(
                json_like(SegmentList(device_id="dev-1", segments=(_SEGMENT,)).encode()),
                lambda body: b"200  L\n" + body,
            ),
        ),
        (TransportError,),
    ),
    Target(
        "answers", _answered, mutated(b"202 500", b"429 120", b"503 Wed, 21 Oct", b"200 5"), (TransportError,)
    ),
    Target(
        "budget",
        lambda data: DailyBudget(BudgetLimits(), held(data)).spent(0) > 0,
        either(json_like(b'{"day":20000,"spent":5000}'), mutated(b'{"day":20000,"spent":5000}')),
    ),
)

TARGETS = (*_RECORD_TARGETS, *_PULL_TARGETS)
