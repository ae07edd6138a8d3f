# SPDX-License-Identifier: Apache-2.0
"""The device's real spool, uploader, list sync and segment push against the office over TLS."""

from __future__ import annotations

import random
import socket
import threading
from pathlib import Path

import pytest
from office_world import MadeDevice, MadeOffice, make_device, make_hit, make_read, seal_hit

from backoffice import devices, keys, lists
from backoffice.hits import HitStore
from backoffice.office import Office
from backoffice.server import OfficeServer, Ports
from storage.keyring import Keyring
from storage.root_of_trust import FileRootOfTrust
from storage.spool import Spool
from sync.errors import AuthRejected
from sync.hotlists.match import Matcher
from sync.hotlists.store import ListStore
from sync.listsync import ListSync
from sync.segment_push import SegmentPush
from sync.transport import HttpsTransport
from sync.uploader import Uploader, UploadSettings


def free_port() -> int:
    """A port below the ephemeral range: nobody's outgoing connection takes it while the server is down."""
    for port in random.Random().sample(range(20_000, 30_000), 50):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    pytest.skip("no free port")


def hits_of(office: Office) -> list[str]:
    store = HitStore(office, keys.load_purpose_key(office.layout, keys.HITS))
    return sorted(hit.hit_id for hit in store.recent(100))


def test_every_hit_arrives_once_and_leaves_the_spool(
    office: Office, link: HttpsTransport, tmp_path: Path
) -> None:
    spool = Spool.open(tmp_path / "spool")
    sent = [make_hit(read_id=f"r-{number}") for number in range(6)]
    for hit in sent:
        spool.put(hit.hit_id, seal_hit(office, hit), kind="hit")
    spool.put("f" * 32, b"damaged", kind="hit")
    report = Uploader(link, spool, settings=UploadSettings(doubtful_attempts=1)).step()
    assert (report.acknowledged, report.set_aside, spool.count()) == (6, 1, 0)
    assert hits_of(office) == sorted(hit.hit_id for hit in sent)
    assert [item.id for item in spool.quarantined()] == ["f" * 32]


def test_a_revoked_device_stops_and_keeps_its_hits(
    office: Office, link: HttpsTransport, tmp_path: Path
) -> None:
    spool = Spool.open(tmp_path / "spool")
    hit = make_hit()
    spool.put(hit.hit_id, seal_hit(office, hit), kind="hit")
    devices.revoke(office, "pole-1", "stolen")
    with pytest.raises(AuthRejected):
        Uploader(link, spool).step()
    assert spool.count() == 1


def test_a_manual_entry_matches_on_the_device_after_one_sync(
    office: Office, link: HttpsTransport, tmp_path: Path
) -> None:
    box = Keyring.open(tmp_path / "keyring", FileRootOfTrust(tmp_path / "trust")).box("lists")
    store = ListStore(tmp_path / "lists", box)
    public = (keys.load_purpose_public(office.layout, keys.LISTS),)
    sync = ListSync(link, store, public)
    assert sync.step(office.clock()).problems == []  # nothing published but the empty manifest
    for plate in ("AB?120", "XY*9"):
        lists.add_manual(office, lists.Manual(plate, "seen at the scene", office.clock() + 10**10))
        lists.publish(office)
        assert sync.step(office.clock()).installed == ["manual"]
    assert sync.step(office.clock()).unchanged
    matcher = Matcher(store.load(public, office.clock()))
    found = matcher.match(make_read().text, None, now_us=office.clock())
    assert [(match.list_id, match.version) for match in found] == [("manual", 2)]


def test_a_requested_segment_is_pushed_in_pieces(
    office: Office, link: HttpsTransport, tmp_path: Path
) -> None:
    path = tmp_path / "seg-1.wseg"
    path.write_bytes(random.Random(1).randbytes(50_000))
    devices.request_segment(office, "pole-1", "seg-1")
    push = SegmentPush(link, lambda _: path, chunk_bytes=20_000)
    push.request(["seg-1"])
    done = [push.step() for _ in range(4)]
    assert done == [None, None, None, "seg-1"]
    assert (office.layout.segments / "pole-1" / "seg-1.wseg").read_bytes() == path.read_bytes()


def test_the_office_dies_and_comes_back_while_hits_arrive(
    made: MadeOffice, device: MadeDevice, tmp_path: Path
) -> None:
    """Two devices send while the server is stopped and started again on the same port: all once, none lost."""
    office = made.office
    second = make_device(office, tmp_path / "pole-2", "pole-2")
    ports = Ports(device_port=free_port(), page_port=0)
    server = OfficeServer(office, ports)
    url = server.start()["device_url"]
    spools = {}
    for member in (device, second):
        spool = Spool.open(tmp_path / f"spool-{member.device_id}")
        for number in range(12):
            hit = make_hit(member.device_id, f"r-{number}")
            spool.put(hit.hit_id, seal_hit(office, hit), kind="hit")
        spools[member.device_id] = spool
    stop = threading.Event()

    def send(member: MadeDevice) -> None:
        transport = member.transport(url)
        uploader = Uploader(transport, spools[member.device_id])
        while spools[member.device_id].count() and not stop.is_set():
            uploader.step()
            uploader.backoff.success()  # no long waiting in a test
            stop.wait(0.05)
        transport.close()

    threads = [threading.Thread(target=send, args=(member,), daemon=True) for member in (device, second)]
    for thread in threads:
        thread.start()
    try:
        server.stop()
        again = OfficeServer(office, ports)
        again.start()
        for thread in threads:
            thread.join(60)
    finally:
        stop.set()
    again.stop()
    assert [spool.count() for spool in spools.values()] == [0, 0]
    assert len(hits_of(office)) == 24


def test_a_port_that_the_system_chose_can_be_taken_again_at_once(
    made: MadeOffice, device: MadeDevice
) -> None:
    """The server closes first, so its side of the connections waits in TIME_WAIT when the next one starts."""
    server = OfficeServer(made.office, Ports(device_port=0, page_port=0))
    urls = server.start()
    link = device.transport(urls["device_url"])
    assert link.get("/v1/hotlists").status == 200
    with socket.create_connection(("127.0.0.1", int(urls["page_url"].rpartition(":")[2]))) as page:
        page.sendall(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert page.recv(100)
        server.stop()
        ports = [int(urls[name].rpartition(":")[2]) for name in ("device_url", "page_url")]
        again = OfficeServer(made.office, Ports(device_port=ports[0], page_port=ports[1]))
        again.start()
        again.stop()
    link.close()
