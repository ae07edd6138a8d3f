# SPDX-License-Identifier: Apache-2.0
"""Tickets: from the device's own words to the note that closes one; the page and the commands."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from office_world import PASSWORD, Clock, MadeDevice, log_in, make_device, token
from sqlalchemy import inspect

from backoffice import cli, devices, tickets
from backoffice.db import open_database
from backoffice.db import tickets as table
from backoffice.errors import BadRequest, Conflict, NotFound
from backoffice.hits import MAX_NOTE_CHARACTERS
from backoffice.limits import LIMITS
from backoffice.office import Office, day_of
from backoffice.people import Role
from backoffice.tickets import MAX_OPEN, REOPEN_US, Ticket
from firmware.health_book import device_health
from storage.audit import read_entries
from sync.limits import MAX_TEXT_CHARS
from sync.schema import Heartbeat
from sync.transport import HttpsTransport

DAY_S = REOPEN_US / 1e6
SINCE_US = 1_763_800_020_000_000  # 2025-11-22 08:27 UTC


def part(name: str, code: str, condition: str = "failed", advice: str = "clean the glass") -> dict[str, Any]:
    return {"part": name, "condition": condition, "code": code, "advice": advice, "since_us": SINCE_US}


def beat_of(*parts: dict[str, Any], **fields: Any) -> Heartbeat:
    """A heartbeat as the device's own code words it."""
    said = device_health({"frames": 3, "health": list(parts)}, [], {})
    return Heartbeat(**{"device_id": "pole-1", "boot_id": "b", "sent_us": 1, **said, **fields})


BLIND = part("camera", "no_frames", advice="check the <b>cable</b>")
FOGGED = part("window", "fogged", "degraded")


def say(office: Office, beat: Heartbeat) -> None:
    """As the device port does."""
    tickets.hear(office, beat)
    devices.record_heartbeat(office, beat.device_id, beat.encode().decode())


def only(office: Office) -> Ticket:
    (ticket,) = tickets.open_tickets(office)
    return ticket


@pytest.fixture(autouse=True)
def _enrolled(device: MadeDevice) -> None:
    """Every test has pole-1."""


# --- what a heartbeat tells --------------------------------------------------------------------------


def test_an_alarm_opens_one_ticket_however_often_it_is_told(office: Office, clock: Clock) -> None:
    for _ in range(3):
        say(office, beat_of(BLIND))
        clock.forward(30)
    ticket = only(office)
    assert (ticket.ticket_id, ticket.what) == ("pole-1-1", "camera: no frames")
    assert ticket.advice == "check the <b>cable</b>"
    assert ticket.since_us == SINCE_US
    assert ticket.opened_us == clock() - 90_000_000
    assert ticket.well_us is None


def test_heartbeats_at_the_same_moment_open_one_ticket(office: Office) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: tickets.hear(office, beat_of(BLIND, FOGGED)), range(16)))
    assert [t.number for t in tickets.open_tickets(office)] == [1, 2]


def test_each_fault_of_a_part_and_each_device_has_its_own(office: Office, tmp_path: Path) -> None:
    make_device(office, tmp_path / "pole-2", "pole-2")
    say(office, beat_of(BLIND, FOGGED, part("camera", "dark")))
    say(office, beat_of(BLIND, device_id="pole-2"))
    found = {(ticket.ticket_id, ticket.what) for ticket in tickets.open_tickets(office)}
    assert found == {
        ("pole-1-1", "camera: no frames"),
        ("pole-1-2", "window: fogged"),
        ("pole-1-3", "camera: dark"),
        ("pole-2-1", "camera: no frames"),
    }


def test_what_is_told_no_longer_is_well_and_stays_open(office: Office, clock: Clock) -> None:
    say(office, beat_of(BLIND, FOGGED))
    clock.forward(60)
    say(office, beat_of(FOGGED))
    clock.forward(60)
    say(office, beat_of(FOGGED))
    assert [(t.what, t.well_us) for t in tickets.open_tickets(office)] == [
        ("window: fogged", None),
        ("camera: no frames", clock() - 60_000_000),
    ]


@pytest.mark.parametrize(
    "told",
    [
        device_health(None, [], {}),  # the eye does not answer
        {"problems": ("health not available",)},
    ],
)
def test_a_device_that_cannot_look_does_not_say_that_it_is_well(told: dict[str, Any], office: Office) -> None:
    say(office, beat_of(BLIND))
    say(office, Heartbeat(**{"device_id": "pole-1", "boot_id": "b", "sent_us": 1, **told}))
    assert [t.well_us for t in tickets.open_tickets(office)] == [None, None]


def test_an_open_ticket_takes_its_alarm_back_whenever_it_returns(office: Office, clock: Clock) -> None:
    for pause_s in (60, DAY_S + 60):
        say(office, beat_of(BLIND))
        say(office, beat_of())
        clock.forward(pause_s)
    tickets.hear(office, beat_of(BLIND))
    found = [t for t in tickets.open_tickets(office) if t.alarm != tickets.SILENT]
    assert [(t.number, t.well_us, t.returns) for t in found] == [(1, None, 2)]


@pytest.mark.parametrize(("after_s", "same"), [(DAY_S, True), (DAY_S + 1, False)])
def test_a_closed_ticket_is_reopened_within_a_day_and_a_new_one_later(
    after_s: float, same: bool, office: Office, clock: Clock
) -> None:
    say(office, beat_of(BLIND))
    say(office, beat_of())
    tickets.close(office, "pole-1-1", "garcia", "")
    clock.forward(after_s)
    tickets.hear(office, beat_of(BLIND))
    (ticket,) = [t for t in tickets.open_tickets(office) if t.alarm != tickets.SILENT]
    assert (ticket.number == 1, ticket.returns) == (same, int(same))
    assert len(tickets.closed_tickets(office)) == (0 if same else 1)


def test_closed_while_still_told_it_rests_for_a_day(office: Office, clock: Clock) -> None:
    say(office, beat_of(BLIND))
    tickets.close(office, "pole-1-1", "garcia", "the mast comes down tomorrow")
    for _ in range(2):
        say(office, beat_of(BLIND))
        assert tickets.open_tickets(office) == []
        clock.forward(100)
    clock.forward(DAY_S)
    tickets.hear(office, beat_of(BLIND))
    assert "camera: no frames" in [t.what for t in tickets.open_tickets(office)]


# --- silence -----------------------------------------------------------------------------------------


def test_silence_is_a_ticket_and_ends_with_a_word(office: Office, clock: Clock) -> None:
    assert tickets.open_tickets(office) == []  # never heard yet
    say(office, beat_of())
    heard = clock()
    clock.forward(LIMITS.heartbeat_late_s)
    assert tickets.open_tickets(office) == []
    clock.forward(1)
    assert tickets.count_open(office) == 1
    ticket = only(office)
    assert ticket.what.startswith("silent")
    assert (ticket.since_us, ticket.well_us) == (heard, None)
    say(office, beat_of())
    assert only(office).well_us == clock()


def test_silence_that_nobody_looked_at_is_told_afterwards(office: Office, clock: Clock) -> None:
    say(office, beat_of())
    clock.forward(LIMITS.heartbeat_late_s + 1)
    say(office, beat_of())
    assert only(office).well_us == clock()


def test_a_blind_device_is_silent_no_longer(office: Office, clock: Clock) -> None:
    say(office, beat_of())
    clock.forward(LIMITS.heartbeat_late_s + 1)
    say(office, beat_of(**device_health(None, [], {})))
    wells = {t.what: t.well_us for t in tickets.open_tickets(office)}
    assert wells == {"the eye does not answer": None, "silent: nothing is heard from it": clock()}


def test_a_revoked_device_may_be_silent(office: Office, clock: Clock) -> None:
    say(office, beat_of())
    devices.revoke(office, "pole-1", "taken down")
    clock.forward(LIMITS.heartbeat_late_s + 1)
    assert tickets.count_open(office) == 0


# --- hostile and strange words -----------------------------------------------------------------------


def test_a_sentence_in_other_words_is_one_alarm_whatever_it_counts(office: Office) -> None:
    for count in (3, 12):
        say(office, beat_of(problems=(f"{count} hits are set aside: the office refused them",)))
    assert only(office).what == "12 hits are set aside: the office refused them"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * MAX_TEXT_CHARS,
        "a: b since 9999-99-99 99:99 UTC - c",
        "a: b since 9999-12-31 23:59 UTC - c",
        "a: b since 0001-01-01 00:00 UTC - c",
        "\x1b[2J: \x00 since 2025-11-22 08:27 UTC - \x07",
        tickets.SILENT,
    ],
)
def test_strange_text_is_one_readable_ticket_of_the_past(
    text: str, office: Office, clock: Clock, client: FlaskClient
) -> None:
    say(office, beat_of(problems=(text, text)))
    ticket = only(office)
    assert (ticket.what + ticket.advice).isprintable()
    assert ticket.since_us <= clock()
    assert ticket.alarm != tickets.SILENT
    log_in(client)
    assert client.get("/tickets").status_code == 200


def test_a_device_has_so_many_open_tickets_at_most_and_its_silence_one_more(
    office: Office, clock: Clock, client: FlaskClient
) -> None:
    for turn in range(2):
        say(office, beat_of(*(part(f"p{turn}x{n}", "odd") for n in range(MAX_OPEN))))
    assert len(tickets.open_tickets(office)) == MAX_OPEN
    clock.forward(LIMITS.heartbeat_late_s + 1)
    assert len(tickets.open_tickets(office)) == MAX_OPEN + 1
    log_in(client)
    assert f"pole-1 has {MAX_OPEN} open tickets" in client.get("/tickets").text
    tickets.close(office, "pole-1-1", "garcia", "")
    tickets.hear(office, beat_of(part("lamp", "dark"), part("p0x0", "odd")))
    whats = [t.what for t in tickets.open_tickets(office)]
    assert "lamp: dark" in whats  # the room of the closed one, which therefore cannot come back, too
    assert len([what for what in whats if "silent" not in what]) == MAX_OPEN


def test_a_closed_ticket_that_rests_takes_no_room(office: Office) -> None:
    parts = [part(f"p{n}", "odd") for n in range(MAX_OPEN)]
    say(office, beat_of(*parts))
    tickets.close(office, "pole-1-1", "garcia", "known")
    say(office, beat_of(*parts, part("lamp", "dark")))
    assert "lamp: dark" in [t.what for t in tickets.open_tickets(office)]


# --- closing -----------------------------------------------------------------------------------------


def test_an_unwell_ticket_needs_a_note(office: Office, clock: Clock) -> None:
    say(office, beat_of(BLIND))
    with pytest.raises(BadRequest, match="note"):
        tickets.close(office, "pole-1-1", "garcia", "  ")
    with pytest.raises(BadRequest, match=str(MAX_NOTE_CHARACTERS)):
        tickets.close(office, "pole-1-1", "garcia", "x" * (MAX_NOTE_CHARACTERS + 1))
    tickets.close(office, "pole-1-1", "garcia", " new cable ordered ")
    (ticket,) = tickets.closed_tickets(office)
    assert (ticket.closed_by, ticket.closed_us, ticket.note) == ("garcia", clock(), "new cable ordered")
    with pytest.raises(Conflict):
        tickets.close(office, "pole-1-1", "garcia", "again")


@pytest.mark.parametrize(
    "ticket_id", ["", "pole-1", "pole-1-2", "pole-1-x", "pole-1-" + "9" * 40, "-1", "²-²"]
)
def test_there_is_no_such_ticket(ticket_id: str, office: Office) -> None:
    say(office, beat_of(BLIND))
    with pytest.raises(NotFound):
        tickets.close(office, ticket_id, "garcia", "x")


def test_an_office_of_an_older_version_gets_the_table(office: Office) -> None:
    table.drop(office.engine)
    open_database(office.layout.database).dispose()
    assert inspect(office.engine).has_table("tickets")


# --- over the wire, the page, the commands -----------------------------------------------------------


def test_a_real_heartbeat_opens_a_ticket(link: HttpsTransport, office: Office) -> None:
    assert link.post("/v1/heartbeat", beat_of(BLIND).encode()).status == 200
    assert only(office).what == "camera: no frames"


def test_the_page_shows_open_ones_first_and_closes_with_a_note(client: FlaskClient, office: Office) -> None:
    assert client.get("/tickets", follow_redirects=True).request.path == "/login"
    say(office, beat_of(FOGGED, BLIND))
    tickets.close(office, "pole-1-1", "garcia", "wiped")
    log_in(client)
    page = client.get("/tickets").text
    assert page.index("camera: no frames") < page.index("window: fogged")
    assert "check the &lt;b&gt;cable&lt;/b&gt;" in page
    assert "2025-11-22 08:27:00 UTC" in page
    assert '/devices#device-pole-1"' in page
    assert 'id="device-pole-1"' in client.get("/devices").text
    assert 'Tickets <span class="tag">1</span>' in page
    assert client.post("/tickets/pole-1-2/close", data={"note": "x"}).status_code == 403
    csrf = {"csrf": token(client, "/tickets")}
    assert client.post("/tickets/pole-1-2/close", data={**csrf, "note": " "}).status_code == 400
    assert client.post("/tickets/pole-9-9/close", data={**csrf, "note": "x"}).status_code == 404
    assert client.post("/tickets/pole-1-2/close", data={**csrf, "note": "<i>new</i>"}).status_code == 302
    assert client.post("/tickets/pole-1-2/close", data={**csrf, "note": "x"}).status_code == 409
    page = client.get("/tickets").text
    assert "No ticket is open" in page
    assert "by admin: &lt;i&gt;new&lt;/i&gt;" in page
    last = list(read_entries(office.layout.audit))[-1]
    assert last.event == "ticket_closed"
    assert last.fields == {"user": "admin", "ticket": "pole-1-2", "note": "<i>new</i>"}


@pytest.mark.parametrize(
    ("role", "sees", "closes"),
    [
        (Role.TECHNICIAN, 200, 302),
        (Role.SUPERVISOR, 200, 302),
        (Role.AUDITOR, 200, 403),
        (Role.OPERATOR, 403, 403),
    ],
)
def test_who_may(
    role: Role, sees: int, closes: int, client: FlaskClient, office: Office, clock: Clock
) -> None:
    say(office, beat_of(BLIND))
    office.people.add("garcia", role, day_of(clock()), clock())
    office.people.set_password("garcia", PASSWORD)
    log_in(client, "garcia")
    page = client.get("/tickets")
    assert page.status_code == sees
    assert ("/tickets/pole-1-1/close" in page.text) == (closes == 302)
    form = {"csrf": token(client, "/password"), "note": "done"}
    assert client.post("/tickets/pole-1-1/close", data=form).status_code == closes


def test_the_commands(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, str]:
        code = cli.main(["--data", str(office.layout.root), *words])
        told = capsys.readouterr()
        return code, told.out + told.err

    say(office, beat_of(BLIND, FOGGED))
    code, text = run("tickets")
    assert code == 0
    assert "pole-1-1  pole-1  open" in text
    assert "check the <b>cable</b>" in text
    assert run("tickets", "close", "pole-1-1")[0] == 1
    assert run("tickets", "close", "pole-1-7", "--note", "x")[0] == 1
    assert run("tickets", "close", "pole-1-1", "--note", "new cable") == (0, "pole-1-1: closed\n")
    (shown,) = [json.loads(line) for line in run("tickets", "--json")[1].splitlines()]
    assert (shown["ticket"], shown["open"], shown["what"]) == ("pole-1-2", True, "window: fogged")
    every = [json.loads(line) for line in run("tickets", "--all", "--json")[1].splitlines()]
    assert [(each["ticket"], each["note"]) for each in every] == [
        ("pole-1-2", None),
        ("pole-1-1", "new cable"),
    ]
    recorded = [entry.event for entry in read_entries(office.layout.audit)]
    assert recorded[-2:] == ["ticket_close", "ticket_closed"]  # and nothing of what was refused
    assert recorded.count("ticket_close") == 1
