# SPDX-License-Identifier: Apache-2.0
"""HTTPS with mutual TLS over requests; every error is translated, every answer is bounded."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from sync.errors import BadReply, ReplyTooLarge, TlsRejected, TransportError
from sync.limits import WireLimits
from sync.wire import Response, Transport

__all__ = ["HttpsTransport", "Response", "Transport", "tls_client_context"]

DEFAULT_LIMITS = WireLimits()
_CHUNK = 64 * 1024  # bytes read at once
_NO_HEADERS: Mapping[str, str] = {}


def tls_client_context(client_cert: Path, client_key: Path, ca: Path) -> ssl.SSLContext:
    """TLS 1.3, our certificate, and only the given CA; raises TlsRejected when the files do not serve."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cafile=str(ca))
        context.load_cert_chain(str(client_cert), str(client_key))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise TlsRejected("certificate, key or CA cannot be loaded; enrol again") from error
    return context


class _MutualTls(HTTPAdapter):
    """Uses our context, and no retries of its own: retrying is the uploader's decision."""

    def __init__(self, context: ssl.SSLContext, server_name: str | None) -> None:
        self._context = context
        self._server_name = server_name
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Hand the context to urllib3, and the name to expect when it is not the host's."""
        kwargs["ssl_context"] = self._context
        if self._server_name is not None:
            kwargs["assert_hostname"] = self._server_name
        super().init_poolmanager(*args, **kwargs)


class HttpsTransport:
    """Implements Transport. `server_name`: the name in the server's certificate when the URL has an address.

    Not for use from several threads at once.
    """

    def __init__(
        self,
        base_url: str,
        client_cert: Path,
        client_key: Path,
        ca: Path,
        *,
        limits: WireLimits = DEFAULT_LIMITS,
        server_name: str | None = None,
    ) -> None:
        if urlsplit(base_url).scheme != "https":
            raise TlsRejected("the office's address must start with https://")
        self._base = base_url.rstrip("/")
        self._limits = limits
        context = tls_client_context(client_cert, client_key, ca)
        # Device certificates may carry their id as common name only.
        context.hostname_checks_common_name = server_name is not None
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, no netrc, no CA bundle from the environment
        self._session.verify = str(ca)
        self._session.mount("https://", _MutualTls(context, server_name))

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, *, max_bytes: int | None = None
    ) -> Response:
        """GET; raises TransportError kinds."""
        return self._request("GET", path, None, headers, max_bytes or self._limits.max_reply_bytes)

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
        """POST; raises TransportError kinds."""
        return self._request("POST", path, body, headers, self._limits.max_reply_bytes)

    def put(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
        """PUT; raises TransportError kinds."""
        return self._request("PUT", path, body, headers, self._limits.max_reply_bytes)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None, max_bytes: int
    ) -> Response:
        timeout = (self._limits.connect_timeout_s, self._limits.read_timeout_s)
        deadline = time.monotonic() + self._limits.total_timeout_s
        try:
            with self._session.request(
                method,
                self._base + path,
                data=body,
                headers=dict(headers or _NO_HEADERS),
                timeout=timeout,
                stream=True,
                allow_redirects=False,
            ) as reply:
                return Response(
                    status=reply.status_code,
                    headers={name.lower(): value for name, value in reply.headers.items()},
                    body=_read(reply, max_bytes, deadline),
                )
        except requests.RequestException as error:
            raise _translated(error) from error
        except ssl.SSLError as error:
            raise TlsRejected(f"TLS failed: {error.reason or 'handshake'}") from error
        except (OSError, ValueError) as error:
            raise TransportError(f"the connection failed: {type(error).__name__}") from error


def _read(reply: requests.Response, max_bytes: int, deadline: float) -> bytes:
    parts, size = [], 0
    for part in reply.iter_content(_CHUNK):
        size += len(part)
        if size > max_bytes:
            raise ReplyTooLarge(f"the answer has more than {max_bytes} bytes")
        if time.monotonic() > deadline:
            raise TransportError("the answer took longer than the total time allowed")
        parts.append(part)
    return b"".join(parts)


def _translated(error: requests.RequestException) -> TransportError:
    cause = _tls_cause(error)
    if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return TransportError("the connection was cut")
    if cause is not None:
        return TlsRejected(f"TLS failed ({cause.reason or 'handshake'}); check CA, certificate and clock")
    if isinstance(error, requests.exceptions.SSLError):
        return TlsRejected(
            "the server's certificate names another server; check the address and the enrolment"
        )
    if isinstance(error, requests.Timeout):
        return TransportError("the office did not answer in time")
    if isinstance(error, requests.exceptions.ContentDecodingError):
        return BadReply("the answer's compression is broken")
    return TransportError(f"the connection failed: {type(error).__name__}")


def _tls_cause(error: BaseException) -> ssl.SSLError | None:
    """The TLS error somewhere below; requests and urllib3 keep it in args, reason or cause."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop()
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        if isinstance(item, ssl.SSLError):
            return item
        seen.add(id(item))
        waiting += [*item.args, item.__cause__, item.__context__, getattr(item, "reason", None)]
    return None
