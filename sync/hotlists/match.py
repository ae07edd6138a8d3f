# SPDX-License-Identifier: Apache-2.0
"""Reads against lists: every match says how it matched, what differs, how old the list is and how sure it is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from sync.hotlists.codes import STATES
from sync.hotlists.entry import Category, ListEntry, is_pattern, normalise_plate
from sync.hotlists.fold import align, why_alike
from sync.hotlists.index import PlateIndex
from sync.hotlists.listfile import HotList, ListDocument, Mode
from sync.hotlists.policy import MatchPolicy
from sync.limits import MAX_PLATE_CHARS
from sync.schema import Difference, Doubt, MatchKind, MatchRecord, StateAgreement

MIN_DOUBT = 0.10  # probability from which another reading of a character is worth telling the officer
_UNNAMED = 36  # characters of the alphabet, over which probability that no alternative names is spread
_KIND_ORDER = tuple(MatchKind)
_STATE_ORDER = (StateAgreement.AGREES, StateAgreement.UNKNOWN, StateAgreement.DIFFERS)


class CharLike(Protocol):
    """One character of a read: the reading, its probability and the alternatives with theirs."""

    @property
    def c(self) -> str:
        """The reading."""

    @property
    def p(self) -> float:
        """Its probability, 0..1."""

    @property
    def alt(self) -> Sequence[tuple[str, float]]:
        """Other readings with their probabilities."""


@dataclass(frozen=True, slots=True)
class Match:
    """One entry that a read met. `probability` is None when the read brought no per-character probabilities."""

    list_id: str
    version: int
    entry: ListEntry
    kind: MatchKind
    explanation: str
    differences: tuple[Difference, ...]
    doubts: tuple[Doubt, ...]
    state_agreement: StateAgreement
    list_age_s: int
    stale: bool
    silent: bool
    calibration: bool
    probability: float | None

    @property
    def list_version(self) -> int:
        """The list's version."""
        return self.version

    def to_record(self) -> MatchRecord:
        """The match as it goes into a hit."""
        return MatchRecord(
            kind=self.kind,
            explanation=self.explanation,
            differences=self.differences,
            doubts=self.doubts,
            state_agreement=self.state_agreement,
            list_id=self.list_id,
            list_version=self.version,
            list_age_s=self.list_age_s,
            stale=self.stale,
            silent=self.silent,
            calibration=self.calibration,
        )


class _Listed(NamedTuple):  # made once per entry: half a million of them
    document: ListDocument
    entry: ListEntry
    mode: Mode


class Matcher:
    """Lists indexed in memory. `blocked` counts the entries of each category that the policy keeps out."""

    def __init__(self, lists: Sequence[HotList], policy: MatchPolicy | None = None) -> None:
        policy = policy or MatchPolicy()
        self._index: PlateIndex[_Listed] = PlateIndex()
        self.blocked: Counter[Category] = Counter()
        self.indexed = 0
        for hot_list in lists:
            modes: dict[tuple[Category, str], Mode] = {}  # a list has few codes: judge each once
            for entry in hot_list.entries:
                mode = modes.get((entry.category, entry.code))
                if mode is None:
                    mode = modes[entry.category, entry.code] = policy.mode_of(entry, hot_list.document)
                if mode is Mode.BLOCKED:
                    self.blocked[entry.category] += 1
                    continue
                self._index.add(entry.plate, _Listed(hot_list.document, entry, mode))
                self.indexed += 1

    def match(
        self, text: str, state: str | None, *, chars: Sequence[CharLike] | None = None, now_us: int
    ) -> list[Match]:
        """Every entry that the read meets now, the surest kind first; a differing state is said, not dropped."""
        plate = normalise_plate(text).replace("?", "").replace("*", "")
        if not plate or len(plate) > MAX_PLATE_CHARS:
            return []
        usable = chars if chars is not None and "".join(char.c for char in chars) == plate else None
        found = [
            _explained(listed, plate, state, usable, now_us)
            for listed in self._candidates(plate, now_us)
            if listed.document.expires_us > now_us
        ]
        return sorted(found, key=_order)

    def _candidates(self, plate: str, now_us: int) -> Iterator[_Listed]:
        for listed in self._index.find(plate):
            entry = listed.entry
            if entry.effective_us is not None and now_us < entry.effective_us:
                continue
            if entry.expires_us is not None and now_us > entry.expires_us:
                continue
            yield listed


def _order(match: Match) -> tuple[int, int, float, str]:
    sure = -1.0 if match.probability is None else match.probability
    return (
        _KIND_ORDER.index(match.kind),
        _STATE_ORDER.index(match.state_agreement),
        -sure,
        match.entry.entry_id,
    )


def _explained(
    listed: _Listed, plate: str, state: str | None, chars: Sequence[CharLike] | None, now_us: int
) -> Match:
    document, entry = listed.document, listed.entry
    against = align(entry.plate, plate) or []
    differences = tuple(
        Difference(pos=pos, read=read, listed=want, why=why_alike(read, want))
        for pos, (read, want) in enumerate(zip(plate, against, strict=True))
        if want is not None and want != read
    )
    kind = _kind(wild=is_pattern(entry.plate), folded=bool(differences))
    agreement = _agreement(state, entry.state)
    doubts = _doubts(chars or ())
    match = Match(
        list_id=document.list_id,
        version=document.version,
        entry=entry,
        kind=kind,
        explanation="",
        differences=differences,
        doubts=doubts,
        state_agreement=agreement,
        list_age_s=document.age_s(now_us),
        stale=document.stale(now_us),
        silent=listed.mode is Mode.SILENT,
        calibration=entry.category is Category.CALIBRATION,
        probability=None if chars is None else _probability(against, chars, folds_o=document.folds_o),
    )
    return _with_explanation(match, state)


def _kind(*, wild: bool, folded: bool) -> MatchKind:
    if wild:
        return MatchKind.WILDCARD_FOLDED if folded else MatchKind.WILDCARD
    return MatchKind.FOLDED if folded else MatchKind.EXACT


def _agreement(read: str | None, listed: str | None) -> StateAgreement:
    if not read or listed not in STATES:  # a code that we don't know says nothing about the state
        return StateAgreement.UNKNOWN
    return StateAgreement.AGREES if read == listed else StateAgreement.DIFFERS


def _doubts(chars: Sequence[CharLike]) -> tuple[Doubt, ...]:
    found = []
    for pos, char in enumerate(chars):
        other, p = max(char.alt, key=lambda item: item[1], default=("", 0.0))
        if p >= MIN_DOUBT:
            found.append(Doubt(pos=pos, read=char.c, p=char.p, other=other, other_p=p))
    return tuple(found)


def _probability(against: Sequence[str | None], chars: Sequence[CharLike], *, folds_o: bool) -> float:
    """Product over the listed characters of the probability that the plate carries each."""
    product = 1.0
    for want, char in zip(against, chars, strict=True):
        if want is None:
            continue
        p = _char_probability(char, want)
        if want == "0" and folds_o:  # in such a feed a 0 stands for either
            p += _char_probability(char, "O")
        product *= min(1.0, p)
    return product if math.isfinite(product) else 0.0


def _char_probability(char: CharLike, want: str) -> float:
    if char.c == want:
        return char.p
    named = dict(char.alt)
    if want in named:
        return named[want]
    rest = max(0.0, 1.0 - char.p - sum(named.values()))
    return rest / max(1, _UNNAMED - 1 - len(named))


def _with_explanation(match: Match, state: str | None) -> Match:
    parts = [_said_kind(match)]
    parts += [f"position {d.pos + 1}: read {d.read}, listed {d.listed} ({d.why})" for d in match.differences]
    parts += [
        f"position {d.pos + 1}: read {d.read} ({d.p:.0%}), may be {d.other} ({d.other_p:.0%})"
        for d in match.doubts
    ]
    parts.append(_said_state(match, state))
    parts.append(f"list {match.list_id} version {match.version}, {_said_age(match.list_age_s)} old")
    if match.stale:
        parts.append("the list is stale: the entry may be out of date")
    if match.calibration:
        parts.append("calibration record: a test of the chain, not a vehicle of interest")
    fields = {name: getattr(match, name) for name in Match.__slots__}
    return Match(**(fields | {"explanation": "; ".join(parts)}))


def _said_kind(match: Match) -> str:
    return {
        MatchKind.EXACT: "every character as listed",
        MatchKind.FOLDED: f"{len(match.differences)} look-alike character(s) differ",
        MatchKind.WILDCARD: f"fits the partial plate {match.entry.plate}",
        MatchKind.WILDCARD_FOLDED: f"fits the partial plate {match.entry.plate} with look-alike character(s)",
    }[match.kind]


def _said_state(match: Match, state: str | None) -> str:
    listed = match.entry.state
    if match.state_agreement is StateAgreement.AGREES:
        return f"state agrees ({listed})"
    if match.state_agreement is StateAgreement.DIFFERS:
        return f"STATE DIFFERS: read {state}, listed {listed}"
    return f"state unknown: read {state or 'none'}, listed {listed or 'any'}"


def _said_age(seconds: int) -> str:
    return f"{seconds // 3600} h" if seconds >= 7200 else f"{seconds // 60} min"
