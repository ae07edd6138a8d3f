# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest
from hand_nets import HandNet, reader_outputs

from inference.decode import ALPHABET, BLANK, probability
from inference.models import load_models
from inference.state import STATES
from inference.state_names import FAR, STATE_NAMES, STRIPS, name_scores, named, part

QUAD = np.array([[20, 10], [220, 10], [220, 110], [20, 110]], dtype=np.float32)
GREY = np.full((120, 240), 120, np.uint8)


def saying(*texts: str) -> HandNet:
    """A reader that says one text after the other, a strip each."""
    turns = iter(texts)
    return HandNet("reader", lambda _: reader_outputs(next(turns)))


def best(scores: np.ndarray) -> str:
    return STATES[int(scores.argmax())]


def test_every_state_has_a_name() -> None:
    assert tuple(sorted(STATE_NAMES)) == STATES


@pytest.mark.parametrize("strip", range(len(STRIPS)))
def test_a_name_in_any_strip_speaks_for_its_state(strip: int) -> None:
    said = [""] * len(STRIPS)
    said[strip] = "TEXAS"
    scores = name_scores(saying(*said), GREY, QUAD)
    assert best(scores) == "TX"
    assert scores.max() > FAR - 2
    assert np.delete(scores, STATES.index("TX")).max() < 1


def test_strips_without_letters_or_with_others_speak_for_no_state() -> None:
    assert np.abs(name_scores(saying("", "", ""), GREY, QUAD)).max() < 0.01
    assert name_scores(saying("HONDA", "2031", "MOTORS"), GREY, QUAD).max() < 1


def test_a_name_with_a_letter_misread_still_speaks_a_little() -> None:
    """What the reader holds possible counts, not its best text alone."""

    def unsure(_: np.ndarray) -> dict[str, np.ndarray]:
        outputs = reader_outputs("0HI0")
        outputs["logits"][0, [1, 13], ALPHABET.index("O")] = 10.0
        return outputs

    assert best(name_scores(HandNet("reader", unsure), GREY, QUAD)) == "OH"


def test_the_sums_are_those_of_the_decoder() -> None:
    strips = np.random.default_rng(4).dirichlet(np.full(BLANK + 1, 0.3), (2, 36))
    found = named(strips)
    for code in ("OH", "TN", "MS", "DC"):
        text = "".join(filter(str.isalpha, STATE_NAMES[code])).upper()
        labels = tuple(ALPHABET.index(letter) for letter in text)
        wanted = [np.log(probability(strip, labels)) for strip in strips]
        assert found[:, STATES.index(code)] == pytest.approx(wanted, abs=0.01)


def test_a_part_of_a_plate() -> None:
    assert part(QUAD, 0.0, 0.0, 1.0, 1.0).tolist() == QUAD.tolist()
    assert part(QUAD, 0.25, 0.1, 0.75, 0.3).tolist() == [[70, 20], [170, 20], [170, 40], [70, 40]]


def test_the_shipped_reader_knows_names_that_it_sees() -> None:
    reader = load_models().reader
    right = 0
    for code in ("TX", "NV", "OH", "TN", "GA"):
        plate = np.full((240, 480), 225, np.uint8)
        text = STATE_NAMES[code].upper()
        (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 1.1, 2)
        cv2.putText(plate, text, ((480 - width) // 2, 48), cv2.FONT_HERSHEY_DUPLEX, 1.1, 30, 2, cv2.LINE_AA)
        picture = np.full((140, 280), 70, np.uint8)
        picture[20:120, 40:240] = cv2.resize(plate, (200, 100), interpolation=cv2.INTER_AREA)
        right += best(name_scores(reader, picture, QUAD + np.float32([20, 10]))) == code
    assert right >= 4
