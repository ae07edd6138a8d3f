# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hand_nets import plate_read

from inference.tracker import Track
from inference.types import CharRead, Observation, PlateRead, Reason
from inference.vote import Agreement, VoteSettings, agreement, confidence_of, vote


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


def test_letter_o_and_digit_0_agree_and_the_text_says_which_is_seen_more() -> None:
    result = vote(track_of(plate_read("AB10"), plate_read("ABI0"), plate_read("AB1O")))
    assert result.text == "AB10"
    assert result.frames_agreed == 3
    assert {c for c, _ in result.chars[3].alternatives} == {"O"}
    assert (
        result.confidence
        > vote(track_of(plate_read("AB10"), plate_read("AB70"), plate_read("AB1S"))).confidence
    )


def test_two_ways_to_write_a_character_together_beat_a_third() -> None:
    reads = [plate_read(t) for t in ("XYO", "XY0", "XYQ")]
    assert vote(track_of(reads[2], *reads[:2])).text in {"XYO", "XY0"}


def test_no_single_sure_frame_decides_the_confidence() -> None:
    doubtful = [plate_read("ABC123", p=0.93)] * 6
    sure = replace(plate_read("ABC123", p=0.9999))
    assert vote(track_of(*doubtful, sure)).confidence < vote(track_of(sure, sure)).confidence


def test_a_rival_text_costs_confidence() -> None:
    alone = vote(track_of(*[plate_read("ABC123")] * 6))
    scattered = vote(track_of(*[plate_read("ABC123")] * 6, *[plate_read(f"ABC12{n}") for n in "456"]))
    rival = vote(track_of(*[plate_read("ABC123")] * 6, *[plate_read("ABC128")] * 3))
    assert alone.confidence > scattered.confidence > rival.confidence


def test_an_emblem_that_some_frames_read_is_no_character() -> None:
    reads = [plate_read(t) for t in ("ABC123", "ABOC123", "ABC123", "AB0C123", "ABC123")]
    result = vote(track_of(*reads))
    assert result.text == "ABC123"
    assert result.frames_agreed == 3


def test_a_text_that_one_frame_has_whole_counts_when_each_character_is_seen_twice() -> None:
    parts = [plate_read(t, p=0.995) for t in ("8BC123", "A8C123", "ABC128")]
    whole = plate_read("ABC123", p=0.995)
    assert vote(track_of(*parts, whole)).reason_if_unread is None
    assert vote(track_of(plate_read("XBC123", p=0.995), whole)).reason_if_unread is Reason.BELOW_CONFIDENCE


def test_every_read_carries_what_other_frames_saw() -> None:
    result = vote(track_of(plate_read("ABC123"), plate_read("ABC123"), plate_read("A8C723")))
    assert [sorted(c for c, _ in char.alternatives) for char in result.chars] == [
        [],
        ["8"],
        [],
        ["7"],
        [],
        [],
    ]
    assert all(0.0 < char.probability <= 1.0 for char in result.chars)


def test_evidence_and_weights_give_the_confidence() -> None:
    track = track_of(*[plate_read("ABC123")] * 3)
    assert vote(track).confidence == pytest.approx(confidence_of(agreement(track), Agreement()))
    assert confidence_of((0.0, 0.0), Agreement(1.0, 1.0, 0.0)) == 0.5
