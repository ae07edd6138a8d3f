# SPDX-License-Identifier: Apache-2.0
"""Serials: their text is what a reader shall give."""

from __future__ import annotations

import re

import numpy as np
import pytest

from inference.training.render_text import (
    PUNJAB_FORMATS,
    TWO_ROW_FORMATS,
    US_FORMATS,
    WORLD_FORMATS,
    fill,
    serial_from,
    us_serial,
    vanity_text,
    world_serial,
)

TWO_ROWS = ("two_row", "punjab", "titled")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_separators_emblems_and_gaps_are_not_read() -> None:
    assert serial_from([["A", "-", "1", "*", " ", "_", "<", "B"]]).text == "A1B"


def test_a_stack_is_read_from_the_top_and_rows_one_after_the_other() -> None:
    assert serial_from([["MFG", "_", "6"], ["7"]]).text == "MFG67"


def test_a_format_becomes_characters_of_its_kinds(rng: np.random.Generator) -> None:
    rows = fill(rng, "9A-9/AX")
    assert len(rows) == 2
    assert re.fullmatch(r"[0-9][A-Z]-[0-9]", "".join(rows[0]))
    assert re.fullmatch(r"[A-Z][0-9A-Z]", "".join(rows[1]))


@pytest.mark.parametrize(
    "pattern",
    [*US_FORMATS, *TWO_ROW_FORMATS, *PUNJAB_FORMATS, *(f for fs in WORLD_FORMATS.values() for f in fs)],
)
def test_every_format_gives_two_to_eleven_characters(rng: np.random.Generator, pattern: str) -> None:
    assert re.fullmatch(r"[0-9A-Z]{2,11}", serial_from(fill(rng, pattern)).text)


def test_vanity_texts_have_two_to_eight_characters(rng: np.random.Generator) -> None:
    assert all(re.fullmatch(r"[0-9A-Z]{2,8}", vanity_text(rng)) for _ in range(200))


def test_us_serials_have_one_row(rng: np.random.Generator) -> None:
    assert {len(us_serial(rng).rows) for _ in range(100)} == {1}


@pytest.mark.parametrize("region", [*WORLD_FORMATS, *TWO_ROWS])
def test_only_the_two_row_regions_have_two_rows(rng: np.random.Generator, region: str) -> None:
    assert len(world_serial(rng, region).rows) == (2 if region in TWO_ROWS else 1)


def test_codes_and_small_letters_are_read_and_other_scripts_are_not(rng: np.random.Generator) -> None:
    for _ in range(50):
        text = serial_from(fill(rng, "!=999&&")).text
        assert re.fullmatch(r"([0-9]{1,2}|[A-Z])[0-9]{3}", text)
        assert re.fullmatch(r"[0-9]{2}[A-Z]", serial_from(fill(rng, "99 %")).text)


def test_a_punjab_year_is_read_after_the_letters() -> None:
    assert serial_from([["L", "E", "A", " ", "-", "~07"], ["2", "9", "8", "6"]]).text == "LEA072986"
