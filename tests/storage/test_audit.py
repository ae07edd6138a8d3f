# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage_world import DEVICE_KEY, OTHER_KEY, Killed, Scripted

from storage.audit import (
    CHECKPOINT_EVERY,
    GENESIS,
    MAX_ENTRY_BYTES,
    TAIL_CUT,
    AuditLog,
    Checkpoint,
    read_entries,
    verify_audit,
)
from storage.audit_check import MAX_PROBLEMS
from storage.errors import AuditDamagedError, AuditError, DiskFullError, EntryTooLargeError, WriteFailedError
from storage.primitives import canonical_json

PUBLIC = DEVICE_KEY.public_key()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


def filled(path, count: int = 10) -> AuditLog:
    log = AuditLog.open(path, DEVICE_KEY)
    for n in range(count):
        log.append("opened", {"n": n, "who": "é"}, at_us=n)
    return log


def test_entries_are_chained_and_reopened(path) -> None:
    first = filled(path, 2)
    second = AuditLog.open(path).append("closed", {}, at_us=5)
    third = first.append("closed", {})
    assert (second.n, third.n) == (2, 3)
    assert third.prev == second.hash
    entries = list(read_entries(path))
    assert [entry.event for entry in entries] == ["opened", "opened", "closed", "closed"]
    assert entries[2] == second
    assert entries[3].at_us > 1_600_000_000_000_000
    report = verify_audit(path)
    assert (report.ok, report.entries, report.head) == (True, 4, third.hash)


def test_checkpoints_come_by_themselves_and_when_asked_for(path) -> None:
    log = filled(path, CHECKPOINT_EVERY + 5)
    report = verify_audit(path, PUBLIC)
    assert (report.checkpoints, report.unsigned) == (1, 5)
    checkpoint = log.checkpoint()
    assert verify_audit(path, PUBLIC, checkpoint=checkpoint).unsigned == 0
    log.append("more", {})
    again = Checkpoint.from_fields(checkpoint.as_fields())
    assert verify_audit(path, PUBLIC, checkpoint=again).ok
    with pytest.raises(AuditError):
        AuditLog.open(path).checkpoint()


def test_truncation_shows_against_a_checkpoint(path) -> None:
    log = filled(path)
    checkpoint = log.checkpoint()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:6]))
    assert verify_audit(path, PUBLIC).ok  # by itself it looks whole
    report = verify_audit(path, PUBLIC, checkpoint=checkpoint)
    assert "missing or differs" in report.problems[0]
    AuditLog.open(path, DEVICE_KEY)
    for n in range(6, 12):  # grown again, with other entries
        AuditLog.open(path).append("forged", {"n": n})
    assert not verify_audit(path, PUBLIC, checkpoint=checkpoint).ok


@pytest.mark.parametrize(
    "edit",
    [
        lambda lines: [*lines[:3], lines[3].replace(b'"n":3', b'"n":9', 1), *lines[4:]],
        lambda lines: [*lines[:3], *lines[4:]],
        lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
        lambda lines: [*lines[:3], lines[2], *lines[3:]],
        lambda lines: [*lines[:3], b"rubbish\n", *lines[3:]],
        lambda lines: [*lines[:3], lines[3].replace(b":", b": ", 1), *lines[4:]],
        lambda lines: lines[1:],
        lambda lines: [*lines, lines[-1][:-1]],
        lambda lines: [*lines[:-1], lines[-1][:-1]],
    ],
)
def test_edits_show(path, edit) -> None:
    filled(path)
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))
    assert not verify_audit(path).ok


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2000), st.integers(1, 255))
def test_no_byte_can_be_changed_unseen(tmp_path, at, change) -> None:
    path = tmp_path / "audit.jsonl"
    if not path.exists():
        filled(path).checkpoint()
        (tmp_path / "good").write_bytes(path.read_bytes())
        (tmp_path / "head").write_text(verify_audit(path, PUBLIC).head)
    data = bytearray((tmp_path / "good").read_bytes())
    data[at % len(data)] ^= change
    (tmp_path / "bad").write_bytes(data)
    report = verify_audit(tmp_path / "bad", PUBLIC)
    assert not report.ok or report.unsigned > 0  # the last checkpoint is no longer one


def test_signatures_are_checked(path, tmp_path) -> None:
    log = filled(path)
    checkpoint = log.checkpoint()
    assert not verify_audit(path, OTHER_KEY.public_key()).ok
    other = AuditLog.open(tmp_path / "other.jsonl", OTHER_KEY)
    other.append("x", {})
    assert "not signed" in verify_audit(path, PUBLIC, checkpoint=other.checkpoint()).problems[-1]
    fake = AuditLog.open(tmp_path / "fake.jsonl")
    fake.append("checkpoint", checkpoint.as_fields())
    assert "another log" in verify_audit(tmp_path / "fake.jsonl", PUBLIC).problems[0]
    fake.append("checkpoint", {"n": 1})
    assert "malformed" in verify_audit(tmp_path / "fake.jsonl").problems[-1]
    for bad in (
        {},
        {**checkpoint.as_fields(), "n": "1"},
        {**checkpoint.as_fields(), "signature": "zz"},
        {**checkpoint.as_fields(), "signature": checkpoint.signature.upper()},
    ):
        with pytest.raises(AuditError):
            Checkpoint.from_fields(bad)


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_cut_by_the_next_append(path, cut) -> None:
    filled(path, 3)
    path.write_bytes(path.read_bytes()[:-cut])
    AuditLog.open(path).append("next", {})
    assert [entry.event for entry in read_entries(path)] == ["opened", "opened", TAIL_CUT, "next"]
    assert verify_audit(path).ok


def test_a_file_that_does_not_end_in_an_entry_is_not_continued(path) -> None:
    path.write_bytes(bytes(3 * MAX_ENTRY_BYTES))
    with pytest.raises(AuditDamagedError):
        AuditLog.open(path)


@pytest.mark.parametrize("torn", [b"torn first line", b"rubbish\n", bytes(600), b"\n" * 40 + b"{}"])
def test_a_torn_write_of_any_content_is_cut_and_noted(path, torn) -> None:
    for whole in (0, 3):
        path.unlink(missing_ok=True)
        filled(path, whole)
        with path.open("ab") as file:
            file.write(torn)
        AuditLog.open(path).append("x", {})
        *_, cut, last = read_entries(path)
        assert (cut.event, cut.fields, last.event) == (TAIL_CUT, {"bytes": len(torn)}, "x")
        assert verify_audit(path).entries == whole + 2


def test_bounds(path) -> None:
    log = AuditLog.open(path)
    for event, fields in (
        ("x", {"text": "x" * MAX_ENTRY_BYTES}),
        ("x", {"n": float("nan")}),
        ("x", {"n": object()}),
        ("", {}),
        ("x" * 65, {}),
    ):
        with pytest.raises(EntryTooLargeError):
            log.append(event, fields)
    log.append("x", {"text": "x" * (MAX_ENTRY_BYTES - 200)})
    log.append("y", {"text": "x" * (MAX_ENTRY_BYTES - 200)})
    assert AuditLog.open(path).append("z", {}).n == 2
    with pytest.raises(AuditError):
        verify_audit(path.with_name("nowhere"))


def test_a_log_of_nothing_but_damage_is_not_read_for_ever(path, monkeypatch) -> None:
    filled(path, 60)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] * 200)
    assert len(verify_audit(path).problems) == MAX_PROBLEMS


def test_killed_at_each_step_what_was_acknowledged_stands(tmp_path) -> None:
    for step in range(9):
        path = tmp_path / f"{step}.jsonl"
        acked: list[int] = []
        files = Scripted()
        log = AuditLog.open(path, files=files)
        files.kill_in(step)
        with pytest.raises(Killed):
            acked.extend(log.append("x", {}).n for _ in range(10))
        AuditLog.open(path).append("next", {})
        report = verify_audit(path)
        assert report.ok
        assert len(acked) + 1 <= report.entries <= len(acked) + 2


@pytest.mark.parametrize(("number", "error"), [(28, DiskFullError), (5, WriteFailedError)])
def test_disk_errors_are_told(path, number, error) -> None:
    files = Scripted()
    log = AuditLog.open(path, files=files)
    files.plan = {len(files.calls): number}
    with pytest.raises(error):
        log.append("x", {})
    log.append("x", {})
    assert verify_audit(path).entries == 1


def test_two_processes_append_to_one_chain(path) -> None:
    script = (
        "import sys; from pathlib import Path; from storage.audit import AuditLog\n"
        "log = AuditLog.open(Path(sys.argv[1]))\n"
        "[log.append('theirs', {}) for _ in range(30)]\n"
    )
    log = AuditLog.open(path)
    child = subprocess.Popen([sys.executable, "-c", script, str(path)])
    for _ in range(30):
        log.append("ours", {})
    assert child.wait(60) == 0
    report = verify_audit(path)
    assert (report.ok, report.entries) == (True, 60)


def line(**changed: object) -> bytes:
    return canonical_json({"at_us": 1, "event": "x", "fields": {}, "n": 0, "prev": GENESIS, **changed})


@pytest.mark.parametrize(
    "raw",
    [
        line(at_us="1"),
        line(at_us=True),
        line(at_us=1.5),
        line(event=""),
        line(event="x" * 65),
        line(event=7),
        line(prev=7),
        line(fields={"text": "x" * (MAX_ENTRY_BYTES - len(line(fields={"text": ""})) + 1)}),
        line(fields=[]),
        line(n="0"),
        line(more=1),
    ],
    ids=range(11),
)
def test_a_line_that_is_no_entry_is_told(path, raw) -> None:
    path.write_bytes(raw + b"\n")
    (problem,) = verify_audit(path).problems
    assert problem.startswith("line 1 is ")


def test_the_longest_entry_is_one(path) -> None:
    room = MAX_ENTRY_BYTES - len(line(fields={"text": ""}))
    path.write_bytes(line(fields={"text": "x" * room}) + b"\n")
    assert verify_audit(path).ok


def test_a_checkpoint_of_an_empty_log_holds(path) -> None:
    checkpoint = AuditLog.open(path, DEVICE_KEY).checkpoint()
    assert (checkpoint.n, checkpoint.head) == (-1, GENESIS)
    assert verify_audit(path, PUBLIC, checkpoint=checkpoint).ok


def test_entries_of_some_events_alone(tmp_path) -> None:
    log = AuditLog.open(tmp_path / "audit.jsonl")
    said = {"event": "b", "text": '"event":"b"'}  # a field that poses as the event
    for event in ("a", "b", "a", "b"):
        log.append(event, said, at_us=1)
    path = tmp_path / "audit.jsonl"
    assert [entry.n for entry in read_entries(path)] == [0, 1, 2, 3]
    assert [entry.n for entry in read_entries(path, "b")] == [1, 3]
    assert [entry.n for entry in read_entries(path, "a", "c")] == [0, 2]
    assert list(read_entries(path, "c")) == []
