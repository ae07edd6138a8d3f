# SPDX-License-Identifier: Apache-2.0
"""`wayside verify` on a real data folder: each damage that matters is found, none stops it, a repair harms nothing."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from firmware import verify
from firmware.cli import main
from firmware.errors import FirmwareError
from firmware.verify import MAX_SHOWN, DeviceReport, verify_device
from provisioning.identity import Identity
from storage import fsck, receipts
from storage.audit import AuditLog
from storage.errors import WriteFailedError
from storage.fsck import Severity
from storage.receipt_file import read_receipts
from storage.retention_policies import encode_schedule
from storage.retention_schedule import RetentionPolicy, RetentionSchedule, Step

from .disk_rig import HOUR_US, T0_US, DiskRig
from .verify_rig import device, flip, segment, sound

__all__ = ["device", "sound"]


def named(report: DeviceReport) -> set[str]:
    return {problem.path.name for problem in report.problems}


def test_a_sound_device(device: Path) -> None:
    report = verify_device(device)
    assert report.problems == ()
    assert report.figures["records"] == 13 * 3
    assert report.figures["unclosed"] == 2
    assert report.figures["receipts"] == 2
    assert report.figures["hits_waiting"] == 5
    assert report.figures["signatures"] == "checked"
    assert verify_device(device / "store").figures == report.figures
    assert report.lines()[-1] == "no problems"


def test_what_the_disk_did_not_remove_is_told(device: Path) -> None:
    erased = [s for r in read_receipts(device / "retention" / "receipts.jsonl") for s in r.body.segments]
    left = device / "store" / erased[0].kind / f"{erased[0].segment_id}.wseg"
    shutil.copy(segment(device), left)
    told = [problem for problem in verify_device(device).problems if "did not remove" in problem.what]
    assert [(problem.path, problem.severity) for problem in told] == [(left, Severity.WARNING)]


def test_a_copy_without_its_identity_is_checked_without_signatures(device: Path) -> None:
    shutil.rmtree(device / "identity")
    report = verify_device(device)
    assert report.ok
    assert "not checked" in str(report.figures["signatures"])


def test_nothing_here(tmp_path: Path) -> None:
    with pytest.raises(FirmwareError, match="no sealed store"):
        verify_device(tmp_path)


def forge_policies(device: Path) -> None:
    """A policy of five years that says of itself that the agency signed it."""
    schedule = RetentionSchedule(
        (Step(RetentionPolicy(5 * 31_536_000, "forged", 7), signed=b"no signature"),)
    )
    path = device / "retention" / "policies.json"
    path.write_bytes(encode_schedule(schedule))
    path.chmod(0o600)


DAMAGE: dict[str, tuple[Callable[[Path], object], str, Severity]] = {
    "flip in a segment": (lambda d: flip(segment(d)), "-reads-", Severity.ERROR),
    "segment taken": (lambda d: segment(d, number=1).unlink(), "-reads-", Severity.ERROR),
    "store emptied of images": (lambda d: shutil.rmtree(d / "store" / "images"), "images", Severity.ERROR),
    "keyring gone": (lambda d: (d / "keyring" / "keyring.wkr").unlink(), "keyring", Severity.ERROR),
    "keyring flipped": (lambda d: flip(d / "keyring" / "keyring.wkr"), "keyring", Severity.ERROR),
    "slot gone": (lambda d: next((d / "trust").glob("*.slot")).unlink(), "keyring", Severity.ERROR),
    "receipts cut": (
        lambda d: os.truncate(d / "retention" / "receipts.jsonl", 700),
        "receipts.jsonl",
        Severity.ERROR,
    ),
    "receipts gone": (
        lambda d: (d / "retention" / "receipts.jsonl").unlink(),
        "receipts.jsonl",
        Severity.ERROR,
    ),
    "audit flipped": (lambda d: flip(d / "audit.jsonl"), "audit.jsonl", Severity.ERROR),
    "audit gone": (lambda d: (d / "audit.jsonl").unlink(), "audit.jsonl", Severity.ERROR),
    "a hit flipped": (
        lambda d: flip(next((d / "spool" / "hits" / "pending").iterdir())),
        "0" * 30,
        Severity.ERROR,
    ),
    "a state damaged": (lambda d: (d / "ledger.json").write_text("{"), "ledger.json", Severity.WARNING),
    "retention state damaged": (
        lambda d: (d / "retention" / "retention.json").write_text("[]"),
        "retention.json",
        Severity.ERROR,
    ),
    "policies damaged": (
        lambda d: (d / "retention" / "policies.json").write_text("{}"),
        "policies.json",
        Severity.ERROR,
    ),
    "policies forged": (forge_policies, "policies.json", Severity.ERROR),
    "identity damaged": (
        lambda d: (d / "identity" / "device.key").write_text("x"),
        "identity",
        Severity.ERROR,
    ),
    "stray temp": (lambda d: (d / "identity" / ".x.1.tmp").touch(), ".x", Severity.WARNING),
    "unknown file": (lambda d: (d / "notes.txt").touch(mode=0o600), "notes.txt", Severity.WARNING),
    "unknown folder": (lambda d: (d / "store" / "mine").mkdir(mode=0o700), "mine", Severity.WARNING),
    "open to others": (lambda d: segment(d).chmod(0o644), "-reads-", Severity.WARNING),
    "folder open to others": (lambda d: (d / "keyring").chmod(0o755), "keyring", Severity.WARNING),
    "a link": (lambda d: (d / "state.json").symlink_to("/etc/passwd"), "state.json", Severity.WARNING),
    "a pipe": (lambda d: os.mkfifo(d / "spool" / "hits" / "pending" / "abc", 0o600), "abc", Severity.WARNING),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", DAMAGE)
def test_each_damage_is_found_and_says_what_to_do(device: Path, name: str) -> None:
    harm, where, severity = DAMAGE[name]
    harm(device)
    report = verify_device(device)
    found = [problem for problem in report.problems if where in problem.path.name]
    assert [problem.severity for problem in found if problem.severity is severity], report.problems
    assert all(problem.what and problem.do for problem in report.problems)
    assert not report.ok


def test_another_owner_is_told(device: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(segment(device), 12_345, 12_345)
    (problem,) = verify_device(device).problems
    assert "12345" in problem.what
    assert "chown" in problem.do


def test_what_was_set_aside_is_told_and_still_explains(device: Path) -> None:
    (gone,) = (p for p in sorted((device / "store" / "images").glob("*.wseg"))[1:2])
    log = AuditLog.open(device / "audit.jsonl", Identity.load(device / "identity").key)
    log.append("images_gave_way", {"segments": [gone.stem], "records": 4, "bytes": 1, "why": "a test"})
    gone.unlink()
    assert verify_device(device).ok
    with (device / "audit.jsonl").open("ab") as file:
        file.write(os.urandom(300_000) + b"\n")
    AuditLog.open_or_begin(device / "audit.jsonl", Identity.load(device / "identity").key)
    report = verify_device(device)
    assert not any("missing before it" in problem.what for problem in report.problems)
    assert any("set aside" in problem.what for problem in report.problems)


def test_the_worst_comes_first_and_kinds_stand_together(device: Path) -> None:
    for number in range(5):
        (device / "store" / "images" / f"note{number}").touch(mode=0o600)
    flip(segment(device))
    lines = verify_device(device).lines()
    first = next(line for line in lines if line.startswith(("ERROR", "WARNING")))
    assert first.startswith("ERROR")
    assert sum("not a segment" in line for line in lines) == 1
    assert any("2 more" in line for line in lines)
    assert len(lines) < 40


def test_names_that_would_write_on_the_terminal(device: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(MAX_SHOWN + 9):
        (device / f"[bold]\x1b[2J\n{number}").touch(mode=0o600)
    os.close(os.open(os.fsencode(str(device)) + b"/\xff\xfe", os.O_CREAT, 0o600))
    assert main(["verify", str(device)]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "does not belong here" in out
    assert main(["verify", str(device), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == MAX_SHOWN + 10


def test_sockets_of_running_services_belong_there(device: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(device / "run" / "eye.sock"))
        assert verify_device(device).ok


def after(monkeypatch: pytest.MonkeyPatch, module: object, name: str, act: Callable[[], object]) -> None:
    """`act` happens once, after the first call of a function."""
    real, done = getattr(module, name), list[bool]()

    def first(*given: Any, **more: Any) -> object:
        result = real(*given, **more)
        if not done:
            done.append(True)
            act()
        return result

    monkeypatch.setattr(module, name, first)


@pytest.mark.parametrize("moment", ["segments", "segments, and no receipts yet", "receipts", "keyring"])
def test_what_the_eye_deletes_on_time_meanwhile_is_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    rig = DiskRig(tmp_path, policy_s=3600)
    for hour in range(6):
        rig.see(T0_US + hour * HOUR_US)
        rig.commit()
    rig.vault.tend(rig.evidence(T0_US + 2 * HOUR_US + 1_000_000))
    there = set(tmp_path.glob("store/*/*.wseg"))

    def refused(_plan: object) -> None:
        raise WriteFailedError("the disk is slow")

    def delete() -> None:
        if moment == "segments, and no receipts yet":
            monkeypatch.setattr(rig.retention._receipts, "write", refused)
        with contextlib.suppress(WriteFailedError):
            rig.vault.tend(rig.evidence(T0_US + 4 * HOUR_US + 1_000_000))

    if moment == "receipts":
        after(monkeypatch, receipts, "verify_audit", delete)
    elif moment == "keyring":
        after(monkeypatch, verify, "segment_names", delete)
    else:
        after(monkeypatch, fsck, "_check_file", delete)
    report = verify_device(tmp_path)
    assert set(tmp_path.glob("store/*/*.wseg")) < there
    assert report.problems == ()


def test_a_hit_that_the_office_took_meanwhile_is_no_problem(
    device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = os.listdir

    def taken(folder: Path) -> list[str]:
        names = listed(folder)
        if Path(folder).name == "pending":
            for name in names:
                Path(folder, name).unlink()
        return names

    monkeypatch.setattr(os, "listdir", taken)
    assert verify_device(device).problems == ()
