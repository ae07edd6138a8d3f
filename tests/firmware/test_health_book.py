# SPDX-License-Identifier: Apache-2.0
"""A change of health is counted, kept under the chain of the audit log, and told to the office in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from firmware.health import Condition, Finding, Health, well
from firmware.health_book import AUDITED_AN_HOUR, HOUR_US, book, device_health, problems
from firmware.ledger import Ledger
from storage.audit import AuditLog, read_entries, verify_audit
from storage.errors import AuditError
from sync.limits import MAX_TEXT_CHARS
from sync.schema import Heartbeat

AT_US = 1_790_000_000_000_000
US_PER_S = 1_000_000
LOW = Finding("power", Condition.DEGRADED, "battery_low", "charge or replace the battery")


def test_trouble_and_recovery_are_counted_and_audited(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    ledger = Ledger(tmp_path / "ledger.json")
    audit = AuditLog.open(tmp_path / "audit" / "audit.jsonl", key)
    health = Health(book(ledger, audit, "cam0"))
    health.report(LOW, AT_US)
    health.report(LOW, AT_US + 1)
    health.report(well("power"), AT_US + 2)
    assert ledger.totals() == {"health: power battery low": 1, "health: power ok": 1}
    entries = list(read_entries(tmp_path / "audit" / "audit.jsonl"))
    assert [
        (entry.event, entry.fields["code"], entry.fields["before"], entry.at_us)
        for entry in entries
        if entry.event == "health_changed"
    ] == [
        ("health_changed", "battery_low", "", AT_US),
        ("health_changed", "", "battery_low", AT_US + 2),
    ]
    report = verify_audit(tmp_path / "audit" / "audit.jsonl", key.public_key())
    assert report.ok
    assert report.unsigned == 0


def test_a_loose_plug_does_not_fill_the_audit_log(tmp_path: Path) -> None:
    audit = AuditLog.open(tmp_path / "audit.jsonl", ec.generate_private_key(ec.SECP256R1()))
    ledger = Ledger(tmp_path / "ledger.json")
    health = Health(book(ledger, audit, "cam0"))

    def entries(part: str) -> list[int]:
        found = read_entries(tmp_path / "audit.jsonl")
        return [e.at_us for e in found if e.event == "health_changed" and e.fields["part"] == part]

    for at_us in range(AT_US, AT_US + 60 * US_PER_S, US_PER_S):
        health.report(Finding("camera", Condition.FAILED, "lost"), at_us)
        health.report(well("camera"), at_us + 1)
    assert len(entries("camera")) == AUDITED_AN_HOUR
    counted = ledger.totals()
    assert counted["health: camera lost"] == counted["health: camera ok"] == 60
    assert counted["health: changes not in the audit log"] == 120 - AUDITED_AN_HOUR
    health.report(LOW, AT_US)
    assert entries("power") == [AT_US]  # each part has its own share
    health.report(Finding("camera", Condition.FAILED, "lost"), AT_US + 2 * HOUR_US)
    assert entries("camera")[-1] == AT_US + 2 * HOUR_US


def test_an_audit_log_that_takes_nothing_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_more: object) -> None:
        raise AuditError("no room")

    audit = AuditLog.open(tmp_path / "audit.jsonl", ec.generate_private_key(ec.SECP256R1()))
    monkeypatch.setattr(audit, "append", refuse)
    ledger = Ledger(tmp_path / "ledger.json")
    Health(book(ledger, audit, "cam0")).report(LOW, AT_US)
    assert ledger.totals() == {"health: power battery low": 1}


def test_the_office_hears_what_is_wrong_since_when_and_what_to_do() -> None:
    health = Health()
    health.report(well("lamp"), AT_US)
    health.report(Finding("gnss", Condition.ABSENT), AT_US)
    health.report(LOW, AT_US)
    health.report(Finding("camera", Condition.FAILED, "lost", "x" * 2 * MAX_TEXT_CHARS), AT_US)
    told = problems(health.snapshot())
    assert [line.split(":")[0] for line in told] == ["camera", "power"]
    assert told[1] == "power: battery low since 2026-09-21 14:13 UTC - charge or replace the battery"
    Heartbeat(device_id="dev-1", boot_id="b", sent_us=1, problems=told)  # within the wire's bounds


def test_the_heartbeat_carries_both_services() -> None:
    health, own = Health(), Health()
    health.report(LOW, AT_US)
    own.report(Finding("modem", Condition.FAILED, "mute", "check its power"), AT_US)
    eye = {"frames": 7, "lists": [], "health": health.snapshot(), "ledger": {"reads": 3}}
    told = device_health(eye, own.snapshot(), {"health: modem mute": 1})
    assert told["counters"] == {"reads": 3, "health: modem mute": 1}
    assert told["health"] == {"frames": 7}
    assert [line.split(":")[0] for line in told["problems"]] == ["power", "modem"]
    Heartbeat(device_id="dev-1", boot_id="b", sent_us=1, **told)


def test_an_eye_that_does_not_answer_is_a_problem() -> None:
    told = device_health(None, [], {})
    assert told["problems"] == ("the eye does not answer",)
    Heartbeat(device_id="dev-1", boot_id="b", sent_us=1, **told)
