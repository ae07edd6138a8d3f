# SPDX-License-Identifier: Apache-2.0
"""The office's own clock jumps: nothing goes before a device or a person confirms it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from held_world import DAY_US, pulled_segment, put_hit, wait_until
from office_world import Clock, MadeDevice

from backoffice import cli, retention, retention_clock, retention_rounds
from backoffice.devices import record_heartbeat, revoke
from backoffice.errors import ClockInDoubt
from backoffice.office import Office
from backoffice.pull import open_keyring
from backoffice.tickets import open_tickets
from firmware.health_book import device_health
from storage.audit import read_entries
from storage.types import epoch_of
from sync.schema import Heartbeat

HOUR_S = 3600
NEGATIVE = b'{"at_us":0,"boot_id":"boot-1","uptime_ns":-9999999999999999999999}'
YEAR_S = 366 * 86_400
TWO = ("gnss", "office")


class Machine:
    """The server's boot and uptime; `run` lets its clock and its uptime go on together."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.boot = 1
        self.uptime_ns = 100 * 10**9

    def __call__(self) -> tuple[str, int]:
        return f"boot-{self.boot}", self.uptime_ns

    def run(self, seconds: int) -> None:
        self.clock.forward(seconds)
        self.uptime_ns += seconds * 10**9

    def off(self, seconds: int) -> None:
        self.clock.forward(seconds)
        self.boot, self.uptime_ns = self.boot + 1, 30 * 10**9


@pytest.fixture
def machine(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(clock)
    monkeypatch.setattr(retention_clock, "this_boot", made)
    return made


def say_time(
    office: Office, clock: Clock, ahead_us: int = 0, sources: tuple[str, ...] = TWO, device_id: str = "pole-1"
) -> None:
    """A heartbeat of a device whose clock is ahead of ours."""
    at_us = clock() + ahead_us
    eye = {"time_us": at_us, "time_sources": list(sources)}
    fields = {"device_id": device_id, "boot_id": "b", "sent_us": at_us, **device_health(eye, [], {})}
    record_heartbeat(office, device_id, Heartbeat.model_validate(fields).encode().decode())


def goes_on(office: Office) -> bool:
    try:
        retention.run_round(office, "office")
    except ClockInDoubt:
        return False
    return True


def hold_a_day(office: Office, device: MadeDevice, clock: Clock) -> None:
    pulled_segment(office, device, clock() - DAY_US)
    put_hit(office, clock, "r-1", raised_us=clock() - DAY_US, received_us=clock() - DAY_US)
    assert goes_on(office)


def shares(office: Office) -> list[int]:
    return list(open_keyring(office).epochs(scope="pole-1"))


@pytest.mark.parametrize("over_a_boot", [False, True])
def test_a_clock_that_jumps_a_year_deletes_nothing(
    office: Office, device: MadeDevice, clock: Clock, machine: Machine, over_a_boot: bool
) -> None:
    hold_a_day(office, device, clock)
    held = shares(office)
    machine.run(HOUR_S)
    machine.off(YEAR_S) if over_a_boot else clock.forward(YEAR_S)
    assert not retention.plan(office).empty
    for _ in range(3):
        assert not goes_on(office)
        machine.run(HOUR_S)
    assert shares(office) == held
    clock.forward(-YEAR_S)  # somebody sets it right
    assert goes_on(office)
    assert retention_clock.doubt(office) == ""
    assert shares(office) == held
    assert office.audit.verify().ok


def test_ordinary_life_is_never_in_doubt(office: Office, clock: Clock, machine: Machine) -> None:
    assert goes_on(office)
    for step in (HOUR_S, 3 * HOUR_S, 40 * 86_400):
        machine.run(step)  # also asleep: the uptime goes on
        clock.forward(3 * 60)  # somebody sets the clock
        assert goes_on(office)
    for _ in range(5):
        machine.off(2 * 86_400)  # a weekend
        assert goes_on(office)
    clock.forward(-HOUR_S)  # a clock that goes back, and returns
    assert goes_on(office)
    clock.forward(HOUR_S)
    assert goes_on(office)


def test_a_clock_that_runs_fast_does_not_walk_away_round_by_round(
    office: Office, clock: Clock, machine: Machine
) -> None:
    assert goes_on(office)
    rounds = 0
    while rounds < 10 and goes_on(office):  # each is ahead by less than is let through at once
        machine.run(HOUR_S)
        clock.forward(599)
        rounds += 1
    assert rounds == 2


def test_after_a_holiday_a_device_confirms_the_clock(
    office: Office, device: MadeDevice, clock: Clock, machine: Machine
) -> None:
    hold_a_day(office, device, clock)
    say_time(office, clock)  # of before the holiday: it confirms nothing of today
    machine.off(40 * 86_400)
    assert not goes_on(office)
    say_time(office, clock, sources=("gnss",))
    assert not goes_on(office)
    say_time(office, clock, ahead_us=-2 * HOUR_S * 1_000_000)
    assert not goes_on(office)
    say_time(office, clock, ahead_us=-60_000_000)
    machine.run(300)
    assert goes_on(office)
    assert shares(office) == []
    told = [entry.fields for entry in read_entries(office.layout.audit)]
    assert [fields["confirmed_by"] for fields in told if "confirmed_by" in fields] == ["pole-1"]
    machine.run(HOUR_S)
    assert goes_on(office)


def test_a_device_that_is_right_does_not_confirm_a_clock_that_is_wrong(
    office: Office, device: MadeDevice, clock: Clock, machine: Machine
) -> None:
    hold_a_day(office, device, clock)
    clock.forward(YEAR_S)
    say_time(office, clock, ahead_us=-YEAR_S * 1_000_000)
    assert not goes_on(office)


def test_a_revoked_device_confirms_nothing(
    office: Office, device: MadeDevice, clock: Clock, machine: Machine
) -> None:
    hold_a_day(office, device, clock)
    machine.off(YEAR_S)
    say_time(office, clock)
    revoke(office, "pole-1", "stolen")
    assert not goes_on(office)


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"at_us":"x"}', b"\xff" * 9000, NEGATIVE])
def test_a_damaged_mark_wants_a_confirmation(
    office: Office, device: MadeDevice, clock: Clock, machine: Machine, raw: bytes
) -> None:
    hold_a_day(office, device, clock)
    office.layout.retention_clock.write_bytes(raw)
    assert not goes_on(office)
    say_time(office, clock)
    assert goes_on(office)


def run(office: Office, *words: str) -> int:
    return cli.main(["--data", str(office.layout.root), "retention", *words])


def test_a_person_says_that_the_clock_is_right(
    office: Office, device: MadeDevice, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    pulled_segment(office, device, clock() - 40 * DAY_US)
    mark: dict[str, object] = {"at_us": clock() - 10 * DAY_US, "boot_id": "another", "uptime_ns": 1}
    office.layout.retention_clock.write_text(json.dumps(mark))
    assert run(office) == 1
    assert "its clock is 191.8 hours further" in capsys.readouterr().err
    assert run(office, "show") == 0
    assert "--clock-is-right" in capsys.readouterr().out
    assert run(office, "show", "--json") == 0
    assert json.loads(capsys.readouterr().out)["waits"]
    assert shares(office) == [epoch_of(clock() - 40 * DAY_US)]
    assert run(office, "--clock-is-right") == 0
    assert shares(office) == []
    assert run(office) == 0
    assert run(office, "show", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["waits"] is None


def test_serving_goes_on_by_itself_once_a_device_confirms(
    office: Office, device: MadeDevice, clock: Clock, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_rounds, "AFTER_FAULT_S", 0.05)
    hold_a_day(office, device, clock)
    machine.off(40 * 86_400)
    keeper = retention_rounds.RetentionRounds(office)
    keeper.start()
    try:
        assert wait_until(lambda: "retention_clock_in_doubt" in events(office.layout.audit))
        assert wait_until(lambda: [ticket.ticket_id for ticket in open_tickets(office)] == ["OFFICE-1"])
        say_time(office, clock)
        assert wait_until(lambda: not shares(office))
        assert wait_until(lambda: open_tickets(office)[0].well_us is not None)
    finally:
        keeper.stop()
    assert events(office.layout.audit).count("retention_clock_in_doubt") == 1


def events(path: Path) -> list[str]:
    return [entry.event for entry in read_entries(path)]
