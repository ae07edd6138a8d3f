# SPDX-License-Identifier: Apache-2.0
"""What the frames of one vehicle pass agree on, character by character.

O and 0, and I and 1, are one character when frames are compared; the text has the one that more of the weight says.
The confidence comes from agreement: how many frames, by their confidence, say this text against those that say its
strongest rival, and what the better half of the agreeing frames think of themselves; no single frame decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Final

from inference.accept import log_odds
from inference.plates import align, fold
from inference.state import StateRead, combine
from inference.tracker import Track
from inference.types import CharRead, Observation, PlateRead, Reason, VotedRead

FULL_WIDTH_PX: Final = 120.0  # wider plates weigh no more
FULL_SHARPNESS: Final = 4000.0
FEW_FRAMES: Final = 0.25  # a rival with fewer is none
GAP: Final = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Weights of a logistic regression over what `agreement` measures; fitted by `inference.training.vote_fit`."""

    lead: float = 0.69  # log of the frames for the text over the frames for its strongest rival
    word: float = 0.689  # mean log-odds of the better half of the agreeing frames
    bias: float = -0.944


@dataclass(frozen=True, slots=True)
class VoteSettings:
    """How much evidence makes a read."""

    min_frames: int = 2  # that see each character, and that are read at all
    min_confidence: float = 0.5
    agreement: Agreement = Agreement()
    max_alternatives: int = 3
    min_alternative: float = 0.01


def vote(track: Track, settings: VoteSettings | None = None) -> VotedRead:
    """A track (with at least one observation) -> the read, or the reason why it is none."""
    s = settings or VoteSettings()
    told = [o for o in track.observations if o.read.text]
    columns = [column for column in _columns(told) if _winner(column) != GAP]
    chars = tuple(_char(column, s) for column in columns)
    text = "".join(c.char for c in chars)
    agreed = _agreeing(told, text)
    confidence = confidence_of(_evidence(told, text), s.agreement) if agreed else 0.0
    state = combine([(_state(o.read), weight(o.read)) for o in track.observations])
    best = max(agreed or track.observations, key=lambda o: weight(o.read) * (o.read.confidence + 1e-6))
    return VotedRead(
        text=text,
        confidence=confidence,
        chars=chars,
        state=state.state,
        state_confidence=state.confidence,
        state_note=state.note,
        frames_seen=len(track.observations),
        frames_agreed=len(agreed),
        best=best.read,
        best_frame_sequence=best.sequence,
        first_us=track.first_us,
        last_us=track.last_us,
        reason_if_unread=_reason(told, text, confidence, s),
    )


def weight(read: PlateRead) -> float:
    """What one frame's word counts: larger and sharper plates count more."""
    size = min(read.width_px, FULL_WIDTH_PX) / FULL_WIDTH_PX
    return size * (0.5 + 0.5 * min(read.sharpness / FULL_SHARPNESS, 1.0)) + 1e-3


def agreement(track: Track) -> tuple[float, float]:
    """What the weights of Agreement are for, in their order, without the bias."""
    told = [o for o in track.observations if o.read.text]
    columns = [column for column in _columns(told) if _winner(column) != GAP]
    return _evidence(told, "".join(_winner(column) for column in columns))


def confidence_of(evidence: Sequence[float], weights: Agreement) -> float:
    """The chance (0..1) that a vote with this evidence is right."""
    lead, word = (float(x) for x in evidence)
    return 1.0 / (1.0 + exp(-(weights.lead * lead + weights.word * word + weights.bias)))


def _evidence(told: list[Observation], text: str) -> tuple[float, float]:
    """Log of the frames for the text over those for its strongest rival; the word of those that agree."""
    frames: defaultdict[str, float] = defaultdict(float)
    for o in told:
        frames[fold(o.read.text)] += o.read.confidence
    won = frames.pop(fold(text), 0.0)
    rival = max(frames.values(), default=0.0)
    words = sorted((log_odds(o.read.confidence) for o in _agreeing(told, text)), reverse=True)
    better = words[: (len(words) + 1) // 2] or [log_odds(0.0)]
    return log((won + FEW_FRAMES) / (rival + FEW_FRAMES)), sum(better) / len(better)


def _agreeing(told: list[Observation], text: str) -> list[Observation]:
    return [o for o in told if fold(o.read.text) == fold(text)]


def _state(read: PlateRead) -> StateRead:
    return StateRead(read.state, read.state_confidence, read.state_note, read.states)


def _reason(told: list[Observation], text: str, confidence: float, s: VoteSettings) -> Reason | None:
    if not told:
        return Reason.UNREADABLE
    if len(told) < s.min_frames:
        return Reason.ONE_FRAME_ONLY
    if _least_seen(told, text) < s.min_frames or confidence < s.min_confidence:
        return Reason.BELOW_CONFIDENCE
    return None


def _least_seen(told: list[Observation], text: str) -> int:
    """How many frames see the character that the fewest frames see in its place."""
    seen = [0] * len(text)
    for o in told:
        for mine, theirs in align(fold(text), fold(o.read.text)):
            if mine is not None and theirs is not None:
                seen[mine] += fold(text[mine]) == fold(o.read.text[theirs])
    return min(seen, default=0)


def _pivot(told: list[Observation]) -> str:
    """The text with the most weight: the others are aligned to it."""
    alike: defaultdict[str, float] = defaultdict(float)
    strict: defaultdict[str, float] = defaultdict(float)
    for o in told:
        alike[fold(o.read.text)] += weight(o.read) * o.read.confidence
        strict[o.read.text] += weight(o.read) * o.read.confidence
    return max(strict, key=lambda text: (alike[fold(text)], strict[text]), default="")


def _columns(told: list[Observation]) -> list[dict[str, float]]:
    """Per position: character (or GAP) -> weight of the frames that say so."""
    pivot = _pivot(told)
    columns: list[dict[str, float]] = [defaultdict(float) for _ in pivot]
    inserted: list[dict[str, float]] = [defaultdict(float) for _ in range(len(pivot) + 1)]
    total = 0.0
    for o in told:
        w = weight(o.read) * (0.1 + o.read.confidence)
        total += w
        _add(o.read, w, pivot, columns, inserted)
    return _woven(columns, inserted, total)


def _add(
    read: PlateRead, w: float, pivot: str, columns: list[dict[str, float]], inserted: list[dict[str, float]]
) -> None:
    position = 0
    for mine, theirs in align(fold(pivot), fold(read.text)):
        if mine is not None:
            position = mine + 1
            _spread(columns[mine], read.chars[theirs] if theirs is not None else None, w)
        elif theirs is not None:
            _spread(inserted[position], read.chars[theirs], w)


def _spread(column: dict[str, float], char: CharRead | None, w: float) -> None:
    if char is None:
        column[GAP] += w
        return
    column[char.char] += w * char.probability
    for other, p in char.alternatives:
        column[other] += w * p


def _woven(
    columns: list[dict[str, float]], inserted: list[dict[str, float]], total: float
) -> list[dict[str, float]]:
    """Positions in order; an insertion stands only where most of the weight has it."""
    out: list[dict[str, float]] = []
    for i, extra in enumerate(inserted):
        missing = total - sum(extra.values())
        if extra and missing < max(extra.values()):
            out.append({**extra, GAP: missing})
        if i < len(columns):
            out.append(columns[i])
    return out


def _classes(column: dict[str, float]) -> dict[str, float]:
    """The same with O as 0 and I as 1."""
    totals: defaultdict[str, float] = defaultdict(float)
    for char, w in column.items():
        totals[fold(char)] += w
    return totals


def _winner(column: dict[str, float]) -> str:
    totals = _classes(column)
    return max(column, key=lambda c: (totals[fold(c)], column[c]))


def _char(column: dict[str, float], s: VoteSettings) -> CharRead:
    total = sum(column.values()) or 1.0
    winner = _winner(column)
    ranked = sorted(((c, w / total) for c, w in column.items()), key=lambda item: -item[1])
    others = [(c, p) for c, p in ranked if c not in (GAP, winner) and p >= s.min_alternative]
    return CharRead(winner, column[winner] / total, tuple(others[: s.max_alternatives]))
