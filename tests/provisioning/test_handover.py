# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from provisioning.commands import Commands, Hooks
from provisioning.handover import forget_agency
from provisioning.selftest import SelfTests
from provisioning.types import Peer
from storage.audit import AuditLog, read_entries
from storage.errors import DiskFullError
from storage.keyring import Keyring
from storage.layout import DataLayout
from storage.root_of_trust import FileRootOfTrust
from storage.spool import Spool
from storage.store import Store
from storage.types import Recipient, SegmentKind
from sync.hotlists.store import ListStore

NOW_US = 1_790_000_000_000_000
TECHNICIAN = Peer("pat", "technician")


class Device:
    """A data folder with something of an agency in each of its parts."""

    def __init__(self, root: Path) -> None:
        self.layout = DataLayout(root)
        self.keyring = Keyring.open(self.layout.keyring, FileRootOfTrust(self.layout.trust))
        key = ec.generate_private_key(ec.SECP256R1())
        store = Store.open(
            self.layout.store,
            keyring=self.keyring,
            recipients=[Recipient.of(key.public_key())],
            signer=key,
            device_id="pole-7",
            boot_id="boot-1",
        )
        for kind in SegmentKind:
            store.append(kind, b"x", at_us=NOW_US)
        store.close()
        self.hits, self.receipts = Spool.open(self.layout.hits_spool), Spool.open(self.layout.receipts_spool)
        self.hits.put("h1", b"sealed", kind="hit")
        self.hits.put("h2", b"sealed", kind="hit")
        self.hits.failed("h2", "refused", permanent=True)
        self.receipts.put("r1", b"{}", kind="receipt")
        self.lists = ListStore(self.layout.lists, self.keyring.box("hotlists"))
        (self.layout.lists / "leads.wlist").write_bytes(b"sealed")
        self.lists.accept_manifest(50, "e")
        self.audit = AuditLog.open(self.layout.audit)

    def forget(self) -> None:
        self.found = forget_agency(self.layout, self.keyring, self.lists, self.audit)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "data")


def test_nothing_of_the_agency_stays(device: Device) -> None:
    device.forget()
    assert device.keyring.epochs() == []
    assert list(device.layout.store.rglob("*.wseg")) == []
    assert (device.hits.count(), device.hits.quarantined_count(), device.receipts.count()) == (0, 0, 0)
    assert device.lists.manifest() == (0, "")
    assert device.lists.files() == set()
    counts = {"epochs": 1, "segments": 2, "hits": 2, "receipts": 1, "lists": 1}
    (entry,) = read_entries(device.layout.audit)
    assert (entry.event, dict(entry.fields)) == ("agency_forgotten", counts)
    device.forget()  # a cut one is repeated
    assert device.found.hits == 0


def test_a_fresh_device_has_nothing_to_forget(tmp_path: Path) -> None:
    layout = DataLayout(tmp_path)
    keyring = Keyring.open(layout.keyring, FileRootOfTrust(layout.trust))
    lists = ListStore(layout.lists, keyring.box("hotlists"))
    found = forget_agency(layout, keyring, lists, AuditLog.open(layout.audit))
    assert (found.epochs, found.segments) == (0, 0)


def reset(commands: Commands) -> Any:
    request = {"id": 1, "command": "reset", "params": {"confirm": commands.identity.device_id}}
    return json.loads(commands.handle(json.dumps(request).encode(), TECHNICIAN))


def test_a_reset_forgets_the_agency_first(device: Device) -> None:
    commands = Commands(device.layout.identity, SelfTests(), Hooks(on_reset=device.forget))
    before = commands.identity.fingerprint
    assert reset(commands)["ok"]
    assert commands.identity.fingerprint != before
    assert device.keyring.epochs() == []


def test_a_reset_that_cannot_destroy_changes_nothing(device: Device) -> None:
    def full() -> None:
        raise DiskFullError("no space")

    commands = Commands(device.layout.identity, SelfTests(), Hooks(on_reset=full))
    before = commands.identity.fingerprint
    assert reset(commands)["error"]["code"] == "identity"
    assert commands.identity.fingerprint == before
