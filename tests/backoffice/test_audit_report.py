# SPDX-License-Identifier: Apache-2.0
"""The audit's report over a chain that real searches made: recorded, sampled, signed off."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from office_world import PASSWORD, log_in, make_hit, seal_hit

from backoffice import cli
from backoffice.audit_report import draw
from backoffice.hits import HitStore
from backoffice.office import Office, day_of
from backoffice.people import Role
from storage.audit import AuditEntry, read_entries

WHY = ("--purpose", "stolen-vehicle", "--reason", "dispatch asked")


@pytest.fixture
def people(office: Office) -> Office:
    """An office with an operator and an auditor."""
    today = day_of(office.clock())
    for name, role in (("garcia", Role.OPERATOR), ("holt", Role.AUDITOR)):
        office.people.add(name, role, today, office.clock(), PASSWORD)
    return office


def run(office: Office, who: str, *words: str) -> int:
    return cli.main(["--data", str(office.layout.root), "--as", who, *words])


def entries(office: Office, *events: str) -> list[AuditEntry]:
    return [entry for entry in read_entries(office.layout.audit) if not events or entry.event in events]


def search(office: Office, *plates: str, case: str = "25-1") -> None:
    for plate in plates:
        assert run(office, "garcia", "search", "--plate", plate, *WHY, "--case", case) == 0


def report(office: Office, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(office, "holt", "audit", "report", "--json", *words) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_same_plate_again_and_again_stands_out(
    people: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    for case in ("25-1", "25-2", "25-3"):
        search(people, "AB1234", case=case)
    found = report(people, capsys)
    (line,) = found["lines"]
    assert (line["rule"], line["person"], line["subject"], line["count"]) == (
        "same_plate",
        "garcia",
        "AB1234",
        3,
    )
    assert line["entries"] == [entry.n for entry in entries(people, "search")]
    assert "3 case numbers" in line["why"]
    assert found["people"]["garcia"]["searches"] == 3
    assert found["people"]["garcia"]["cases"] == ["25-1", "25-2", "25-3"]
    assert found["purposes"] == {"stolen-vehicle": 3}


def test_in_words_each_line_says_why_and_accuses_nobody(
    people: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    search(people, "AB1234", "AB1235", "AB1236", "AB1237")
    assert run(people, "holt", "audit", "report") == 0
    shown = capsys.readouterr().out
    assert "same_reason dispatch asked: 4 (told from 4 on)\n      the same words are the reason" in shown
    assert "none of them says that anybody did wrong" in shown
    assert 'search  AB1234  stolen-vehicle, 25-1  "dispatch asked"' in shown
    assert "never signed off, next due" in shown


def test_a_report_is_in_the_log_with_what_makes_it_again(
    people: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    search(people, *(f"AB12{n:03d}" for n in range(12)), case="25-7")
    found = report(people, capsys, "--sample", "4")
    (said,) = entries(people, "audit_report")
    assert (said.n, said.fields["user"], said.fields["seed"]) == (found["number"], "holt", found["seed"])
    drawn = [item["n"] for item in found["sample"]]
    assert len(drawn) == 4
    assert said.fields["sample"] == drawn
    accesses = [entry for entry in entries(people, "search") if entry.n < found["number"]]
    assert [entry.n for entry in draw(accesses, 4, found["seed"])] == drawn


def test_another_seed_draws_another_sample(people: Office, capsys: pytest.CaptureFixture[str]) -> None:
    search(people, *(f"AB12{n:03d}" for n in range(12)))
    accesses = entries(people, "search")
    samples = {tuple(entry.n for entry in draw(accesses, 5, str(seed))) for seed in range(8)}
    assert len(samples) > 4
    assert draw(accesses, 100, "1") == accesses


def test_one_person_alone(people: Office, capsys: pytest.CaptureFixture[str]) -> None:
    search(people, "AB1234", "AB1234", "AB1234")
    assert report(people, capsys, "--person", "garcia")["people"].keys() == {"garcia"}
    nobody = report(people, capsys, "--person", "nobody")
    assert (nobody["people"], nobody["lines"], nobody["sample"]) == ({}, [], [])


def test_the_rules_of_the_office_hold(people: Office, capsys: pytest.CaptureFixture[str]) -> None:
    people.layout.audit_rules.write_text("same_plate = 2\n")
    search(people, "AB1234", "AB1234")
    assert [line["rule"] for line in report(people, capsys)["lines"]] == ["same_plate"]
    people.layout.audit_rules.write_text("same_plate = nonsense\n")
    assert run(people, "holt", "audit", "report") == 1
    assert "audit-rules.toml" in capsys.readouterr().err


def test_a_review_is_signed_off_and_due_again(people: Office, capsys: pytest.CaptureFixture[str]) -> None:
    search(people, "AB1234")
    number = report(people, capsys)["number"]
    assert run(people, "holt", "audit", "sign-off", str(number), "--note", "checked against 25-1") == 0
    (said,) = entries(people, "audit_reviewed")
    assert (said.fields["report"], said.fields["note"]) == (number, "checked against 25-1")
    assert said.fields["own_accesses"] == 0
    review = report(people, capsys)["review"]
    assert (review["by"], review["at_us"]) == ("holt", said.at_us)
    assert review["due_us"] == said.at_us + 90 * 86_400_000_000


@pytest.mark.parametrize(("number", "note"), [("0", "done"), ("999", "done"), ("report", " ")])
def test_only_a_report_is_signed_off_and_only_with_words(
    people: Office, capsys: pytest.CaptureFixture[str], number: str, note: str
) -> None:
    mine = report(people, capsys)["number"]
    given = str(mine) if number == "report" else number
    assert run(people, "holt", "audit", "sign-off", given, "--note", note) == 1
    assert not entries(people, "audit_reviewed")


def test_who_reviews_their_own_searches_is_recorded(
    people: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(people, "admin", "search", "--plate", "AB1234", *WHY, "--case", "25-1") == 0
    number = report(people, capsys)["number"]
    assert run(people, "admin", "audit", "sign-off", str(number), "--note", "my own") == 0
    assert entries(people, "audit_reviewed")[0].fields["own_accesses"] == 1


def test_who_may_not_read_the_log_gets_no_report(people: Office, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(people, "garcia", "audit", "report") == 3
    assert run(people, "garcia", "audit", "sign-off", "1", "--note", "x") == 3
    assert "SEARCHES" not in capsys.readouterr().out


def test_an_altered_log_is_said_first(people: Office, capsys: pytest.CaptureFixture[str]) -> None:
    search(people, "AB1234")
    path = people.layout.audit
    path.write_bytes(path.read_bytes().replace(b"AB1234", b"CD9999"))
    assert run(people, "holt", "audit", "report") == 1
    assert "the log itself" in capsys.readouterr().err


def test_hits_that_were_looked_at_on_the_pages_count(
    people: Office, client: FlaskClient, store: HitStore, capsys: pytest.CaptureFixture[str]
) -> None:
    hit = make_hit()
    store.put(hit.hit_id, "pole-1", seal_hit(people, hit))
    log_in(client, "garcia")
    assert client.get(f"/hits/{hit.hit_id}").status_code == 200
    people.layout.audit_rules.write_text("undecided_looks = 1\nundecided_after_h = 0\n")
    (line,) = report(people, capsys)["lines"]
    assert (line["rule"], line["person"], line["count"]) == ("undecided_looks", "garcia", 1)
