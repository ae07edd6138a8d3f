# SPDX-License-Identifier: Apache-2.0
"""Legal holds and the deletion: neither takes from the other, and what a hold that waits loses is told."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
import structlog
from hold_world import (
    DAY_US,
    Road,
    audit_of,
    choice,
    command,
    events,
    expire,
    held,
    holds,
    make_hold,
    pass_away,
    reads_of,
    road_with,
    still_open,
)
from office_world import Clock, MadeDevice, make_hit, seal_hit
from sqlalchemy import update

from backoffice import db, hold_sealing, keys, retention
from backoffice.errors import Conflict
from backoffice.hits import HitStore
from backoffice.hold_file import HoldState
from backoffice.holds import hours_left
from backoffice.office import Office
from backoffice.pull import open_keyring
from storage.atomic import locked
from storage.hold import HeldRecord
from storage.types import EPOCH_US, epoch_of


@pytest.fixture
def hour(clock: Clock) -> int:
    """The beginning of an hour that has a day to live."""
    return epoch_of(clock() - 29 * DAY_US) * EPOCH_US


@pytest.fixture
def road(office: Office, device: MadeDevice, tmp_path: Path, hour: int) -> Road:
    return road_with(office, device, tmp_path / "device-data", hour, later_us=hour + 20 * DAY_US)


def test_the_retention_of_the_office_never_takes_a_case(office: Office, road: Road, clock: Clock) -> None:
    hold_id = make_hold(office, choice("pole-1/r-1"))
    clock.forward(400 * 86_400)
    assert all(not scope.startswith("case-") for scope in retention.plan(office).shares)
    expire(office)
    assert reads_of(held(office, hold_id))


def test_a_hold_that_nobody_approves_dies_on_time_and_is_told(
    office: Office, road: Road, clock: Clock
) -> None:
    hold_id = holds(office).request(choice("pole-1/r-1")).hold.hold_id
    assert hours_left(office, holds(office).get(hold_id)) in range(23, 26)
    with structlog.testing.capture_logs() as logs:
        expire(office)  # the deletion of the day before tells of it
        pass_away(office, clock)
        expire(office)  # and when all is lost it is told no more
    told = [(line["hold"], line["reads_lost"]) for line in logs if line["event"] == "hold_waits"]
    assert told == [(hold_id, 0), (hold_id, 1)]
    (said,) = [entry for entry in audit_of(office, hold_id) if entry.event == "hold_loses"]
    assert said.fields["reads_lost"] == 1
    with pytest.raises(Conflict, match="nothing"):
        holds(office, "chief").approve(hold_id)
    assert holds(office).get(hold_id).state is HoldState.LAPSED
    assert open_keyring(office).scopes() == ["pole-1"]
    assert events(office, hold_id)[-2:] == ["hold_approve", "hold_lapsed"]


def test_a_hit_that_a_waiting_hold_loses_is_told(office: Office, road: Road, hour: int, clock: Clock) -> None:
    hit = make_hit("pole-1", "gone", hour)
    store = HitStore(office, keys.load_purpose_key(office.layout, keys.HITS))
    store.put(hit.hit_id, "pole-1", seal_hit(office, hit))
    hold_id = holds(office).request(choice(hits=(hit.hit_id,))).hold.hold_id
    pass_away(office, clock)
    (said,) = [entry for entry in audit_of(office, hold_id) if entry.event == "hold_loses"]
    assert (said.fields["reads_lost"], said.fields["hits_lost"]) == (0, 1)


def test_deletion_waits_for_an_approval_that_is_sealing(office: Office, road: Road, clock: Clock) -> None:
    """What was approved in time is held, also when its hour dies while it is sealed."""
    hold_id = holds(office).request(choice("pole-1/r-1")).hold.hold_id
    begun, proof = Event(), hold_sealing.source_proof

    def slow(device: str, path: Path) -> HeldRecord:
        begun.set()
        time.sleep(0.3)
        return proof(device, path)

    def deleted() -> int:
        assert begun.wait(10)
        clock.forward(2 * 86_400)
        expire(office)
        return time.monotonic_ns()

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr("backoffice.hold_sealing.source_proof", slow)
        deletion = pool.submit(deleted)
        outcome = holds(office, "chief").approve(hold_id)
        done_ns = time.monotonic_ns()
        assert deletion.result() > done_ns
    assert (outcome.problems, outcome.hold.held) == ((), {"reads": 1, "images": 2, "proof": 2})
    assert still_open(office) == ["later"]


def test_deletion_does_not_wait_for_ever(office: Office, road: Road, clock: Clock) -> None:
    with locked(office.layout.holds / "lock", 1), pytest.MonkeyPatch.context() as patch:
        patch.setattr("backoffice.hold_watch.SEALING_WAIT_S", 0.05)
        pass_away(office, clock)


def test_a_key_of_a_case_without_its_hold_is_told_and_kept(
    office: Office, road: Road, capsys: pytest.CaptureFixture[str]
) -> None:
    hold_id = make_hold(office, choice("pole-1/r-1"))
    (office.layout.holds / hold_id).rename(office.layout.holds.parent / "lost")
    with structlog.testing.capture_logs() as logs:
        expire(office)
    assert [line["scope"] for line in logs if line["event"] == "hold_key_alone"] == [f"case-{hold_id}"]
    assert command(office, "hold", "list") == 1
    assert f"case-{hold_id}: its hold is not here" in capsys.readouterr().err
    (office.layout.holds.parent / "lost").rename(office.layout.holds / hold_id)
    assert command(office, "hold", "list") == 0
    assert reads_of(held(office, hold_id))


def test_a_device_that_is_called_as_a_case_is_deleted_like_any_other(
    office: Office, device: MadeDevice, tmp_path: Path, hour: int, clock: Clock
) -> None:
    """It was enrolled before there were holds."""
    with office.engine.begin() as connection:
        connection.execute(update(db.devices).values(device_id="case-north"))
    made = Road(office, replace(device, device_id="case-north"), tmp_path / "north")
    made.see("r-1", "AB1000", hour)
    made.pulled()
    clock.forward(2 * 86_400)
    expire(office)
    assert open_keyring(office).epochs(scope="case-north") == []


def test_an_empty_folder_that_a_crash_left_is_no_hold(
    office: Office, road: Road, capsys: pytest.CaptureFixture[str]
) -> None:
    (office.layout.holds / "deadbeef").mkdir()
    assert command(office, "hold", "list") == 0
    (office.layout.holds / "deadbeef" / "x.wseg").write_bytes(b"")  # sealed, and the document is lost
    assert command(office, "hold", "list") == 1
