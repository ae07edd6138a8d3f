# SPDX-License-Identifier: Apache-2.0
"""The link to a device's pull service. Every connection, the first and each later one, is checked the same way.

The device is who its certificate says: issued by this agency's CA, OU=device, CN the id asked for, and the
key that was enrolled. The address proves nothing, so host names are not compared.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from backoffice import keys
from backoffice.devices import Device
from backoffice.errors import BadRequest, DeviceProtocolError, DeviceUnreachable, DeviceUntrusted, OfficeError
from backoffice.office import Office
from backoffice.tls import identify
from sync.certificates import OU_DEVICE
from sync.errors import (
    AuthRejected,
    BadReply,
    OfficeUnavailable,
    ReplyTooLarge,
    RequestRejected,
    TlsRejected,
    TransportError,
)
from sync.limits import WireLimits
from sync.pull_client import PullClient
from sync.wire import Response

TIMEOUT_S = 30.0  # seconds without a byte
MAX_REPLY_BYTES = WireLimits().max_reply_bytes


class PinnedTransport:
    """Implements sync's Transport over one connection at a time, whose other end is the device.

    After an error the connection is given up; the next request makes a new one. Raises TransportError kinds
    for a request, DeviceUnreachable or DeviceUntrusted when a connection cannot be made.
    """

    def __init__(self, connection: http.client.HTTPSConnection, device: Device) -> None:
        self.device = device
        self._connection = connection

    def open(self) -> None:
        """Connect, and check who answers."""
        where = f"{self.device.device_id} at {self._connection.host}:{self._connection.port}"
        try:
            self._connection.connect()
        except ssl.SSLError as error:
            raise DeviceUntrusted(f"{where}: the TLS handshake failed ({error.reason})") from error
        except OSError as error:
            raise DeviceUnreachable(f"{where}: {error or type(error).__name__}") from error
        try:
            _check_peer(self._connection, self.device)
        except OfficeError:
            self.close()
            raise

    def close(self) -> None:
        """Give the connection up."""
        self._connection.close()

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, *, max_bytes: int | None = None
    ) -> Response:
        """GET; raises TransportError kinds."""
        return self._request("GET", path, None, headers, max_bytes or MAX_REPLY_BYTES)

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
        """POST; raises TransportError kinds."""
        return self._request("POST", path, body, headers, MAX_REPLY_BYTES)

    def put(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
        """PUT; raises TransportError kinds."""
        return self._request("PUT", path, body, headers, MAX_REPLY_BYTES)

    def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None, max_bytes: int
    ) -> Response:
        if self._connection.sock is None:  # never by http.client itself, which would not check the other end
            self.open()
        try:
            self._connection.request(method, path, body=body, headers=dict(headers or {}))
            reply = self._connection.getresponse()
            data = reply.read(max_bytes + 1)
        except ssl.SSLError as error:
            self.close()
            raise TlsRejected(f"TLS failed: {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise TransportError(f"the connection broke: {type(error).__name__}") from error
        if len(data) > max_bytes:
            self.close()  # the rest of the answer must not be taken for the next one
            raise ReplyTooLarge(f"the answer has more than {max_bytes} bytes")
        if reply.length:  # bytes that were announced and did not come: the device could not read them
            self.close()
            raise TransportError("the device cut its answer short")
        return Response(reply.status, {name.lower(): value for name, value in reply.getheaders()}, data)


@contextmanager
def connected(office: Office, device: Device, url: str) -> Iterator[PullClient]:
    """A client of the device's pull service; every error of the link is an OfficeError."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise BadRequest("the device's address must be https://HOST:PORT")
    connection = http.client.HTTPSConnection(
        parts.hostname, parts.port or 443, timeout=TIMEOUT_S, context=client_context(office)
    )
    where = f"{device.device_id} at {url}"
    transport = PinnedTransport(connection, device)
    try:
        transport.open()
        yield PullClient(transport)
    except (AuthRejected, TlsRejected) as error:
        raise DeviceUntrusted(f"{where}: the device refuses this office's certificate") from error
    except (BadReply, ReplyTooLarge, OfficeUnavailable, RequestRejected) as error:
        raise DeviceProtocolError(f"{where}: {error}") from error
    except TransportError as error:
        raise DeviceUnreachable(f"{where}: {error}") from error
    finally:
        transport.close()


def client_context(office: Office) -> ssl.SSLContext:
    """TLS 1.3 with the office's certificate, trusting the agency CA alone; names are checked by `identify`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.load_verify_locations(office.layout.pki / "ca.pem")
    secret = keys.secret_for(office.layout.pki / "office.key")
    context.load_cert_chain(office.layout.pki / "office.pem", office.layout.pki / "office.key", secret)
    return context


def _check_peer(connection: http.client.HTTPSConnection, device: Device) -> None:
    sock = connection.sock
    der = sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None
    if not der:
        raise DeviceUntrusted("the other end showed no certificate")
    peer = identify(ssl.DER_cert_to_PEM_cert(der))
    if (peer.name, peer.role, peer.key_sha256) != (device.device_id, OU_DEVICE, device.key_sha256):
        raise DeviceUntrusted(f"the other end is {peer.name!r} ({peer.role}), not {device.device_id}")
