# SPDX-License-Identifier: Apache-2.0
"""Pulling a device's sealed segments and their shares over its LAN port; resumes where it stopped.

The device is who its certificate says: issued by this agency's CA, OU=device, CN the id asked for, and the
key that was enrolled. The address proves nothing, so host names are not compared.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import update

from backoffice import keys
from backoffice.db import devices as device_table
from backoffice.devices import Device, get_device
from backoffice.errors import BadRequest, DeviceProtocolError, DeviceUnreachable, DeviceUntrusted, Refused
from backoffice.limits import LIMITS
from backoffice.office import Office
from backoffice.segments import SegmentFolder
from backoffice.tls import identify
from storage.errors import StorageError
from storage.keyring import Keyring
from storage.reader import parse_header
from storage.root_of_trust import FileRootOfTrust
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
from sync.schema import SegmentItem
from sync.wire import Response

TIMEOUT_S = 30.0  # seconds without a byte
HEADER_BYTES = 64 << 10  # enough of a segment to read its header
MAX_REPLY_BYTES = WireLimits().max_reply_bytes


@dataclass(slots=True)
class PullReport:
    """What one pull did. `missing_epochs` have no share any more; `gone` segments were deleted meanwhile."""

    device: str
    segments: int = 0
    fetched: int = 0
    bytes: int = 0
    shares: int = 0
    missing_epochs: list[int] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def open_keyring(office: Office) -> Keyring:
    """The office's keyring of pulled shares."""
    return Keyring.open(office.layout.keyring, FileRootOfTrust(office.layout.trust))


def pull(office: Office, device_id: str, url: str) -> PullReport:
    """Fetch new segments, then the shares of every epoch held. Raises DeviceUnreachable, DeviceUntrusted."""
    device = get_device(office, device_id)
    if device.revoked_us is not None:
        raise Refused(f"{device_id} is revoked; nothing is pulled from it")
    report = PullReport(device_id)
    folder = SegmentFolder(office.layout.segments)
    with connected(office, device, url) as client:
        listed = client.segments()
        _check_id(listed.device_id, device_id)
        report.segments = len(listed.segments)
        for item in listed.segments:
            _fetch(client, folder, item, report)
        _fetch_shares(office, client, folder, report)
    _remember(office, device_id, url)
    return report


class PinnedTransport:
    """Implements sync's Transport over one connection whose other end was identified by its certificate."""

    def __init__(self, connection: http.client.HTTPSConnection) -> None:
        self._connection = connection

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
        try:
            self._connection.request(method, path, body=body, headers=dict(headers or {}))
            reply = self._connection.getresponse()
            data = reply.read(max_bytes + 1)
        except ssl.SSLError as error:
            raise TlsRejected(f"TLS failed: {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise TransportError(f"the connection broke: {type(error).__name__}") from error
        if len(data) > max_bytes:
            raise ReplyTooLarge(f"the answer has more than {max_bytes} bytes")
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
    try:
        connection.connect()
        _check_peer(connection, device)
        yield PullClient(PinnedTransport(connection))
    except ssl.SSLError as error:
        raise DeviceUntrusted(f"{where}: the TLS handshake failed ({error.reason})") from error
    except (AuthRejected, TlsRejected) as error:
        raise DeviceUntrusted(f"{where}: the device refuses this office's certificate") from error
    except (BadReply, ReplyTooLarge, OfficeUnavailable, RequestRejected) as error:
        raise DeviceProtocolError(f"{where}: {error}") from error
    except (OSError, http.client.HTTPException, TransportError) as error:
        raise DeviceUnreachable(f"{where}: {error or type(error).__name__}") from error
    finally:
        connection.close()


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


def _fetch(client: PullClient, folder: SegmentFolder, item: SegmentItem, report: PullReport) -> None:
    path = folder.path(report.device, item.segment_id)
    held = folder.size(report.device, item.segment_id)
    if held == item.size:
        return
    if item.size > LIMITS.segment_bytes:
        report.problems.append(f"{item.segment_id}: over {LIMITS.segment_bytes} bytes, not fetched")
        return
    if held > item.size:  # the device cut a tail after a crash, which it had never acknowledged
        path.unlink()
        held = 0
    try:
        for piece in client.pieces(item, start=held):
            folder.append(path, held, piece)
            held += len(piece)
            report.bytes += len(piece)
    except OfficeUnavailable as error:
        if error.status != http.client.NOT_FOUND:
            raise
        report.gone.append(item.segment_id)  # its retention ended between the listing and now
        return
    report.fetched += 1


def _fetch_shares(office: Office, client: PullClient, folder: SegmentFolder, report: PullReport) -> None:
    keyring = open_keyring(office)
    have = set(keyring.epochs(scope=report.device))
    need = sorted(_epochs(folder, report) - have)
    if not need:
        return
    answer = client.shares(need)
    _check_id(answer.device_id, report.device)
    try:
        keyring.import_shares(report.device, answer.shares)
    except StorageError as error:
        raise DeviceProtocolError(f"the shares cannot be kept: {error}") from error
    report.shares = len(answer.shares)
    report.missing_epochs = sorted(set(need) - answer.shares.keys())


def _check_id(answered: str, device_id: str) -> None:
    if answered != device_id:
        raise DeviceProtocolError("the answer names another device than the certificate")


def _epochs(folder: SegmentFolder, report: PullReport) -> set[int]:
    found = set()
    for _, path in folder.all(report.device):
        try:
            found.add(_header_epoch(path))
        except StorageError as error:
            report.problems.append(f"{path.stem}: {error}")
    return found


def _header_epoch(path: Path) -> int:
    with path.open("rb") as file:
        return parse_header(file.read(HEADER_BYTES)).epoch


def _remember(office: Office, device_id: str, url: str) -> None:
    change = update(device_table).where(device_table.c.device_id == device_id)
    with office.engine.begin() as connection:
        connection.execute(change.values(pull_url=url))
