# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.decode import (
    ALPHABET,
    BLANK,
    HOPELESS,
    SURE,
    beam_search,
    decode,
    greedy,
    probability,
    softmax,
    substitutions,
)

USED = (0, 1, 2, BLANK)


def small(seed: int, steps: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    p = np.full((steps, len(ALPHABET) + 1), 1e-13)
    for row in p:
        row[list(USED)] = rng.dirichlet(np.ones(len(USED)))
    return p


def by_hand(p: np.ndarray) -> Counter[tuple[int, ...]]:
    """Every path summed into its text."""
    texts: Counter[tuple[int, ...]] = Counter()
    for path in itertools.product(USED, repeat=len(p)):
        text = tuple(c for c, _ in itertools.groupby(path) if c != BLANK)
        texts[text] += float(np.prod([p[t, c] for t, c in enumerate(path)]))
    return texts


@pytest.mark.parametrize("seed", range(5))
def test_probabilities_are_those_of_all_paths(seed: int) -> None:
    p = small(seed)
    texts = by_hand(p)
    for labels, expected in texts.items():
        assert probability(p, labels) == pytest.approx(expected, abs=1e-9)
    best, found = max(beam_search(p, 100), key=lambda item: item[1])
    assert texts[best] == max(texts.values())
    assert found == pytest.approx(texts[best], rel=len(p) * HOPELESS)  # what it gave up on is missing


@pytest.mark.parametrize("labels", [(1,), (0, 1), (1, 1), (2, 0, 2)])
def test_substitutions_are_the_probabilities_of_the_changed_texts(labels: tuple[int, ...]) -> None:
    p = small(7)
    texts = by_hand(p)
    got = substitutions(p, labels)
    for i, c in itertools.product(range(len(labels)), (0, 1, 2)):
        changed = (*labels[:i], c, *labels[i + 1 :])
        assert got[i, c] == pytest.approx(texts[changed], abs=1e-9)


def logits_of(text: str, doubt: dict[int, tuple[str, float]] | None = None) -> np.ndarray:
    """36 steps: each character two steps, a blank between; `doubt` adds a rival's logit at a position."""
    logits = np.zeros((36, len(ALPHABET) + 1))
    logits[:, BLANK] = 10.0
    for i, char in enumerate(text):
        for t in (1 + 4 * i, 2 + 4 * i):
            logits[t] = 0.0
            logits[t, ALPHABET.index(char)] = 10.0
            if doubt and i in doubt:
                rival, logit = doubt[i]
                logits[t, ALPHABET.index(rival)] = logit
    return logits


def test_a_clear_text_is_read_with_confidence() -> None:
    read = decode(softmax(logits_of("7ABB123")))
    assert read.text == "7ABB123"
    assert read.confidence > 0.9
    assert all(c.probability > 0.99 for c in read.chars)
    assert "".join(ALPHABET[c] for c in greedy(softmax(logits_of("7ABB123")))) == "7ABB123"


def test_a_doubtful_character_names_its_rival() -> None:
    read = decode(softmax(logits_of("8XYZ", {0: ("B", 9.5)})))
    assert read.text == "8XYZ"
    assert read.chars[0].alternatives[0][0] == "B"
    assert 0.5 < read.chars[0].probability < 0.9
    assert read.chars[1].probability > 0.99
    assert "BXYZ" in dict(read.others)


def test_a_sure_text_names_its_nearest_rivals_with_their_exact_probabilities() -> None:
    p = softmax(logits_of("8XYZ", {0: ("B", 5.0), 2: ("V", 4.0)}))
    read = decode(p)
    assert read.text == "8XYZ"
    assert read.confidence >= SURE
    for text in ("BXYZ", "8XVZ"):
        labels = tuple(ALPHABET.index(c) for c in text)
        assert dict(read.others)[text] == pytest.approx(probability(p, labels), rel=1e-6)
    assert "8XYZ" not in dict(read.others)


@given(st.integers(0, 500))
@settings(max_examples=40, deadline=None)
def test_shares_of_texts_and_of_characters_never_exceed_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = logits_of("8XYZ") + rng.normal(0, rng.uniform(0, 6), (36, len(ALPHABET) + 1))
    read = decode(softmax(logits))
    assert read.confidence + sum(p for _, p in read.others) <= 1.0 + 1e-6
    assert all(a >= b for (_, a), (_, b) in itertools.pairwise(read.others))
    for char in read.chars:
        assert char.probability + sum(p for _, p in char.alternatives) <= 1.0 + 1e-9


def test_the_same_text_once_more_has_its_own_probability_and_the_rest_as_before() -> None:
    first = decode(softmax(logits_of("8XYZ", {0: ("B", 7.0)})))
    surer = decode(softmax(logits_of("8XYZ", {0: ("B", 4.0)})))
    again = decode(softmax(logits_of("8XYZ", {0: ("B", 4.0)})), first)
    assert (again.text, again.confidence) == ("8XYZ", surer.confidence)
    assert again.chars == first.chars
    assert [text for text, _ in again.others] == [text for text, _ in first.others]
    assert again.confidence + sum(p for _, p in again.others) <= 1.0 + 1e-9
    assert again.others[0][1] < first.others[0][1]


def test_another_text_and_an_unsure_one_are_worked_out_in_full() -> None:
    first = decode(softmax(logits_of("8XYZ")))
    for logits in (logits_of("7XYZ"), logits_of("8XYZ", {0: ("B", 9.99), 1: ("V", 9.99)})):
        assert decode(softmax(logits), first) == decode(softmax(logits))


def test_temperature_makes_it_less_sure() -> None:
    logits = logits_of("8XYZ", {0: ("B", 7.0)})
    assert decode(softmax(logits, 2.0)).confidence < decode(softmax(logits)).confidence


def test_nothing_reads_as_no_text() -> None:
    read = decode(softmax(logits_of("")))
    assert read.text == ""
    assert read.chars == ()
    assert read.confidence > 0.9
