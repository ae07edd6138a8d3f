# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os

import pytest
from held_world import DAY_US, pulled_segment, put_hit, wait_until
from office_world import Clock, MadeDevice

from backoffice import cli, keys, retention, retention_rounds
from backoffice.hits import HitStore
from backoffice.office import Office
from backoffice.pull import open_keyring
from backoffice.server import OfficeServer, Ports
from backoffice.tickets import open_tickets
from storage.errors import StorageError
from storage.types import epoch_of


def test_hits_go_by_the_earlier_plausible_time(office: Office, device: MadeDevice, clock: Clock) -> None:
    now = clock()
    doomed = {
        put_hit(office, clock, "old", raised_us=now - 31 * DAY_US, received_us=now - 31 * DAY_US),
        put_hit(office, clock, "late", raised_us=now - 31 * DAY_US, received_us=now - 2 * DAY_US),
        # a unit whose clock is years ahead: its hits must not stay for ever
        put_hit(office, clock, "ahead", raised_us=now + 3650 * DAY_US, received_us=now - 31 * DAY_US),
    }
    put_hit(office, clock, "young", raised_us=now - DAY_US, received_us=now - DAY_US)
    # a unit whose clock was never set: its hit of yesterday must not go at once
    put_hit(office, clock, "unset", raised_us=now - 300 * DAY_US, received_us=now - DAY_US)
    assert {hit_id for hit_id, _ in retention.plan(office).hits} == doomed


def test_serving_keeps_the_retention_by_itself(office: Office, device: MadeDevice, clock: Clock) -> None:
    now = clock()
    old = put_hit(office, clock, "old", raised_us=now - 31 * DAY_US, received_us=now - 31 * DAY_US)
    store = HitStore(office, None)
    server = OfficeServer(office, Ports(device_port=0, page_port=0))
    server.start()
    try:
        assert wait_until(lambda: store.get(old).deleted_us is not None)
    finally:
        server.stop()
    assert office.audit.verify().ok


def test_retention_comes_again_every_hour_and_after_a_fault(
    office: Office, device: MadeDevice, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_rounds, "EVERY_S", 0.05)
    monkeypatch.setattr(retention_rounds, "AFTER_FAULT_S", 0.05)
    faults = [OSError("disk"), StorageError("keyring"), ValueError("a bug")]
    real = retention.plan

    def plan(office: Office) -> retention.DeletionPlan:
        if faults:
            raise faults.pop()
        return real(office)

    monkeypatch.setattr(retention, "plan", plan)
    keeper = retention_rounds.RetentionRounds(office)
    keeper.start()
    try:
        assert wait_until(lambda: not faults)
        assert [ticket.alarm for ticket in open_tickets(office)] == ["deletion"]
        old = clock() - 31 * DAY_US
        hit_id = put_hit(office, clock, "old", raised_us=old, received_us=old)
        assert wait_until(lambda: HitStore(office, None).get(hit_id).deleted_us is not None)
    finally:
        keeper.stop()


def test_what_is_past_its_retention_goes_and_nothing_else(
    office: Office, device: MadeDevice, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    store = HitStore(office, keys.load_purpose_key(office.layout, keys.HITS))
    old_us, young_us = clock() - 31 * DAY_US, clock() - 29 * DAY_US
    for number, at_us in enumerate((old_us, young_us)):
        pulled_segment(office, device, at_us)
        put_hit(office, clock, f"r-{number}", raised_us=at_us, received_us=at_us)
    root = str(office.layout.root)
    (office.layout.blobs / "0").write_bytes(b"left by a crash")
    os.utime(office.layout.blobs / "0", (old_us / 1e6, old_us / 1e6))
    (office.layout.blobs / "1").write_bytes(b"of a request under way")
    assert cli.main(["--data", root, "retention", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "shares": 1,
        "segments": 1,
        "hits": 1,
        "strays": 1,
        "deleted": False,
    }
    assert cli.main(["--data", root, "retention"]) == 0
    assert open_keyring(office).epochs(scope="pole-1") == [epoch_of(young_us)]
    assert len(list(office.layout.segments.glob("pole-1/*"))) == 1
    assert len(list(office.layout.blobs.iterdir())) == 2
    gone = next(hit for hit in store.recent(10) if hit.raised_us == old_us)
    assert (gone.record, gone.deleted_us is not None) == (None, True)
    assert retention.plan(office).empty
    assert office.audit.verify().ok


def test_the_last_hour_of_the_retention_is_kept(office: Office, device: MadeDevice, clock: Clock) -> None:
    limit = clock() - office.settings.retention_seconds * 1_000_000
    pulled_segment(office, device, limit)
    assert retention.plan(office).empty
    clock.forward(2 * 3600)
    assert retention.plan(office).counts() == {"shares": 1, "segments": 1, "hits": 0, "strays": 0}


def test_a_segment_that_cannot_be_read_is_not_deleted(office: Office) -> None:
    (office.layout.segments / "pole-1").mkdir()
    (office.layout.segments / "pole-1" / "0-x.wseg").write_bytes(b"damaged")
    assert retention.plan(office).empty
