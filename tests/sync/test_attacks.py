# SPDX-License-Identifier: Apache-2.0
"""A hostile network and a stolen pole's certificate, against the real link and the real pull port."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sync.errors import TlsRejected, TransportError
from sync.limits import WireLimits
from sync.office_sim import OfficeSim
from sync.transport import HttpsTransport
from tests.sync.factories import NOW_US
from tests.sync.https_office import HttpsOffice
from tests.sync.pki import Pair, TestAuthority

KEY = ec.generate_private_key(ec.SECP256R1())
QUICK = WireLimits(connect_timeout_s=2, read_timeout_s=1, total_timeout_s=5)
BEAT = b'{"a heartbeat": true}'


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path / "ca")


@pytest.fixture
def device(authority: TestAuthority) -> Pair:
    return authority.issue("dev-1", "device")


@pytest.fixture
def office(authority: TestAuthority) -> Iterator[HttpsOffice]:
    server = authority.issue("office", "server", address=True)
    with HttpsOffice(OfficeSim(KEY, now_us=NOW_US), server, authority.path).serving() as served:
        yield served


class Wire:
    """Somebody between device and office. `played`: what the office said is played again; `flip`: a byte is changed."""

    def __init__(self, office_url: str) -> None:
        self._port = int(office_url.rpartition(":")[2])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests = self.answers = b""  # of the first connection
        self.played = b""
        self.flip: int | None = None
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                theirs, _ = self._listener.accept()
                with theirs, contextlib.suppress(OSError):
                    if self.played:
                        theirs.recv(65_536)
                        theirs.sendall(self.played)
                        theirs.recv(65_536)
                    else:
                        self._relay(theirs)

    def _relay(self, theirs: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as ours:
            back = threading.Thread(target=self._answers, args=(ours, theirs), daemon=True)
            back.start()
            while data := theirs.recv(65_536):
                self.requests += data
                ours.sendall(data)
            ours.shutdown(socket.SHUT_WR)
            back.join(5)

    def _answers(self, ours: socket.socket, theirs: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := ours.recv(65_536):
                start = len(self.answers)
                self.answers += data
                if self.flip is not None and start <= self.flip < len(self.answers):
                    at = self.flip - start
                    data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
                theirs.sendall(data)


@pytest.fixture
def wire(office: HttpsOffice) -> Iterator[Wire]:
    between = Wire(office.url)
    yield between
    between.close()


def link(url: str, pair: Pair, authority: TestAuthority) -> HttpsTransport:
    return HttpsTransport(url, pair.certificate, pair.key, authority.path, limits=QUICK)


def hit(url: str, pair: Pair, authority: TestAuthority) -> int:
    transport = link(url, pair, authority)
    try:
        return transport.post("/v1/hits", b"sealed", {"X-Wayside-Id": "h1"}).status
    finally:
        transport.close()


def test_an_answer_that_is_played_again_is_believed_by_nobody(
    wire: Wire, device: Pair, authority: TestAuthority
) -> None:
    assert hit(wire.url, device, authority) == 201
    wire.played = wire.answers
    with pytest.raises(TransportError):
        hit(wire.url, device, authority)


def test_a_request_that_is_played_again_does_nothing(
    wire: Wire, office: HttpsOffice, device: Pair, authority: TestAuthority
) -> None:
    assert hit(wire.url, device, authority) == 201
    office.sim.hits.clear()
    port = int(office.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as thief, contextlib.suppress(OSError):
        thief.settimeout(2)
        thief.sendall(wire.requests)
        while thief.recv(65_536):
            pass
    assert (office.seen, office.sim.hits) == (1, {})


def test_nothing_readable_passes(wire: Wire, device: Pair, authority: TestAuthority) -> None:
    assert hit(wire.url, device, authority) == 201
    for secret in (b"sealed", b"/v1/hits", b"X-Wayside", b"dev-1"):  # not even the device's name
        assert secret not in wire.requests + wire.answers


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8])
def test_an_altered_byte_ends_the_connection(
    wire: Wire, device: Pair, authority: TestAuthority, part: float
) -> None:
    assert hit(wire.url, device, authority) == 201
    wire.flip, wire.answers = int(len(wire.answers) * part), b""
    with pytest.raises(TransportError):
        hit(wire.url, device, authority)


def test_a_device_speaks_nothing_older_than_tls_1_3(device: Pair, authority: TestAuthority) -> None:
    server = authority.issue("office", "server", address=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(str(server.certificate), str(server.key))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True):
                    pass

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(TransportError):
            hit(f"https://127.0.0.1:{listener.getsockname()[1]}", device, authority)


@pytest.mark.parametrize("name", ["dev-2", "localhost"])
def test_a_stolen_poles_certificate_does_not_pose_as_the_office(
    device: Pair, authority: TestAuthority, name: str
) -> None:
    """Also not where it is called like the office: a common name counts for nothing."""
    stolen = authority.issue(name, "device")
    with HttpsOffice(OfficeSim(KEY, now_us=NOW_US), stolen, authority.path).serving() as false_office:
        url = false_office.url.replace("127.0.0.1", "localhost")
        with pytest.raises(TlsRejected):
            hit(url, device, authority)
        assert false_office.seen == 0
