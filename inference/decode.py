# SPDX-License-Identifier: Apache-2.0
"""CTC: the reader's logits -> the most probable text, per-character posteriors, and what else it may be."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.types import CharRead, Decoded

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BLANK: Final = len(ALPHABET)
BEAM_WIDTH: Final = 8
MIN_STEP: Final = 1e-3  # classes less probable than this at a time step are not followed
SURE: Final = 0.9  # the best path's text is not searched for rivals by beam above this
MAX_OTHERS: Final = 5  # other texts kept
MAX_ALTERNATIVES: Final = 3  # other characters kept per position
MIN_ALTERNATIVE: Final = 0.005

Probabilities = NDArray[np.float64]  # (time, class), rows sum to 1
Labels = tuple[int, ...]


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> Probabilities:
    """(T, C) logits -> (T, C) probabilities; a temperature above 1 makes them less sure."""
    x = logits.astype(np.float64) / temperature
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(x / x.sum(axis=1, keepdims=True))


def decode(probabilities: Probabilities) -> Decoded:
    """(T, 37) -> the most probable text, with posteriors and what else it may be.

    The best path's text is taken as it is when it is sure: above one half no other text can be more probable.
    """
    labels = greedy(probabilities)
    sure = probability(probabilities, labels)
    if sure < SURE:
        return _searched(probabilities)
    if not labels:
        return Decoded("", min(1.0, sure), ())
    totals = substitutions(probabilities, labels)
    return Decoded(_text(labels), min(1.0, sure), _characters(totals, labels), _replaced(totals, labels))


def _searched(probabilities: Probabilities) -> Decoded:
    beam = beam_search(probabilities)
    labels = beam[0][0]
    others = tuple((_text(other), p) for other, p in beam[1 : MAX_OTHERS + 1] if other)
    return Decoded(
        text=_text(labels),
        confidence=min(1.0, probability(probabilities, labels)),
        chars=characters(probabilities, labels),
        others=others,
    )


def _replaced(totals: Probabilities, labels: Labels) -> tuple[tuple[str, float], ...]:
    """The most probable texts that differ in one character."""
    rivals = totals.copy()
    rivals[np.arange(len(labels)), list(labels)] = 0.0
    places = np.argsort(-rivals, axis=None)[:MAX_OTHERS]
    pairs = [(divmod(int(k), BLANK), float(rivals.flat[k])) for k in places]
    return tuple((_text((*labels[:i], c, *labels[i + 1 :])), p) for (i, c), p in pairs if p > 0)


def greedy(probabilities: Probabilities) -> Labels:
    """The labels of the best path: repeats merged, blanks dropped."""
    path = probabilities.argmax(axis=1)
    fresh = np.concatenate([[True], path[1:] != path[:-1]])
    return tuple(int(c) for c in path[fresh & (path != BLANK)])


def beam_search(probabilities: Probabilities, width: int = BEAM_WIDTH) -> list[tuple[Labels, float]]:
    """Prefix beam search -> (labels, probability) of at most `width` texts, best first."""
    beam: dict[Labels, tuple[float, float]] = {(): (1.0, 0.0)}  # ends in blank, ends in its last character
    for row in probabilities:
        followed = np.nonzero(row[:BLANK] >= MIN_STEP)[0]
        steps = [(int(c), float(row[c])) for c in followed]
        beam = _pruned(_extended(beam, steps, float(row[BLANK])), width)
    return [(labels, blank + char) for labels, (blank, char) in beam.items()]


def _extended(
    beam: dict[Labels, tuple[float, float]], steps: list[tuple[int, float]], blank: float
) -> dict[Labels, tuple[float, float]]:
    """One time step: every text stays as it is or grows by one character."""
    grown: dict[Labels, list[float]] = {}
    for labels, (in_blank, in_char) in beam.items():
        last = labels[-1] if labels else -1
        same = grown.setdefault(labels, [0.0, 0.0])
        same[0] += (in_blank + in_char) * blank
        for label, p in steps:
            if label == last:
                same[1] += in_char * p
            grown.setdefault((*labels, label), [0.0, 0.0])[1] += (
                in_blank if label == last else in_blank + in_char
            ) * p
    return {labels: (b, c) for labels, (b, c) in grown.items()}


def _pruned(beam: dict[Labels, tuple[float, float]], width: int) -> dict[Labels, tuple[float, float]]:
    return dict(sorted(beam.items(), key=lambda item: -sum(item[1]))[:width])


def probability(probabilities: Probabilities, labels: Labels) -> float:
    """Exact probability of a text: the sum over all its CTC paths."""
    alpha = _forward(probabilities, labels)
    return float(alpha[-1, -2:].sum()) if labels else float(alpha[-1, -1])


def characters(probabilities: Probabilities, labels: Labels) -> tuple[CharRead, ...]:
    """Per position of the text: its character and alternatives, each given that the others are right."""
    if not labels:
        return ()
    return _characters(substitutions(probabilities, labels), labels)


def _characters(totals: Probabilities, labels: Labels) -> tuple[CharRead, ...]:
    shares = totals / np.maximum(totals.sum(axis=1, keepdims=True), 1e-300)
    return tuple(_character(row, label) for row, label in zip(shares, labels, strict=True))


def _character(row: Probabilities, label: int) -> CharRead:
    order = [int(c) for c in np.argsort(-row, kind="stable")[: MAX_ALTERNATIVES + 1] if c != label]
    others = [(ALPHABET[c], float(row[c])) for c in order if row[c] >= MIN_ALTERNATIVE]
    return CharRead(ALPHABET[label], float(row[label]), tuple(others[:MAX_ALTERNATIVES]))


def substitutions(probabilities: Probabilities, labels: Labels) -> Probabilities:
    """(N, 36): exact probability of the text with position i replaced by each character."""
    steps, count = len(probabilities), len(labels)
    alpha, beta = _forward(probabilities, labels), _backward(probabilities, labels)
    char = probabilities[:, :BLANK]
    is_before = np.zeros((count, BLANK))
    is_before[np.arange(1, count), list(labels[:-1])] = 1.0
    is_after = np.zeros((count, BLANK))
    is_after[np.arange(count - 1), list(labels[1:])] = 1.0
    total, inside = np.zeros((count, BLANK)), np.zeros((count, BLANK))
    for t in range(steps):
        inside = (inside + _entry(alpha, t, is_before)) * char[t]
        total += inside * _exit(probabilities, beta, t, labels, is_after)
    return total


def _entry(alpha: Probabilities, t: int, is_before: Probabilities) -> Probabilities:
    """(N, 36): mass that enters position i as character c at time t."""
    if t == 0:
        start = np.zeros_like(is_before)
        start[0] = 1.0
        return start
    from_blank = alpha[t - 1, 0:-1:2, None]
    from_char = np.concatenate([[0.0], alpha[t - 1, 1:-2:2]])[:, None]
    return np.asarray(from_blank + from_char * (1.0 - is_before))


def _exit(
    probabilities: Probabilities, beta: Probabilities, t: int, labels: Labels, is_after: Probabilities
) -> Probabilities:
    """(N, 36): probability of the rest of the text after position i was last character c at time t."""
    if t == len(probabilities) - 1:
        end = np.zeros_like(is_after)
        end[-1] = 1.0
        return end
    to_blank = (probabilities[t + 1, BLANK] * beta[t + 1, 2::2])[:, None]
    following = probabilities[t + 1, list(labels[1:])] * beta[t + 1, 3::2]
    to_char = np.concatenate([following, [0.0]])[:, None]
    return np.asarray(to_blank + to_char * (1.0 - is_after))


def _states(labels: Labels) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Labels with blanks between, and where a blank may be skipped."""
    states = np.full(2 * len(labels) + 1, BLANK, dtype=np.intp)
    states[1::2] = labels
    skip = np.zeros(len(states), dtype=np.bool_)
    skip[3::2] = states[3::2] != states[1:-2:2]
    return states, skip


def _forward(probabilities: Probabilities, labels: Labels) -> Probabilities:
    """(T, 2N+1): probability of all paths that are in a state at t."""
    states, skip = _states(labels)
    emit = probabilities[:, states]
    alpha = np.zeros_like(emit)
    alpha[0, :2] = emit[0, :2]
    for t in range(1, len(emit)):
        reach = alpha[t - 1].copy()
        reach[1:] += alpha[t - 1, :-1]
        reach[2:] += np.where(skip[2:], alpha[t - 1, :-2], 0.0)
        alpha[t] = reach * emit[t]
    return alpha


def _backward(probabilities: Probabilities, labels: Labels) -> Probabilities:
    """(T, 2N+1): probability of what follows after t, given the state at t."""
    states, skip = _states(labels)
    emit = probabilities[:, states]
    beta = np.zeros_like(emit)
    beta[-1, -2:] = 1.0
    for t in range(len(emit) - 2, -1, -1):
        onward = beta[t + 1] * emit[t + 1]
        beta[t] = onward
        beta[t, :-1] += onward[1:]
        beta[t, :-2] += np.where(skip[2:], onward[2:], 0.0)
    return beta


def _text(labels: Labels) -> str:
    return "".join(ALPHABET[label] for label in labels)
