# SPDX-License-Identifier: Apache-2.0
"""A stolen pole's certificate against the office: on every route, and on a connection that stands already."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from office_world import MadeDevice, make_csr, make_device, make_hit, make_receipts, seal_hit

from backoffice import devices, pull, technicians
from backoffice.errors import BadRequest, Refused
from backoffice.hits import HitStore
from backoffice.office import Office, create, now_us
from backoffice.people import TRAINING_LIFETIME_DAYS
from backoffice.settings import Settings
from storage.audit import read_entries
from sync.certificates import load_certificate
from sync.schema import Heartbeat
from sync.transport import HttpsTransport
from sync.wire import ID_HEADER, Response

BEAT = Heartbeat(device_id="pole-1", boot_id="b", sent_us=1).encode()


def requests(office: Office, device: MadeDevice, link: HttpsTransport) -> dict[str, Response]:
    """One request on each route of the device port."""
    hit = make_hit()
    (receipt,) = make_receipts(device, 1)
    return {
        "hits": link.post("/v1/hits", seal_hit(office, hit), {ID_HEADER: hit.hit_id}),
        "lists": link.get("/v1/hotlists"),
        "list": link.get("/v1/hotlists/leads"),
        "heartbeat": link.post("/v1/heartbeat", BEAT),
        "segment": link.put("/v1/segments/s-1", b"abc", {"Content-Range": "bytes 0-2/3"}),
        "receipts": link.post("/v1/receipts", receipt.encode(), {ID_HEADER: "r-1"}),
    }


def test_after_revocation_a_stolen_poles_certificate_gets_and_gives_nothing(
    office: Office, device: MadeDevice, link: HttpsTransport, store: HitStore
) -> None:
    assert link.post("/v1/heartbeat", BEAT).status == 200  # this connection stands before and after
    heard = devices.get_device(office, "pole-1").heartbeat_us
    devices.revoke(office, "pole-1", "stolen")
    answers = requests(office, device, link)
    assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(answers, 403)
    assert all(b"wayside-signed" not in answer.body for answer in answers.values())
    assert store.recent(10) == []
    assert devices.get_device(office, "pole-1").heartbeat_us == heard
    assert not list(office.layout.segments.rglob("*"))
    assert "receipt" not in {entry.event for entry in read_entries(office.layout.audit)}


def test_nothing_is_pulled_from_who_poses_as_a_revoked_pole(office: Office, device: MadeDevice) -> None:
    devices.revoke(office, "pole-1", "stolen")
    with socket.create_server(("127.0.0.1", 0)) as false_pole:
        false_pole.settimeout(0.2)
        with pytest.raises(Refused):
            pull.pull(office, "pole-1", f"https://127.0.0.1:{false_pole.getsockname()[1]}")
        with pytest.raises(TimeoutError):  # it was not even spoken to
            false_pole.accept()


def test_before_revocation_it_can_lie_in_its_own_name_only(
    office: Office, device: MadeDevice, link: HttpsTransport, store: HitStore
) -> None:
    """Who has a pole's key can make up a hit of that pole, as the threat model says; of another one not."""
    own, other = make_hit(read_id="made-up"), make_hit(device_id="pole-2")
    assert link.post("/v1/hits", seal_hit(office, own), {ID_HEADER: own.hit_id}).status == 201
    assert link.post("/v1/hits", seal_hit(office, other), {ID_HEADER: other.hit_id}).status == 422
    assert [hit.device_id for hit in store.recent(10)] == ["pole-1"]


def test_the_device_port_speaks_nothing_older_than_tls_1_3(
    server: dict[str, str], device: MadeDevice
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=str(device.ca_path))
    context.load_cert_chain(str(device.cert_path), str(device.key_path))
    port = int(server["device_url"].rpartition(":")[2])
    raw = socket.create_connection(("127.0.0.1", port), timeout=5)
    with raw, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(raw, server_hostname="127.0.0.1")


def test_the_offices_own_memory_is_closed(office: Office) -> None:
    """`wayside-office` holds the keys that open reads: no core file, and no other process looks into it."""
    command = [sys.executable, "-m", "backoffice.cli", "--data", str(office.layout.root), "serve"]
    command += ["--device-port", "0", "--page-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serve:
        assert serve.stdout is not None
        assert "ready" in serve.stdout.readline()
        proc = Path(f"/proc/{serve.pid}")
        limits = (proc / "limits").read_text().splitlines()
        assert [line.split()[4:6] for line in limits if line.startswith("Max core")] == [["0", "0"]]
        assert (proc / "environ").stat().st_uid == 0  # not dumpable
        serve.kill()


@pytest.mark.parametrize("name", ["localhost", "dispatch"])
def test_no_device_is_enrolled_under_a_name_of_the_office(tmp_path: Path, name: str) -> None:
    """A pole's certificate serves its pull port under its id: with the office's name it could take hits from others."""
    create(tmp_path / "office", Settings(agency="A", names=("Dispatch",)), now_us())
    office = Office.open(tmp_path / "office")
    try:
        with pytest.raises(BadRequest, match="host name of this office"):
            make_device(office, tmp_path / "false", name)
    finally:
        office.close()


def test_what_a_device_and_the_office_serve_under_differs(office: Office, device: MadeDevice) -> None:
    """Why: the device's certificate does serve under the device's id, by the same authority."""
    context = ssl.create_default_context(cafile=str(device.ca_path))
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(str(device.cert_path), str(device.key_path))
    for name, served in (("pole-1", True), ("localhost", False), ("127.0.0.1", False)):
        assert handshake(context, theirs, name) is served


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> bool:
    """Whether a client that asks for a name takes this server, in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return False
    return ours.version() == "TLSv1.3"


def test_a_technicians_certificate_ends_with_the_training(office: Office) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem, _ = technicians.certify(office, "garcia", make_csr("garcia", "technician", key))
    certificate = load_certificate(pem.decode())
    ends_us = int(certificate.not_valid_after_utc.timestamp() * 1e6)
    assert ends_us - office.clock() <= TRAINING_LIFETIME_DAYS * 86_400_000_000
