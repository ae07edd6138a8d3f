# SPDX-License-Identifier: Apache-2.0
"""A state of issuance on its way: from the vote into the record, over the wire, against a list, onto the page."""

from __future__ import annotations

import numpy as np
import pytest

from backoffice.pages import views
from firmware.records import Origin, Sight, read_record
from inference.state import TOO_SMALL
from inference.types import CharRead, PlateRead, VotedRead
from storage.believed_time import TimeEvidence
from sync.schema import HitRecord, ReadRecord, StateAgreement

from .test_matching import NOW_US, Lists, make_list

PLATE = "AB12345"  # listed in IL


def voted(state: str | None, note: str = "") -> VotedRead:
    chars = tuple(CharRead(c, 0.99) for c in PLATE)
    corners = np.array([[10, 10], [110, 10], [110, 60], [10, 60]], np.float32)
    sure = 0.93 if state else 0.0
    best = PlateRead(
        PLATE,
        0.97,
        chars,
        state,
        sure,
        note,
        corners,
        (10.0, 10.0, 100.0, 50.0),
        0.9,
        0.9,
        100.0,
        50.0,
        3000.0,
    )
    return VotedRead(PLATE, 0.97, chars, state, sure, note, 4, 4, best, 3, NOW_US, NOW_US)


def recorded(state: str | None, note: str = "") -> ReadRecord:
    sight = Sight(np.zeros((100, 200, 3), np.uint8), 3, NOW_US, ir=False, source="sim")
    record = read_record(
        voted(state, note),
        sight,
        read_id="r1",
        origin=Origin("dev-1", "cam0"),
        position=None,
        evidence=TimeEvidence(NOW_US, 1000, ()),
    )
    return ReadRecord.decode(record.encode())


@pytest.fixture
def lists() -> Lists:
    lists = Lists()
    lists.lists, lists.generation = [make_list(PLATE)], "1"
    return lists


def test_a_state_read_is_recorded_with_its_confidence() -> None:
    read = recorded("WI")
    assert (read.state, read.state_confidence, read.state_note) == ("WI", 0.93, "")


def test_no_state_is_recorded_with_the_reason() -> None:
    read = recorded(None, TOO_SMALL)
    assert (read.state, read.state_confidence, read.state_note) == (None, None, TOO_SMALL)


@pytest.mark.parametrize(
    ("state", "agreement", "warning"),
    [
        ("IL", StateAgreement.AGREES, None),
        ("WI", StateAgreement.DIFFERS, "The state differs: read WI, listed IL."),
        (None, StateAgreement.UNKNOWN, "The state was not compared: the list says IL."),
    ],
)
def test_a_hit_is_raised_whatever_state_was_read(
    lists: Lists, state: str | None, agreement: StateAgreement, warning: str | None
) -> None:
    watch = lists.watch()
    watch.refresh(NOW_US)
    assert watch.listed(PLATE, state, NOW_US)
    (hit,) = watch.hits_of(recorded(state), b"jpeg", NOW_US)
    hit = HitRecord.decode(hit.encode())
    assert (hit.read.state, hit.match.state_agreement) == (state, agreement)
    assert views.state_warning(hit) == warning
    assert "verify" in views.state_words(hit)
    assert views.state_words(hit).startswith(f"{state} 93 %" if state else "not read")
