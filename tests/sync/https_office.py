# SPDX-License-Identifier: Apache-2.0
"""The office in memory behind real HTTPS with mutual TLS on 127.0.0.1, which can break connections by a script."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sync.office_sim import OfficeSim
from sync.wire import Response
from tests.sync.pki import Pair


class HttpsOffice:
    """Serves an OfficeSim. `breaks`, one letter a request: `.` works, `r` resets in mid-upload, `h` half an
    answer, `s` never answers, `z` an endless answer, `g` a gzip body that is none."""

    def __init__(self, sim: OfficeSim, pair: Pair, ca: Path, *, breaks: str = "") -> None:
        self.sim = sim
        self.breaks = breaks
        self.seen = 0
        self.quit = threading.Event()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cafile=str(ca))
        context.load_cert_chain(str(pair.certificate), str(pair.key))
        office = self

        class Handler(_Handler):
            pass

        Handler.office = office
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"

    @contextlib.contextmanager
    def serving(self) -> Iterator[HttpsOffice]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.quit.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    office: HttpsOffice

    def setup(self) -> None:
        self.request.settimeout(10)
        self.request.do_handshake()
        super().setup()

    def _serve(self) -> None:
        office = self.office
        office.seen += 1
        act, office.breaks = office.breaks[:1] or ".", office.breaks[1:]
        if act == "r":
            self.rfile.read(10)
            raw = self.connection
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST on close
            raw.close()
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if act == "s":
            office.quit.wait(5)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._answer(office.sim.handle(self.command, self.path, body, headers), act)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _answer(self, response: Response, act: str) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if act == "g":
            self.send_header("Content-Encoding", "gzip")
        size = {"h": len(response.body) + 100, "z": 10**9}.get(act, len(response.body))
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(response.body)
        if act == "h":
            self.close_connection = True
        with contextlib.suppress(OSError):
            while act == "z":
                self.wfile.write(b"z" * 65536)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Quiet."""
