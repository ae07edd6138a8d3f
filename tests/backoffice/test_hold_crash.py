# SPDX-License-Identifier: Apache-2.0
"""The process killed at each change of a file while a hold is made or ended: what was told stays, the rest is done."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "storage"))

from hold_world import (
    DAY_US,
    Road,
    audit_of,
    choice,
    events,
    expire,
    held,
    holds,
    reads_of,
    staff,
    thief_opens,
)
from office_world import Clock, MadeDevice
from storage_world import Killed, Scripted

from backoffice.audit import AuditUnavailable
from backoffice.errors import Conflict
from backoffice.hold_file import HoldFolder, HoldState
from backoffice.hold_watch import finish_holds
from backoffice.holds import Holds
from backoffice.office import Office
from backoffice.pull import open_keyring
from storage.errors import DiskFullError
from storage.types import EPOCH_US, epoch_of

MAX_CALLS = 60  # more than an approval makes


@pytest.fixture
def asked(office: Office, device: MadeDevice, tmp_path: Path, clock: Clock) -> str:
    """A hold that waits for its approval."""
    road = Road(office, device, tmp_path / "device-data")
    hour = epoch_of(clock() - 29 * DAY_US) * EPOCH_US
    for number in range(3):
        road.see(f"r-{number}", f"AB100{number}", hour + number)
    road.pulled()
    staff(office)
    return holds(office).request(choice("pole-1/r-0", "pole-1/r-1")).hold.hold_id


def each_kill(office: Office, tmp_path: Path, act: Callable[[Office, Scripted], object]) -> Iterator[Office]:
    """A copy of the office for each call that changes a file, killed there; the last one was not killed."""
    office.engine.dispose()
    for call in range(MAX_CALLS):
        root = tmp_path / f"killed-{call}"
        shutil.copytree(office.layout.root, root)
        copy = Office.open(root, office.clock)
        files = Scripted({call: "kill"})
        try:
            act(copy, files)
        except Killed:
            yield copy
            copy.close()
        else:
            copy.close()
            assert call > 8, files.calls
            return
    raise AssertionError("it makes more calls than that")


def test_an_approval_that_was_cut_off_is_finished(office: Office, asked: str, tmp_path: Path) -> None:
    states = set()
    for cut in each_kill(office, tmp_path, lambda o, files: holds(o, "sergeant", files).approve(asked)):
        state = holds(cut).get(asked).state
        states.add(state)
        done = holds(cut, "chief").approve(asked).hold
        assert events(cut, asked).count("hold_made") == 1
        assert (done.state, done.problems) == (HoldState.HELD, ())
        assert done.held == {"reads": 2, "images": 4, "proof": 2}
        assert set(reads_of(held(cut, asked))) == {"r-0", "r-1"}
        names = {path.name for path in (cut.layout.holds / asked).glob("*.wseg")}
        assert names == {file.name for file in done.files}
    assert states == {HoldState.WAITING, HoldState.SEALING, HoldState.HELD}


def test_what_was_sealed_before_the_cut_survives_the_hour(
    office: Office, asked: str, tmp_path: Path, clock: Clock
) -> None:
    now, kept = clock.now_us, set()
    for cut in each_kill(office, tmp_path, lambda o, files: holds(o, "sergeant", files).approve(asked)):
        told = holds(cut).get(asked).state is HoldState.HELD
        clock.forward(2 * 86_400)
        expire(cut)
        if not told:
            try:
                holds(cut, "chief").approve(asked)
            except Conflict:
                assert holds(cut).get(asked).state is HoldState.LAPSED
                assert open_keyring(cut).scopes() == []
                clock.now_us = now
                continue
        found = frozenset(reads_of(held(cut, asked)))
        assert not told or found == {"r-0", "r-1"}
        kept.add(found)
        clock.now_us = now
    assert frozenset({"r-0", "r-1"}) in kept


def test_an_end_that_was_cut_off_is_finished(office: Office, asked: str, tmp_path: Path) -> None:
    holds(office, "sergeant").approve(asked)
    holds(office).ask_end(asked, "closed")
    saved = office.layout.holds
    states = set()

    def act(copy: Office, files: Scripted) -> None:
        holds(copy, "sergeant", files).approve(asked)

    for cut in each_kill(office, tmp_path, act):
        states.add(holds(cut).get(asked).state)
        if holds(cut).get(asked).state is not HoldState.ENDED:
            assert holds(cut, "chief").approve(asked).hold.state is HoldState.ENDED
        finish_holds(cut, "office")
        assert events(cut, asked)[-1] == "hold_ended"
        assert set(open_keyring(cut).scopes()) == {"pole-1"}
        assert thief_opens(cut, saved) == []
        assert not list((cut.layout.holds / asked).glob("*.wseg"))
    assert HoldState.ENDING in states


def test_a_full_disk_leaves_a_hold_that_can_be_finished_or_dropped(office: Office, asked: str) -> None:
    no_space = 28
    for call in (4, 8):
        with pytest.raises((DiskFullError, OSError)):
            holds(office, "sergeant", Scripted({call: no_space})).approve(asked)
    assert holds(office).get(asked).state is HoldState.SEALING
    assert holds(office, "sergeant").approve(asked).hold.state is HoldState.HELD


def test_a_hold_cut_off_can_be_dropped(office: Office, asked: str) -> None:
    with pytest.raises(Killed):
        holds(office, "sergeant", Scripted({9: "kill"})).approve(asked)
    assert list((office.layout.holds / asked).glob("*.wseg"))
    assert holds(office, "sergeant").drop(asked, "not evidence").state is HoldState.DROPPED
    assert open_keyring(office).scopes() == ["pole-1"]
    assert not list((office.layout.holds / asked).glob("*.wseg"))


def test_what_the_audit_log_could_not_take_is_told_as_soon_as_it_can(office: Office, asked: str) -> None:
    """The disk may be full just when all is done: nothing says that it is held, or ended, and nobody can ask again."""

    def unlucky(by: str, event: str) -> Holds:
        def record(name: str, **fields: object) -> None:
            if name == event:
                raise AuditUnavailable("the audit log cannot be written: no space")
            office.audit.record(name, user=by, at_us=office.clock(), **fields)

        return Holds(office, by, record)

    def missed(by: str, event: str, act: str, *words: str) -> None:
        with pytest.raises(AuditUnavailable):
            getattr(unlucky(by, event), act)(asked, *words)
        assert event not in events(office, asked)

    missed("sergeant", "hold_made", "approve")
    (office.layout.holds / asked / "leftover.wseg").write_bytes(b"of an earlier attempt")
    outcome = holds(office, "chief").approve(asked)
    assert (outcome.hold.state, events(office, asked)[-1]) == (HoldState.HELD, "hold_made")
    said = audit_of(office, asked)[-1].fields
    assert (said["user"], said["done_by"], said["recovered"]) == ("chief", "sergeant", True)
    assert said["segments"] == [[file.header_sha256, file.records] for file in outcome.hold.files]
    assert not (office.layout.holds / asked / "leftover.wseg").exists()
    with pytest.raises(Conflict, match="nothing waits"):
        holds(office, "chief").approve(asked)
    missed("doyle", "hold_release_asked", "ask_end", "closed")
    holds(office, "doyle").ask_end(asked, "closed")
    missed("chief", "hold_kept", "keep", "appeal")
    holds(office, "doyle").ask_end(asked, "closed")
    assert events(office, asked)[-3:] == ["hold_kept", "hold_release", "hold_release_asked"]
    missed("chief", "hold_ended", "approve")
    for _ in range(2):
        finish_holds(office, "office")
    assert events(office, asked)[-2:] == ["hold_end", "hold_ended"]
    assert audit_of(office, asked)[-1].fields["done_by"] == "chief"


def test_a_drop_that_was_not_told_is_told_later(office: Office, asked: str) -> None:
    record = office.audit.record
    with pytest.MonkeyPatch.context() as patch:

        def full(event: str, **fields: Any) -> object:
            if event == "hold_dropped":
                raise AuditUnavailable("no space")
            return record(event, **fields)

        patch.setattr(office.audit, "record", full)
        with pytest.raises(AuditUnavailable):
            holds(office, "sergeant").drop(asked, "not evidence")
    with pytest.raises(Conflict, match="dropped"):
        holds(office, "sergeant").drop(asked, "again")
    assert events(office, asked)[-2:] == ["hold_drop", "hold_dropped"]


def test_a_document_that_says_held_and_was_never_approved_is_not_told(office: Office, asked: str) -> None:
    folder = HoldFolder(office.layout.holds)
    folder.save(folder.load(asked).model_copy(update={"state": HoldState.HELD}))
    finish_holds(office, "office")
    assert events(office, asked)[-1] == "hold_requested"
