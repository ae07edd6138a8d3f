# SPDX-License-Identifier: Apache-2.0
"""A log that was cut or written anew with its own key, against what another log noted of it before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from storage_world import AGENCY_KEY, DEVICE_KEY, OTHER_KEY

from storage.audit import AuditLog, Checkpoint, verify_audit
from storage.errors import AuditError
from storage.witness import (
    EVERY_US,
    MAX_STATEMENT_CHARS,
    ODD_EVERY_US,
    OF_OFFICE,
    WENT_BACK,
    Witness,
    compare,
    noted,
    read_statement,
    statement,
)

T0 = 1_800_000_000_000_000


def grown(path: Path, entries: int, *, first: int = 0, key=AGENCY_KEY) -> AuditLog:
    log = AuditLog.open(path, key)
    for number in range(first, first + entries):
        log.append("search", {"number": number}, at_us=T0 + number)
    return log


class Pair:
    """The office's log, and a device's log that witnesses it."""

    def __init__(self, root: Path) -> None:
        self.office = root / "office.jsonl"
        self.device = root / "device.jsonl"
        self._log = AuditLog.open(self.device, DEVICE_KEY)
        self.events: list[str] = []
        self.witness = Witness(OF_OFFICE, self._note, self.device)

    def _note(self, event: str, fields: Mapping[str, Any]) -> None:
        self.events.append(event)
        self._log.append(event, {"user": "somebody", **fields}, at_us=T0)

    def heartbeat(self, log: AuditLog, now_us: int) -> None:
        self.witness.saw("office", statement(log.signed_head(at_us=now_us)), now_us)

    def problems(self) -> list[str]:
        kept = list(noted(self.device, OF_OFFICE, "office"))
        assert kept
        return compare(self.office, AGENCY_KEY.public_key(), kept)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_a_log_that_only_grew_agrees(pair: Pair) -> None:
    log = grown(pair.office, 5)
    for day in range(3):
        pair.heartbeat(log, T0 + day * EVERY_US)
        grown(pair.office, 70, first=5 + day * 70)
    assert pair.events == [OF_OFFICE] * 3
    assert pair.problems() == []


def test_a_statement_enters_nothing(pair: Pair) -> None:
    log = grown(pair.office, 5)
    before = pair.office.read_bytes()
    head = log.signed_head(at_us=T0)
    assert (head.n, pair.office.read_bytes()) == (4, before)
    assert head.signed_by(AGENCY_KEY.public_key())


@pytest.mark.parametrize("again", [0, 3, 40])
def test_an_end_that_was_cut_shows_although_the_log_proves_itself(pair: Pair, again: int) -> None:
    """Somebody with the office's audit key cuts the end and goes on: the log alone is sound."""
    pair.heartbeat(grown(pair.office, 20), T0)
    lines = pair.office.read_bytes().splitlines(keepends=True)
    pair.office.write_bytes(b"".join(lines[:15]))
    grown(pair.office, again, first=1000)
    assert verify_audit(pair.office, AGENCY_KEY.public_key()).ok
    (problem,) = pair.problems()
    assert "entry 19" in problem


def test_a_log_written_anew_shows_at_once_and_in_the_check(pair: Pair) -> None:
    pair.heartbeat(grown(pair.office, 20), T0)
    pair.office.unlink()
    anew = grown(pair.office, 20, first=1000)
    pair.heartbeat(anew, T0 + ODD_EVERY_US)
    assert pair.events == [OF_OFFICE, WENT_BACK, OF_OFFICE]
    assert len(pair.problems()) == 1


def test_a_log_that_went_back_is_noted_with_both_ends(pair: Pair) -> None:
    pair.heartbeat(grown(pair.office, 5), T0)
    grown(pair.office, 20, first=5)
    pair.heartbeat(AuditLog.open(pair.office, AGENCY_KEY), T0 + 1)  # seen, not due to be noted
    lines = pair.office.read_bytes().splitlines(keepends=True)
    pair.office.write_bytes(b"".join(lines[:10]))
    pair.heartbeat(AuditLog.open(pair.office, AGENCY_KEY), T0 + ODD_EVERY_US)
    kept = [head.n for head in noted(pair.device, OF_OFFICE, "office")]
    assert kept == [4, 24, 9]  # the end that is gone, too
    assert ["entry 24" in problem for problem in pair.problems()] == [True]


def test_once_a_day_and_contradictions_once_an_hour(pair: Pair) -> None:
    """Nobody fills another's log by talking often, or by contradicting himself."""
    log = grown(pair.office, 5)
    for minute in range(24 * 60):
        pair.heartbeat(log, T0 + minute * 60_000_000)
    assert pair.events == [OF_OFFICE]
    other = AuditLog.open(pair.office.with_name("other.jsonl"), OTHER_KEY)
    other.append("x", {}, at_us=T0)
    for minute in range(120):
        pair.heartbeat((log, other)[minute % 2], T0 + EVERY_US + minute * 60_000_000)
    assert pair.events.count(WENT_BACK) <= 2
    assert len(pair.events) <= 6


def test_nobody_accuses_a_log_without_its_key(pair: Pair) -> None:
    """A statement that the log's own key did not sign is told as that, not as a gap."""
    grown(pair.office, 5)
    forged = AuditLog.open(pair.office.with_name("forged.jsonl"), OTHER_KEY)
    for number in range(50):
        forged.append("forged", {"number": number}, at_us=T0)
    pair.heartbeat(forged, T0)
    (problem,) = pair.problems()
    assert "not signed by this log's key" in problem


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "null",
        "[]",
        "[" * 5000,
        '{"n":1}',
        "x" * (MAX_STATEMENT_CHARS + 1),
        statement(Checkpoint(-2, "0" * 64, 0, "k", "00")),
        statement(Checkpoint(1, "0" * 63, 0, "k", "00")),
        statement(Checkpoint(1, "0" * 64, 0, "k", "00" * MAX_STATEMENT_CHARS)),
    ],
)
def test_what_is_no_statement_is_refused(pair: Pair, text: str) -> None:
    with pytest.raises(AuditError):
        pair.witness.saw("office", text, T0)
    assert pair.events == []


def test_statements_go_both_ways(pair: Pair) -> None:
    head = grown(pair.office, 3).signed_head(at_us=T0)
    assert read_statement(statement(head)) == head


def test_a_restart_of_the_witness_forgets_nothing_that_it_noted(pair: Pair, tmp_path: Path) -> None:
    pair.heartbeat(grown(pair.office, 5), T0)
    pair.witness = Witness(OF_OFFICE, pair._note, pair.device)
    pair.office.unlink()
    pair.heartbeat(grown(pair.office, 2), T0 + 1)
    assert pair.events == [OF_OFFICE, WENT_BACK, OF_OFFICE]
    pair.witness = Witness(OF_OFFICE, pair._note, pair.device)
    pair.heartbeat(grown(pair.office, 3, first=2), T0 + 2)
    assert pair.events[3:] == [OF_OFFICE]  # the shorter one is known now, and it grew
