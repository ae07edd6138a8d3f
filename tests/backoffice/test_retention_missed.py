# SPDX-License-Identifier: Apache-2.0
"""Policies that somebody missed: a unit out of reach, a book that was lost, an office restored from a backup."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from office_world import Clock, MadeDevice
from sqlalchemy import delete

from backoffice import cli, keys
from backoffice.db import retention_policies
from backoffice.devices import record_heartbeat
from backoffice.office import Office
from backoffice.retention_policy import documents_for, newest, schedule, set_policy
from storage.audit import read_entries
from storage.retention_policies import PolicyBook, SignedPolicy
from storage.retention_schedule import RetentionPolicy
from storage.types import epoch_of
from sync.retention_document import open_retention
from sync.schema import Heartbeat

DAY = 86_400


def beat(number: int, version: str) -> Heartbeat:
    health = {"retention_number": number, "retention_policy": version}
    return Heartbeat.model_validate({"device_id": "pole-1", "boot_id": "b", "sent_us": 1, "health": health})


def sent_to(office: Office, number: int, version: str) -> list[SignedPolicy]:
    """What a device that obeys this policy gets, as it keeps it."""
    trusted = [keys.load_purpose_public(office.layout, keys.LISTS)]
    documents = documents_for(office, beat(number, version))
    return [open_retention(sent.signed, trusted).signed_policy(sent.signed) for sent in documents]


def hear(office: Office, unit: PolicyBook, held: set[int]) -> None:
    """A device tells what it obeys, and obeys what comes back."""
    told = unit.schedule.newest
    for offered in sent_to(office, told.number, told.version):
        unit.take(offered, held)


CHANGES = st.lists(
    st.tuples(st.sampled_from([3, 7, 30, 45, 60, 90]), st.booleans(), st.integers(1, 4)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES)
@example([(7, False, 1), (30, True, 1)])  # shortened while the unit was out of reach
def test_a_unit_that_missed_policies_keeps_each_hour_as_it_should(
    office: Office,
    clock: Clock,
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[tuple[int, bool, int]],
) -> None:
    """By the agency's schedule, or by what the unit obeyed when the hour began, whichever is shorter."""
    with office.engine.begin() as connection:
        connection.execute(delete(retention_policies))
    path, first = tmp_path_factory.mktemp("unit") / "policies.json", newest(office).policy
    unit = PolicyBook.open(path, [SignedPolicy(first)], set())
    began: dict[int, int] = {}
    for days, heard, wait in changes:
        began[epoch_of(clock())] = unit.schedule.newest.seconds
        clock.forward(wait * DAY)
        set_policy(office, days * DAY, f"days-{days}", "chief", "why")
        clock.forward(DAY)
        began[epoch_of(clock())] = unit.schedule.newest.seconds
        clock.forward(DAY)
        if heard:
            hear(office, unit, set(began))
    hear(office, unit, set(began))
    for epoch, seconds in began.items():
        assert unit.schedule.seconds_for(epoch) == min(seconds, schedule(office).seconds_for(epoch))
    assert unit.schedule.newest == newest(office).policy


def test_a_lost_book_is_made_by_the_shortest_also_where_it_was_lengthened_since(
    office: Office, clock: Clock, tmp_path: Path
) -> None:
    for days in (30, 90):
        set_policy(office, days * DAY, f"days-{days}", "chief", "why")
        clock.forward(DAY)
    first, (offered,) = SignedPolicy(RetentionPolicy(60 * DAY, "1")), sent_to(office, 0, "1")
    held = {epoch_of(clock()) - 100}
    made = PolicyBook.open(tmp_path / "lost.json", [first, offered], held)
    assert made.lost
    assert [made.schedule.seconds_for(epoch) // DAY for epoch in (*held, 2**30)] == [30, 90]


def test_what_no_hour_that_is_held_can_need_is_sent_no_longer(office: Office, clock: Clock) -> None:
    for days in (7, 60):
        set_policy(office, days * DAY, f"days-{days}", "chief", "why")
    set_policy(office, 90 * DAY, "ninety", "chief", "why")
    (offered,) = sent_to(office, 0, "1")
    assert [missed.policy.seconds // DAY for missed in offered.overtaken] == [7, 60]
    clock.forward(91 * DAY)
    set_policy(office, 90 * DAY, "again", "chief", "why")
    assert sent_to(office, 0, "1")[0].overtaken == ()


def test_after_a_restore_a_number_that_a_device_obeys_is_not_given_out_again(
    office: Office, device: MadeDevice
) -> None:
    set_policy(office, 60 * DAY, "sixty", "chief", "x")
    record_heartbeat(office, "pole-1", beat(1, "sixty").encode().decode())
    with office.engine.begin() as connection:
        connection.execute(delete(retention_policies))  # as a backup from before has it
    assert set_policy(office, 7 * DAY, "seven", "chief", "court order").policy.number == 2
    assert sent_to(office, 1, "sixty")
    assert sent_to(office, 2, "another")  # the device refuses it aloud
    assert not sent_to(office, 2, "seven")
    record_heartbeat(office, "pole-1", beat(2**50, "seven").encode().decode())  # no leap is believed
    assert set_policy(office, 6 * DAY, "six", "chief", "x").policy.number == 3


def test_what_is_out_of_bounds_leaves_no_word_in_the_audit_log(office: Office) -> None:
    words = ["retention", "set", "--days", "60", "--reason", "x" * 501]
    assert cli.main(["--data", str(office.layout.root), *words]) == 1
    assert not [e for e in read_entries(office.layout.audit) if e.event.startswith("retention_policy")]
