# SPDX-License-Identifier: Apache-2.0
"""Deletion receipts at the office: exported, checked by anybody, and held against the hours that a device had."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from office_world import Clock, MadeDevice, make_receipts
from sqlalchemy import update

from backoffice import ca, cli, devices, receipts, tickets
from backoffice.db import deletion_receipts
from backoffice.hourly import look_after
from backoffice.known_epochs import GRACE_S, known_epochs, remember_epochs, spans
from backoffice.office import Office
from backoffice.retention_policy import set_policy
from storage.audit import read_entries
from storage.types import EPOCH_US, epoch_of
from sync.certificates import fingerprint, public_pem

FIRST = 480_000  # epoch of the first made receipt
THREE = range(3)


@pytest.fixture
def kept(office: Office, device: MadeDevice) -> Office:
    """Three receipts of pole-1."""
    for receipt in make_receipts(device, 3):
        receipts.record(office, "pole-1", f"r-{receipt.body.n}", receipt.encode())
    return office


def heard_of(office: Office, clock: Clock, when: int, epochs: list[int]) -> None:
    """The device listed these hours in the hour `when`."""
    now, clock.now_us = clock.now_us, when * EPOCH_US
    remember_epochs(office, "pole-1", epochs)
    clock.now_us = now


@pytest.fixture
def folder(kept: Office, clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    out = tmp_path / "export"
    heard_of(kept, clock, FIRST + 3, [FIRST + n for n in THREE])
    command = ("--data", str(kept.layout.root), "receipts", "export", "--device", "pole-1", "--out", str(out))
    assert cli.main(command) == 0
    assert cli.main(command) == 1  # it is not empty any more
    capsys.readouterr()
    return out


def check(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    code = cli.main(["verify-receipts", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_an_export_is_checked_without_an_office(
    folder: Path, device: MadeDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WAYSIDE_OFFICE_DATA", raising=False)
    code, said = check(capsys, str(folder))
    assert (code, said["device"], said["receipts"], said["epochs"]) == (0, "pole-1", 3, 3)
    assert said["key_sha256"] == fingerprint(device.key.public_key())
    code, said = check(capsys, str(folder / "receipts.jsonl"), "--key", str(folder / "device.pem"))
    assert (code, said["receipts"]) == (0, 3)
    assert cli.main(["verify-receipts", str(folder)]) == 0
    assert "3 receipts, 3 epochs erased, whole" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["receipts", "verify"])  # this one needs an office


def test_an_export_is_checked_without_our_software(folder: Path) -> None:
    command = [sys.executable, "-I", "verify_audit.py", "receipts", "receipts.jsonl", "--key", "device.pem"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "3 receipts, 0 problems")
    assert " ".join(command[2:]) in (folder / "README.txt").read_text()


def test_what_is_missing_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, c = (folder / "receipts.jsonl").read_bytes().splitlines(keepends=True)
    for lines, expected in (
        ([a, c], ["receipts 1 to 1 are missing", "3 receipts were exported", "no receipt for epoch 480001"]),
        ([a, b], ["3 receipts were exported, here are 2", "no receipt for epoch 480002"]),
        ([], ["3 receipts were exported, here are 0", "no receipt for epochs 480000 to 480002"]),
        ([a, b"rubbish\n", c], ["line 2 is no receipt, or is cut", "no receipt for epoch 480001"]),
    ):  # fmt: skip
        (folder / "receipts.jsonl").write_bytes(b"".join(lines))
        code, said = check(capsys, str(folder))
        assert code == 1
        assert len(said["problems"]) == len(expected)
        assert all(told.startswith(start) for told, start in zip(said["problems"], expected, strict=True))


def test_another_key_and_what_is_no_export(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.pem"
    other.write_text(public_pem(ca.new_key().public_key()))
    code, said = check(capsys, str(folder), "--key", str(other))
    assert code == 1
    assert sum("not signed by this device" in told for told in said["problems"]) == 3
    bare = tmp_path / "receipts.jsonl"
    bare.write_bytes((folder / "receipts.jsonl").read_bytes())
    for bad in (
        ["nowhere"],
        [str(bare)],  # no key beside it
        [str(folder), "--key", str(folder / "README.txt")],
    ):
        assert cli.main(["verify-receipts", *bad]) == 1
    (folder / "export.json").write_text("{}")
    assert cli.main(["verify-receipts", str(folder)]) == 1
    assert "damaged" in capsys.readouterr().err


def test_an_hour_that_is_due_and_has_no_receipt_is_told(
    kept: Office, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = kept.settings.retention_seconds
    edge = epoch_of(clock() - (keep + GRACE_S) * 1_000_000) - 1
    heard_of(kept, clock, edge + 2, [FIRST, edge - 1, edge, edge + 1])
    remember_epochs(kept, "pole-1", [edge])  # once is enough
    assert known_epochs(kept, "pole-1") == {FIRST, edge - 1, edge, edge + 1}
    (report,) = receipts.verify(kept, "pole-1")
    assert report.missing_epochs == (edge - 1, edge)
    assert [told.partition(" (")[0] for told in report.problems] == [
        f"no receipt for epochs {edge - 1} to {edge}"
    ]
    assert cli.main(["--data", str(kept.layout.root), "receipts", "verify"]) == 1
    assert "no receipt" in capsys.readouterr().err


def test_an_hour_is_due_no_sooner_than_the_device_could_know(
    office: Office, device: MadeDevice, clock: Clock
) -> None:
    days_ago = [epoch_of(clock() - days * 24 * EPOCH_US) for days in (400, 40, 10)]
    heard_of(office, clock, days_ago[1], days_ago[1:2])
    heard_of(office, clock, days_ago[2], [*days_ago[2:], days_ago[0]])  # the first by a clock that was lost
    set_policy(office, 60 * 86_400, "sixty", "chief", "longer, for new hours")
    assert receipts.verify(office)[0].missing_epochs == (days_ago[1],)
    set_policy(office, 7 * 86_400, "seven", "chief", "shorter")
    assert receipts.verify(office)[0].missing_epochs == (days_ago[1],)  # it was due before
    clock.forward(GRACE_S + 1)
    assert receipts.verify(office)[0].missing_epochs == (days_ago[0], days_ago[1], days_ago[2])


def test_receipts_that_are_overdue_reach_somebody(office: Office, device: MadeDevice, clock: Clock) -> None:
    keep = office.settings.retention_seconds
    heard_of(office, clock, FIRST + 1, [FIRST, FIRST + 1])
    for _ in range(2):
        look_after(office, "office")
    (ticket,) = tickets.open_tickets(office)
    assert (ticket.device_id, ticket.alarm, ticket.well_us) == ("pole-1", tickets.RECEIPTS, None)
    assert ticket.since_us == (FIRST + 1) * EPOCH_US + keep * 1_000_000
    assert "2 hours" in ticket.what
    first, second = make_receipts(device, 2)
    receipts.record(office, "pole-1", "r-0", first.encode())
    look_after(office, "office")
    assert "1 hour " in tickets.open_tickets(office)[0].what
    receipts.record(office, "pole-1", "r-1", second.encode())
    look_after(office, "office")
    (ticket,) = tickets.open_tickets(office)
    assert ticket.well_us == clock()


def test_a_revoked_device_owes_no_receipt_to_anybodys_desk(
    office: Office, device: MadeDevice, clock: Clock
) -> None:
    heard_of(office, clock, FIRST + 1, [FIRST])
    devices.revoke(office, "pole-1", "stolen")
    look_after(office, "office")
    assert tickets.open_tickets(office) == []
    assert receipts.verify(office)[0].missing_epochs == (FIRST,)


def test_a_forged_receipt_covers_no_hour(kept: Office, device: MadeDevice, clock: Clock) -> None:
    (forged,) = make_receipts(dataclasses.replace(device, key=ca.new_key()), 1)
    heard_of(kept, clock, FIRST + 1, [FIRST])
    with kept.engine.begin() as connection:
        mine = deletion_receipts.c.receipt_id == "r-0"
        connection.execute(update(deletion_receipts).where(mine).values(body=forged.encode().decode()))
    assert receipts.verify(kept, "pole-1")[0].missing_epochs == (FIRST,)


def test_runs_of_hours() -> None:
    assert spans([5, 1, 2, 9, 3]) == [(1, 3), (5, 5), (9, 9)]
    assert spans([]) == []


def test_exports_are_in_the_audit_log(folder: Path, kept: Office) -> None:
    told = [entry for entry in read_entries(kept.layout.audit) if entry.event.startswith("receipts_export")]
    assert [entry.event for entry in told][:2] == ["receipts_export", "receipts_exported"]
    about = json.loads((folder / "export.json").read_bytes())
    assert told[1].fields["head"] == about["head"]
