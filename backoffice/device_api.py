# SPDX-License-Identifier: Apache-2.0
"""The device port's Flask app: hits in, lists out, heartbeats, segments, receipts. Identity is the certificate."""

from __future__ import annotations

import hashlib

import structlog
from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from backoffice import devices, lists, receipts, tickets
from backoffice.errors import (
    BadRequest,
    Conflict,
    HitUnreadable,
    NotFound,
    OfficeError,
    ReceiptRefused,
    Refused,
)
from backoffice.hits import HitStore
from backoffice.limits import LIMITS
from backoffice.office import Office
from backoffice.retention_policy import documents_for
from backoffice.segments import ContentRange, SegmentFolder
from backoffice.tls import peer_of
from backoffice.witness import AuditEnds
from storage.types import is_id
from sync.errors import BadRecord
from sync.schema import Heartbeat, HeartbeatReply
from sync.wire import (
    AUDIT_HEADER,
    DUPLICATE,
    HAVE_HEADER,
    HEARTBEAT,
    HITS,
    HOTLISTS,
    ID_HEADER,
    RECEIPTS,
    SEGMENTS,
)

log = structlog.get_logger(__name__)


class Unwanted(OfficeError):
    """A segment that nobody asked for is not taken: it would let a device fill the office's disk."""


# Anything else is the office's own trouble, such as a hit that its key does not open: 503, come again.
# A conflict must not look like "already had it", which would let the device forget what we did not take
STATUS: tuple[tuple[type[OfficeError], int], ...] = (
    (Refused, 403),
    (BadRequest, 400),
    (NotFound, 404),
    (HitUnreadable, 422),
    (Conflict, 422),
    (Unwanted, 422),
    (ReceiptRefused, 422),
)


def create_device_app(office: Office, hits: HitStore) -> Flask:
    """The app behind the mutual-TLS port."""
    app = Flask("backoffice.device_api", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = max(LIMITS.hit_bytes, LIMITS.chunk_bytes)
    routes = _Routes(office, hits)
    app.before_request(routes.admit)
    app.register_error_handler(OfficeError, _refuse)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(UnicodeDecodeError, _not_text)
    app.add_url_rule(HITS, view_func=routes.post_hit, methods=["POST"])
    app.add_url_rule(HOTLISTS, view_func=routes.get_manifest)
    app.add_url_rule(f"{HOTLISTS}/<list_id>", view_func=routes.get_list)
    app.add_url_rule(HEARTBEAT, view_func=routes.post_heartbeat, methods=["POST"])
    app.add_url_rule(f"{SEGMENTS}/<segment_id>", view_func=routes.put_segment, methods=["PUT"])
    app.add_url_rule(RECEIPTS, view_func=routes.post_receipts, methods=["POST"])
    return app


class _Routes:
    def __init__(self, office: Office, hits: HitStore) -> None:
        self._office = office
        self._hits = hits
        self._segments = SegmentFolder(office.layout.segments)
        self._ends = AuditEnds(office)

    def admit(self) -> None:
        g.device_id = devices.admit(self._office, peer_of(request.environ)).device_id

    def post_hit(self) -> tuple[Response, int]:
        hit_id = _item_id()
        new = self._hits.put(hit_id, g.device_id, _body(LIMITS.hit_bytes))
        return _acknowledged(hit_id, new=new)

    def get_manifest(self) -> Response:
        data, digest = lists.manifest(self._office)
        return _file(data, digest)

    def get_list(self, list_id: str) -> Response:
        raw = request.args.get("from")
        if raw is not None and not (raw.isascii() and raw.isdigit() and len(raw) <= 15):
            raise BadRequest("from must be a version number")
        data = lists.list_file(self._office, list_id, int(raw) if raw else None)
        return _file(data, hashlib.sha256(data).hexdigest())

    def post_heartbeat(self) -> Response:
        try:
            beat = Heartbeat.decode(_body(LIMITS.document_bytes))
        except BadRecord as error:
            raise BadRequest(str(error)) from error
        if beat.device_id != g.device_id:
            raise BadRequest("the heartbeat names another device than the certificate")
        tickets.hear(self._office, beat)
        wanted = devices.record_heartbeat(self._office, g.device_id, beat.encode().decode())
        reply = HeartbeatReply(
            server_time_us=self._office.clock(),
            pull_requests=wanted,
            documents=documents_for(self._office, beat),
        )
        ours = self._ends.exchange(g.device_id, request.headers.get(AUDIT_HEADER, ""))
        return Response(reply.encode(), mimetype="application/json", headers=ours)

    def put_segment(self, segment_id: str) -> tuple[Response, int]:
        piece = ContentRange.parse(request.headers.get("Content-Range", ""))
        data = _body(LIMITS.chunk_bytes, may_be_empty=piece.length == 0)
        if piece.length != len(data):
            raise BadRequest("the body is not as long as Content-Range says")
        if not devices.wants_segment(self._office, g.device_id, segment_id):
            if not self._segments.size(g.device_id, segment_id):
                raise Unwanted("the office did not ask for this segment")
            piece = piece.probe()  # it is here already: say so, write nothing
        state = self._segments.accept(g.device_id, segment_id, piece, data)
        if state.complete:
            devices.segment_arrived(self._office, g.device_id, segment_id)
        response = jsonify(have=state.held, complete=state.complete)
        response.headers[HAVE_HEADER] = str(state.held)
        return response, 201 if state.complete else 202 if state.taken else DUPLICATE

    def post_receipts(self) -> tuple[Response, int]:
        receipt_id = _item_id()
        new = receipts.record(self._office, g.device_id, receipt_id, _body(LIMITS.receipt_bytes))
        return _acknowledged(receipt_id, new=new)


def _acknowledged(item_id: str, *, new: bool) -> tuple[Response, int]:
    response = jsonify(id=item_id, new=new)
    response.headers[ID_HEADER] = item_id
    return response, 201 if new else 200


def _item_id() -> str:
    item_id = request.headers.get(ID_HEADER, "")
    if not is_id(item_id):
        raise BadRequest(f"{ID_HEADER} must be 1 to 64 of a-z, 0-9 and '-'")
    return item_id


def _body(limit: int, *, may_be_empty: bool = False) -> bytes:
    request.max_content_length = limit
    data = request.get_data(cache=False)
    if not data and not may_be_empty:
        raise BadRequest("the body is empty")
    return data


def _file(data: bytes, digest: str) -> Response:
    response = Response(data, mimetype="application/octet-stream")
    response.set_etag(digest)
    response.make_conditional(request)
    return response


def _refuse(error: OfficeError) -> tuple[Response, int]:
    status = next((code for kind, code in STATUS if isinstance(error, kind)), 503)
    device = getattr(g, "device_id", "")
    log.warning("device_request_refused", device=device, status=status, why=type(error).__name__)
    return jsonify(error=str(error)), status


def _not_text(_error: UnicodeDecodeError) -> tuple[Response, int]:
    return jsonify(error="the address is not UTF-8"), 400


def _http_error(error: HTTPException) -> tuple[Response, int]:
    message = f"the body is over its bound of {request.max_content_length} bytes"
    if not isinstance(error, RequestEntityTooLarge):
        return jsonify(error=error.name), error.code or 500
    _drain()
    return jsonify(error=message), error.code


def _drain() -> None:
    """Read what is left of a refused body, or the device sees a reset instead of the answer and tries for ever.

    The server itself has bounded Content-Length before the app was called.
    """
    if request.content_length is not None:
        while request.environ["wsgi.input"].read(1 << 16):
            pass
