# SPDX-License-Identifier: Apache-2.0
"""What a hold asks for and cannot have: it is told to who asks, to who approves, and stands in its document."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hold_world import DAY_US, Road, audit_of, choice, command, holds, road_with
from office_world import Clock, MadeDevice, log_in

from backoffice.hold_file import HoldFolder
from backoffice.office import Office
from storage.types import EPOCH_US, SegmentKind, epoch_of


@pytest.fixture
def road(office: Office, device: MadeDevice, tmp_path: Path, clock: Clock) -> Road:
    return road_with(office, device, tmp_path / "device-data", epoch_of(clock() - 20 * DAY_US) * EPOCH_US)


def test_pictures_that_are_not_here_at_the_approval_are_told(
    office: Office, road: Road, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = holds(office).request(choice("pole-1/r-1"))
    assert (asked.pictures, asked.problems) == (2, ())
    (gone,) = road.segments(SegmentKind.IMAGES)
    gone.unlink()
    assert command(office, "hold", "approve", asked.hold.hold_id, by="chief") == 1
    hold = holds(office).get(asked.hold.hold_id)
    assert hold.held == {"reads": 1, "proof": 1}
    assert [problem.split(": ")[0] for problem in hold.problems] == [
        f"pole-1/{gone.stem}:2",
        f"pole-1/{gone.stem}:3",
    ]
    assert all("this picture of r-1 is not held" in problem for problem in hold.problems)
    assert all(problem in capsys.readouterr().err for problem in hold.problems[:1])
    assert audit_of(office, hold.hold_id)[-1].fields["problems"] == 2


def test_a_damaged_picture_is_told(office: Office, road: Road) -> None:
    hold_id = holds(office).request(choice("pole-1/r-0")).hold.hold_id
    (path,) = road.segments(SegmentKind.IMAGES)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    outcome = holds(office, "chief").approve(hold_id)
    assert outcome.hold.held["images"] + sum("not held" in text for text in outcome.problems) == 2


def test_who_approves_sees_what_was_missing_when_it_was_asked_for(
    office: Office, road: Road, client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    (away,) = road.segments(SegmentKind.IMAGES)
    away.rename(away.with_suffix(".away"))
    asked = holds(office).request(choice("pole-1/r-1", "pole-1/never"))
    assert len(asked.problems) == 2
    kept = holds(office).get(asked.hold.hold_id)
    assert kept.asked_problems == asked.problems
    assert command(office, "hold", "show", kept.hold_id, by="sergeant") == 0
    assert all(problem in capsys.readouterr().err for problem in ["pole-1/never: no such read"])
    log_in(client, "sergeant")
    assert "2 problems when it was asked for" in client.get("/holds").text
    away.with_suffix(".away").rename(away)  # pulled before the approval
    outcome = holds(office, "chief").approve(kept.hold_id)
    assert (outcome.problems, outcome.hold.asked_problems) == ((), asked.problems)
    assert outcome.hold.held["images"] == 2


def test_the_warning_of_a_request_cannot_be_taken_out_of_its_document(office: Office, road: Road) -> None:
    asked = holds(office).request(choice("pole-1/r-1", "pole-1/never")).hold
    folder = HoldFolder(office.layout.holds)
    folder.save(asked.model_copy(update={"asked_problems": ()}))
    assert folder.load(asked.hold_id).request_sha256 != asked.request_sha256


class _PowerCut(Exception):
    pass


def test_what_the_device_signed_is_looked_for_again_at_the_second_attempt(office: Office, road: Road) -> None:
    """The first one was cut off between the records and the proofs, and then the sources died."""

    def power_cut(*_: object) -> None:
        raise _PowerCut

    hold_id = holds(office).request(choice("pole-1/r-1")).hold.hold_id
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backoffice.hold_sealing.source_proof", power_cut)
        patch.setattr("storage.hold.FLUSH_BYTES", 1)
        with pytest.raises(_PowerCut):
            holds(office, "chief").approve(hold_id)
    for kind in (SegmentKind.READS, SegmentKind.IMAGES):
        for path in road.segments(kind):
            path.unlink()
    outcome = holds(office, "chief").approve(hold_id)
    assert outcome.hold.held == {"reads": 1, "images": 2}
    told = [problem.split(": ")[1] for problem in outcome.problems]
    assert told == ["what its device signed is not kept"] * 2
