# SPDX-License-Identifier: Apache-2.0
"""A policy of the office on its way to deletion: sync leaves it, the eye verifies it again and obeys at once."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from firmware.config import DeviceConfig
from firmware.health import well
from firmware.retention_watch import ALONE, LATE, REFUSED, PolicyWatch, retention_finding
from firmware.wiring import EyeParts
from firmware.wiring_sync import SyncParts
from provisioning.identity import Identity
from storage.audit import AuditLog, read_entries
from storage.files import OS_FILES, Files
from storage.layout import DataLayout
from storage.retention_policies import MAX_STEPS
from storage.types import EPOCH_US, SegmentKind, TimeEvidence, epoch_of
from sync.certificates import public_pem
from sync.enrolment import Retention as FirstPolicy
from sync.errors import ListError
from sync.hotlists.envelope import sign_envelope
from sync.retention_document import RetentionDocument, sign_retention
from tests.provisioning.conftest import FakeAgency, new_key

from .disk_rig import TroubledFiles

DAY = 86_400
KEY = new_key()


def signed(number: int, days: float, key: Any = KEY) -> bytes:
    fields = {"version": f"days-{days:g}", "issued_us": 1, "by": "clerk", "reason": "why"}
    return sign_retention(RetentionDocument(number=number, seconds=int(days * DAY), **fields), key)


class Unit:
    """An enrolled device."""

    def __init__(self, folder: Path) -> None:
        self.layout = DataLayout(folder / "device")
        self.agency = FakeAgency()
        self.identity = Identity.create(self.layout.identity, "dev-1")
        self.layout.run.mkdir(parents=True)
        self.held: set[int] = set()
        self.enrol(30)

    def enrol(self, days: float, number: int = 0) -> None:
        policy = FirstPolicy(seconds=int(days * DAY), version="bundle", number=number)
        bundle = self.agency.bundle(
            self.identity.csr(), retention=policy, list_keys=(public_pem(KEY.public_key()),)
        )
        self.identity.install(bundle, confirmed_ca=self.agency.fingerprint)

    def config(self) -> DeviceConfig:
        camera = {"name": "sim", "options": {"width": 320, "height": 240}}
        return DeviceConfig.model_validate({"data_dir": self.layout.root, "camera": camera})

    def watch(self, files: Files = OS_FILES) -> PolicyWatch:
        bundle = Identity.load(self.layout.identity).bundle
        assert bundle is not None
        audit = AuditLog.open(self.layout.audit, self.identity.key)
        audit._files = files
        return PolicyWatch(self.layout, bundle, audit, lambda: self.held, files=files)

    def leave(self, data: bytes) -> None:
        """What the sync service would, without its own look at it."""
        fresh = self.layout.policy_offer.with_suffix(".new")
        fresh.write_bytes(data)
        fresh.replace(self.layout.policy_offer)

    def events(self) -> list[str]:
        return [entry.event for entry in read_entries(self.layout.audit)]


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    return Unit(tmp_path)


def seconds(watch: PolicyWatch, *epochs: int) -> list[float]:
    return [watch.schedule.seconds_for(epoch) / DAY for epoch in epochs]


def test_the_bundles_policy_is_the_first_and_a_document_changes_it_without_a_restart(unit: Unit) -> None:
    watch = unit.watch()
    unit.held = {1, 2}
    assert seconds(watch, 1) == [30]
    unit.leave(signed(1, 60))
    watch.poll()
    assert seconds(watch, 1, 3) == [30, 60]
    unit.leave(signed(2, 3))
    watch.poll()
    assert seconds(watch, 1, 3) == [3, 3]
    assert seconds(unit.watch(), 1, 3) == [3, 3]  # and after a restart
    assert unit.events() == ["retention_policy_obeyed"] * 2
    assert not watch.refused


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ("a stranger's", signed(9, 1, new_key())),
        ("an older one", signed(4, 1)),
        ("another of the same number", signed(5, 1)),
        ("another kind of document", sign_envelope("list", b"{}", KEY)),
        ("a policy of no bounds", sign_envelope("retention", b'{"number":9,"seconds":1}', KEY)),
        ("an altered one", signed(9, 30).replace(b"2592000", b"0000180")),
        ("too long", b"x" * 100_000),
    ],
)
def test_the_eye_obeys_nothing_that_the_agency_did_not_sign_or_has_overtaken(unit: Unit, what, left) -> None:
    watch = unit.watch()
    unit.leave(signed(5, 60))
    watch.poll()
    unit.leave(left)
    for _ in range(3):
        watch.poll()
    assert seconds(watch, 7) == [60], what
    assert unit.events().count("retention_policy_refused") == 1
    assert watch.refused
    unit.leave(signed(6, 45))
    watch.poll()
    assert seconds(watch, 7) == [45]
    assert not watch.refused


def test_a_new_bundle_without_a_reset_lengthens_no_old_hour(unit: Unit) -> None:
    unit.watch()
    unit.held = {1}
    unit.enrol(60)
    assert seconds(unit.watch(), 1, 2) == [30, 60]


def test_an_older_document_that_a_new_bundle_has_overtaken_is_no_policy(unit: Unit) -> None:
    unit.leave(signed(4, 60))
    unit.enrol(10, number=5)
    watch = unit.watch()
    watch.poll()
    assert seconds(watch, 1) == [10]
    assert not watch.refused


def test_a_bundle_from_before_the_document_changes_nothing(unit: Unit) -> None:
    unit.leave(signed(4, 60))
    unit.watch().poll()
    unit.enrol(90, number=3)
    assert seconds(unit.watch(), 1) == [60]


def test_a_damaged_book_falls_back_to_the_shortest_policy_at_hand_and_says_so(unit: Unit) -> None:
    unit.leave(signed(4, 60))
    unit.watch().poll()
    unit.held = {1}
    unit.layout.policies.write_bytes(b"\0" * 100)
    assert seconds(unit.watch(), 1, 2) == [30, 60]
    assert unit.events()[-1] == "retention_policies_lost"
    assert unit.layout.policies.with_name("policies.json.damaged").exists()


@pytest.mark.parametrize("spoilt", [b"", b"{"])
def test_a_full_disk_keeps_no_eye_from_starting_and_is_told_once_it_takes_that(
    unit: Unit, spoilt: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No book yet, as after an update, or a spoilt one; and a new bundle besides."""
    unit.held = {1}
    if spoilt:
        unit.layout.policies.parent.mkdir()
        unit.layout.policies.write_bytes(spoilt)
    unit.enrol(20, number=3)
    files = TroubledFiles()
    files.refuse = errno.ENOSPC
    watch = unit.watch(files)
    assert seconds(watch, 1, 2) == [20, 20]
    assert watch.poll() == watch.schedule
    assert not unit.layout.audit.exists()
    files.refuse = None
    unit.leave(signed(4, 10))
    for _ in range(3):
        watch.poll()
    assert seconds(watch, 1) == [10]
    assert unit.events() == ["retention_policies_lost", "retention_policy_obeyed"]
    assert seconds(unit.watch(), 1) == [10]


def test_a_lengthening_too_many_is_taken_once_hours_have_died(unit: Unit) -> None:
    watch = unit.watch()
    for number in range(1, MAX_STEPS + 1):
        unit.held.add(number)
        unit.leave(signed(number, 30 + number))
        watch.poll()
    assert watch.refused
    for _ in range(3):
        assert watch.poll().newest.number == MAX_STEPS - 1
    assert unit.events().count("retention_policy_refused") == 1
    unit.held = {MAX_STEPS}
    assert watch.poll().newest.number == MAX_STEPS
    assert not watch.refused


def test_what_the_audit_log_did_not_take_is_told_later(unit: Unit) -> None:
    files = TroubledFiles()
    watch = unit.watch(files)
    files.refuse, files.refused_calls = errno.ENOSPC, ("append_to",)
    unit.leave(signed(1, 10))
    for _ in range(2):
        assert watch.poll().newest.number == 1  # obeyed, and nothing leaves `poll`
    files.refuse = None
    watch.poll()
    watch.poll()
    assert unit.events() == ["retention_policy_obeyed"]


def test_from_the_wire_to_the_deletion(unit: Unit) -> None:
    """The sync service's own hook, the eye's own round; the share of an expired hour is not handed out either."""
    eye = EyeParts(unit.config(), None)
    sync = SyncParts(unit.config())
    try:
        now = eye.clock.now_us()
        old, young = now - 40 * EPOCH_US, now - 2 * EPOCH_US
        eye.retention.run(TimeEvidence(now, 0, ("gnss", "office")))  # hours sealed before it go by no name
        for at_us in (old, young):
            eye.vault._store.append(SegmentKind.READS, b"x", at_us=at_us)
        eye.vault._store.commit()
        assert sync._in_retention(epoch_of(old))
        assert sync._document("retention", signed(1, 1))
        assert not sync._document("config", b"")
        with pytest.raises(ListError):
            sync._document("retention", signed(2, 1, new_key()))
        eye.retention.obey(eye.policies.poll())
        assert not sync._in_retention(epoch_of(old))
        assert sync._in_retention(epoch_of(young))
        told = eye.status()
        assert (told["retention_policy"], told["retention_number"], told["retention_days"]) == (
            "days-1",
            1,
            1.0,
        )
        assert told["deletion_late_s"] == 0
        eye.retention.run(TimeEvidence(now, 0, ("gnss", "office")))
        assert epoch_of(old) not in eye.keyring.epochs()
        assert epoch_of(young) in eye.keyring.epochs()
    finally:
        sync.close()
        eye.close()
        eye.vault.close()


class Deletion:
    """How far deletion is behind, and for how long it has gone alone, in seconds."""

    def __init__(self, late_s: int, alone_s: int) -> None:
        self.late_us, self.alone_us = late_s * 1_000_000, alone_s * 1_000_000


@pytest.mark.parametrize(
    ("late_s", "alone_s", "refused", "finding"),
    [
        (0, 0, False, None),
        (7_000, 80_000, False, None),
        (7_300, 90_000, True, LATE),
        (0, 90_000, True, REFUSED),
        (0, 90_000, False, ALONE),
    ],
)
def test_what_is_told_of_deletion(unit: Unit, late_s, alone_s, refused, finding) -> None:
    watch = unit.watch()
    watch.refused = refused
    found = retention_finding(Deletion(late_s, alone_s), watch)
    assert found == (finding or well("retention"))
