# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hand_nets import HandNet, reader_outputs

from inference.corners import from_box
from inference.second_look import NOTHING, first_look, look_again, merged
from inference.types import CharRead, Decoded, Detection

GREY = np.random.default_rng(0).integers(0, 255, (120, 300), dtype=np.uint8)


def said(text: str, p: float, *others: tuple[str, float], char: float = 0.9) -> Decoded:
    rest = (("X", round(1 - char, 6)),)
    return Decoded(text, p, tuple(CharRead(c, char, rest) for c in text), others)


def found(two_rows: float = 0.0) -> Detection:
    return Detection((50.0, 40.0, 120.0, 40.0), from_box((50.0, 40.0, 120.0, 40.0)), 0.9, 0.9, two_rows)


def test_the_text_with_the_most_probability_wins() -> None:
    both = merged([said("AB1", 0.5, ("A81", 0.4)), said("A81", 0.6, ("AB1", 0.1)), said("A81", 0.3)])
    assert both.text == "A81"
    assert both.confidence == pytest.approx((0.4 + 0.6 + 0.3) / 3)
    assert both.others[0] == ("AB1", pytest.approx(0.2))


def test_one_sure_look_outweighs_two_that_guess() -> None:
    assert merged([said("AB1", 0.97), said("AB", 0.2), said("AB", 0.3)]).text == "AB1"


def test_looks_that_see_nothing_lower_the_confidence_and_never_win() -> None:
    both = merged([Decoded("", 0.99, ()), said("AB1", 0.2)])
    assert (both.text, both.confidence) == ("AB1", pytest.approx(0.1))
    assert merged([Decoded("", 0.99, ()), NOTHING]) == NOTHING


def test_characters_are_the_mean_of_those_who_agree() -> None:
    (a, b) = merged([said("AB", 0.9, char=0.9), said("AB", 0.9, char=0.7), said("CD", 0.1)]).chars
    assert (a.char, b.char) == ("A", "B")
    assert a.probability == pytest.approx(0.8)
    assert a.alternatives == (("X", pytest.approx(0.2)),)
    assert a.probability + sum(p for _, p in a.alternatives) <= 1.0 + 1e-9


@pytest.mark.parametrize(
    ("two_rows", "flag", "sure", "looks"),
    [
        (False, 0.0, 0.5, 3), (False, 0.3, 0.5, 4), (True, 0.9, 0.5, 4),
        (False, 0.3, 0.9, 3), (True, 0.9, 0.9, 3),  # no doubt, and so none about the rows
    ],
)  # fmt: skip
def test_every_look_is_counted(*, two_rows: bool, flag: float, sure: float, looks: int) -> None:
    net = HandNet("reader", lambda _: reader_outputs("AB1"))
    text = "AB1AB1" if two_rows else "AB1"
    first = first_look(net, GREY, found(flag), two_rows=two_rows)
    first = replace(first, decoded=replace(first.decoded, confidence=sure))
    again = look_again(net, GREY, found(flag), first, two_rows=two_rows)
    assert (first.decoded.text, again.looks) == (text, looks)
    assert again.sharpness == first.sharpness > 0
    if flag == 0.0:
        assert again.agreed == looks


def test_the_other_crops_show_more_and_lie_higher() -> None:
    seen: list[np.ndarray] = []

    def watching(crop: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(crop.reshape(48, 144)[:, 72].astype(int))
        return reader_outputs("AB1")

    net, line = HandNet("reader", watching), np.zeros((120, 300), np.uint8)
    line[48:72] = 255  # across the middle of the plate
    look_again(net, line, found(), first_look(net, line, found(), two_rows=False), two_rows=False)
    bright = [np.flatnonzero(column > 128) for column in seen]
    usual, wide, high = ((rows.mean(), len(rows)) for rows in bright)
    assert wide[1] < min(usual[1], high[1])
    assert high[1] == pytest.approx(usual[1], abs=1)
    assert wide[0] == pytest.approx(usual[0], abs=0.6)
    assert high[0] > usual[0] + 1


def test_surely_no_text_is_no_confidence() -> None:
    net = HandNet("reader", lambda _: reader_outputs(""))
    assert first_look(net, GREY, found(), two_rows=False).decoded == NOTHING
