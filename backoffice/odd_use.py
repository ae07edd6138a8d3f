# SPDX-License-Identifier: Apache-2.0
"""Odd use in an audit log: pure rules over its entries. Each line is a question to ask, never a finding of misuse.

The same log, period and rules give the same lines in the same order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from backoffice.audit_rules import AuditRules
from storage.audit import AuditEntry

SEARCH, OPEN, HOLD, HELD, EXPORTED = "search", "open", "hold_request", "hold_open", "hold_export"
VIEWED, PICTURE, DECIDED = "hit_viewed", "hit_crop_viewed", "hit_decided"
MANUAL, HITS = "manual_entry", "hits_open"
OPENED = frozenset({"opened", "hold_opened", "hits_opened", "searched"})  # with how many records came out
PURPOSED = frozenset({SEARCH, OPEN, HOLD, HELD, EXPORTED, HITS})  # with purpose, case and a reason in words
ACCESSES = PURPOSED | {VIEWED, PICTURE, MANUAL}  # what somebody asked to see, or had looked for
REASONED = PURPOSED | {MANUAL}
EVENTS = ACCESSES | OPENED | {DECIDED, "refused", "login_failed"}  # all that the rules look at
MAX_NAMED = 20  # entries that a line names
US_PER_HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report: whom and what it is about, how often, from how often on it is told, and why."""

    rule: str
    person: str
    subject: str
    count: float
    threshold: float
    why: str
    entries: tuple[int, ...]  # numbers in the log, the first MAX_NAMED of them


@dataclass(slots=True)
class Usage:
    """What one person did in the period."""

    searches: int = 0
    opens: int = 0
    records_opened: int = 0
    pictures: int = 0
    hits_viewed: int = 0
    hits_decided: int = 0
    manual_entries: int = 0
    refused: int = 0
    failed_logins: int = 0
    plates: set[str] = field(default_factory=set)
    cases: set[str] = field(default_factory=set)
    purposes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Period:
    """Entries are those with since_us <= at_us < until_us, and the ones before them for what was usual."""

    since_us: int
    until_us: int

    def holds(self, entry: AuditEntry) -> bool:
        """Whether an entry lies in it."""
        return self.since_us <= entry.at_us < self.until_us


def text_of(entry: AuditEntry, name: str) -> str:
    """A text field of an entry, "" when it has none."""
    value = entry.fields.get(name)
    return value if isinstance(value, str) else ""


def person_of(entry: AuditEntry) -> str:
    """Who did it."""
    return text_of(entry, "user")


def is_access(entry: AuditEntry) -> bool:
    """Whether somebody asked to see something, or had it looked for."""
    return entry.event in ACCESSES


def usage(entries: Iterable[AuditEntry], period: Period) -> dict[str, Usage]:
    """What each person did in the period, by name."""
    found: dict[str, Usage] = defaultdict(Usage)
    for entry in entries:
        if period.holds(entry) and person_of(entry):
            _count(found[person_of(entry)], entry)
    return dict(sorted(found.items()))


_COUNTED = {
    SEARCH: "searches",
    OPEN: "opens",
    HELD: "opens",
    EXPORTED: "opens",
    HITS: "opens",
    VIEWED: "hits_viewed",
    PICTURE: "pictures",
    DECIDED: "hits_decided",
    MANUAL: "manual_entries",
    "refused": "refused",
    "login_failed": "failed_logins",
}


def _count(person: Usage, entry: AuditEntry) -> None:
    counter = _COUNTED.get(entry.event)
    if counter is not None:
        setattr(person, counter, getattr(person, counter) + 1)
    if entry.event in OPENED:
        person.records_opened += _came_out(entry)
    if entry.event in PURPOSED:
        purpose = text_of(entry, "purpose")
        person.purposes[purpose] = person.purposes.get(purpose, 0) + 1
        person.cases.add(text_of(entry, "case"))
    if entry.event == SEARCH:
        person.plates.add(text_of(entry, "pattern"))


def _number(entry: AuditEntry, name: str) -> int:
    value = entry.fields.get(name)
    return value if type(value) is int else 0


def _came_out(entry: AuditEntry) -> int:
    """How many records an access brought out."""
    return _number(entry, "results" if entry.event == "searched" else "records")


def odd_use(entries: Sequence[AuditEntry], period: Period, rules: AuditRules) -> list[Line]:
    """Every line that the rules give for the period, by person, rule and subject."""
    by_person: dict[str, list[AuditEntry]] = defaultdict(list)
    before: dict[str, list[AuditEntry]] = defaultdict(list)
    for entry in entries:
        if person_of(entry):
            if period.holds(entry):
                by_person[person_of(entry)].append(entry)
            elif entry.at_us < period.since_us:
                before[person_of(entry)].append(entry)
    decided = {text_of(entry, "hit") for entry in entries if entry.event == DECIDED}
    lines: list[Line] = []
    for person, own in by_person.items():
        for rule in _RULES:
            lines += rule(_Look(person, own, rules))
        lines += _first_purposes(_Look(person, own, rules), before[person])
        lines += _undecided(_Look(person, own, rules), decided, period)
    return sorted(lines, key=lambda line: (line.person, line.rule, line.subject))


@dataclass(frozen=True, slots=True)
class _Look:
    """One person's entries of the period, with the rules."""

    person: str
    entries: Sequence[AuditEntry]
    rules: AuditRules

    def of(self, *events: str) -> list[AuditEntry]:
        return [entry for entry in self.entries if entry.event in events]

    def line(
        self,
        rule: str,
        subject: str,
        why: str,
        entries: Sequence[AuditEntry],
        *,
        count: float | None = None,
        threshold: float | None = None,
    ) -> Iterator[Line]:
        """A line when the count (else the number of entries) reaches the threshold (else the rule of that name)."""
        reached = len(entries) if count is None else count
        least = getattr(self.rules, rule) if threshold is None else threshold
        if reached >= least:
            named = tuple(entry.n for entry in entries[:MAX_NAMED])
            yield Line(rule, self.person, subject, reached, least, why, named)


def _grouped(
    entries: Iterable[AuditEntry], key: Callable[[AuditEntry], str]
) -> Mapping[str, list[AuditEntry]]:
    groups: dict[str, list[AuditEntry]] = defaultdict(list)
    for entry in entries:
        groups[key(entry)].append(entry)
    return groups


def _words(entry: AuditEntry) -> str:
    """The reason as it counts for a comparison: case, spaces and punctuation left out."""
    return " ".join("".join(c if c.isalnum() else " " for c in text_of(entry, "reason").lower()).split())


def _pattern(entry: AuditEntry) -> str:
    return text_of(entry, "pattern") or text_of(entry, "plate")


def _outside_shift(look: _Look) -> Iterator[Line]:
    outside = [e for e in look.of(*ACCESSES) if not look.rules.on_shift(look.person, e.at_us)]
    yield from look.line("outside_shift", "", "accesses outside the hours of this person's shift", outside)


def _same_plate(look: _Look) -> Iterator[Line]:
    for pattern, found in _grouped((e for e in look.of(SEARCH, HOLD) if _pattern(e)), _pattern).items():
        cases = {text_of(entry, "case") for entry in found}
        under = "one case number" if len(cases) == 1 else f"{len(cases)} case numbers"
        why = f"the same plate was searched again and again, under {under}"
        yield from look.line("same_plate", pattern, why, found)


def _plates_per_case(look: _Look) -> Iterator[Line]:
    for case, found in _grouped(look.of(SEARCH), lambda e: text_of(e, "case")).items():
        plates = len({_pattern(entry) for entry in found})
        why = "many different plates were searched under one case number"
        yield from look.line("plates_per_case", case, why, found, count=plates)


def _same_reason(look: _Look) -> Iterator[Line]:
    for words, found in _grouped(look.of(*REASONED), _words).items():
        plates = len({_pattern(entry) for entry in found})
        why = "the same words are the reason for different plates"
        yield from look.line("same_reason", words, why, found, count=plates)


def _wide(look: _Look) -> Iterator[Line]:
    most = look.rules.wide_characters
    wide = [
        e
        for e in look.of(SEARCH)
        if set(_pattern(e)) & set("?*") and sum(c not in "?*" for c in _pattern(e)) <= most
    ]
    why = f"patterns of {most} fixed characters or fewer, which fit many vehicles"
    yield from look.line("wide_searches", "", why, wide)


def _per_day(look: _Look) -> Iterator[Line]:
    for day, found in _grouped(look.of(SEARCH), lambda e: f"{look.rules.local(e.at_us):%Y-%m-%d}").items():
        yield from look.line("searches_per_day", day, "many searches on one day", found)


def _case_without_digit(look: _Look) -> Iterator[Line]:
    found = [e for e in look.of(*PURPOSED) if not any(c.isdigit() for c in text_of(e, "case"))]
    for case, same in _grouped(found, lambda e: text_of(e, "case")).items():
        yield from look.line("without_digit", case, "this is hardly a case number: it has no digit", same)


def _doubtful_purpose(look: _Look) -> Iterator[Line]:
    for purpose in look.rules.doubtful_purposes:
        found = [e for e in look.of(*PURPOSED) if text_of(e, "purpose") == purpose]
        yield from look.line(
            "doubtful_purpose", purpose, "this purpose says little of what it was for", found
        )


def _bulk(look: _Look) -> Iterator[Line]:
    opened = look.of(*OPENED)
    records = sum(_came_out(entry) for entry in opened)
    yield from look.line(
        "opened_records", "", "many records came out of searches, openings and holds", opened, count=records
    )


def _pictures(look: _Look) -> Iterator[Line]:
    pictures, searches = look.of(PICTURE), max(1, len(look.of(SEARCH)))
    if len(pictures) >= look.rules.pictures:
        each = round(len(pictures) / searches, 1)
        why = (
            f"{len(pictures)} pictures were looked at by themselves, and {len(look.of(SEARCH))} searches made"
        )
        yield from look.line("pictures_per_search", "", why, pictures, count=each)


def _refused(look: _Look) -> Iterator[Line]:
    why = "accesses that role or training do not allow were tried"
    yield from look.line("refused", "", why, look.of("refused"))


def _failed_logins(look: _Look) -> Iterator[Line]:
    why = "wrong passwords, by this person or by somebody who tried this name"
    yield from look.line("failed_logins", "", why, look.of("login_failed"))


_RULES: tuple[Callable[[_Look], Iterator[Line]], ...] = (
    _outside_shift,
    _same_plate,
    _plates_per_case,
    _same_reason,
    _wide,
    _per_day,
    _case_without_digit,
    _doubtful_purpose,
    _bulk,
    _pictures,
    _refused,
    _failed_logins,
)


def _first_purposes(look: _Look, before: Sequence[AuditEntry]) -> Iterator[Line]:
    """A purpose that this person never gave before, from somebody who has a history."""
    usual = [text_of(entry, "purpose") for entry in before if entry.event in PURPOSED]
    if len(usual) < look.rules.first_purpose_after:
        return
    fresh = [entry for entry in look.of(*PURPOSED) if text_of(entry, "purpose") not in usual]
    for purpose, found in _grouped(fresh, lambda e: text_of(e, "purpose")).items():
        why = f"never given as a purpose in {len(usual)} accesses before this period"
        yield from look.line("first_purpose", purpose, why, found, threshold=1)


def _undecided(look: _Look, decided: set[str], period: Period) -> Iterator[Line]:
    """Hits that were looked at long enough ago, and that nobody has decided since."""
    latest = period.until_us - look.rules.undecided_after_h * US_PER_HOUR
    looks = [e for e in look.of(VIEWED) if e.at_us < latest and text_of(e, "hit") not in decided]
    hits = {text_of(entry, "hit") for entry in looks}
    why = f"hits were looked at and {look.rules.undecided_after_h} h later decided by nobody"
    yield from look.line("undecided_looks", "", why, looks, count=len(hits))
