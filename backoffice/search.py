# SPDX-License-Identifier: Apache-2.0
"""Searching reads by plate: wildcards, confusable characters, and never without purpose, reason and case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from backoffice.errors import BadRequest
from backoffice.opening import Opened, Opener
from sync.hotlists.entry import is_pattern, normalise_plate
from sync.hotlists.fold import align
from sync.limits import MAX_PLATE_CHARS
from sync.schema import MatchKind, ReadRecord

MAX_REASON_CHARACTERS = 500
MAX_CASE_CHARACTERS = 64
MIN_FIXED_CHARACTERS = 2  # a pattern with fewer would list the whole road


class Purpose(StrEnum):
    """The official purposes that a search may have."""

    STOLEN_VEHICLE = "stolen-vehicle"
    STOLEN_PLATE = "stolen-plate"
    WANTED_PERSON = "wanted-person"
    MISSING_PERSON = "missing-person"
    AMBER_ALERT = "amber-alert"
    CRIMINAL_INVESTIGATION = "criminal-investigation"
    CRIME_SCENE_CANVASS = "crime-scene-canvass"
    REGISTRATION = "suspended-registration"
    SCOFFLAW = "scofflaw"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for and why; times in Unix microseconds, None for no bound."""

    pattern: str
    purpose: Purpose
    reason: str
    case: str
    device_id: str | None = None
    since_us: int | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One read that matched, and how."""

    opened: Opened
    read: ReadRecord
    kind: MatchKind
    differences: int


def check_why(reason: str, case: str) -> tuple[str, str]:
    """Reason and case number of an access, trimmed; BadRequest when one is missing or too long."""
    if not 1 <= len(reason.strip()) <= MAX_REASON_CHARACTERS:
        raise BadRequest(f"each access needs its reason, at most {MAX_REASON_CHARACTERS} characters")
    if not 1 <= len(case.strip()) <= MAX_CASE_CHARACTERS:
        raise BadRequest(f"each access needs a case number, at most {MAX_CASE_CHARACTERS} characters")
    if not (reason + case).isprintable():
        raise BadRequest("a reason and a case number are one line, without control characters")
    return reason.strip(), case.strip()


def make_query(query: Query) -> Query:
    """The query with a normalised pattern; BadRequest when it is too wide or says no reason or case."""
    pattern = normalise_plate(query.pattern)
    if not 1 <= len(pattern) <= MAX_PLATE_CHARS:
        raise BadRequest(f"a plate pattern has 1 to {MAX_PLATE_CHARS} of A-Z, 0-9, ? and *")
    if sum(char not in "?*" for char in pattern) < MIN_FIXED_CHARACTERS:
        raise BadRequest(f"a pattern needs at least {MIN_FIXED_CHARACTERS} fixed characters")
    reason, case = check_why(query.reason, query.case)
    return Query(
        pattern,
        query.purpose,
        reason,
        case,
        query.device_id,
        query.since_us,
        query.until_us,
    )


def matches(pattern: str, text: str) -> tuple[MatchKind, int] | None:
    """(how, number of look-alike characters) when the read fits the normalised pattern, else None."""
    against = align(pattern, text)
    if against is None:
        return None
    differences = sum(
        listed is not None and listed != char for listed, char in zip(against, text, strict=True)
    )
    if is_pattern(pattern):
        return (MatchKind.WILDCARD_FOLDED if differences else MatchKind.WILDCARD), differences
    return (MatchKind.FOLDED if differences else MatchKind.EXACT), differences


def in_time(query: Query, read: ReadRecord) -> bool:
    """Whether a read was taken in the time that a query names."""
    since = query.since_us is None or read.captured_us >= query.since_us
    return since and (query.until_us is None or read.captured_us <= query.until_us)


def search(opener: Opener, query: Query) -> Iterator[Found]:
    """Every read that fits; `query` comes from `make_query`."""
    for opened, read in opener.reads(query.device_id):
        if not in_time(query, read):
            continue
        how = matches(query.pattern, read.text)
        if how is not None:
            yield Found(opened, read, *how)
