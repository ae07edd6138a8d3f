# SPDX-License-Identifier: Apache-2.0
"""Legal hold: what is chosen outlives its hour, its neighbours do not, and the end of a hold ends it for everybody."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hold_world import (
    DAY_US,
    PICTURE,
    WHY,
    Road,
    choice,
    events,
    expire,
    held,
    holds,
    make_hold,
    pass_away,
    reads_of,
    road_with,
    thief_opens,
)
from office_world import PASSWORD, Clock, MadeDevice, make_device, make_hit, seal_hit

from backoffice import devices, keys
from backoffice.errors import BadRequest, Conflict, NotFound, Refused
from backoffice.hits import HitStore
from backoffice.hold_choice import MAX_SPAN_US, Selection
from backoffice.hold_file import Asked, HoldFolder, HoldState
from backoffice.office import Office, day_of
from backoffice.people import Role
from backoffice.pull import open_keyring
from backoffice.search import Query
from storage.format import parse_header
from storage.hold import HeldKind
from storage.types import EPOCH_US, SegmentKind, epoch_of
from sync.schema import HitRecord, ImageRecord


@pytest.fixture
def hour(clock: Clock) -> int:
    """The beginning of an hour that has a day to live."""
    return epoch_of(clock() - 29 * DAY_US) * EPOCH_US


@pytest.fixture
def road(office: Office, device: MadeDevice, tmp_path: Path, hour: int) -> Road:
    return road_with(office, device, tmp_path / "device-data", hour, later_us=hour + 20 * DAY_US)


def test_what_is_held_outlives_its_hour_and_its_neighbours_do_not(
    office: Office, road: Road, clock: Clock, tmp_path: Path
) -> None:
    hold_id = make_hold(office, choice("pole-1/r-1"))
    shutil.copytree(office.layout.segments, tmp_path / "saved")
    pass_away(office, clock)
    records = held(office, hold_id)
    assert reads_of(records) == {"r-1": road.sealed["r-1"]}
    pictures = [ImageRecord.decode(record.payload) for record in records if record.kind is HeldKind.IMAGE]
    assert [(image.read_id, image.data) for image in pictures] == [("r-1", PICTURE)] * 2
    # whoever kept every old file, and has the agency's key and all that the office's keyring holds now
    assert set(thief_opens(office, tmp_path / "saved")) == {road.sealed["later"], *_later_pictures(road)}


def _later_pictures(road: Road) -> list[bytes]:
    return [
        ImageRecord(read_id="later", kind=kind, media_type="image/jpeg", data=PICTURE).encode()
        for kind in ("crop", "scene")
    ]


def test_before_expiry_the_thief_of_this_test_does_open_them(office: Office, road: Road) -> None:
    assert road.sealed["r-2"] in thief_opens(office, office.layout.segments)


def test_the_end_of_a_hold_ends_it_for_every_copy(
    office: Office, road: Road, clock: Clock, tmp_path: Path
) -> None:
    hold_id = make_hold(office, choice("pole-1/r-1"))
    pass_away(office, clock)
    shutil.copytree(office.layout.holds, tmp_path / "saved")
    assert len(thief_opens(office, tmp_path / "saved")) > 1
    holds(office, "doyle").ask_end(hold_id, "the case is closed")
    assert reads_of(held(office, hold_id))  # asked for is not ended
    with pytest.raises(Refused):
        holds(office, "doyle").approve(hold_id)
    assert holds(office, "chief").approve(hold_id).hold.state is HoldState.ENDED
    assert thief_opens(office, tmp_path / "saved") == []
    assert [path.name for path in (office.layout.holds / hold_id).iterdir()] == ["hold.json"]
    with pytest.raises(Conflict, match="ended"):
        holds(office).records(holds(office).get(hold_id), print)
    assert events(office, hold_id)[-2:] == ["hold_end", "hold_ended"]
    assert office.audit.verify().ok


def test_an_end_may_be_declined(office: Office, road: Road) -> None:
    hold_id = make_hold(office, choice("pole-1/r-1"))
    holds(office).ask_end(hold_id, "a mistake")
    assert holds(office, "chief").keep(hold_id, "the appeal is open").state is HoldState.HELD
    with pytest.raises(Conflict, match="nobody asked"):
        holds(office).keep(hold_id, "again")
    with pytest.raises(Conflict, match="nothing waits"):
        holds(office, "chief").approve(hold_id)
    assert reads_of(held(office, hold_id))


def test_two_cases_may_hold_the_same_record(office: Office, road: Road, clock: Clock) -> None:
    first, second = (
        make_hold(office, choice("pole-1/r-1")),
        make_hold(office, choice("pole-1/r-1", "pole-1/r-2")),
    )
    pass_away(office, clock)
    holds(office).ask_end(second, "no charge")
    holds(office, "chief").approve(second)
    assert set(reads_of(held(office, first))) == {"r-1"}


def test_who_asks_cannot_approve(office: Office, road: Road) -> None:
    hold_id = holds(office, "sergeant").request(choice("pole-1/r-1")).hold.hold_id
    with pytest.raises(Refused, match="another person"):
        holds(office, "sergeant").approve(hold_id)
    assert holds(office).get(hold_id).state is HoldState.WAITING
    assert events(office, hold_id)[-1] == "refused"
    assert open_keyring(office).scopes() == ["pole-1"]


def test_retention_between_asking_and_approving_leaves_the_rest(
    office: Office, road: Road, clock: Clock
) -> None:
    hold_id = holds(office).request(choice("pole-1/r-1", "pole-1/later")).hold.hold_id
    pass_away(office, clock)
    outcome = holds(office, "chief").approve(hold_id)
    assert set(reads_of(held(office, hold_id))) == {"later"}
    assert any("is not held" in problem for problem in outcome.problems)
    assert outcome.hold.problems == outcome.problems


def test_a_damaged_record_is_told_and_the_others_are_held(office: Office, road: Road) -> None:
    (path,) = [p for p in road.segments(SegmentKind.READS) if p.stem.startswith(str(_first_epoch(road)))]
    data = bytearray(path.read_bytes())
    data[parse_header(bytes(data)).size + 200] ^= 1  # in the first read
    path.write_bytes(data)
    outcome = holds(office).request(Selection(_span(road)))
    assert any("record 0" in problem for problem in outcome.problems)
    holds(office, "chief").approve(outcome.hold.hold_id)
    assert set(reads_of(held(office, outcome.hold.hold_id))) == {"r-1", "r-2", "r-3"}


def test_a_record_that_is_damaged_after_the_request_is_told(office: Office, road: Road) -> None:
    hold_id = holds(office).request(Selection(_span(road))).hold.hold_id
    (path,) = [p for p in road.segments(SegmentKind.READS) if p.stem.startswith(str(_first_epoch(road)))]
    data = bytearray(path.read_bytes())
    data[parse_header(bytes(data)).size + 200] ^= 1
    path.write_bytes(data)
    outcome = holds(office, "chief").approve(hold_id)
    assert any("is not held" in problem for problem in outcome.problems)
    assert set(reads_of(held(office, hold_id))) == {"r-1", "r-2", "r-3"}


def _first_epoch(road: Road) -> int:
    return min(int(path.name.split("-")[0]) for path in road.segments(SegmentKind.READS))


def _span(road: Road) -> Query:
    since = _first_epoch(road) * EPOCH_US
    return replace(WHY, device_id="pole-1", since_us=since, until_us=since + 100)


def test_a_choice_by_device_and_time_or_by_plate(office: Office, road: Road) -> None:
    span = _span(road)
    found = holds(office).request(Selection(replace(span, until_us=(span.since_us or 0) + 2)))
    assert [read.read_id for read in found.hold.reads] == ["r-0", "r-1", "r-2"]
    assert found.pictures == 6
    plate = holds(office).request(
        Selection(replace(WHY, pattern="ab?oo3"))
    )  # O stands for 0: look-alikes are found
    assert [read.read_id for read in plate.hold.reads] == ["r-3"]
    read = plate.hold.reads[0]
    named = holds(office).request(choice(records=(f"pole-1/{read.segment}:{read.index}",)))
    assert named.hold.reads == (read,)
    partly = holds(office).request(choice("pole-1/r-1", "pole-1/never"))
    assert [read.read_id for read in partly.hold.reads] == ["r-1"]
    assert any("never" in problem for problem in partly.problems)


def test_a_choice_that_is_too_wide_or_nothing(office: Office, road: Road) -> None:
    span = _span(road)
    for bad in (
        Selection(WHY),
        Selection(replace(WHY, pattern="*")),
        Selection(replace(WHY, device_id="pole-1")),
        Selection(replace(span, until_us=(span.since_us or 0) + MAX_SPAN_US + 1)),
        Selection(replace(span, device_id=None)),
        choice("../../etc"),
        Selection(replace(WHY, case=" "), reads=("pole-1/r-1",)),
        Selection(replace(WHY, reason=""), reads=("pole-1/r-1",)),
    ):
        with pytest.raises(BadRequest):
            holds(office).request(bad)
    with pytest.raises(NotFound):
        holds(office).request(choice("pole-1/never"))
    assert not list(office.layout.holds.glob("*/hold.json"))


def test_a_hit_is_held_with_its_read_and_pictures(
    office: Office, road: Road, hour: int, clock: Clock
) -> None:
    hit = make_hit("pole-1", "r-2", hour)
    store = HitStore(office, keys.load_purpose_key(office.layout, keys.HITS))
    store.put(hit.hit_id, "pole-1", seal_hit(office, hit))
    hold_id = make_hold(office, choice(hits=(hit.hit_id,)))
    pass_away(office, clock)
    assert store.get(hit.hit_id).deleted_us is not None
    records = held(office, hold_id)
    (kept,) = [record for record in records if record.kind is HeldKind.HIT]
    assert HitRecord.decode(kept.payload) == hit
    assert set(reads_of(records)) == {"r-2"}
    assert sum(record.kind is HeldKind.IMAGE for record in records) == 2


def test_no_device_may_be_called_as_a_case(office: Office, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="case-"):
        make_device(office, tmp_path / "x", "case-12345678")
    assert devices.all_devices(office) == []


def test_dropping_what_waits(office: Office, road: Road) -> None:
    hold_id = holds(office).request(choice("pole-1/r-1")).hold.hold_id
    with pytest.raises(BadRequest):
        holds(office, "sergeant").drop(hold_id, " ")
    office.people.add("other", Role.OPERATOR, day_of(office.clock()), office.clock(), PASSWORD)
    with pytest.raises(Refused):
        holds(office, "other").drop(hold_id, "let it die")
    assert events(office, hold_id)[-1] == "refused"
    assert holds(office, "sergeant").drop(hold_id, "not evidence").state is HoldState.DROPPED
    with pytest.raises(Conflict, match="dropped"):
        holds(office, "sergeant").drop(hold_id, "again")
    with pytest.raises(Conflict, match="dropped"):
        holds(office, "sergeant").approve(hold_id)
    with pytest.raises(NotFound):
        holds(office).get("../../x")


def test_no_plate_text_lies_in_clear(office: Office, road: Road) -> None:
    make_hold(office, choice("pole-1/r-1"))
    for path in office.layout.holds.rglob("*"):
        assert not path.is_file() or b"AB1001" not in path.read_bytes()


def test_what_a_whole_copy_from_before_still_opens_with_the_file_root(
    office: Office, road: Road, clock: Clock, tmp_path: Path
) -> None:
    """As the documents say: a backup of keyring, root of trust and files outlives a release; destroy it, too."""
    hold_id = make_hold(office, choice("pole-1/r-1"))
    shutil.copytree(office.layout.root, tmp_path / "backup")
    holds(office).ask_end(hold_id, "closed")
    holds(office, "chief").approve(hold_id)
    backup = Office.open(tmp_path / "backup", clock)
    assert set(reads_of(held(backup, hold_id))) == {"r-1"}
    backup.close()


def test_two_who_approve_at_once_make_one_hold(office: Office, road: Road) -> None:
    hold_id = holds(office).request(choice("pole-1/r-1")).hold.hold_id

    def approve(by: str) -> str:
        try:
            return holds(office, by).approve(hold_id).hold.state
        except Conflict:
            return "too late"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(approve, ("sergeant", "chief"))) == ["held", "too late"]
    assert set(reads_of(held(office, hold_id))) == {"r-1"}


def test_an_office_that_was_made_before_there_were_holds(office: Office, road: Road) -> None:
    office.layout.holds.rmdir()
    expire(office)
    assert set(reads_of(held(office, make_hold(office, choice("pole-1/r-1"))))) == {"r-1"}


@pytest.mark.parametrize(
    "change",
    [{"asked_by": "chief"}, {"case": "25-9999"}, {"reads": ()}, {"asked_us": 1}],
    ids=lambda change: next(iter(change)),
)
def test_a_request_that_was_changed_in_its_file_is_not_approved(office: Office, road: Road, change) -> None:
    """Who can write the folder cannot make themselves the second person, or change what the other one asked for."""
    hold_id = holds(office, "sergeant").request(choice("pole-1/r-1")).hold.hold_id
    folder = HoldFolder(office.layout.holds)
    folder.save(folder.load(hold_id).model_copy(update=change))
    with pytest.raises(Refused, match="audit log"):
        holds(office, "sergeant" if "asked_by" in change else "chief").approve(hold_id)
    assert open_keyring(office).scopes() == ["pole-1"]


def test_an_end_that_was_forged_in_the_file_is_not_approved(office: Office, road: Road) -> None:
    hold_id = make_hold(office, choice("pole-1/r-1"))
    folder = HoldFolder(office.layout.holds)
    forged = Asked(by="doyle", at_us=1, why="x")
    folder.save(folder.load(hold_id).model_copy(update={"state": HoldState.END_ASKED, "end_asked": forged}))
    with pytest.raises(Refused, match="audit log"):
        holds(office, "chief").approve(hold_id)
    assert reads_of(held(office, hold_id))
