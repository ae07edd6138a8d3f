# SPDX-License-Identifier: Apache-2.0
"""What the frames of one vehicle pass agree on, character by character."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from inference.plates import NOT_READ, align, fold
from inference.tracker import Track
from inference.types import CharRead, Observation, PlateRead, Reason, VotedRead

FULL_WIDTH_PX: Final = 120.0  # wider plates weigh no more
FULL_SHARPNESS: Final = 4000.0
INDEPENDENCE: Final = 0.5  # how far a further frame's error is its own: frames of one pass err alike
GAP: Final = ""


@dataclass(frozen=True, slots=True)
class VoteSettings:
    """How much evidence makes a read."""

    min_frames: int = 2
    min_confidence: float = 0.5
    max_alternatives: int = 3
    min_alternative: float = 0.01


def vote(track: Track, settings: VoteSettings | None = None) -> VotedRead:
    """A track (with at least one observation) -> the read, or the reason why it is none."""
    s = settings or VoteSettings()
    told = [o for o in track.observations if o.read.text]
    columns = _columns(told)
    chars = tuple(_char(column, s) for column in columns if _winner(column) != GAP)
    text = "".join(c.char for c in chars)
    agreed = [o for o in told if fold(o.read.text) == fold(text)]
    confidence = _confidence(told, agreed)
    best = max(agreed or track.observations, key=lambda o: weight(o.read) * (o.read.confidence + 1e-6))
    return VotedRead(
        text=text,
        confidence=confidence,
        chars=chars,
        state=None,
        state_confidence=0.0,
        state_note=NOT_READ,
        frames_seen=len(track.observations),
        frames_agreed=len(agreed),
        best=best.read,
        best_frame_sequence=best.sequence,
        first_us=track.first_us,
        last_us=track.last_us,
        reason_if_unread=_reason(told, agreed, confidence, s),
    )


def weight(read: PlateRead) -> float:
    """What one frame's word counts: larger and sharper plates count more."""
    size = min(read.width_px, FULL_WIDTH_PX) / FULL_WIDTH_PX
    return size * (0.5 + 0.5 * min(read.sharpness / FULL_SHARPNESS, 1.0)) + 1e-3


def _reason(
    told: list[Observation], agreed: list[Observation], confidence: float, s: VoteSettings
) -> Reason | None:
    if not told:
        return Reason.UNREADABLE
    if len(told) < s.min_frames:
        return Reason.ONE_FRAME_ONLY
    if len(agreed) < s.min_frames or confidence < s.min_confidence:
        return Reason.BELOW_CONFIDENCE
    return None


def _pivot(told: list[Observation]) -> str:
    """The text with the most weight: the others are aligned to it."""
    totals: defaultdict[str, float] = defaultdict(float)
    for o in told:
        totals[o.read.text] += weight(o.read) * o.read.confidence
    return max(totals, key=lambda text: totals[text], default="")


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
    for mine, theirs in align(pivot, read.text):
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


def _winner(column: dict[str, float]) -> str:
    return max(column, key=lambda c: column[c])


def _char(column: dict[str, float], s: VoteSettings) -> CharRead:
    total = sum(column.values()) or 1.0
    ranked = sorted(((c, w / total) for c, w in column.items()), key=lambda item: -item[1])
    others = [(c, p) for c, p in ranked[1:] if c != GAP and p >= s.min_alternative]
    return CharRead(ranked[0][0], ranked[0][1], tuple(others[: s.max_alternatives]))


def _confidence(told: list[Observation], agreed: list[Observation]) -> float:
    """Share of the weight that agrees, times the chance that not all agreeing frames err."""
    if not agreed:
        return 0.0
    said = sum(weight(o.read) * o.read.confidence for o in told) + 1e-9
    share = sum(weight(o.read) * o.read.confidence for o in agreed) / said
    ordered = sorted((o.read.confidence for o in agreed), reverse=True)
    doubt = 1.0 - ordered[0]
    for confidence in ordered[1:]:
        doubt *= 1.0 - INDEPENDENCE * confidence
    return float(share * (1.0 - doubt))
