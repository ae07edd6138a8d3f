# SPDX-License-Identifier: Apache-2.0
"""The audit's page: for whoever may read the log, recorded, and nothing that was searched for runs as HTML."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from office_world import PASSWORD, log_in, token

from backoffice.office import Office, day_of
from backoffice.people import Role
from storage.audit import AuditEntry, read_entries


@pytest.fixture
def auditor(office: Office, client: FlaskClient) -> FlaskClient:
    office.people.add("holt", Role.AUDITOR, day_of(office.clock()), office.clock(), PASSWORD)
    log_in(client, "holt")
    return client


def entries(office: Office, event: str) -> list[AuditEntry]:
    return [entry for entry in read_entries(office.layout.audit) if entry.event == event]


def ask(client: FlaskClient, **form: str) -> str:
    answer = client.post("/audit", data={"csrf": token(client, "/audit"), **form})
    assert answer.status_code == int(form.pop("status", "200"))
    return answer.text


def search(office: Office, plate: str, **more: object) -> None:
    why = {"purpose": "stolen-vehicle", "reason": "dispatch asked", "case": "25-1", **more}
    office.audit.record("search", user="garcia", at_us=office.clock() - 1, pattern=plate, **why)


def test_what_stands_out_is_shown_with_its_reason(office: Office, auditor: FlaskClient) -> None:
    for _ in range(3):
        search(office, "AB1234")
    assert "What stands out" not in auditor.get("/audit").text
    assert not entries(office, "audit_report")  # nothing was looked through yet
    shown = ask(auditor)
    assert "same plate" in shown
    assert "The same plate was searched again and again, under one case number" in shown
    (said,) = entries(office, "audit_report")
    assert (said.fields["user"], said.fields["lines"]) == ("holt", 1)


def test_what_was_searched_for_is_no_html(office: Office, auditor: FlaskClient) -> None:
    search(office, "AB1234", reason="<script>alert(1)</script>", case="<b>none</b>")
    shown = ask(auditor)
    assert "<script>alert" not in shown
    assert "<b>none" not in shown
    assert "&lt;b&gt;none" in shown


def test_a_report_is_signed_off(office: Office, auditor: FlaskClient) -> None:
    ask(auditor)
    (report,) = entries(office, "audit_report")
    form = {"csrf": token(auditor, "/audit"), "note": "nothing to ask"}
    assert auditor.post(f"/audit/{report.n}/sign-off", data=form).status_code == 302
    (said,) = entries(office, "audit_reviewed")
    assert (said.fields["user"], said.fields["report"]) == ("holt", report.n)
    assert "Last signed off by holt" in auditor.get("/audit").text


def test_it_says_when_the_review_is_overdue(office: Office, auditor: FlaskClient, clock) -> None:
    assert "overdue" not in auditor.get("/audit").text
    clock.forward(91 * 86_400)
    log_in(auditor, "holt")
    assert "The review is overdue since" in auditor.get("/audit").text
    assert '<span class="tag warn">due</span>' in auditor.get("/devices").text


def test_the_reminder_goes_soon_after_the_sign_off(office: Office, auditor: FlaskClient, clock) -> None:
    clock.forward(91 * 86_400)
    log_in(auditor, "holt")
    assert "due</span>" in auditor.get("/devices").text
    ask(auditor)
    (report,) = entries(office, "audit_report")
    auditor.post(f"/audit/{report.n}/sign-off", data={"csrf": token(auditor, "/audit"), "note": "done"})
    clock.forward(601)
    assert "due</span>" not in auditor.get("/devices").text


def test_rules_that_cannot_be_read_break_no_other_page(office: Office, auditor: FlaskClient) -> None:
    office.layout.audit_rules.write_text("nonsense = ")
    assert auditor.get("/devices").status_code == 200
    assert auditor.get("/audit").status_code == 400


@pytest.mark.parametrize("form", [{"since": "yesterday"}, {"since": "2025-11-02", "until": "2025-11-01"}])
def test_a_period_that_is_none_is_told(office: Office, auditor: FlaskClient, form: dict[str, str]) -> None:
    answer = auditor.post("/audit", data={"csrf": token(auditor, "/audit"), **form})
    assert answer.status_code == 400
    assert not entries(office, "audit_report")


def test_only_who_may_read_the_log(office: Office, client: FlaskClient) -> None:
    office.people.add("garcia", Role.OPERATOR, day_of(office.clock()), office.clock(), PASSWORD)
    assert client.get("/audit").status_code == 302  # to the login
    log_in(client, "garcia")
    assert client.get("/audit").status_code == 403
    assert "/audit" not in client.get("/hits").text
    for path in ("/audit", "/audit/1/sign-off"):
        assert client.post(path, data={"csrf": token(client, "/hits"), "note": "x"}).status_code == 403


def test_a_form_without_its_token_is_refused(office: Office, auditor: FlaskClient) -> None:
    assert auditor.post("/audit", data={}).status_code == 403
    assert not entries(office, "audit_report")


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "tomorrow"])
def test_a_day_that_is_none_of_ours_is_refused(auditor: FlaskClient, office: Office, day: str) -> None:
    for name in ("since", "until"):
        answer = auditor.post("/audit", data={"csrf": token(auditor, "/audit"), name: day})
        assert answer.status_code == 400
    assert not entries(office, "audit_report")
