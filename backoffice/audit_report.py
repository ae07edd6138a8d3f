# SPDX-License-Identifier: Apache-2.0
"""The audit that the policy asks for: use by person and purpose, odd use, a sample to check by hand, the sign-off.

A report is recorded in the log before it is shown, with what makes it again: period, rules, seed and the log's end.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from backoffice.audit import AuditUnavailable
from backoffice.audit_rules import AuditRules
from backoffice.errors import BadRequest, NotFound
from backoffice.odd_use import (
    ACCESSES,
    EVENTS,
    Line,
    Period,
    Usage,
    is_access,
    odd_use,
    person_of,
    text_of,
    usage,
)
from backoffice.office import Office
from storage.audit import AuditEntry
from sync.schema import canonical_json

REPORTED, REVIEWED = "audit_report", "audit_reviewed"
REVIEWS = (REVIEWED, "office_created")  # from which the next review is counted
DAY_US = 86_400_000_000
REMIND_EVERY_US = 600_000_000  # between two looks through the log for the reminder on the pages
MAX_SEED_CHARACTERS = 64
MAX_NOTE_CHARACTERS = 2000
MAX_SAMPLE = 1_000  # accesses
Record = Callable[..., AuditEntry]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is to cover. `seed` "": one is drawn; `person` None: everybody."""

    period: Period
    person: str | None = None
    sample: int | None = None  # None: as many as the rules say
    seed: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """The last sign-off; `due_us` is when the next one is due."""

    by: str | None
    at_us: int | None
    due_us: int

    def overdue(self, now_us: int) -> bool:
        """Whether it is past its day."""
        return now_us > self.due_us


@dataclass(frozen=True, slots=True)
class Report:
    """One audit report. `number` is its own entry in the log, `entries` how many the log had then."""

    number: int
    period: Period
    entries: int
    problems: tuple[str, ...]
    people: dict[str, Usage]
    purposes: dict[str, int]
    lines: list[Line]
    sample: list[AuditEntry]
    seed: str
    review: Review

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON."""
        found = dataclasses.asdict(self)
        for person in found["people"].values():
            person["plates"], person["cases"] = sorted(person["plates"]), sorted(person["cases"])
        return found


def last_days(now_us: int, rules: AuditRules) -> Period:
    """The period of a report that names none: as long as the time between two reviews."""
    return Period(now_us - rules.review_days * DAY_US, now_us)


def make_report(office: Office, record: Record, asked: Asked) -> Report:
    """Check the log, look through it, draw the sample, record the report; BadRequest, AuditUnavailable.

    `record` is `Acting.record`, or the same for a person at the pages.
    """
    _check(asked)
    rules = AuditRules.load(office.layout.audit_rules)
    checked = office.audit.verify()
    everything = list(office.audit.entries(*EVENTS, *REVIEWS))
    own = [e for e in everything if asked.person is None or person_of(e) == asked.person]
    period = asked.period
    size = rules.sample if asked.sample is None else asked.sample
    seed = asked.seed or secrets.token_hex(8)
    sample = draw((e for e in own if is_access(e) and period.holds(e)), size, seed)
    people = usage((e for e in own if e.event in EVENTS), period)
    lines = [line for line in odd_use(everything, period, rules) if asked.person in {None, line.person}]
    entry = record(
        REPORTED,
        since_us=period.since_us,
        until_us=period.until_us,
        person=asked.person,
        seed=seed,
        sample=[item.n for item in sample],
        lines=len(lines),
        entries=checked.entries,
        head=checked.head,
        rules=hashlib.sha256(canonical_json(rules.model_dump(mode="json"))).hexdigest(),
    )
    return Report(
        number=entry.n,
        period=period,
        entries=checked.entries,
        problems=checked.problems,
        people=people,
        purposes=_purposes(people.values()),
        lines=lines,
        sample=sample,
        seed=seed,
        review=_review(everything, rules),
    )


def _purposes(people: Iterable[Usage]) -> dict[str, int]:
    """How often each purpose was given, by everybody together."""
    total: Counter[str] = Counter()
    for person in people:
        total.update(person.purposes)
    return dict(sorted(total.items()))


def _check(asked: Asked) -> None:
    if asked.period.since_us >= asked.period.until_us:
        raise BadRequest("the period ends before it begins")
    if len(asked.seed) > MAX_SEED_CHARACTERS:
        raise BadRequest(f"a seed has at most {MAX_SEED_CHARACTERS} characters")
    if asked.sample is not None and not 0 <= asked.sample <= MAX_SAMPLE:
        raise BadRequest(f"a sample has at most {MAX_SAMPLE} accesses")


def draw(accesses: Iterable[AuditEntry], size: int, seed: str) -> list[AuditEntry]:
    """`size` accesses as the seed has it, in the order of the log; the same ones for the same seed and log.

    Who searches cannot know the hash of their own entry beforehand, so nobody chooses to stay out of the sample.
    """
    ranked = sorted(accesses, key=lambda e: hashlib.sha256(f"{seed}\0{e.hash}".encode()).digest())
    return sorted(ranked[:size], key=lambda e: e.n)


def _review(entries: Sequence[AuditEntry], rules: AuditRules) -> Review:
    """The last sign-off, or none since the office was made."""
    done = next((e for e in reversed(entries) if e.event == REVIEWED), None)
    since = done or next((e for e in entries if e.event == "office_created"), None)
    due_us = (since.at_us if since else 0) + rules.review_days * DAY_US
    return Review(person_of(done) if done else None, done.at_us if done else None, due_us)


def last_review(office: Office) -> Review:
    """When the log was last signed off, and when it is due again."""
    return _review(list(office.audit.entries(*REVIEWS)), AuditRules.load(office.layout.audit_rules))


class ReviewReminder:
    """Whether the review is overdue, for every page: the log is looked through again after REMIND_EVERY_US at most."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._asked_us: int | None = None
        self._due_us = 0

    def overdue(self) -> bool:
        """False, too, when log or rules cannot be read: the audit's own page says so."""
        now = self._office.clock()
        if self._asked_us is None or abs(now - self._asked_us) >= REMIND_EVERY_US:
            self._asked_us = now
            try:
                self._due_us = last_review(self._office).due_us
            except (BadRequest, AuditUnavailable):
                self._due_us = now + REMIND_EVERY_US
        return now > self._due_us


def sign_off(office: Office, record: Record, number: int, note: str, by: str) -> AuditEntry:
    """Record that a person went through a report and what came of it; NotFound, BadRequest.

    Who signs off a period in which they looked things up themselves may do so; the entry says how often they did.
    """
    if not 1 <= len(note.strip()) <= MAX_NOTE_CHARACTERS:
        raise BadRequest(f"say what came of it, in at most {MAX_NOTE_CHARACTERS} characters")
    entries = list(office.audit.entries(*ACCESSES, REPORTED))
    report = next((e for e in entries if e.n == number and e.event == REPORTED), None)
    if report is None:
        raise NotFound(f"entry {number} of the log is no audit report: `audit report` names its number")
    period = Period(_time(report, "since_us"), _time(report, "until_us"))
    own = sum(person_of(e) == by and is_access(e) and period.holds(e) for e in entries)
    return record(REVIEWED, report=number, note=note.strip(), own_accesses=own)


def _time(entry: AuditEntry, name: str) -> int:
    value = entry.fields.get(name)
    return value if type(value) is int else 0


def describe(entry: AuditEntry) -> str:
    """One access in a line: what was asked for, and why."""
    what = text_of(entry, "pattern") or text_of(entry, "plate") or text_of(entry, "hit") or "everything"
    device = text_of(entry, "device") or text_of(entry, "device_id")
    why = ", ".join(text_of(entry, name) for name in ("purpose", "case") if text_of(entry, name))
    reason = text_of(entry, "reason")
    parts = (entry.event, what, f"of {device}" if device else "", why, f'"{reason}"' if reason else "")
    return "  ".join(part for part in parts if part)
