# SPDX-License-Identifier: Apache-2.0
"""The device port's TLS: client certificates required, handshakes outside the accept loop.

The identity of a peer comes from the certificate that the TLS layer verified and from nowhere else:
`peer_of` reads the `SSL_CLIENT_CERT` key of the WSGI environ. A request header can never become that
key, because WSGI spells every header `HTTP_...`.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from cheroot.server import HTTPConnection
from cheroot.ssl import Adapter
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server

from backoffice.errors import Refused
from backoffice.limits import LIMITS
from sync.certificates import certificate_key, fingerprint, load_certificate, subject_of

log = structlog.get_logger(__name__)
PEER_CERTIFICATE = "SSL_CLIENT_CERT"


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end: CN, OU and the key fingerprint of the verified certificate."""

    name: str
    role: str
    key_sha256: str


def peer_of(environ: Mapping[str, Any]) -> Peer:
    """The peer of a request on the device port; Refused without a verified certificate of one CN and OU."""
    if environ.get("SSL_CLIENT_VERIFY") != "SUCCESS":
        raise Refused("a client certificate of this agency is required")
    return identify(str(environ.get(PEER_CERTIFICATE, "")))


def identify(pem: str) -> Peer:
    """Name, role and key of a certificate that TLS has verified; Refused unless there is one CN and one OU."""
    try:
        certificate = load_certificate(pem)
    except ValueError as error:
        raise Refused("the peer's certificate cannot be used") from error
    name, role = subject_of(certificate.subject)
    if not name or not role:
        raise Refused("the peer's certificate needs exactly one CN and one OU")
    return Peer(name, role, fingerprint(certificate_key(certificate)))


def server_context(certificate: Path, key: Path, ca: Path, secret: bytes | None) -> ssl.SSLContext:
    """TLS 1.3 only, client certificate of the agency CA required."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key, secret or "")
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class _DeferredAdapter(BuiltinSSLAdapter):
    """Wraps without the handshake, so that one silent client cannot hold up the accept loop."""

    def __init__(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        # not BuiltinSSLAdapter.__init__: it opens a connection to itself to fill environ keys we don't use
        Adapter.__init__(self, str(certificate), str(key))
        self.context = context
        self._server_env: dict[str, str] = {}

    def wrap(self, sock: Any) -> tuple[Any, dict[str, Any]]:
        wrapped = self.context.wrap_socket(sock, do_handshake_on_connect=False, server_side=True)
        return wrapped, {}


class _TlsConnection(HTTPConnection):
    """Does the handshake in the worker thread, then reads the peer's certificate from the socket."""

    def communicate(self) -> bool:
        if not self.ssl_env:
            try:
                self.socket.do_handshake()
                self.ssl_env = self.server.ssl_adapter.get_environ(self.socket)
            except (OSError, ValueError) as error:
                log.info("tls_handshake_refused", peer=self.remote_addr, why=type(error).__name__)
                return False
        return bool(super().communicate())  # type: ignore[no-untyped-call]


class _Server(Server):
    """Leaves a port that can be taken again at once, also one that the system chose."""

    def bind(self, family: int, type: int, proto: int = 0) -> Any:  # noqa: A002 - cheroot's name
        sock = super().bind(family, type, proto)
        # after the bind, so that port 0 never lands on somebody else's port; connections inherit it
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return sock


def plain_server(bind: str, port: int, app: Callable[..., Any], max_body: int) -> Server:
    """A bounded HTTP server (the pages, on the loopback)."""
    server = _Server(
        (bind, port), app, numthreads=LIMITS.threads, max=LIMITS.max_threads, server_name="wayside"
    )
    server.timeout = LIMITS.connection_timeout_s
    server.expiration_interval = LIMITS.poll_s
    server.max_request_header_size = LIMITS.header_bytes
    server.max_request_body_size = max_body
    server.error_log = _error_log  # type: ignore[method-assign] # cheroot's own way to set it
    return server


def tls_server(
    bind: str, port: int, app: Callable[..., Any], context: ssl.SSLContext, pair: tuple[Path, Path]
) -> Server:
    """The device port: mutual TLS; `pair` is the server's certificate and key file."""
    server = plain_server(bind, port, app, max(LIMITS.hit_bytes, LIMITS.chunk_bytes))
    server.ssl_adapter = _DeferredAdapter(context, *pair)
    server.ConnectionClass = _TlsConnection
    return server


def _error_log(msg: str = "", level: int = 20, traceback: bool = False) -> None:  # noqa: FBT001
    log.warning("http_server_message", message=msg[:300], level=level, traceback=traceback)
