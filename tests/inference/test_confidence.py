# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hand_nets import plate_read

from inference.confidence import Confidence, evidence

READ = replace(plate_read("ABC123", w=96.0), text_score=0.8, height_px=32.0)


def test_untuned_it_is_the_readers_own_word() -> None:
    assert Confidence().of(READ) == pytest.approx(0.8)


def test_no_text_has_no_confidence() -> None:
    assert Confidence(read_bias=9.0).of(replace(READ, text="", chars=())) == 0.0


def test_the_manifest_has_the_last_word() -> None:
    assert Confidence().tuned({"read_bias": 1, "accept_bias": 3.0}) == Confidence(read_bias=1.0)


@pytest.mark.parametrize(
    ("weight", "better", "worse"),
    [
        ("read_weakest", {}, {"chars": plate_read("ABC123", p=0.6).chars}),
        ("read_plate", {"plate_score": 0.99}, {"plate_score": 0.5}),
        ("read_height", {"height_px": 40.0}, {"height_px": 10.0}),
        ("read_height", {"height_px": 32.0}, {"height_px": 32.0, "two_rows": True}),
        ("read_sharpness", {"sharpness": 5000.0}, {"sharpness": 500.0}),
    ],
)
def test_each_piece_of_evidence_counts(
    weight: str, better: dict[str, object], worse: dict[str, object]
) -> None:
    weighing = Confidence(**{weight: 0.5})
    assert weighing.of(replace(READ, **better)) > weighing.of(replace(READ, **worse))
    plain = Confidence()
    assert plain.of(replace(READ, **better)) == plain.of(replace(READ, **worse))


def test_looks_that_disagree_and_second_rows_count_against_it() -> None:
    assert Confidence(read_disputed=-2.0).of(replace(READ, looks=3, agreed=1)) < 0.8
    assert Confidence(read_two_rows=-1.0).of(replace(READ, two_rows=True)) < 0.8


def test_there_is_a_weight_for_each_piece() -> None:
    assert len(evidence(READ)) + 1 == len(Confidence.__slots__)
