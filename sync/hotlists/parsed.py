# SPDX-License-Identifier: Apache-2.0
"""What comes out of a feed: entries, and a problem for every line that gave none or had to be repaired."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import ValidationError

from sync.errors import FileTooLarge
from sync.hotlists.codes import category_of, repair_state
from sync.hotlists.entry import (
    NO_VEHICLE,
    Category,
    ListEntry,
    VehicleDescription,
    entry_identity,
    is_pattern,
    normalise_plate,
    pattern_is_too_wide,
)
from sync.limits import MAX_PLATE_CHARS, MAX_TEXT_CHARS, ListLimits

MIN_FOLD_EVIDENCE = 30  # plates with a 0, and none with an O, before a feed counts as one that folds O to 0


@dataclass(frozen=True, slots=True)
class Problem:
    """Something odd in a feed line (1-based; 0: the whole file). `dropped`: the line gave no entry."""

    line: int
    what: str
    dropped: bool


@dataclass(frozen=True, slots=True)
class ParsedList:
    """A parsed feed. `records` = entries + dropped, always; `folds_o`: it writes the letter O as 0."""

    layout: str
    entries: tuple[ListEntry, ...]
    problems: tuple[Problem, ...]
    records: int
    dropped: int
    unlisted_problems: int
    folds_o: bool
    as_of_us: int | None = None


@dataclass(frozen=True, slots=True)
class FeedRecord:
    """One record as the layout cut it: text fields not yet judged."""

    plate: str
    state: str = ""
    code: str = ""
    category: Category | None = None
    vehicle: VehicleDescription = NO_VEHICLE
    reason: str = ""
    source: str = ""
    effective_us: int | None = None
    expires_us: int | None = None


@dataclass(slots=True)
class Collector:
    """Turns feed records into entries; every record ends as an entry or as a problem."""

    layout: str
    limits: ListLimits
    entries: dict[str, ListEntry] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    dropped: int = 0
    unlisted: int = 0
    repaired_o: bool = False

    def note(self, line: int, what: str) -> None:
        """Record a problem with a line that was kept."""
        self._problem(Problem(line, what, dropped=False))

    def drop(self, line: int, what: str) -> None:
        """Record a line that gives no entry."""
        self.dropped += 1
        self._problem(Problem(line, what, dropped=True))

    def add(self, line: int, raw: bytes, record: FeedRecord) -> None:
        """Judge one record and keep it or say why not."""
        plate = self._plate(line, record.plate)
        if plate is None:
            return
        entry_id, raw_hash = entry_identity(self.layout, raw)
        if entry_id in self.entries:
            self.drop(line, "the same line occurs twice")
            return
        if len(self.entries) >= self.limits.max_entries:
            raise FileTooLarge(f"line {line}: more than {self.limits.max_entries} entries")
        try:
            self.entries[entry_id] = ListEntry(
                entry_id=entry_id,
                plate=plate,
                state=self._state(line, record.state),
                category=self._category(line, record),
                code=record.code[:64],
                vehicle=record.vehicle,
                reason=record.reason[:MAX_TEXT_CHARS],
                source=record.source[:64],
                effective_us=record.effective_us,
                expires_us=record.expires_us,
                raw_hash=raw_hash,
            )
        except ValidationError as error:
            self.drop(line, f"a field is out of bounds: {error.errors(include_input=False)[0]['type']}")

    def finish(self, as_of_us: int | None = None) -> ParsedList:
        """The result."""
        entries = tuple(self.entries.values())
        return ParsedList(
            layout=self.layout,
            entries=entries,
            problems=tuple(self.problems),
            records=len(entries) + self.dropped,
            dropped=self.dropped,
            unlisted_problems=self.unlisted,
            folds_o=self._folds_o(entries),
            as_of_us=as_of_us,
        )

    def _problem(self, problem: Problem) -> None:
        if len(self.problems) < self.limits.max_problems:
            self.problems.append(problem)
        else:
            self.unlisted += 1

    def _plate(self, line: int, text: str) -> str | None:
        plate = normalise_plate(text)
        if not plate:
            self.drop(line, "no plate")
        elif len(plate) > MAX_PLATE_CHARS:
            self.drop(line, f"the plate has more than {MAX_PLATE_CHARS} characters")
        elif pattern_is_too_wide(plate):
            self.drop(line, "the pattern would match too many plates: give at least two characters")
        elif len(plate) != sum(not char.isspace() and char not in "-." for char in text):
            self.note(line, "characters that no plate has were removed from the plate")
            return plate
        else:
            return plate
        return None

    def _state(self, line: int, text: str) -> str | None:
        state, what = repair_state(text)
        if what == "repaired":
            self.repaired_o = self.repaired_o or "0" in text
            self.note(line, f"the state was repaired to {state}")
        elif what == "unknown":
            self.note(line, "the state is not one that we know; kept as written")
        elif what == "unreadable":
            self.note(line, "the state cannot be read; the entry matches any state")
        return state

    def _category(self, line: int, record: FeedRecord) -> Category:
        category = record.category or category_of(record.code)
        if category is None:
            self.note(line, "the code is not one that we know; category `other`")
            return Category.OTHER
        return category

    def _folds_o(self, entries: tuple[ListEntry, ...]) -> bool:
        literal = [entry.plate for entry in entries if not is_pattern(entry.plate)]
        if any("O" in plate for plate in literal):
            return False
        return self.repaired_o or sum("0" in plate for plate in literal) >= MIN_FOLD_EVIDENCE
