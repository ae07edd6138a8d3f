# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os

import pytest
from office_world import Clock, MadeDevice, make_hit, seal_hit

from backoffice import cli, keys, retention
from backoffice.hits import HitStore
from backoffice.office import Office
from backoffice.pull import open_keyring
from storage.keyring import Keyring
from storage.root_of_trust import FileRootOfTrust
from storage.store import Store
from storage.types import Recipient, SegmentKind, epoch_of

DAY_US = 86_400_000_000


def pulled_segment(office: Office, device: MadeDevice, at_us: int) -> None:
    """What a pull leaves at the office, without the wire."""
    root = office.layout.root.parent / f"device-{at_us}"
    keyring = Keyring.open(root / "keyring", FileRootOfTrust(root / "trust"))
    store = Store.open(
        root / "store",
        keyring=keyring,
        recipients=[Recipient.of(keys.load_purpose_public(office.layout, keys.READS))],
        signer=device.key,
        device_id=device.device_id,
        boot_id="boot-1",
    )
    store.append(SegmentKind.READS, b"{}", at_us=at_us)
    store.commit()
    store.close()
    target = office.layout.segments / device.device_id
    target.mkdir(exist_ok=True)
    for info in store.segments():
        (target / info.path.name).write_bytes(info.path.read_bytes())
    share = keyring.peek(epoch_of(at_us))
    assert share
    open_keyring(office).import_share(device.device_id, epoch_of(at_us), share)


def test_what_is_past_its_retention_goes_and_nothing_else(
    office: Office, device: MadeDevice, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    store = HitStore(office, keys.load_purpose_key(office.layout, keys.HITS))
    old_us, young_us = clock() - 31 * DAY_US, clock() - 29 * DAY_US
    for number, at_us in enumerate((old_us, young_us)):
        pulled_segment(office, device, at_us)
        hit = make_hit(read_id=f"r-{number}", at_us=at_us)
        store.put(hit.hit_id, "pole-1", seal_hit(office, hit))
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
