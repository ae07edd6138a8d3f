# SPDX-License-Identifier: Apache-2.0
"""Mutual TLS for real, on 127.0.0.1."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec

from sync.errors import BadReply, ReplyTooLarge, TlsRejected, TransportError
from sync.limits import WireLimits
from sync.office_sim import OfficeSim
from sync.transport import HttpsTransport, _translated
from sync.uploader import Uploader
from tests.sync.factories import NOW_US, document
from tests.sync.https_office import HttpsOffice
from tests.sync.links import Clock, spool
from tests.sync.pki import Pair, TestAuthority

KEY = ec.generate_private_key(ec.SECP256R1())
QUICK = WireLimits(connect_timeout_s=2, read_timeout_s=0.5, total_timeout_s=5, max_reply_bytes=100_000)


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path / "ca")


@pytest.fixture
def device(authority: TestAuthority) -> Pair:
    return authority.issue("dev-1", "device")


@pytest.fixture
def office(authority: TestAuthority) -> Iterator[HttpsOffice]:
    sim = OfficeSim(KEY, now_us=NOW_US)
    server = authority.issue("office", "server", address=True)
    with HttpsOffice(sim, server, authority.path).serving() as served:
        yield served


def link(office: HttpsOffice, pair: Pair, ca: Path, **options: str) -> HttpsTransport:
    return HttpsTransport(office.url, pair.certificate, pair.key, ca, limits=QUICK, **options)


def test_a_device_and_its_office_talk(office: HttpsOffice, device: Pair, authority: TestAuthority) -> None:
    transport = link(office, device, authority.path)
    assert transport.post("/v1/hits", b"sealed", {"X-Wayside-Id": "h1"}).status == 201
    again = transport.post("/v1/hits", b"sealed", {"X-Wayside-Id": "h1"})
    assert (again.status, again.headers["x-wayside-id"]) == (200, "h1")
    office.sim.publish(document())
    assert transport.get("/v1/hotlists").body.startswith(b"wayside-signed/1 manifest\n")
    assert transport.put("/v1/segments/s1", b"abc", {"Content-Range": "bytes 0-2/3"}).status == 201
    assert transport.get("/v1/nothing").status == 404
    transport.close()


def test_the_office_wants_a_certificate_of_its_own_ca(
    office: HttpsOffice, authority: TestAuthority, tmp_path: Path
) -> None:
    stranger = TestAuthority(tmp_path / "other", "other-ca").issue("dev-1", "device")
    transport = link(office, stranger, authority.path)
    with pytest.raises(TransportError) as caught:
        transport.post("/v1/hits", b"sealed", {"X-Wayside-Id": "h1"})
    assert not caught.value.permanent
    assert office.sim.hits == {}
    transport.close()


def test_a_device_talks_to_nobody_whom_its_ca_does_not_vouch_for(
    office: HttpsOffice, device: Pair, tmp_path: Path
) -> None:
    other = TestAuthority(tmp_path / "other", "other-ca")
    transport = link(office, device, other.path)
    with pytest.raises(TlsRejected):
        transport.post("/v1/hits", b"sealed", {"X-Wayside-Id": "h1"})
    assert office.seen == 0
    transport.close()


def test_the_name_in_the_certificate_counts(authority: TestAuthority, device: Pair) -> None:
    sim = OfficeSim(KEY, now_us=NOW_US)
    nameless = authority.issue("dev-9", "device")  # as a device's pull port: a common name, no address
    with HttpsOffice(sim, nameless, authority.path).serving() as office:
        wrong = [
            link(office, device, authority.path),
            link(office, device, authority.path, server_name="dev-8"),
        ]
        for transport in wrong:
            with pytest.raises(TlsRejected):
                transport.get("/v1/hotlists")
            transport.close()
        right = link(office, device, authority.path, server_name="dev-9")
        assert right.get("/v1/hotlists").status == 200
        right.close()


def test_an_expired_server_certificate_is_refused(authority: TestAuthority, device: Pair) -> None:
    sim = OfficeSim(KEY, now_us=NOW_US)
    with HttpsOffice(
        sim, authority.issue("old", "server", address=True, days=-1), authority.path
    ).serving() as office:
        transport = link(office, device, authority.path)
        with pytest.raises(TlsRejected):
            transport.get("/v1/hotlists")
        transport.close()


@pytest.mark.parametrize("breaks", ["r", "rr", "h", "s", "rsh"])
def test_a_broken_upload_is_tried_again_and_arrives_once(
    office: HttpsOffice, device: Pair, authority: TestAuthority, tmp_path: Path, breaks: str
) -> None:
    office.breaks = breaks
    waiting, clock = spool(tmp_path / "spool", b"x" * 300_000), Clock()
    transport = link(office, device, authority.path)
    sender = Uploader(transport, waiting, monotonic=clock)
    for _ in breaks:
        report = sender.step()
        assert (report.acknowledged, report.failed) == (0, 1)
        assert len(waiting.pending()) == 1
        clock.now_s += report.wait_s
    assert sender.step().acknowledged == 1
    assert waiting.pending() == []
    assert office.sim.hits == {"h0": b"x" * 300_000}
    transport.close()


def test_answers_are_bounded(office: HttpsOffice, device: Pair, authority: TestAuthority) -> None:
    office.breaks = "zz"
    transport = link(office, device, authority.path)
    with pytest.raises(ReplyTooLarge):
        transport.get("/v1/hotlists")
    with pytest.raises(ReplyTooLarge):
        transport.get("/v1/hotlists", max_bytes=10)
    transport.close()


def test_broken_compression_is_a_bad_reply(
    office: HttpsOffice, device: Pair, authority: TestAuthority
) -> None:
    office.breaks = "g"
    transport = link(office, device, authority.path)
    with pytest.raises(BadReply):
        transport.get("/v1/hotlists")
    transport.close()


def test_a_port_where_nobody_listens(device: Pair, authority: TestAuthority) -> None:
    transport = HttpsTransport(
        "https://127.0.0.1:9", device.certificate, device.key, authority.path, limits=QUICK
    )
    with pytest.raises(TransportError) as caught:
        transport.get("/")
    assert not caught.value.permanent
    transport.close()


def test_what_cannot_work_is_said_at_the_start(
    device: Pair, authority: TestAuthority, tmp_path: Path
) -> None:
    with pytest.raises(TlsRejected, match="https"):
        HttpsTransport("http://127.0.0.1", device.certificate, device.key, authority.path)
    with pytest.raises(TlsRejected, match="enrol"):
        HttpsTransport("https://127.0.0.1", tmp_path / "none", device.key, authority.path)
    with pytest.raises(TlsRejected, match="enrol"):
        HttpsTransport("https://127.0.0.1", device.certificate, device.key, device.key)


def test_the_environment_adds_no_proxy(
    office: HttpsOffice, device: Pair, authority: TestAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    transport = link(office, device, authority.path)
    assert transport.get("/v1/hotlists").status == 200
    transport.close()


def test_a_cut_connection_is_not_taken_for_a_refused_certificate() -> None:
    cut = requests.exceptions.SSLError(ssl.SSLEOFError(8, "EOF occurred in violation of protocol"))
    error = _translated(cut)
    assert not isinstance(error, TlsRejected)
    assert not error.permanent
