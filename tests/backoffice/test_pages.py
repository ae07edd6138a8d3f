# SPDX-License-Identifier: Apache-2.0
"""The pages through Flask's test client, and once over a real socket."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from office_world import (
    JPEG,
    PASSWORD,
    Clock,
    MadeDevice,
    MadeOffice,
    log_in,
    make_correction,
    make_device,
    make_hit,
    seal_hit,
    token,
)
from sqlalchemy import update

from backoffice import devices, lists
from backoffice.audit import Audit, AuditUnavailable
from backoffice.db import hits as hits_table
from backoffice.errors import BadRequest
from backoffice.hits import Decision, HitStore, Reason, Verdict, check_verdict
from backoffice.limits import LIMITS
from backoffice.office import Office, day_of
from backoffice.pages.app import create_pages
from backoffice.people import LOCKOUT_US, MAX_FAILURES, TRAINING_LIFETIME_DAYS, Role
from storage.audit import read_entries
from sync.schema import Heartbeat, HitRecord, ListStatus


@pytest.fixture
def hit_id(office: Office, store: HitStore, device: MadeDevice) -> str:
    hit = make_hit(at_us=office.clock())
    store.put(hit.hit_id, "pole-1", seal_hit(office, hit))
    return hit.hit_id


def events(office: Office) -> list[str]:
    return [entry.event for entry in read_entries(office.layout.audit)]


def decide(client: FlaskClient, hit_id: str, **form: str) -> int:
    csrf = {"csrf": token(client, "/hits")}
    return client.post(f"/hits/{hit_id}/decision", data=csrf | form).status_code


# --- logins ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/hits", "/hits/rows", "/hits/x", "/hits/x/crop", "/devices", "/lists"]
)
def test_nothing_is_served_without_a_login(path: str, client: FlaskClient) -> None:
    answer = client.get(path, follow_redirects=True)
    assert answer.request.path == "/login"


def test_the_cookie_and_the_headers(client: FlaskClient) -> None:
    answer = client.post("/login", data={"csrf": token(client), "name": "admin", "password": PASSWORD})
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    page = client.get("/hits")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"


def test_wrong_passwords_lock_the_account_for_a_while(
    client: FlaskClient, office: Office, clock: Clock
) -> None:
    for _ in range(MAX_FAILURES):
        assert log_in(client, password="wrong") == 403
    assert log_in(client) == 403  # the right one, too late
    clock.forward(LOCKOUT_US / 1e6 + 1)
    assert log_in(client) == 302
    assert events(office).count("login_failed") == MAX_FAILURES + 1
    assert events(office)[-1] == "login"


def test_unknown_names_and_wrong_passwords_look_alike(client: FlaskClient) -> None:
    answers = set()
    for name in ("admin", "nobody"):
        csrf = token(client)
        page = client.post("/login", data={"csrf": csrf, "name": name, "password": "x"}).text
        answers.add(page.replace(csrf, ""))
    assert len(answers) == 1


def test_forms_need_their_token(client: FlaskClient, hit_id: str) -> None:
    assert client.post("/login", data={"name": "admin", "password": PASSWORD}).status_code == 403
    log_in(client)
    form = {"decision": "accepted", "characters_ok": "yes", "state_ok": "yes", "reason": "correct"}
    assert client.post(f"/hits/{hit_id}/decision", data=form).status_code == 403
    assert client.post("/logout").status_code == 403


def test_the_one_time_password_must_be_replaced(made: MadeOffice, store: HitStore) -> None:
    client = create_pages(made.office, store).test_client()
    assert log_in(client, password=made.created.password) == 302
    assert client.get("/hits", follow_redirects=True).request.path == "/password"
    form = {
        "csrf": token(client, "/password"),
        "present": made.created.password,
        "new": "short",
        "again": "short",
    }
    assert client.post("/password", data=form).status_code == 400
    assert client.post("/password", data=form | {"new": PASSWORD, "again": "other"}).status_code == 400
    form |= {"new": PASSWORD, "again": PASSWORD}
    assert client.post("/password", data=form).status_code == 302
    assert client.get("/hits").status_code == 200
    assert log_in(create_pages(made.office, store).test_client()) == 302


def test_logins_end(client: FlaskClient, office: Office, clock: Clock, store: HitStore) -> None:
    log_in(client)
    clock.forward(29 * 60)
    assert client.get("/hits").status_code == 200
    clock.forward(20 * 60)
    assert client.get("/hits/rows").status_code == 200  # a refresh shows, but keeps nothing alive
    clock.forward(20 * 60)
    assert client.get("/hits").status_code == 302
    log_in(client)
    other = create_pages(office, store).test_client()
    log_in(other)
    office.people.set_password("admin", PASSWORD + "2")
    assert client.get("/hits").status_code == 302  # a new password ends every login


def test_logging_out_ends_a_copied_cookie(client: FlaskClient, office: Office, store: HitStore) -> None:
    log_in(client)
    held = client.get_cookie("wayside_office")
    assert held
    assert client.post("/logout", data={"csrf": token(client, "/hits")}).status_code == 302
    thief = create_pages(office, store).test_client()
    thief.set_cookie("wayside_office", held.value)
    assert thief.get("/hits").status_code == 302


def test_a_password_is_not_replaced_by_itself(made: MadeOffice, store: HitStore) -> None:
    client = create_pages(made.office, store).test_client()
    once = made.created.password
    log_in(client, password=once)
    form = {"csrf": token(client, "/password"), "present": once, "new": once, "again": once}
    assert client.post("/password", data=form).status_code == 400
    assert made.office.people.get("admin").one_time


def test_other_host_names_are_refused(client: FlaskClient) -> None:
    assert client.get("/login", headers={"Host": "evil.example"}).status_code == 400


# --- roles and training ----------------------------------------------------------------------------


def test_training_a_year_old_blocks(client: FlaskClient, office: Office) -> None:
    today = day_of(office.clock())
    for name, days in (("edge", TRAINING_LIFETIME_DAYS), ("lapsed", TRAINING_LIFETIME_DAYS + 1)):
        office.people.add(name, Role.OPERATOR, today - dt.timedelta(days=days), office.clock(), PASSWORD)
    assert log_in(client, "edge") == 302
    assert client.get("/hits").status_code == 200
    assert log_in(client, "lapsed") == 302
    page = client.get("/hits")
    assert page.status_code == 403
    assert "training" in page.text


def test_an_auditor_sees_no_hits(client: FlaskClient, office: Office, hit_id: str) -> None:
    office.people.add("eve", Role.AUDITOR, day_of(office.clock()), office.clock(), PASSWORD)
    log_in(client, "eve")
    for path in ("/hits", f"/hits/{hit_id}", f"/hits/{hit_id}/crop"):
        assert client.get(path).status_code == 403
    assert client.get("/devices").status_code == 200


# --- hits ------------------------------------------------------------------------------------------


def test_the_hit_page_says_everything(client: FlaskClient, hit_id: str, office: Office) -> None:
    log_in(client)
    page = client.get(f"/hits/{hit_id}").text
    for words in (
        "Verify before acting",
        "not read - verify",
        "Stale list",
        "look-alike characters",
        "8 and B look alike",
        "The state was not compared: the list says IL.",
        "61 %",
        "B 30 %",
        "listed B",
        "folded",
        "version 3, 27 h old",
        "6 of 7 agree",
        "40.31080, -88.15590",
        "stolen vehicle",
        "RED 2015 DODG",
    ):
        assert words in page, words
    assert '<span class="differs">8</span>' in page
    assert '<span class="differs">B</span>' in page
    assert "reported &lt;b&gt;stolen&lt;/b&gt;" in page
    assert "onfirmed hit" not in page
    crop = client.get(f"/hits/{hit_id}/crop")
    assert (crop.data, crop.mimetype) == (JPEG, "image/jpeg")
    assert events(office).count("hit_viewed") == 1


def test_open_hits_age_visibly(client: FlaskClient, hit_id: str, clock: Clock) -> None:
    log_in(client)
    assert 'class="fresh"' in client.get("/hits/rows").text
    clock.forward(150)
    rows = client.get("/hits/rows").text
    assert 'class="ageing"' in rows
    assert "open 2 min" in rows
    clock.forward(600)
    assert 'class="overdue"' in client.get("/hits/rows").text
    assert "1 open" in client.get("/hits").text


def test_a_refreshing_page_is_recorded_now_and_then(
    client: FlaskClient, office: Office, clock: Clock
) -> None:
    log_in(client)
    for _ in range(130):
        clock.forward(5)
        assert client.get("/hits?refresh=1").status_code == 200
    assert events(office).count("hits_listed") == 2


def test_a_silent_category_shows_without_a_chime(
    client: FlaskClient, office: Office, store: HitStore, device: MadeDevice
) -> None:
    hit = make_hit(at_us=office.clock())
    hit = hit.model_copy(update={"match": hit.match.model_copy(update={"silent": True})})
    store.put(hit.hit_id, "pole-1", seal_hit(office, hit))
    log_in(client)
    rows = client.get("/hits/rows").text
    assert "silent category" in rows
    assert "data-alert" not in rows


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"decision": "accepted", "reason": "correct"},
        {"decision": "accepted", "reason": "correct", "characters_ok": "yes"},
        {"decision": "accepted", "reason": "correct", "state_ok": "yes"},
        {"decision": "accepted", "reason": "other", "characters_ok": "yes", "state_ok": "yes", "note": "x"},
        {"decision": "rejected", "reason": "correct"},
        {"decision": "rejected", "reason": "wrong characters", "characters_ok": "yes"},
        {"decision": "rejected", "reason": "wrong state", "state_ok": "yes"},
        {"decision": "rejected", "reason": "other"},
        {"decision": "rejected", "reason": "stale entry", "note": "x" * 501},
        {"decision": "confirmed", "reason": "correct"},
    ],
)
def test_incoherent_decisions_are_not_taken(form: dict[str, str], client: FlaskClient, hit_id: str) -> None:
    log_in(client)
    assert decide(client, hit_id, **form) == 400
    assert "1 open" in client.get("/hits").text


def test_accepting_needs_both_marks_and_is_final(client: FlaskClient, office: Office, hit_id: str) -> None:
    log_in(client)
    form = {"decision": "accepted", "characters_ok": "yes", "state_ok": "yes", "reason": "correct"}
    assert decide(client, hit_id, **form) == 302
    assert decide(client, hit_id, decision="rejected", reason="stale entry") == 409
    page = client.get(f"/hits/{hit_id}").text
    assert "Accepted: correct" in page
    assert "By admin" in page
    assert 'name="decision"' not in page
    entry = next(e for e in read_entries(office.layout.audit) if e.event == "hit_decided")
    assert (entry.fields["user"], entry.fields["hit"], entry.fields["state_ok"]) == ("admin", hit_id, True)


def test_every_reason_can_be_given() -> None:
    for reason in Reason:
        decision = Decision.ACCEPTED if reason is Reason.CORRECT else Decision.REJECTED
        right = reason is Reason.CORRECT
        check_verdict(Verdict(decision, right, right, reason, "note"))
    with pytest.raises(BadRequest):
        check_verdict(Verdict(Decision.REJECTED, False, False, Reason.CORRECT))


def test_a_hit_that_does_not_open_is_shown_as_such(office: Office, hit_id: str) -> None:
    office.people.set_password("admin", PASSWORD)
    client = create_pages(office, HitStore(office, None)).test_client()
    log_in(client)
    assert "cannot be opened" in client.get("/hits").text
    assert "cannot be opened" in client.get(f"/hits/{hit_id}").text
    assert client.get(f"/hits/{hit_id}/crop").status_code == 404
    assert client.get("/hits/none").status_code == 404


def put(office: Office, store: HitStore, hit: HitRecord) -> str:
    store.put(hit.hit_id, hit.read.device_id, seal_hit(office, hit))
    return hit.hit_id


def row_of(page: str, hit_id: str) -> str:
    return page.partition(f'data-hit="{hit_id}"')[2].partition("</li>")[0]


REJECTION = {"decision": "rejected", "reason": "stale entry"}
ACCEPTANCE = {"decision": "accepted", "characters_ok": "yes", "state_ok": "yes", "reason": "correct"}


def test_open_hits_come_first_and_every_one_has_its_page(
    client: FlaskClient, office: Office, store: HitStore, device: MadeDevice, clock: Clock
) -> None:
    log_in(client)
    many = LIMITS.hits_per_page + 5
    ids = []
    for number in range(many):
        clock.forward(1)
        # a unit whose clock is years ahead does not hold the top
        raised = clock() + (10**15 if number == 0 else 0)
        ids.append(put(office, store, make_hit(read_id=f"r-{number}", at_us=raised)))
    assert decide(client, ids[-1], **REJECTION) == 302
    first = re.findall(r'data-hit="(\w+)"', client.get("/hits").text)
    second = re.findall(r'data-hit="(\w+)"', client.get("/hits?page=2").text)
    assert len(first) == LIMITS.hits_per_page
    assert first + second == [*reversed(ids[:-1]), ids[-1]]
    assert 'href="/hits?page=2"' in client.get("/hits").text
    assert f"{many - 1} open" in client.get("/hits?page=2").text
    assert re.findall(r'data-hit="(\w+)"', client.get("/hits/rows?page=2").text) == second
    for bad in ("0", "x", "-1", "9" * 12):
        assert client.get(f"/hits?page={bad}").status_code == 200


def test_an_early_hit_says_so(
    client: FlaskClient, office: Office, store: HitStore, device: MadeDevice
) -> None:
    early = make_hit(at_us=office.clock()).model_copy(update={"preliminary": True})
    put(office, store, early)
    log_in(client)
    for path in ("/hits", f"/hits/{early.hit_id}"):
        assert "early: from the first 7 frames" in client.get(path).text.lower()


@pytest.mark.parametrize("order", ["hit first", "correction first"])
def test_a_hit_that_was_taken_back_cannot_be_accepted(
    order: str, client: FlaskClient, office: Office, store: HitStore, device: MadeDevice
) -> None:
    early = make_hit(at_us=office.clock())
    correction = make_correction(early)
    for hit in (early, correction) if order == "hit first" else (correction, early):
        put(office, store, hit)
    assert store.get(early.hit_id).superseded_by == correction.hit_id
    log_in(client)
    listing = client.get("/hits").text
    assert "1 open" in listing
    assert "data-alert" not in listing
    words = "Taken back: all frames together read ABB127: not the listed plate"
    assert words in row_of(listing, early.hit_id)
    page = client.get(f"/hits/{early.hit_id}").text
    assert words in page
    assert re.search(r'<button class="accept"[^>]* disabled', page)
    assert f"/hits/{correction.hit_id}" in page
    follow_up = client.get(f"/hits/{correction.hit_id}").text
    assert f"/hits/{early.hit_id}" in follow_up
    assert 'name="decision"' not in follow_up
    assert decide(client, correction.hit_id, **ACCEPTANCE) == 400
    assert decide(client, early.hit_id, **ACCEPTANCE) == 400
    assert decide(client, early.hit_id, **REJECTION) == 302


def test_a_hit_taken_back_after_it_was_accepted_shows_it(
    client: FlaskClient, office: Office, store: HitStore, device: MadeDevice
) -> None:
    early = make_hit(at_us=office.clock())
    put(office, store, early)
    log_in(client)
    assert decide(client, early.hit_id, **ACCEPTANCE) == 302
    put(office, store, make_correction(early))
    assert "Taken back" in client.get(f"/hits/{early.hit_id}").text
    assert "Taken back" in row_of(client.get("/hits").text, early.hit_id)


def test_one_device_cannot_take_back_anothers_hit(
    office: Office, store: HitStore, device: MadeDevice, tmp_path: Path
) -> None:
    make_device(office, tmp_path / "pole-2", "pole-2")
    mine = make_hit(at_us=office.clock())
    put(office, store, mine)
    others = make_hit("pole-2", at_us=office.clock()).model_copy(update={"supersedes": mine.hit_id})
    put(office, store, others)
    assert store.get(mine.hit_id).superseded_by is None


def test_a_link_that_a_crash_left_out_is_made_by_the_repeat(
    office: Office, store: HitStore, device: MadeDevice
) -> None:
    early = make_hit(at_us=office.clock())
    correction = make_correction(early)
    put(office, store, early)
    put(office, store, correction)
    with office.engine.begin() as connection:
        connection.execute(update(hits_table).values(superseded_by=None))
    put(office, store, correction)
    assert store.get(early.hit_id).superseded_by == correction.hit_id


def test_rows_and_crops_are_audited_by_themselves(client: FlaskClient, hit_id: str, office: Office) -> None:
    log_in(client)
    client.get(f"/hits/{hit_id}/crop")
    assert events(office).count("hit_crop_viewed") == 1
    client.get("/hits/rows")
    assert events(office).count("hits_listed") == 1
    client.get("/hits/rows")
    client.get(f"/hits/{hit_id}/crop")  # a part of the page that was recorded
    assert events(office).count("hits_listed") == 1
    assert events(office).count("hit_crop_viewed") == 1


def test_without_the_audit_log_nothing_is_decided(
    client: FlaskClient, hit_id: str, office: Office, store: HitStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(client)
    csrf = {"csrf": token(client, "/hits")}

    def refuse(*_: object, **__: object) -> None:
        raise AuditUnavailable("the disk is full")

    monkeypatch.setattr(Audit, "record", refuse)
    assert client.post(f"/hits/{hit_id}/decision", data=csrf | REJECTION).status_code == 500
    assert store.get(hit_id).decision is None
    form = csrf | {"present": PASSWORD, "new": PASSWORD + "2", "again": PASSWORD + "2"}
    assert client.post("/password", data=form).status_code == 500
    assert office.people.log_in("admin", PASSWORD, office.clock())


# --- devices and lists -----------------------------------------------------------------------------


def test_devices_and_lists(client: FlaskClient, office: Office, device: MadeDevice, clock: Clock) -> None:
    log_in(client)
    assert "not heard yet" in client.get("/devices").text
    beat = Heartbeat(
        device_id="pole-1",
        boot_id="b",
        sent_us=1,
        software="wayside 0.1.0",
        lists=(ListStatus(list_id="leads", version=3, age_s=1, stale=True),),
        health={"temperature_c": 51.5},
        problems=("the <camera> is dark",),
    )
    devices.record_heartbeat(office, "pole-1", beat.encode().decode())
    page = client.get("/devices").text
    assert "in touch" in page
    assert "leads v3 STALE" in page
    assert "the &lt;camera&gt; is dark" in page
    clock.forward(301)
    assert ">late<" in client.get("/devices").text
    lists.add_manual(office, lists.Manual("AB1234", "x", office.clock() + 10**9))
    lists.publish(office)
    assert "manual" in client.get("/lists").text
    clock.forward(31 * 86_400)
    log_in(client)
    assert "expired" in client.get("/lists").text
