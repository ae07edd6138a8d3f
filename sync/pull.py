# SPDX-License-Identifier: Apache-2.0
"""The device's pull service: HTTPS with mutual TLS, for the office's certificate (OU `office`) and no other.

    GET  /v1/segments           what is here
    GET  /v1/segments/{id}      a segment's bytes, with Range
    POST /v1/shares             the shares of epochs that are still in retention

A share leaves only after `on_event` has recorded that it does; when recording fails, nothing leaves.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from typing import Any, BinaryIO, cast

import structlog

from storage.errors import StorageError
from storage.recovery import list_segments, segment_path
from storage.types import SegmentInfo, SegmentKind
from sync.errors import BadRecord, PullError
from sync.limits import PullLimits
from sync.schema import SegmentItem, SegmentList, ShareReply, ShareRequest
from sync.wire import SEGMENTS, SHARES

log = structlog.get_logger(__name__)
OFFICE_UNIT = "office"  # the organisational unit that an office's certificate carries
DEFAULT_LIMITS = PullLimits()
_SEGMENT_PATH = re.compile(rf"^{SEGMENTS}/([a-z0-9-]{{1,64}})$")
_RANGE = re.compile(r"^bytes=(\d{1,15})-(\d{0,15})$")
_HANDSHAKE_ERRORS = (OSError, ValueError)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: our certificate and key, and the CA that must have issued the caller's certificate."""

    certificate: Path
    key: Path
    ca: Path


class PullService:
    """Serves segments and shares. `share_source(epoch)` gives None for a share that is gone.

    `in_retention(epoch)` false refuses a share even when it still exists. `on_event(event, fields)`
    writes the audit log; an OSError or StorageError from it refuses the request.
    """

    def __init__(  # noqa: PLR0913 - a composition point
        self,
        bind: str,
        port: int,
        tls: TlsFiles,
        store_root: Path,
        share_source: Callable[[int], bytes | None],
        on_event: Callable[[str, Mapping[str, Any]], None],
        *,
        device_id: str,
        in_retention: Callable[[int], bool] = lambda _epoch: True,
        limits: PullLimits = DEFAULT_LIMITS,
    ) -> None:
        self.store_root = store_root
        self.share_source = share_source
        self.on_event = on_event
        self.device_id = device_id
        self.in_retention = in_retention
        self.limits = limits
        try:
            self._server = _Server((bind, port), self, _server_context(tls))
        except (OSError, ValueError, OverflowError) as error:
            raise PullError(
                f"the pull service cannot start on port {port}: {type(error).__name__}"
            ) from error
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port in use (chosen by the system when 0 was asked for)."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Serve in a thread."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="pull", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop serving; transfers under way are cut, and can be resumed."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()

    def segments(self) -> list[SegmentInfo]:
        """What the store holds now."""
        return list_segments(self.store_root)

    def find(self, segment_id: str) -> Path | None:
        """The file of a segment; the id has passed the pattern, so it names a file in the store's folders."""
        paths = (segment_path(self.store_root, kind, segment_id) for kind in SegmentKind)
        return next((path for path in paths if path.is_file()), None)


def _server_context(tls: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=str(tls.ca))
    context.load_cert_chain(str(tls.certificate), str(tls.key))
    return context


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], service: PullService, context: ssl.SSLContext) -> None:
        self.service = service
        self._context = context
        self._slots = threading.BoundedSemaphore(service.limits.max_connections)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread per connection, up to the limit; more are closed."""
        if not self._slots.acquire(blocking=False):
            log.warning("pull_busy")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._slots.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The handshake happens here, so that a slow caller holds one slot and not the service."""
        try:
            # The socket's time-out bounds the handshake as a whole, and each read after it.
            request.settimeout(self.service.limits.handshake_timeout_s)
            with contextlib.suppress(*_HANDSHAKE_ERRORS):
                secure = self._context.wrap_socket(cast("socket", request), server_side=True)
                secure.settimeout(self.service.limits.socket_timeout_s)
                super().process_request_thread(secure, client_address)
        finally:
            with contextlib.suppress(OSError):
                request.close()
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the library's signature
        """A broken connection is the caller's business; the trace would only fill the log."""
        log.warning("pull_connection_broken")


def _caller(certificate: Mapping[str, Any] | None) -> tuple[str, str]:
    """(common name, organisational unit) of a verified peer certificate; empty where there is none or several."""
    names: dict[str, list[str]] = {}
    for group in (certificate or {}).get("subject", ()):
        for key, value in group:
            names.setdefault(key, []).append(value)
    units, common = names.get("organizationalUnitName", []), names.get("commonName", [])
    return common[0] if len(common) == 1 else "", units[0] if len(units) == 1 else ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024  # bytes; head and body in one segment, or each answer waits for an acknowledgement
    disable_nagle_algorithm = True
    server_version = "wayside"
    sys_version = ""
    server: _Server

    @property
    def _service(self) -> PullService:
        return self.server.service

    def do_GET(self) -> None:
        """List segments, or send one."""
        if not self._authorised():
            return
        if self.path == SEGMENTS:
            self._send_list()
            return
        found = _SEGMENT_PATH.match(self.path)
        if found is None:
            self._answer(404)
            return
        path = self._service.find(found[1])
        if path is None:
            self._answer(404)
        else:
            self._send_segment(found[1], path)

    def do_POST(self) -> None:
        """Hand out shares."""
        if not self._authorised():
            return
        body = self._body()
        if body is None:
            return
        if self.path != SHARES:
            self._answer(404)
            return
        try:
            request = ShareRequest.decode(body)
        except BadRecord:
            self._answer(400)
            return
        self._send_shares(request)

    def _authorised(self) -> bool:
        certificate = cast("ssl.SSLSocket", self.connection).getpeercert()
        self._name, unit = _caller(certificate)
        if unit == OFFICE_UNIT:
            return True
        self._record("pull_refused", {"caller": self._name, "unit": unit})
        self.close_connection = True
        self._answer(403)
        return False

    def _record(self, event: str, fields: Mapping[str, Any]) -> bool:
        try:
            self._service.on_event(event, fields)
        except (OSError, StorageError) as error:
            log.error("pull_not_recorded", pull_event=event, reason=type(error).__name__)
            return False
        return True

    def _body(self) -> bytes | None:
        text = self.headers.get("Content-Length", "")
        size = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else -1
        if size < 0 or size > self._service.limits.max_body_bytes:
            self.close_connection = True
            self._answer(411 if size < 0 else 413)
            self._drain(size)
            return None
        return self.rfile.read(size)

    def _drain(self, size: int) -> None:
        """Takes what the caller is still sending, up to a bound: closing on unread data would destroy our answer."""
        left = min(max(size, 0), self._service.limits.max_linger_bytes)
        with contextlib.suppress(OSError):
            while left > 0 and (part := self.rfile.read(min(left, self._service.limits.send_chunk_bytes))):
                left -= len(part)

    def _send_list(self) -> None:
        items = tuple(
            SegmentItem(
                segment_id=info.segment_id,
                kind=info.kind.value,
                epoch=info.epoch,
                boot_id=info.boot_id,
                size=info.size,
                closed=info.closed,
            )
            for info in self._service.segments()
        )
        body = SegmentList(device_id=self._service.device_id, segments=items).encode()
        self._answer(200, body, {"Content-Type": "application/json"})

    def _send_segment(self, segment_id: str, path: Path) -> None:
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                span = _span(self.headers.get("Range"), size)
                if span is None:
                    self._answer(416, b"", {"Content-Range": f"bytes */{size}"})
                    return
                start, end = span
                fields = {"caller": self._name, "segment": segment_id, "start": start, "end": end}
                if not self._record("segment_pulled", fields):
                    self._answer(503)
                    return
                self._head(start, end, size)
                self._copy(file, start, end - start)
        except FileNotFoundError:  # deleted by retention in this moment
            self._answer(404)

    def _head(self, start: int, end: int, size: int) -> None:
        partial = self.headers.get("Range") is not None
        self.send_response(206 if partial else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - start))
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()

    def _copy(self, file: BinaryIO, start: int, length: int) -> None:
        file.seek(start)
        while length > 0:
            piece = self._read(file, min(length, self._service.limits.send_chunk_bytes))
            if not piece:  # shorter than it was, or a bad sector: the caller sees a cut answer and asks again
                self.close_connection = True
                return
            self.wfile.write(piece)
            length -= len(piece)

    @staticmethod
    def _read(file: BinaryIO, size: int) -> bytes:
        try:
            return file.read(size)
        except OSError as error:
            log.error("segment_unreadable", reason=str(error.strerror))
            return b""

    def _send_shares(self, request: ShareRequest) -> None:
        service = self._service
        shares: dict[int, bytes] = {}
        try:
            for epoch in request.epochs:
                share = service.share_source(epoch) if service.in_retention(epoch) else None
                if share is not None:
                    shares[epoch] = share
        except (OSError, StorageError) as error:
            log.error("shares_unreadable", reason=type(error).__name__)
            self._answer(503)
            return
        missing = tuple(sorted(set(request.epochs) - shares.keys()))
        fields = {"caller": self._name, "epochs": sorted(shares), "missing": list(missing)}
        if not self._record("shares_given", fields):
            self._answer(503)
            return
        body = ShareReply(device_id=service.device_id, shares=shares, missing=missing).encode()
        self._answer(200, body, {"Content-Type": "application/json", "Cache-Control": "no-store"})

    def _answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's signature
        """Requests are recorded through `on_event`."""


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """(start, end) of a Range header, end-exclusive; None when it cannot be satisfied."""
    if header is None:
        return 0, size
    found = _RANGE.match(header)
    if found is None or int(found[1]) >= size:
        return None
    end = min(size, int(found[2]) + 1) if found[2] else size
    return (int(found[1]), end) if end > int(found[1]) else None
