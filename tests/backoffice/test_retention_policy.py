# SPDX-License-Identifier: Apache-2.0
"""A policy that the office signs: what it deletes by, what a device gets, which one a device obeys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from held_world import DAY_US, pulled_segment, put_hit
from office_world import PASSWORD, Clock, MadeDevice, make_device

from backoffice import cli, keys, retention, retention_policy
from backoffice.devices import get_device, record_heartbeat
from backoffice.errors import BadRequest
from backoffice.office import Office, day_of
from backoffice.people import Role
from backoffice.pull import open_keyring
from backoffice.retention_policy import documents_for, newest, obeyed, schedule, set_policy
from storage.audit import read_entries
from storage.types import epoch_of
from sync.enrolment import verify_bundle
from sync.retention_document import KIND, open_retention
from sync.schema import Heartbeat, HeartbeatReply
from sync.transport import HttpsTransport

DAY = 86_400


def beat(number: object, version: str = "x") -> Heartbeat:
    health = {"retention_number": number, "retention_policy": version}
    return Heartbeat.model_validate({"device_id": "pole-1", "boot_id": "b", "sent_us": 1, "health": health})


def run(office: Office, *words: str) -> int:
    return cli.main(["--data", str(office.layout.root), "retention", *words])


def put_pair(office: Office, device: MadeDevice, clock: Clock, days_ago: int) -> int:
    """A pulled hour and a hit of that day; its epoch."""
    at_us = clock() - days_ago * DAY_US
    pulled_segment(office, device, at_us)
    put_hit(office, clock, f"r-{days_ago}", raised_us=at_us, received_us=at_us)
    return epoch_of(at_us)


def test_shortened_at_once(office: Office, device: MadeDevice, clock: Clock) -> None:
    old, young = put_pair(office, device, clock, 10), put_pair(office, device, clock, 2)
    assert retention.plan(office).empty
    set_policy(office, 5 * DAY, "five", "admin", "council's decision")
    doomed = retention.plan(office)
    assert doomed.counts() == {"shares": 1, "segments": 1, "hits": 1, "strays": 0}
    assert doomed.shares == {"pole-1": [old]}
    retention.delete(office, doomed, "admin")
    assert open_keyring(office).epochs(scope="pole-1") == [young]
    done = [entry for entry in read_entries(office.layout.audit) if entry.event == "retention_done"]
    assert done[-1].fields["policy"] == "five"


def test_lengthened_for_new_hours_only(office: Office, device: MadeDevice, clock: Clock) -> None:
    put_pair(office, device, clock, 1)
    set_policy(office, 60 * DAY, "sixty", "admin", "state law")
    clock.forward(3 * DAY)
    new = put_pair(office, device, clock, 1)
    clock.forward(28 * DAY)
    doomed = retention.plan(office)
    assert doomed.counts() == {"shares": 1, "segments": 1, "hits": 1, "strays": 0}
    assert new not in doomed.shares["pole-1"]
    retention.delete(office, doomed, "admin")
    clock.forward(30 * DAY)
    assert retention.plan(office).empty
    clock.forward(2 * DAY)
    assert retention.plan(office).counts()["shares"] == 1


def test_the_schedule_outlives_a_restart(office: Office, clock: Clock) -> None:
    for days in (60, 3, 30):
        set_policy(office, days * DAY, f"days-{days}", "admin", "why")
        clock.forward(5 * DAY)
    again = Office.open(office.layout.root, clock)
    try:
        assert schedule(again) == schedule(office)
        at_us = clock() - 12 * DAY_US  # under the second
        assert schedule(again).seconds_for(epoch_of(at_us)) == 3 * DAY
        assert schedule(again).newest == newest(again).policy
        assert newest(again).policy.number == 3
    finally:
        again.close()


def test_a_device_gets_the_newest_policy_until_it_obeys_it(office: Office, device: MadeDevice) -> None:
    assert documents_for(office, beat(0)) == ()  # the first came with its bundle
    set_policy(office, 5 * DAY, "five", "admin", "why")
    (sent,) = documents_for(office, beat(0))
    assert sent.kind == KIND
    document = open_retention(sent.signed, [keys.load_purpose_public(office.layout, keys.LISTS)])
    assert (document.number, document.seconds, document.by) == (1, 5 * DAY, "admin")
    for told in (None, "1", True):
        assert documents_for(office, beat(told)) == (sent,)
    assert documents_for(office, beat(1, "five")) == ()


def test_the_policy_goes_out_with_the_answer_to_a_heartbeat(office: Office, link: HttpsTransport) -> None:
    set_policy(office, 5 * DAY, "five", "admin", "why")
    answer = link.post("/v1/heartbeat", beat(0).encode(), {"Content-Type": "application/json"})
    assert [document.kind for document in HeartbeatReply.decode(answer.body).documents] == [KIND]


def test_a_bundle_carries_the_newest_policy(office: Office, tmp_path: Path) -> None:
    set_policy(office, 5 * DAY, "five", "admin", "why")
    first = verify_bundle(make_device(office, tmp_path / "later", "pole-2").bundle).retention
    assert (first.seconds, first.version, first.number) == (5 * DAY, "five", 1)


@pytest.mark.parametrize(
    ("seconds", "version", "reason"),
    [(179, "x", "y"), (10**9, "x", "y"), (200, "a b", "y"), (200, "x", ""), (200, "x", " ")],
)
def test_a_policy_out_of_bounds_is_refused(office: Office, seconds: int, version: str, reason: str) -> None:
    with pytest.raises(BadRequest):
        set_policy(office, seconds, version, "admin", reason)
    assert newest(office).policy.number == 0


def test_what_a_device_obeys(office: Office, device: MadeDevice) -> None:
    assert obeyed(None, newest(office).policy) is None
    set_policy(office, 5 * DAY, "five", "admin", "why")
    latest = newest(office).policy
    for told, is_newest in ((beat(1, "five"), True), (beat(0, "1"), False), (beat(1, "other"), False)):
        record_heartbeat(office, "pole-1", told.encode().decode())
        found = obeyed(get_device(office, "pole-1").heartbeat, latest)
        assert found is not None
        assert found.newest is is_newest
    assert obeyed("rubbish", latest) is None
    assert retention_policy.obeys(None, latest) == "not said yet"


def test_the_commands(office: Office, device: MadeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(office, "set", "--profile", "illinois-60", "--reason", "J5.4") == 0
    assert run(office, "set", "--seconds", "180", "--name", "now", "--reason", "test", "--yes", "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["number"], told["seconds"], told["version"], told["by"]) == (2, 180, "now", "admin")
    record_heartbeat(office, "pole-1", beat(1, "illinois-60").encode().decode())
    assert run(office, "show", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert [policy["version"] for policy in shown["policies"]] == ["1", "illinois-60", "now"]
    assert shown["devices"] == {"pole-1": {"number": 1, "version": "illinois-60", "newest": False}}
    assert run(office, "show") == 0
    out = capsys.readouterr().out
    assert "60 days" in out
    assert "1 illinois-60: not the newest" in out
    assert run(office, "--dry-run") == 0
    events = [entry.event for entry in read_entries(office.layout.audit)]
    assert events.count("retention_policy_set") == events.count("retention_policy_is_set") == 2
    assert run(office, "--dry-run", "set", "--days", "3", "--reason", "x") != 0


def test_a_shorter_policy_is_signed_only_when_it_is_meant(
    office: Office, device: MadeDevice, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    put_pair(office, device, clock, 10)
    put_pair(office, device, clock, 2)
    words = ("set", "--days", "5", "--reason", "council's decision")
    assert run(office, *words) == 2
    out = capsys.readouterr().out
    assert "1 hours, 1 segments and 1 hits would go" in out
    assert "--yes" in out
    assert run(office, *words, "--json") == 2
    assert json.loads(capsys.readouterr().out) == {
        "set": False,
        "would_go": {"shares": 1, "segments": 1, "hits": 1, "strays": 0},
    }
    assert newest(office).policy.number == 0
    assert retention.plan(office).empty
    assert not [e for e in read_entries(office.layout.audit) if e.event.startswith("retention_policy")]
    assert run(office, *words, "--yes") == 0
    assert newest(office).policy.number == 1
    assert retention.plan(office).counts()["shares"] == 1
    for days in ("5", "9"):  # as long, and longer
        assert run(office, "set", "--days", days, "--reason", "council's decision") == 0
    assert run(office, "set", "--seconds", "179", "--reason", "x") == 1


def test_only_an_administrator_sets_it(office: Office, clock: Clock) -> None:
    office.people.add("tom", Role.TECHNICIAN, day_of(clock()), clock(), PASSWORD)
    words = ["--as", "tom", "retention", "set", "--days", "9", "--reason", "x"]
    assert cli.main(["--data", str(office.layout.root), *words]) == 3
    assert newest(office).policy.number == 0
    assert list(read_entries(office.layout.audit))[-1].event == "refused"
