# SPDX-License-Identifier: Apache-2.0
"""The device port over real TLS on 127.0.0.1."""

from __future__ import annotations

import dataclasses
import json
import socket
import ssl
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from office_world import (
    MadeDevice,
    MadeOffice,
    make_csr,
    make_device,
    make_hit,
    make_receipts,
    seal_hit,
    seal_raw,
    with_id,
)
from sqlalchemy import func, select, update

from backoffice import ca, cli, devices, keys, lists, receipts
from backoffice.db import deletion_receipts, hits
from backoffice.device_api import create_device_app
from backoffice.errors import BadRequest, Conflict, Refused
from backoffice.hits import HitStore
from backoffice.limits import LIMITS
from backoffice.office import Office
from storage.receipts import Receipt
from storage.seal import seal
from storage.types import Recipient
from sync.certificates import load_certificate
from sync.enrolment import verify_bundle
from sync.errors import TlsRejected, TransportError
from sync.hotlists.listfile import verify_list, verify_manifest
from sync.schema import HIT_INFO, Heartbeat, HeartbeatReply
from sync.transport import HttpsTransport


def hit_rows(office: Office) -> int:
    with office.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(hits)).scalar_one()


def send(link: HttpsTransport, hit_id: str, body: bytes) -> int:
    return link.post("/v1/hits", body, {"X-Wayside-Id": hit_id}).status


def send_oversized(link: HttpsTransport) -> int | str:
    try:
        return send(link, "a", bytes(max(LIMITS.hit_bytes, LIMITS.chunk_bytes) + 1))
    except TransportError:  # the server may close before it has read the rest
        return "closed"


def test_a_hit_is_taken_once_and_acknowledged_again(office: Office, link: HttpsTransport) -> None:
    hit = make_hit()
    body = seal_hit(office, hit)
    first = link.post("/v1/hits", body, {"X-Wayside-Id": hit.hit_id})
    assert (first.status, first.headers["x-wayside-id"]) == (201, hit.hit_id)
    again = link.post("/v1/hits", body, {"X-Wayside-Id": hit.hit_id})
    assert (again.status, again.headers["x-wayside-id"]) == (200, hit.hit_id)
    assert send(link, hit.hit_id, seal_hit(office, hit)) == 200  # sealed afresh after a restart
    assert hit_rows(office) == 1
    assert len(list(office.layout.blobs.iterdir())) == 1


def test_concurrent_repeats_make_one_row(office: Office, server: dict[str, str], device: MadeDevice) -> None:
    hit = make_hit()
    barrier = threading.Barrier(8)

    def one(fresh: bool) -> int:
        link = device.transport(server["device_url"])
        body = seal_hit(office, hit) if fresh else same
        barrier.wait(20)
        try:
            return send(link, hit.hit_id, body)
        finally:
            link.close()

    same = seal_hit(office, hit)
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(one, [index % 2 == 0 for index in range(8)]))
    assert statuses == [200] * 7 + [201]
    assert hit_rows(office) == 1
    assert len(list(office.layout.blobs.iterdir())) == 1


def test_hits_stay_sealed_on_disk(office: Office, link: HttpsTransport) -> None:
    hit = make_hit()
    send(link, hit.hit_id, seal_hit(office, hit))
    office.close()
    for path in office.layout.root.rglob("*"):
        if path.is_file():
            assert hit.read.text.encode() not in path.read_bytes(), path
            assert hit.entry.plate.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("what", ["garbage", "other-id", "other-device", "malformed", "supersedes itself"])
def test_a_hit_that_is_not_what_it_says_is_refused_for_good(
    what: str, office: Office, link: HttpsTransport
) -> None:
    hit = make_hit("pole-2" if what == "other-device" else "pole-1")
    body = seal_hit(office, with_id(hit, "f" * 32) if what == "other-id" else hit)
    if what == "garbage":
        body = b"\x00" * 200
    if what == "malformed":
        body = seal_raw(office, b'{"v":1}', hit.hit_id)
    if what == "supersedes itself":
        body = seal_hit(office, hit.model_copy(update={"supersedes": hit.hit_id}))
    assert send(link, hit.hit_id, body) == 422
    assert hit_rows(office) == 0


@pytest.mark.parametrize("why", ["other key", "no key", "later version", "later field", "later envelope"])
def test_what_the_office_cannot_open_itself_is_asked_for_again(
    why: str, office: Office, device: MadeDevice
) -> None:
    """503: the device keeps the hit and comes again; only a contradiction is refused for good."""
    hit = make_hit()
    fields = json.loads(hit.encode())
    body = seal_hit(office, hit)
    if why == "other key":
        reads = Recipient.of(keys.load_purpose_public(office.layout, keys.READS))
        body = seal([reads], hit.encode(), info=HIT_INFO, aad=hit.hit_id.encode())
    if why == "later version":
        body = seal_raw(office, json.dumps(fields | {"v": 2}).encode(), hit.hit_id)
    if why == "later field":
        body = seal_raw(office, json.dumps(fields | {"colour_seen": "red"}).encode(), hit.hit_id)
    if why == "later envelope":
        body = body[:8] + b"\x00\x02" + body[10:]
    key = None if why == "no key" else keys.load_purpose_key(office.layout, keys.HITS)
    client = create_device_app(office, HitStore(office, key)).test_client()
    peer = {"SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_CERT": device.cert_path.read_text()}
    answer = client.post("/v1/hits", data=body, headers={"X-Wayside-Id": hit.hit_id}, environ_base=peer)
    assert answer.status_code == 503
    assert hit_rows(office) == 0


def test_another_device_cannot_claim_an_id(
    office: Office, server: dict[str, str], link: HttpsTransport, tmp_path: Path
) -> None:
    hit = make_hit()
    assert send(link, hit.hit_id, seal_hit(office, hit)) == 201
    other = make_device(office, tmp_path / "pole-2", "pole-2").transport(server["device_url"])
    assert send(other, hit.hit_id, seal_hit(office, hit)) == 422  # never 409, which would acknowledge it
    other.close()


def test_bounds_of_bodies_and_ids(office: Office, link: HttpsTransport) -> None:
    assert send(link, "UPPER", b"x") == 400
    assert send(link, "a" * 65, b"x") == 400
    assert send(link, "a", b"") == 400
    assert link.post("/v1/heartbeat", b"x" * (LIMITS.document_bytes + 1)).status == 413
    assert link.post("/v1/heartbeat", b"not json").status == 400
    assert send_oversized(link) in {413, "closed"}


def test_heartbeat_tells_the_time_and_what_to_push(office: Office, link: HttpsTransport) -> None:
    devices.request_segment(office, "pole-1", "seg-1")
    beat = Heartbeat(
        device_id="pole-1", boot_id="b1", sent_us=1, software="wayside 0.1.0", waiting={"hits": 2}
    )
    reply = HeartbeatReply.decode(link.post("/v1/heartbeat", beat.encode()).body)
    assert abs(reply.server_time_us - office.clock()) < 5_000_000
    assert reply.pull_requests == ("seg-1",)
    assert devices.get_device(office, "pole-1").heartbeat_us == office.clock()
    other = beat.model_copy(update={"device_id": "pole-2"})
    assert link.post("/v1/heartbeat", other.encode()).status == 400


def test_a_pushed_segment_resumes(office: Office, link: HttpsTransport) -> None:
    data = bytes(range(256)) * 40
    path = "/v1/segments/seg-1"

    def put(span: str, body: bytes) -> tuple[int, str]:
        answer = link.put(path, body, {"Content-Range": f"bytes {span}/{len(data)}"})
        return answer.status, answer.headers.get("x-wayside-have", "")

    assert put("0-9", data[:10])[0] == 422  # nobody asked for it
    devices.request_segment(office, "pole-1", "seg-1")
    assert put("*", b"") == (202, "0")
    assert put("0-4999", data[:5000]) == (202, "5000")
    assert put("0-4999", data[:5000]) == (409, "5000")  # the answer was lost: go on from 5000
    assert put("6000-6999", data[6000:7000]) == (409, "5000")
    assert put("5000-5001", data[5000:5003])[0] == 400
    assert put(f"5000-{len(data) - 1}", data[5000:]) == (201, str(len(data)))
    assert put(f"5000-{len(data) - 1}", data[5000:])[0] == 201
    assert (office.layout.segments / "pole-1" / "seg-1.wseg").read_bytes() == data
    assert not devices.wants_segment(office, "pole-1", "seg-1")
    assert link.put("/v1/segments/..%2f..%2fx", b"x", {"Content-Range": "bytes 0-0/1"}).status in {
        400,
        404,
        422,
    }


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes 5-4/10",
        "bytes 0-10/10",
        f"bytes 0-0/{LIMITS.segment_bytes + 1}",
        "lines 0-1/2",
        "bytes 0-1",
    ],
)
def test_bad_content_ranges(header: str, office: Office, link: HttpsTransport) -> None:
    devices.request_segment(office, "pole-1", "seg-1")
    assert link.put("/v1/segments/seg-1", b"x", {"Content-Range": header}).status == 400


def post_receipt(link: HttpsTransport, receipt: Receipt | bytes, receipt_id: str) -> int:
    body = receipt if isinstance(receipt, bytes) else receipt.encode()
    return link.post("/v1/receipts", body, {"X-Wayside-Id": receipt_id}).status


def test_receipts_are_kept_once(office: Office, device: MadeDevice, link: HttpsTransport) -> None:
    first, second = make_receipts(device, 2)
    assert post_receipt(link, first, "receipt-1") == 201
    assert post_receipt(link, first, "receipt-1") == 200
    assert post_receipt(link, second, "receipt-1") == 422  # never acknowledged: it is another receipt


def test_receipts_that_prove_nothing_are_refused(
    office: Office, device: MadeDevice, link: HttpsTransport
) -> None:
    (receipt,) = make_receipts(device, 1)
    (forged,) = make_receipts(dataclasses.replace(device, key=ca.new_key()), 1)
    (others,) = make_receipts(dataclasses.replace(device, device_id="pole-2"), 1)
    altered = receipt.encode().replace(b'"policy_seconds":', b'"policy_seconds":1')
    for bad in (b"\xff", b'{"n":1}', forged, others, altered):
        assert post_receipt(link, bad, "r") == 422
    assert receipts.stored(office, "pole-1") == []


def test_two_devices_may_use_the_same_receipt_id(
    office: Office, device: MadeDevice, server: dict[str, str], link: HttpsTransport, tmp_path: Path
) -> None:
    second = make_device(office, tmp_path / "pole-2", "pole-2")
    other = second.transport(server["device_url"])
    assert post_receipt(link, make_receipts(device, 1)[0], "r") == 201
    assert post_receipt(other, make_receipts(second, 1)[0], "r") == 201
    other.close()


def test_receipts_verify(
    office: Office, device: MadeDevice, link: HttpsTransport, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = make_receipts(device, 3)
    verify = ("--data", str(office.layout.root), "receipts", "verify")
    assert post_receipt(link, chain[2], "c") == 201  # they may arrive in any order
    assert post_receipt(link, chain[0], "a") == 201
    assert cli.main([*verify, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["device"], said["receipts"], said["ok"]) == ("pole-1", 2, False)
    assert said["problems"] == ["receipts 1 to 1 are missing"]
    assert post_receipt(link, chain[1], "b") == 201
    assert cli.main([*verify, "--device", "pole-1"]) == 0
    assert "3 receipts" in capsys.readouterr().out
    assert cli.main([*verify, "--device", "pole-9"]) == 1
    with office.engine.begin() as connection:  # a row altered in the database is found, too
        body = chain[1].encode().decode().replace('"epoch":', '"epoch":1')
        connection.execute(
            update(deletion_receipts).where(deletion_receipts.c.receipt_id == "b").values(body=body)
        )
    assert cli.main([*verify]) == 1


def test_a_pushed_segment_does_not_replace_what_is_held(office: Office, link: HttpsTransport) -> None:
    folder = office.layout.segments / "pole-1"
    folder.mkdir()
    (folder / "seg-1.wseg").write_bytes(b"what was pulled")
    devices.request_segment(office, "pole-1", "seg-1")
    data = b"another content, longer"
    answer = link.put("/v1/segments/seg-1", data, {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"})
    assert answer.status == 422
    assert (folder / "seg-1.wseg").read_bytes() == b"what was pulled"


def test_lists_whole_and_delta(office: Office, link: HttpsTransport) -> None:
    from sync.hotlists.delta import apply_delta

    manual = lists.Manual("AB?1234", "seen near the scene", office.clock() + 3_600_000_000)
    lists.add_manual(office, manual)
    for number in range(40):
        lists.add_manual(office, lists.Manual(f"ZZ{number:04}", "stolen", office.clock() + 3_600_000_000))
    lists.publish(office)
    public = (keys.load_purpose_public(office.layout, keys.LISTS),)
    answer = link.get("/v1/hotlists")
    manifest = verify_manifest(answer.body, public, floor_version=0, now_us=office.clock())
    assert [item.list_id for item in manifest.lists] == ["manual"]
    assert link.get("/v1/hotlists", {"If-None-Match": answer.headers["etag"]}).status == 304
    first = link.get("/v1/hotlists/manual").body
    lists.add_manual(office, lists.Manual("CD5678", "seen again", office.clock() + 3_600_000_000))
    lists.publish(office)
    assert link.get("/v1/hotlists", {"If-None-Match": answer.headers["etag"]}).status == 200
    delta = link.get("/v1/hotlists/manual?from=1").body
    whole = link.get("/v1/hotlists/manual").body
    assert len(delta) < len(whole)
    assert apply_delta(first, delta) == whole
    hot = verify_list(whole, public, floor_version=2, now_us=office.clock(), list_id="manual")
    assert {entry.plate for entry in hot.entries} >= {"AB?1234", "CD5678"}
    assert link.get("/v1/hotlists/none").status == 404
    assert link.get("/v1/hotlists/manual?from=x").status == 400


# --- who may speak -----------------------------------------------------------------------------------


def test_a_revoked_device_is_refused(office: Office, link: HttpsTransport) -> None:
    assert link.get("/v1/hotlists").status == 200
    devices.revoke(office, "pole-1", "stolen")
    assert link.get("/v1/hotlists").status == 403
    assert send(link, "a", b"x") == 403


def client_files(office: Office, folder: Path, name: str, unit: str) -> tuple[Path, Path]:
    import datetime as dt

    folder.mkdir(exist_ok=True)
    key = ca.new_key()
    authority = keys.load_authority(office.layout)
    certificate = ca.issue_client(authority, key.public_key(), name, unit, dt.datetime.now(dt.UTC))
    (folder / "c.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    keys.write_private(folder / "c.key", key, None)
    return folder / "c.pem", folder / "c.key"


@pytest.mark.parametrize(
    ("name", "unit"), [("pole-1", "office"), ("pole-1", "device"), ("stranger", "device")]
)
def test_role_and_key_come_from_the_certificate(
    name: str, unit: str, office: Office, device: MadeDevice, server: dict[str, str], tmp_path: Path
) -> None:
    """Another role, the right name with another key, an unknown name: all refused, whatever headers say."""
    cert, key = client_files(office, tmp_path / "other", name, unit)
    link = HttpsTransport(server["device_url"], cert, key, device.ca_path)
    pem = device.cert_path.read_text().replace("\n", " ")
    forged = {
        "SSL-Client-Cert": pem,
        "SSL_CLIENT_CERT": pem,
        "SSL-Client-Verify": "SUCCESS",
        "SSL-Client-S-DN-OU": "device",
        "SSL-Client-S-DN-CN": "pole-1",
    }
    assert link.get("/v1/hotlists", forged).status == 403
    link.close()


def test_without_a_certificate_of_this_agency_there_is_no_connection(
    office: Office, made: MadeOffice, server: dict[str, str], device: MadeDevice, tmp_path: Path
) -> None:
    from backoffice.office import create
    from backoffice.settings import Settings

    other_root = tmp_path / "other-office"
    create(other_root, Settings(agency="Other"), made.clock())
    other = Office.open(other_root, made.clock)
    cert, key = client_files(other, tmp_path / "foreign", "pole-1", "device")
    other.close()
    link = HttpsTransport(server["device_url"], cert, key, device.ca_path)
    with pytest.raises(TransportError):
        link.get("/v1/hotlists")
    link.close()
    context = ssl.create_default_context(cafile=str(device.ca_path))
    with pytest.raises(OSError, match=r".*"), urllib.request.urlopen(server["device_url"], context=context):  # noqa: S310
        pass


def test_the_device_refuses_a_server_of_another_ca(
    made: MadeOffice, server: dict[str, str], device: MadeDevice, tmp_path: Path
) -> None:
    from backoffice.office import create
    from backoffice.settings import Settings

    create(tmp_path / "o2", Settings(agency="Other"), made.clock())
    link = HttpsTransport(server["device_url"], device.cert_path, device.key_path, tmp_path / "o2/pki/ca.pem")
    with pytest.raises(TlsRejected):
        link.get("/v1/hotlists")
    link.close()


def test_silent_clients_do_not_hold_up_the_others(server: dict[str, str], link: HttpsTransport) -> None:
    parts = urlsplit(server["device_url"])
    silent = [socket.create_connection((parts.hostname, parts.port)) for _ in range(6)]
    try:
        started = time.monotonic()
        assert link.get("/v1/hotlists").status == 200
        assert time.monotonic() - started < LIMITS.connection_timeout_s / 2
    finally:
        for sock in silent:
            sock.close()


def test_plain_http_on_the_device_port_gets_nowhere(server: dict[str, str]) -> None:
    parts = urlsplit(server["device_url"])
    with socket.create_connection((parts.hostname, parts.port)) as sock:
        sock.settimeout(5)
        sock.sendall(b"GET /v1/hotlists HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in sock.recv(200)


# --- enrolment -------------------------------------------------------------------------------------


def test_the_bundle_is_complete_and_signed(office: Office, device: MadeDevice) -> None:
    bundle = verify_bundle(device.bundle, now_us=office.clock())
    assert bundle.agency.name == "Prairie Town PD"
    assert {recipient.purpose for recipient in bundle.recipients} == {"reads", "hits"}
    certificate = load_certificate(bundle.device_cert_pem)
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert len(list(usages)) == 2  # client of the office, server of its pull port


def test_enrolling_again(office: Office, device: MadeDevice, tmp_path: Path) -> None:
    how = devices.Enrolment("https://127.0.0.1:1")
    csr = make_csr("pole-1", "device", device.key)
    assert devices.enrol(office, csr, how)[0] == "pole-1"  # the same key: a fresh certificate
    with pytest.raises(Conflict):
        devices.enrol(office, make_csr("pole-1", "device", ca.new_key()), how)
    devices.revoke(office, "pole-1", "stolen")
    with pytest.raises(Refused):
        devices.enrol(office, csr, how)


@pytest.mark.parametrize(("name", "unit"), [("Pole 1", "device"), ("pole-1", "office"), ("../x", "device")])
def test_requests_that_are_not_a_devices(name: str, unit: str, office: Office) -> None:
    with pytest.raises(BadRequest):
        devices.enrol(office, make_csr(name, unit, ca.new_key()), devices.Enrolment("https://h"))
    with pytest.raises(BadRequest):
        devices.enrol(office, b"nonsense", devices.Enrolment("https://h"))
    with pytest.raises(BadRequest):
        devices.enrol(office, make_csr("p", "device", ca.new_key()), devices.Enrolment("https://h", "q"))
