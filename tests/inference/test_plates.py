# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.plates import align, clean, confusable, distance, fold, is_lettering, similarity

TEXTS = st.text("AB01", max_size=8)


def test_cleaning_and_folding() -> None:
    assert clean("ab-1 o·2") == "AB1O2"
    assert fold("O0I1Q") == "0011Q"


@pytest.mark.parametrize("text", ["SCHOOLBUS", "SCH00LBUS", "JACKKEROUAC", "8005551234", "8OO5551234"])
def test_words_and_numbers_longer_than_any_serial_are_lettering(text: str) -> None:
    assert is_lettering(text)


@pytest.mark.parametrize("text", ["", "OHIOSTAT", "12345678", "MH12NE6922", "LEA09A1234", "HR99GQTEMP5155"])
def test_serials_are_no_lettering(text: str) -> None:
    assert not is_lettering(text)


def test_confusables() -> None:
    assert confusable("8", "B")
    assert confusable("O", "D")
    assert confusable("X", "X")
    assert not confusable("A", "7")


@pytest.mark.parametrize(("a", "b", "n"), [("", "", 0), ("ABC", "", 3), ("ABC", "AXC", 1), ("ABC", "BC", 1)])
def test_distance(a: str, b: str, n: int) -> None:
    assert distance(a, b) == n


def test_similarity_is_folded_and_zero_for_nothing() -> None:
    assert similarity("O1", "0I") == 1.0
    assert similarity("", "") == 0.0
    assert similarity("ABCD", "ABCX") == 0.75


@settings(max_examples=50)
@given(TEXTS, TEXTS)
def test_alignment_covers_both_texts_and_costs_the_distance(a: str, b: str) -> None:
    pairs = align(a, b)
    assert [i for i, _ in pairs if i is not None] == list(range(len(a)))
    assert [j for _, j in pairs if j is not None] == list(range(len(b)))
    cost = sum(i is None or j is None or a[i] != b[j] for i, j in pairs)
    assert cost == distance(a, b) == distance(b, a)
