# SPDX-License-Identifier: Apache-2.0
"""`wayside-office hold ...`: two people, a password, what each prints, and what leaves the office."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hold_world import (
    DAY_US,
    PICTURE,
    Road,
    audit_of,
    choice,
    command,
    events,
    held,
    holds,
    reads_of,
    road_with,
)
from office_world import PASSWORD, Clock, MadeDevice, make_device

from backoffice.audit import Audit, AuditUnavailable
from backoffice.hold_export import shown
from backoffice.hold_file import HoldFolder, HoldState
from backoffice.office import Office, day_of
from backoffice.people import Role
from storage.audit import Checkpoint
from storage.hold import HeldKind
from storage.offline import verify_hold
from storage.types import EPOCH_US, epoch_of
from sync.certificates import fingerprint

WHY = ("--purpose", "criminal-investigation", "--case", "25-1234", "--reason", "hit and run")

LOOK = ("--reason", "for the prosecutor")


@pytest.fixture
def road(office: Office, device: MadeDevice, tmp_path: Path, clock: Clock) -> Road:
    return road_with(office, device, tmp_path / "device-data", epoch_of(clock() - 20 * DAY_US) * EPOCH_US)


def ask(office: Office, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert command(office, "hold", "request", *WHY, *words, "--json") == 0
    return str(json.loads(capsys.readouterr().out)["hold"])


def test_the_whole_life_of_a_hold(office: Office, road: Road, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(office, "hold", "request", *WHY, "--plate", "AB100?", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    hold_id = said["hold"]
    assert (said["reads"], said["pictures"], said["hits"], said["problems"]) == (3, 6, 0, [])
    assert 9 * 24 < said["hours_left"] <= 10 * 24 + 1
    assert command(office, "hold", "list") == 0
    assert "3 asked for" in capsys.readouterr().out
    assert command(office, "hold", "approve", hold_id, by="sergeant") == 0
    assert "3 reads" in capsys.readouterr().out
    assert command(office, "hold", "show", hold_id) == 0
    assert "approved by sergeant" in capsys.readouterr().out
    assert command(office, "hold", "open", hold_id, *LOOK, "--json", by="sergeant") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    reads = [line for line in lines if line["kind"] == "reads"]
    assert sorted(line["record"]["text"] for line in reads) == ["AB1000", "AB1001", "AB1002"]
    assert {line["sha256"] for line in reads} == {
        hashlib.sha256(raw).hexdigest() for raw in road.sealed.values()
    }
    (proof,) = [
        line["record"] for line in lines if line["kind"] == "proof" and line["record"]["kind"] == "reads"
    ]
    assert (proof["header_signed"], proof["footer_signed"], proof["records"]) == (True, True, 3)
    assert command(office, "hold", "release", hold_id, "--reason", "closed") == 0
    assert command(office, "hold", "keep", hold_id, "--reason", "appeal", by="chief") == 0
    assert command(office, "hold", "release", hold_id, "--reason", "closed") == 0
    assert command(office, "hold", "approve", hold_id, by="chief") == 0
    capsys.readouterr()
    assert command(office, "hold", "open", hold_id, *LOOK, by="sergeant") == 1
    assert "ended" in capsys.readouterr().err
    told = events(office, hold_id)
    assert told[:4] == ["hold_request", "hold_requested", "hold_approve", "hold_made"]
    assert told[-3:] == ["hold_end", "hold_ended", "hold_open"]
    assert office.audit.verify().ok


def test_the_second_person_proves_who_they_are(
    office: Office, road: Road, capsys: pytest.CaptureFixture[str]
) -> None:
    hold_id = ask(office, capsys, "--read", "pole-1/r-1")
    today = day_of(office.clock())
    one_time = office.people.add("new", Role.SUPERVISOR, today, office.clock())
    for by, password in (
        ("sergeant", "a guess, no more"),
        ("new", one_time),  # whoever made the account knows it
        ("doyle", PASSWORD),  # an operator
        ("auditor", PASSWORD),
        ("nobody", PASSWORD),
    ):
        assert command(office, "hold", "approve", hold_id, by=by, password=password) == 3, by
    assert holds(office).get(hold_id).state is HoldState.WAITING
    assert events(office).count("refused") == 5
    assert command(office, "hold", "request", *WHY, "--read", "pole-1/r-1", by="auditor") == 3
    assert command(office, "hold", "request", *WHY, "--read", "pole-1/r-1", "--json", by="sergeant") == 0
    mine = json.loads(capsys.readouterr().out)["hold"]
    assert command(office, "hold", "approve", mine, by="sergeant") == 3
    assert "another person" in capsys.readouterr().err


def test_one_person_with_one_password_cannot_be_two(
    office: Office, road: Road, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever asks proves who they are as well: else the sergeant asks as doyle and approves as the sergeant."""
    guess = "not the password of doyle"
    request = ("hold", "request", *WHY, "--read", "pole-1/r-1")
    assert command(office, *request, password=guess) == 3
    assert not list(office.layout.holds.glob("*/hold.json"))
    hold_id = ask(office, capsys, "--read", "pole-1/r-1")
    assert command(office, "hold", "drop", hold_id, "--reason", "x", password=guess) == 3
    assert command(office, "hold", "approve", hold_id, by="sergeant") == 0
    assert command(office, "hold", "release", hold_id, "--reason", "x", password="") == 3
    assert command(office, "hold", "release", hold_id, "--reason", "x") == 0
    assert command(office, "hold", "keep", hold_id, "--reason", "x", by="chief", password=guess) == 3
    assert holds(office).get(hold_id).state is HoldState.END_ASKED
    refused = [entry.fields["action"] for entry in audit_of(office) if entry.event == "refused"]
    assert refused == ["hold_request", "hold_drop", "hold_release", "hold_keep"]


def test_what_a_person_typed_is_no_output_of_the_program(
    office: Office, road: Road, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ("--purpose", "test", "--read", "pole-1/r-1")
    for case, reason in (("25-1\x1b[2K\rheld by the court", "r"), ("25-1", "r\n3f9a01c2: held; all is well")):
        assert command(office, "hold", "request", "--case", case, "--reason", reason, *named) == 1
    hold_id = ask(office, capsys, "--read", "pole-1/r-1")
    assert command(office, "hold", "drop", hold_id, "--reason", "a\x1b[2Kb") == 1
    old = HoldFolder(office.layout.holds)
    old.save(old.load(hold_id).model_copy(update={"reason": "r\nall is well\x1b[2K\u202e\U000e0001"}))
    capsys.readouterr()
    assert command(office, "hold", "show", hold_id) == 0
    shown = capsys.readouterr().out
    assert "r\\nall is well\\u001b[2K\\u202e\\udb40\\udc01" in shown
    assert command(office, "hold", "show", hold_id, "--json") == 0
    line = capsys.readouterr().out
    assert line.removesuffix("\n").isprintable()
    assert json.loads(line)["reason"] == "r\nall is well\x1b[2K\u202e\U000e0001"


def test_problems_and_wrong_use(office: Office, road: Road, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(office, "hold", "request", *WHY, "--read", "pole-1/r-1", "--read", "pole-1/r-9") == 1
    told = capsys.readouterr()
    assert "pole-1/r-9" in told.err
    assert "nothing is held yet" in told.out
    assert command(office, "hold", "request", *WHY) == 1
    assert command(office, "hold", "show", "nosuch") == 1
    assert command(office, "hold", "drop", "00000000", "--reason", "x") == 1


def test_what_leaves_the_office(
    office: Office, road: Road, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hold_id = ask(office, capsys, "--read", "pole-1/r-1")
    assert command(office, "hold", "approve", hold_id, by="sergeant") == 0
    out = tmp_path / "bundle"
    assert (
        command(office, "hold", "export", hold_id, *LOOK, "--out", str(out)) == 3
    )  # an operator does not open
    assert command(office, "hold", "export", hold_id, *LOOK, "--out", str(out), by="sergeant") == 0
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in manifest["files"]} == (
        manifest["files"]
    )
    written = {
        str(path.relative_to(out)) for folder in ("reads", "images", "sealed", "proofs", "devices")
        for path in (out / folder).iterdir()
    }  # fmt: skip
    assert written == set(manifest["files"])
    read, *pictures = manifest["records"]
    assert (out / read["files"][0]).read_bytes() == road.sealed["r-1"]
    assert json.loads((out / read["files"][1]).read_bytes())["text"] == "AB1001"
    assert [(out / picture["files"][1]).read_bytes() for picture in pictures] == [PICTURE] * 2
    assert all(source["header_signed"] and source["footer_signed"] for source in manifest["proofs"])
    assert {source["header_sha256"] for source in manifest["proofs"]} == {
        record["header_sha256"] for record in manifest["records"]
    }
    digest = hashlib.sha256((out / "manifest.json").read_bytes()).hexdigest()
    exported = audit_of(office, hold_id)[-1]
    assert (exported.event, exported.fields["manifest_sha256"]) == ("hold_exported", digest)
    custody = json.loads((out / "custody.json").read_bytes())
    assert [entry["event"] for entry in custody][-2:] == ["hold_export", "hold_exported"]
    assert custody[-1]["hash"] == exported.hash
    done = offline(out, ".", "--audit", str(office.layout.audit))
    assert (done.returncode, done.stderr) == (0, "")
    assert fingerprint(road.device.key.public_key()) in done.stdout
    assert digest in done.stdout
    assert custody[-2]["fields"]["reason"] == "for the prosecutor"
    assert command(office, "hold", "open", hold_id, "--reason", " ", by="sergeant") == 1
    checkpoint = Checkpoint.from_fields(json.loads((out / "checkpoint.json").read_bytes()))
    assert checkpoint.n >= exported.n
    assert command(office, "hold", "export", hold_id, *LOOK, "--out", str(out), by="sergeant") == 1
    assert "not empty" in capsys.readouterr().err


def offline(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "verify_hold.py", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_a_bundle_that_was_altered_is_found_without_our_software(
    office: Office, road: Road, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hold_id = ask(office, capsys, "--read", "pole-1/r-1")
    assert command(office, "hold", "approve", hold_id, by="sergeant") == 0
    out = tmp_path / "bundle"
    assert command(office, "hold", "export", hold_id, *LOOK, "--out", str(out), by="sergeant") == 0
    raw = (out / "manifest.json").read_text()
    manifest = json.loads(raw)
    (proof, _), (read, *_) = manifest["proofs"], manifest["records"]
    stranger = (tmp_path / "pole-2").resolve()
    make_device(office, stranger, "pole-2")

    def put(name: str, data: bytes) -> None:
        (out / name).write_bytes(data)
        manifest["files"][name] = hashlib.sha256(data).hexdigest()
        (out / "manifest.json").write_text(json.dumps(manifest))

    assert verify_hold.check(out)[0] == []
    for change, expected in (
        (lambda: (out / read["files"][1]).write_text("{}"), "is not the file that was exported"),
        ((out / read["files"][0]).unlink, "is missing"),
        (lambda: (out / "reads" / "more.json").write_text("{}"), "is not in the manifest"),
        (lambda: put(read["files"][0], b"another read"), "is not this record"),
        (lambda: put("devices/pole-1.pem", (stranger / "device.pem").read_bytes()), "not of this device"),
        (lambda: put(proof["file"], b"{}"), "proof of pole-1/"),
    ):
        copy = tmp_path / "copy"
        shutil.copytree(out, copy)
        change()
        done = offline(out, ".")
        assert done.returncode == 1, expected
        assert expected in done.stdout
        shutil.rmtree(out)
        copy.rename(out)
        manifest = json.loads(raw)
    (out / "manifest.json").write_text(raw.replace(f'"index": {read["index"]}', '"index": 77', 1))
    told = verify_hold.check(out, office.layout.audit)[0]
    assert len(told) == 2
    assert "the segment has 3 records" in told[0]
    assert "no entry hold_exported" in told[1]
    (out / "manifest.json").write_text("[]")
    assert offline(out, ".").returncode == 2


def test_a_source_that_was_not_closed_is_kept_with_what_is_signed(office: Office, road: Road) -> None:
    for path in (office.layout.segments / "pole-1").glob("*.wseg"):
        data = path.read_bytes()
        path.write_bytes(data[: data.rindex(b"F\x00\x00")])  # as a growing segment, before its footer
    hold_id = holds(office).request(choice("pole-1/r-1")).hold.hold_id
    outcome = holds(office, "sergeant").approve(hold_id)
    records = list(holds(office).records(outcome.hold, print))
    proofs = [shown(office, record)["record"] for record in records if record.kind is HeldKind.PROOF]
    assert [(proof["header_signed"], proof["footer_signed"]) for proof in proofs] == [(True, None)] * 2


def test_nothing_is_done_that_cannot_be_recorded(
    office: Office, road: Road, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting, kept = ask(office, capsys, "--read", "pole-1/r-1"), ask(office, capsys, "--read", "pole-1/r-2")
    assert command(office, "hold", "approve", kept, by="sergeant") == 0
    assert command(office, "hold", "release", kept, "--reason", "x") == 0

    def refuse(*_: object, **__: object) -> None:
        raise AuditUnavailable("the disk is full")

    monkeypatch.setattr(Audit, "record", refuse)
    for words in (
        ("request", *WHY, "--read", "pole-1/r-1"),
        ("approve", waiting),
        ("approve", kept),
        ("drop", waiting, "--reason", "x"),
        ("keep", kept, "--reason", "x"),
        ("open", kept, *LOOK),
        ("export", kept, *LOOK, "--out", "nowhere"),
    ):
        assert command(office, "hold", *words, by="chief") == 4, words
    states = {hold.hold_id: hold.state for hold in HoldFolder(office.layout.holds).all()[0]}
    assert states == {waiting: HoldState.WAITING, kept: HoldState.END_ASKED}
    assert set(reads_of(held(office, kept))) == {"r-2"}


def test_an_export_that_is_refused_leaves_no_folder(
    office: Office, road: Road, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hold_id = ask(office, capsys, "--read", "pole-1/r-1")
    export = ("hold", "export", hold_id, *LOOK, "--out", str(tmp_path / "bundle"))
    assert command(office, *export, by="sergeant") == 1
    assert not (tmp_path / "bundle").exists()
    assert command(office, "hold", "approve", hold_id, by="sergeant") == 0
    assert command(office, *export, by="sergeant") == 0


def test_a_chain_of_custody_that_is_cut_is_told(
    office: Office, road: Road, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hold_id = ask(office, capsys, "--read", "pole-1/r-1")
    assert command(office, "hold", "approve", hold_id, by="sergeant") == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backoffice.hold_export.MAX_CUSTODY_ENTRIES", 3)
        assert (
            command(office, "hold", "export", hold_id, *LOOK, "--out", str(tmp_path / "b"), by="sergeant")
            == 1
        )
    assert "the first 3 entries" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "b" / "custody.json").read_bytes())) == 3
