# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hand_nets import plate_read

from inference.tracker import Track
from inference.types import CharRead, Observation, PlateRead, Reason
from inference.vote import VoteSettings, vote


def track_of(*reads: PlateRead) -> Track:
    track = Track(1, "")
    for i, read in enumerate(reads):
        track.add(Observation(10 + i, i * 100_000, read))
    return track


def test_agreeing_frames_are_a_confident_read() -> None:
    one = vote(track_of(plate_read("ABC123")))
    three = vote(track_of(*[plate_read("ABC123")] * 3))
    assert three.text == "ABC123"
    assert (three.frames_seen, three.frames_agreed) == (3, 3)
    assert three.reason_if_unread is None
    assert three.confidence > one.confidence
    assert (three.first_us, three.last_us) == (0, 200_000)


def test_positions_are_voted_one_by_one() -> None:
    reads = [plate_read(t) for t in ("A8C123", "ABC128", "ABC123", "ABC723")]
    result = vote(track_of(*reads))
    assert result.text == "ABC123"
    assert result.frames_agreed == 1
    assert {c for c, _ in result.chars[1].alternatives} == {"8"}


@pytest.mark.parametrize("odd", ["BC123", "AABC123", "ABC1234", "AB123"])
def test_missing_and_extra_characters_are_aligned(odd: str) -> None:
    result = vote(track_of(plate_read("ABC123"), plate_read(odd), plate_read("ABC123")))
    assert result.text == "ABC123"
    assert result.frames_agreed == 2


def test_an_extra_character_that_most_see_stays() -> None:
    reads = [plate_read("ABC12", p=0.99), plate_read("ABC123", p=0.93), plate_read("ABC123", p=0.93)]
    assert vote(track_of(*reads)).text == "ABC123"


def test_large_sharp_plates_weigh_more() -> None:
    near = plate_read("ABC123", w=130)
    far = replace(plate_read("A8C123", w=25), sharpness=200.0)
    assert vote(track_of(far, near, far)).text == "ABC123"


def test_probabilities_and_alternatives_count() -> None:
    unsure = replace(
        plate_read("8XYZ"), chars=(CharRead("8", 0.5, (("B", 0.45),)), *(CharRead(c, 0.95) for c in "XYZ"))
    )
    sure = plate_read("BXYZ")
    assert vote(track_of(unsure, sure)).text == "BXYZ"


def test_the_best_frame_is_one_that_agrees() -> None:
    result = vote(track_of(plate_read("ABC123"), plate_read("ABC123", p=0.99), plate_read("XBC123", p=0.999)))
    assert result.text == "ABC123"
    assert result.best_frame_sequence == 11


@pytest.mark.parametrize(
    ("reads", "reason"),
    [
        ([plate_read("ABC123")], Reason.ONE_FRAME_ONLY),
        ([plate_read(""), plate_read("")], Reason.UNREADABLE),
        ([plate_read("ABC123"), plate_read("")], Reason.ONE_FRAME_ONLY),
        ([plate_read("ABC123", p=0.7)] * 3, Reason.BELOW_CONFIDENCE),
        ([plate_read("ABC123"), plate_read("XYZ987")], Reason.BELOW_CONFIDENCE),
    ],
)
def test_too_little_evidence_is_no_read_and_says_why(reads: list[PlateRead], reason: Reason) -> None:
    assert vote(track_of(*reads)).reason_if_unread is reason


def test_settings_say_how_much_is_enough() -> None:
    single = VoteSettings(min_frames=1)
    assert vote(track_of(plate_read("ABC123")), single).reason_if_unread is None
