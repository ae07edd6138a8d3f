# SPDX-License-Identifier: Apache-2.0
"""Heartbeats over TLS: the device notes the office's log, the office the device's; the commands check against that."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from office_world import Clock, MadeDevice
from structlog.testing import capture_logs

from backoffice import cli, keys, tickets
from backoffice.office import Office
from storage.audit import AuditLog, read_entries, verify_audit
from storage.keyring import Keyring
from storage.root_of_trust import FileRootOfTrust
from storage.spool import Spool
from storage.witness import OF_OFFICE, WENT_BACK, Witness, statement
from sync.agent import AgentConfig, AgentHooks, SyncAgent
from sync.hotlists.store import ListStore
from sync.transport import HttpsTransport
from sync.wire import AUDIT_HEADER

HOUR_S = 3600.0


class Pole:
    """A device's agent over its real link, with its audit log; `beat` sends one heartbeat."""

    def __init__(self, link: HttpsTransport, device: MadeDevice, root: Path, office: Office) -> None:
        self.log_path = root / "audit.jsonl"
        self._log = AuditLog.open(self.log_path, device.key)
        self._link, self._device, self._root, self._now_us = link, device, root, office.clock
        self._list_key = keys.load_purpose_public(office.layout, keys.LISTS)
        self._witness = Witness(OF_OFFICE, lambda event, fields: self.note(event, **fields), self.log_path)

    def note(self, event: str, **fields: object) -> None:
        self._log.append(event, fields, at_us=self._now_us())

    def beat(self) -> None:
        box = Keyring.open(self._root / "keyring", FileRootOfTrust(self._root / "trust")).box("lists")
        agent = SyncAgent(
            AgentConfig(self._device.device_id, "boot-1"),
            self._link,
            Spool.open(self._root / "spool"),
            ListStore(self._root / "lists", box),
            list_keys=[self._list_key],
            hooks=AgentHooks(
                audit_end=lambda: statement(self._log.signed_head(at_us=self._now_us())),
                office_audit_end=lambda text: self._witness.saw("office", text, self._now_us()),
            ),
        )
        agent.step(self._now_us())
        assert agent.status.link_up

    def events(self) -> list[str]:
        return [entry.event for entry in read_entries(self.log_path)]


@pytest.fixture
def pole(link: HttpsTransport, device: MadeDevice, office: Office, tmp_path: Path) -> Pole:
    return Pole(link, device, tmp_path / "pole", office)


def run(office: Office, *words: str) -> int:
    return cli.main(["--data", str(office.layout.root), "audit", *words])


def cut(path: Path, keep: int) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:keep]))


def test_each_notes_the_other_once_a_day(office: Office, pole: Pole, clock: Clock) -> None:
    pole.note("started")
    for hour in range(30):
        if hour % 8 == 0:
            pole.beat()
        clock.forward(HOUR_S)
    assert pole.events().count(OF_OFFICE) == 2
    noted = [entry for entry in read_entries(office.layout.audit) if entry.event == "device_audit_head"]
    assert [(entry.fields["of"], entry.fields["user"]) for entry in noted] == [("pole-1", "office")] * 2
    assert run(office, "verify", "--witness", str(pole.log_path)) == 0
    assert run(office, "device", "pole-1", str(pole.log_path)) == 0


def test_an_office_that_cuts_its_log_is_found_out_by_any_device(
    office: Office, pole: Pole, clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the office's own audit key: its log alone, and an export of it, prove themselves."""
    office.audit.record("search", user="garcia", at_us=office.clock(), pattern="AB1234")
    pole.beat()
    kept = sum(1 for _ in read_entries(office.layout.audit)) - 2
    cut(office.layout.audit, kept)
    office.audit.record("search", user="garcia", at_us=office.clock(), pattern="CD5678")
    assert run(office, "verify") == 0
    assert run(office, "export", "--out", str(tmp_path / "export")) == 0
    assert run(office, "check", str(tmp_path / "export")) == 0
    assert run(office, "verify", "--witness", str(pole.log_path)) == 1
    assert run(office, "check", str(tmp_path / "export"), "--witness", str(pole.log_path)) == 1
    assert "cut, or the log written anew" in capsys.readouterr().err


def test_the_device_says_at_once_that_the_offices_log_went_back(
    office: Office, pole: Pole, clock: Clock
) -> None:
    for _ in range(5):
        office.audit.record("login", user="garcia", at_us=office.clock())
    pole.beat()
    cut(office.layout.audit, 2)
    clock.forward(HOUR_S)
    pole.beat()
    assert WENT_BACK in pole.events()


def test_a_device_whose_log_was_cut_is_found_out_by_the_office(
    office: Office, pole: Pole, device: MadeDevice, capsys: pytest.CaptureFixture[str]
) -> None:
    """A thief with the device's key, or a technician, who removes the end of what it recorded."""
    for number in range(6):
        pole.note("segment_pulled", number=number)
    pole.beat()
    cut(pole.log_path, 3)
    assert verify_audit(pole.log_path, device.key.public_key()).ok
    assert run(office, "device", "pole-1", str(pole.log_path)) == 1
    assert "entry 5, which a witness noted, is missing" in capsys.readouterr().err


def test_a_clone_of_a_pole_gives_itself_away(
    office: Office, link: HttpsTransport, device: MadeDevice, clock: Clock, tmp_path: Path
) -> None:
    """A copied disk speaks with the same key and name; the two logs part, and the office sees one that goes back."""
    true = Pole(link, device, tmp_path / "true", office)
    for _ in range(3):
        true.note("retention_run")
    true.beat()
    shutil.copytree(tmp_path / "true", tmp_path / "clone")
    clone = Pole(link, device, tmp_path / "clone", office)
    for _ in range(4):
        true.note("retention_run")
    clock.forward(HOUR_S)
    true.beat()
    clock.forward(HOUR_S)
    clone.beat()
    (odd,) = [entry for entry in read_entries(office.layout.audit) if entry.event == WENT_BACK]
    assert odd.fields["of"] == "pole-1"
    assert odd.fields["before"]["n"] > odd.fields["now"]["n"]
    clone.beat()  # says of nothing that it is not well, which ends no alarm of the office's own
    told = [
        (ticket.device_id, ticket.well_us)
        for ticket in tickets.open_tickets(office)
        if ticket.alarm == tickets.LOG
    ]
    assert told == [("pole-1", None)]


def test_only_the_devices_own_word_is_noted_of_its_log(
    office: Office, link: HttpsTransport, tmp_path: Path
) -> None:
    """Not what another key signed: a made-up end would accuse the device for ever."""
    made_up = AuditLog.open(tmp_path / "made-up.jsonl", ec.generate_private_key(ec.SECP256R1()))
    text = statement(made_up.signed_head(at_us=1))
    beat = {"v": 1, "device_id": "pole-1", "boot_id": "b", "sent_us": 1}
    with capture_logs() as logs:
        assert link.post("/v1/heartbeat", json.dumps(beat).encode(), {AUDIT_HEADER: text}).status == 200
    assert [line["event"] for line in logs] == ["audit_end_not_exchanged"]
    assert not [e for e in read_entries(office.layout.audit) if e.event == "device_audit_head"]


def test_a_witness_that_notes_nothing_is_no_witness(office: Office, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(b"")
    assert run(office, "verify", "--witness", str(empty)) == 1
    assert run(office, "verify", "--witness", str(tmp_path / "none.jsonl")) == 1
    assert run(office, "device", "pole-9", str(empty)) == 1


def test_a_heartbeat_goes_on_without_a_log(office: Office, pole: Pole) -> None:
    """A damaged log stops what people do, not the health of the poles."""
    pole.note("started")
    office.layout.audit.write_bytes(b"damaged " * 40_000 + b"\n")
    with capture_logs() as logs:
        pole.beat()
    assert OF_OFFICE not in pole.events()
    assert "audit_end_not_exchanged" in {line["event"] for line in logs}


def test_a_statement_that_is_none_is_passed_over(office: Office, link: HttpsTransport) -> None:
    beat = {"v": 1, "device_id": "pole-1", "boot_id": "b", "sent_us": 1}
    with capture_logs() as logs:
        answer = link.post("/v1/heartbeat", json.dumps(beat).encode(), {AUDIT_HEADER: "nonsense " * 500})
    assert answer.status == 200
    assert {
        "event": "audit_end_not_exchanged",
        "device": "pole-1",
        "why": "AuditError",
        "log_level": "warning",
    } in logs
