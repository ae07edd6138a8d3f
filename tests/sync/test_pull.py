# SPDX-License-Identifier: Apache-2.0
"""The device's pull service over real mutual TLS, on a real store."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from storage.errors import DiskFullError
from storage.keyring import Keyring
from storage.reader import parse_header, read_segment
from storage.root_of_trust import FileRootOfTrust
from storage.store import Store
from storage.types import Recipient, SegmentKind, epoch_of
from sync.errors import AuthRejected, BadReply, PullError
from sync.limits import MAX_SHARE_EPOCHS, PullLimits, WireLimits
from sync.pull import PullService, TlsFiles
from sync.pull_client import PullClient
from sync.schema import SegmentItem, ShareRequest
from sync.transport import HttpsTransport, tls_client_context
from sync.wire import Response, expect
from tests.sync.factories import HOUR_US, NOW_US
from tests.sync.pki import Pair, TestAuthority

LIMITS = PullLimits(
    max_connections=2,
    socket_timeout_s=1.0,
    max_body_bytes=40_000,
    send_chunk_bytes=100,
    handshake_timeout_s=0.7,
)
READER = ec.generate_private_key(ec.SECP256R1())
SIGNER = ec.generate_private_key(ec.SECP256R1())


class Rig:
    def __init__(self, folder: Path) -> None:
        self.authority = TestAuthority(folder / "ca")
        self.office = self.authority.issue("office-1", "office")
        device = self.authority.issue("dev-1", "device")
        self.root = folder / "store"
        self.keyring = Keyring.open(folder / "keyring", FileRootOfTrust(folder / "trust"))
        self.store = Store.open(
            self.root,
            keyring=self.keyring,
            recipients=[Recipient.of(READER.public_key())],
            signer=SIGNER,
            device_id="dev-1",
            boot_id="boot-1",
        )
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.expired: set[int] = set()
        self.disk_full = False
        self.service = PullService(
            "127.0.0.1",
            0,
            TlsFiles(device.certificate, device.key, self.authority.path),
            self.root,
            self.keyring.peek,
            self._on_event,
            device_id="dev-1",
            in_retention=lambda epoch: epoch not in self.expired,
            limits=LIMITS,
        )

    def _on_event(self, event: str, fields: Mapping[str, Any]) -> None:
        if self.disk_full:
            raise DiskFullError("full")
        self.events.append((event, fields))

    def link(self, pair: Pair | None = None) -> HttpsTransport:
        pair = pair or self.office
        url = f"https://127.0.0.1:{self.service.port}"
        limits = WireLimits(read_timeout_s=3)
        return HttpsTransport(
            url, pair.certificate, pair.key, self.authority.path, limits=limits, server_name="dev-1"
        )

    def get(self, path: str, pair: Pair | None = None, **headers: str) -> Response:
        transport = self.link(pair)
        try:
            return transport.get(path, headers)
        finally:
            transport.close()

    def write(self, *payloads: bytes, at_us: int = NOW_US) -> str:
        for payload in payloads:
            segment = self.store.append(SegmentKind.READS, payload, at_us=at_us).segment
        self.store.commit()
        return segment


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    rig.service.start()
    yield rig
    rig.service.stop()
    rig.store.close()


def test_the_office_lists_fetches_and_opens_what_the_device_sealed(rig: Rig) -> None:
    payloads = [b"read one", b"read two" * 100]
    rig.write(*payloads)
    rig.store.roll(NOW_US + 2 * HOUR_US)
    transport = rig.link()
    client = PullClient(transport, WireLimits(chunk_bytes=64))
    listed = client.segments()
    assert listed.device_id == "dev-1"
    (item,) = listed.segments
    assert (item.kind, item.epoch, item.closed) == ("reads", epoch_of(NOW_US), True)
    data = b"".join(client.pieces(item))
    resumed = b"".join(client.pieces(item, start=100))
    assert data[100:] == resumed
    assert len(data) == item.size
    shares = client.shares([item.epoch, item.epoch + 1])
    assert shares.missing == (item.epoch + 1,)
    content = read_segment(
        data, share=shares.shares[item.epoch], private_key=READER, verify_key=SIGNER.public_key()
    )
    assert content.records == payloads
    assert parse_header(data).device_id == "dev-1"
    transport.close()
    names = [event for event, _ in rig.events]
    assert "segment_pulled" in names
    given = next(fields for event, fields in rig.events if event == "shares_given")
    assert given == {"caller": "office-1", "epochs": [item.epoch], "missing": [item.epoch + 1]}


@pytest.mark.parametrize("unit", ["device", "technician", None, "Office", "office2"])
def test_only_the_office_role_is_served(rig: Rig, unit: str | None) -> None:
    rig.write(b"read")
    pair = rig.authority.issue("caller", unit)
    for path in ("/v1/segments", "/v1/nothing"):
        with pytest.raises(AuthRejected):
            expect(rig.get(path, pair), 200)
    transport = rig.link(pair)
    answer = transport.post("/v1/shares", ShareRequest(epochs=(epoch_of(NOW_US),)).encode())
    transport.close()
    assert (answer.status, answer.body) == (403, b"")
    assert {event for event, _ in rig.events} == {"pull_refused"}


def test_another_authority_and_no_certificate_get_nowhere(rig: Rig, tmp_path: Path) -> None:
    rig.write(b"read")
    stranger = TestAuthority(tmp_path / "other", "other-ca").issue("office-1", "office")
    for pair in (stranger, None):
        context = ssl.create_default_context(cafile=str(rig.authority.path))
        context.check_hostname = False
        if pair is not None:
            context = tls_client_context(pair.certificate, pair.key, rig.authority.path)
            context.check_hostname = False
        connection = http.client.HTTPSConnection("127.0.0.1", rig.service.port, timeout=3, context=context)
        with pytest.raises((OSError, http.client.HTTPException)):
            _ask(connection)
        connection.close()
    assert rig.events == []


@pytest.mark.parametrize(
    ("header", "status", "slice_", "content_range"),
    [
        ("bytes=0-9", 206, slice(0, 10), "bytes 0-9/{size}"),
        ("bytes=10-", 206, slice(10, None), "bytes 10-{last}/{size}"),
        ("bytes=0-999999", 206, slice(0, None), "bytes 0-{last}/{size}"),
        ("bytes=999999-", 416, slice(0, 0), "bytes */{size}"),
        ("bytes=5-4", 416, slice(0, 0), "bytes */{size}"),
        ("bytes=-5", 416, slice(0, 0), "bytes */{size}"),
        ("bytes=0-1,3-4", 416, slice(0, 0), "bytes */{size}"),
        ("nonsense", 416, slice(0, 0), "bytes */{size}"),
    ],
)
def test_ranges(rig: Rig, header: str, status: int, slice_: slice, content_range: str) -> None:
    segment = rig.write(b"x" * 500)
    path = f"/v1/segments/{segment}"
    whole = rig.get(path)
    assert whole.status == 200
    answer = rig.get(path, Range=header)
    size = len(whole.body)
    assert (answer.status, answer.body) == (status, whole.body[slice_])
    assert answer.headers["content-range"] == content_range.format(size=size, last=size - 1)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/segments/../keyring/keyring.wkr",
        "/v1/segments/%2e%2e%2fkeyring",
        "/v1/segments/..",
        "/v1/segments/a/b",
        "/v1/segments/A",
        "/v1/segments/" + "a" * 65,
        "/v1/segments/lists.state",
        "/v1/segments/",
        "/etc/passwd",
        "/v1/shares",
    ],
)
def test_no_path_leads_out_of_the_store(rig: Rig, path: str) -> None:
    connection = http.client.HTTPSConnection("127.0.0.1", rig.service.port, timeout=3, context=_context(rig))
    connection.request("GET", path)  # as it stands: a client library would tidy it
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (404, b"")
    connection.close()


def _ask(connection: http.client.HTTPSConnection) -> http.client.HTTPResponse:
    connection.request("GET", "/v1/segments")
    return connection.getresponse()


def _context(rig: Rig) -> ssl.SSLContext:
    context = tls_client_context(rig.office.certificate, rig.office.key, rig.authority.path)
    context.check_hostname = False
    return context


def test_a_share_past_retention_is_not_given_even_while_it_exists(rig: Rig) -> None:
    rig.write(b"read")
    epoch = epoch_of(NOW_US)
    rig.expired.add(epoch)
    transport = rig.link()
    reply = PullClient(transport).shares([epoch])
    assert (reply.shares, reply.missing) == ({}, (epoch,))
    rig.expired.clear()
    assert epoch in PullClient(transport).shares([epoch]).shares
    rig.keyring.destroy([epoch])
    assert PullClient(transport).shares([epoch]).shares == {}
    transport.close()


def test_nothing_leaves_that_cannot_be_recorded(rig: Rig) -> None:
    segment = rig.write(b"read")
    rig.disk_full = True
    transport = rig.link()
    answer = transport.post("/v1/shares", ShareRequest(epochs=(epoch_of(NOW_US),)).encode())
    assert (answer.status, answer.body) == (503, b"")
    assert transport.get(f"/v1/segments/{segment}").status == 503
    transport.close()


def test_requests_are_bounded(rig: Rig) -> None:
    transport = rig.link()
    for _ in range(5):  # the answer must arrive although the body was not wanted
        assert transport.post("/v1/shares", b"x" * 900_000).status == 413
    assert transport.post("/v1/shares", b"{}").status == 400
    too_many = b'{"v":1,"epochs":[' + b",".join(b"%d" % at for at in range(MAX_SHARE_EPOCHS + 1)) + b"]}"
    assert transport.post("/v1/shares", too_many).status == 400
    assert transport.post("/v1/other", b"{}").status == 404
    transport.close()
    assert rig.events == []


def test_callers_that_say_nothing_do_not_block_the_office(rig: Rig) -> None:
    address = ("127.0.0.1", rig.service.port)
    silent = [socket.create_connection(address) for _ in range(LIMITS.max_connections)]
    time.sleep(LIMITS.socket_timeout_s + 0.5)
    assert rig.get("/v1/segments").status == 200
    for connection in silent:
        connection.close()


def test_strangers_that_drip_bytes_do_not_hold_the_port(rig: Rig) -> None:
    address = ("127.0.0.1", rig.service.port)
    dripping = [socket.create_connection(address) for _ in range(LIMITS.max_connections)]
    hello = b"\x16\x03\x01\x02\x00" + bytes(600)  # the head of a TLS record that never ends
    ends = time.monotonic() + LIMITS.handshake_timeout_s + 0.25
    sent = 0
    while time.monotonic() < ends:
        for connection in dripping:
            with contextlib.suppress(OSError):
                connection.send(hello[sent : sent + 1])
        sent += 1
        time.sleep(0.05)
    assert rig.get("/v1/segments").status == 200
    for connection in dripping:
        connection.close()


def test_a_port_in_use_is_said(rig: Rig, tmp_path: Path) -> None:
    device = rig.authority.issue("dev-2", "device")
    tls = TlsFiles(device.certificate, device.key, rig.authority.path)
    for bind, files in (("256.0.0.1", tls), ("127.0.0.1", TlsFiles(tmp_path / "no", device.key, device.key))):
        with pytest.raises(PullError, match="cannot start"):
            PullService(bind, 0, files, rig.root, lambda _: None, lambda *_: None, device_id="dev-2")


class _Lies:
    """A transport that answers every range with the same bytes."""

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, *, max_bytes: int | None = None
    ) -> Response:
        return Response(206, {"content-range": "bytes 0-3/10"}, b"abcd")

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
        return Response(200, {}, b"[]")

    put = post


def test_a_device_that_answers_something_else_is_caught() -> None:
    item = SegmentItem(segment_id="s", kind="reads", epoch=1, boot_id="b", size=10, closed=True)
    with pytest.raises(BadReply, match="another part"):
        list(PullClient(_Lies()).pieces(item))
    with pytest.raises(BadReply):
        PullClient(_Lies()).shares([1])
    with pytest.raises(BadReply):
        PullClient(_Lies()).segments()
