# SPDX-License-Identifier: Apache-2.0
"""CTC: the reader's logits -> the most probable text, per-character posteriors, and what else it may be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.types import CharRead, Decoded

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BLANK: Final = len(ALPHABET)
BEAM_WIDTH: Final = 8
MIN_STEP: Final = 1e-3  # classes less probable than this at a time step are not followed
LEAST_LEFT: Final = 1e-6  # of a sure text's probability, for its rivals
HOPELESS: Final = 1e-3  # of the best text's probability: less probable beginnings are given up
SURE: Final = 0.5  # above this no other text can be more probable than the best path's: nothing is searched
MAX_OTHERS: Final = 5  # other texts kept
MAX_ALTERNATIVES: Final = 3  # other characters kept per position
MIN_ALTERNATIVE: Final = 0.005

Probabilities = NDArray[np.float64]  # (time, class), rows sum to 1
Labels = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sums:
    """Per step and state (characters with blanks between), (T, 2N+1): all paths to there, and from there on.

    Both contain the step's own probability.
    """

    before: Probabilities
    after: Probabilities


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> Probabilities:
    """(T, C) logits -> (T, C) probabilities; a temperature above 1 makes them less sure."""
    x = logits.astype(np.float64) / temperature
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(x / x.sum(axis=1, keepdims=True))


def decode(probabilities: Probabilities, like: Decoded | None = None) -> Decoded:
    """(T, 37) -> the most probable text, with posteriors and what else it may be.

    `like` is what another crop of the plate gave: of the same text once more only the probability is worked out, the
    characters are those of there, and the rivals share what is left as they did there.
    """
    labels = greedy(probabilities)
    sums = _sums(probabilities, labels)
    if like is not None and like.text == _text(labels) and _whole(sums) >= SURE:
        return _alike(like, min(1.0, _whole(sums)))
    others: tuple[tuple[str, float], ...] | None = None
    if _whole(sums) < SURE:
        (labels, _), *rivals = beam_search(probabilities)
        sums = _sums(probabilities, labels)
        others = tuple((_text(other), p) for other, p in rivals[:MAX_OTHERS] if other)
    if not labels:
        return Decoded("", min(1.0, _whole(sums)), (), others or ())
    totals = _substitutions(probabilities, labels, sums)
    rest = _replaced(totals, labels) if others is None else others
    return Decoded(_text(labels), min(1.0, _whole(sums)), _characters(totals, labels), rest)


def _alike(like: Decoded, confidence: float) -> Decoded:
    share = (1.0 - confidence) / max(1.0 - like.confidence, LEAST_LEFT)
    others = tuple((text, p * share) for text, p in like.others)
    return replace(like, confidence=confidence, others=others)


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
    best = sorted(beam.items(), key=lambda item: -sum(item[1]))[:width]
    least = HOPELESS * sum(best[0][1])
    return {labels: both for labels, both in best if sum(both) >= least}


def probability(probabilities: Probabilities, labels: Labels) -> float:
    """Exact probability of a text: the sum over all its CTC paths."""
    return _whole(_sums(probabilities, labels))


def _characters(totals: Probabilities, labels: Labels) -> tuple[CharRead, ...]:
    shares = totals / np.maximum(totals.sum(axis=1, keepdims=True), 1e-300)
    return tuple(_character(row, label) for row, label in zip(shares, labels, strict=True))


def _character(row: Probabilities, label: int) -> CharRead:
    order = [int(c) for c in np.argsort(-row, kind="stable")[: MAX_ALTERNATIVES + 1] if c != label]
    others = [(ALPHABET[c], float(row[c])) for c in order if row[c] >= MIN_ALTERNATIVE]
    return CharRead(ALPHABET[label], float(row[label]), tuple(others[:MAX_ALTERNATIVES]))


def substitutions(probabilities: Probabilities, labels: Labels) -> Probabilities:
    """(N, 36): exact probability of the text with position i replaced by each character."""
    return _substitutions(probabilities, labels, _sums(probabilities, labels))


def _substitutions(probabilities: Probabilities, labels: Labels, sums: Sums) -> Probabilities:
    """What comes before a position, times its character over all its steps, times what comes after."""
    entry, leave = _entries(sums.before, labels), _exits(sums.after, labels)
    inside = np.zeros_like(entry)
    now = np.zeros(entry.shape[1:])
    for t, char in enumerate(probabilities[:, :BLANK]):
        now = np.multiply(now + entry[t], char, out=inside[t])
    return np.asarray((inside * leave).sum(axis=0))


def _entries(before: Probabilities, labels: Labels) -> Probabilities:
    """(T, N, 36): mass that enters position i as character c at time t."""
    entry = np.zeros((len(before), len(labels), BLANK))
    entry[0, 0] = 1.0
    entry[1:] = before[:-1, 0:-1:2, None]
    after_char = np.repeat(before[:-1, 1:-2:2, None], BLANK, axis=2)
    after_char[:, np.arange(len(labels) - 1), list(labels[:-1])] = 0.0  # twice the same needs a blank between
    entry[1:, 1:] += after_char
    return entry


def _exits(after: Probabilities, labels: Labels) -> Probabilities:
    """(T, N, 36): probability of the rest of the text after position i was last character c at time t."""
    leave = np.zeros((len(after), len(labels), BLANK))
    leave[-1, -1] = 1.0
    leave[:-1] = after[1:, 2::2, None]
    to_char = np.repeat(after[1:, 3::2, None], BLANK, axis=2)
    to_char[:, np.arange(len(labels) - 1), list(labels[1:])] = 0.0
    leave[:-1, :-1] += to_char
    return leave


def _states(labels: Labels) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Labels with blanks between, and where a blank may be skipped."""
    states = np.full(2 * len(labels) + 1, BLANK, dtype=np.intp)
    states[1::2] = labels
    skip = np.zeros(len(states), dtype=np.bool_)
    skip[3::2] = states[3::2] != states[1:-2:2]
    return states, skip


def _sums(probabilities: Probabilities, labels: Labels) -> Sums:
    """CTC's forward sums, of the text and of the text read backwards: one loop for both."""
    states, skip = _states(labels)
    back, back_skip = _states(labels[::-1])
    emit = np.stack([probabilities[:, states], probabilities[::-1, back]], axis=1)
    skips = np.stack([skip, back_skip]).astype(np.float64)
    sums = np.zeros(
        (len(emit), 2, len(states) + 2)
    )  # two places more, so that nothing comes from before the first
    sums[0, :, 2:4] = emit[0, :, :2]
    for t in range(1, len(emit)):
        last = sums[t - 1]
        reach = last[:, 2:] + last[:, 1:-1]
        reach += last[:, :-2] * skips
        np.multiply(reach, emit[t], out=sums[t, :, 2:])
    return Sums(sums[:, 0, 2:], sums[::-1, 1, :1:-1])


def _whole(sums: Sums) -> float:
    """Probability of the whole text."""
    return float(sums.before[-1, -2:].sum())


def _text(labels: Labels) -> str:
    return "".join(ALPHABET[label] for label in labels)
