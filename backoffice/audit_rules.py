# SPDX-License-Identifier: Apache-2.0
"""What an audit looks for: thresholds and shifts of `audit-rules.toml` in the office's folder, each with a default."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from backoffice.errors import BadRequest

MAX_RULES_BYTES = 64 * 1024
EVERYBODY = "*"  # the shift of whoever has none of their own
_SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def _shift(text: str) -> str:
    if _SPAN.fullmatch(text) is None:
        raise ValueError("a shift is HH:MM-HH:MM, over midnight too")
    return text


def _zone(name: str) -> str:
    try:
        _zone_of(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"{name} is no time zone that this machine knows, such as America/Chicago"
        ) from error
    return name


def _zone_of(name: str) -> dt.tzinfo:
    return dt.UTC if name == "UTC" else ZoneInfo(name)  # the first needs no files of the system


Shift = Annotated[str, AfterValidator(_shift)]
Times = Annotated[int, Field(ge=1, le=1_000_000)]


class AuditRules(BaseModel):
    """Thresholds: a line appears when a count reaches its threshold. All counts are of one person in one period."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"  # of the shifts
    shifts: dict[str, tuple[Shift, ...]] = Field(default_factory=dict)  # by person; "*": everybody else
    outside_shift: Times = 1  # accesses outside the person's shift; nobody's where none is known
    same_plate: Times = 3  # searches for one plate pattern
    plates_per_case: Times = 10  # different patterns under one case number
    same_reason: Times = 4  # different patterns with the same words as the reason
    wide_characters: Annotated[int, Field(ge=0, le=16)] = (
        3  # a pattern with so many fixed ones or fewer is wide
    )
    wide_searches: Times = 3  # wide patterns
    searches_per_day: Times = 40  # on one day of the time zone
    without_digit: Times = 1  # accesses under a case number that has no digit
    doubtful_purposes: tuple[str, ...] = ("test",)
    doubtful_purpose: Times = 1  # accesses for one of the doubtful purposes
    first_purpose_after: Times = 10  # accesses before; then a purpose never given before is told
    undecided_looks: Times = 5  # hits looked at that stay undecided
    undecided_after_h: Annotated[int, Field(ge=0, le=24 * 365)] = 8  # hours that a hit may wait: a shift
    opened_records: Times = 1_000  # records opened in bulk
    pictures_per_search: Annotated[float, Field(gt=0, le=1_000_000)] = (
        10.0  # pictures looked at, for each search
    )
    pictures: Times = 20  # ... from so many pictures on
    refused: Times = 3  # refused accesses
    failed_logins: Times = 5  # wrong passwords
    review_days: Annotated[int, Field(ge=1, le=3660)] = 90  # days until the next review is due
    sample: Annotated[int, Field(ge=0, le=1_000)] = 10  # accesses drawn for a person to check

    @classmethod
    def load(cls, path: Path) -> Self:
        """The rules of a file; the defaults when there is none. BadRequest tells what is wrong with it."""
        try:
            with path.open("rb") as file:
                text = file.read(MAX_RULES_BYTES + 1)
        except FileNotFoundError:
            return cls()
        if len(text) > MAX_RULES_BYTES:
            raise BadRequest(f"{path} is over {MAX_RULES_BYTES} bytes")
        try:
            return cls.model_validate(tomllib.loads(text.decode()))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BadRequest(f"{path}: {where}: {first['msg']}") from error
        except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, a number of thousands of digits
            raise BadRequest(f"{path} is no TOML: {error}") from error

    def local(self, at_us: int) -> dt.datetime:
        """A time on the agency's wall."""
        return dt.datetime.fromtimestamp(at_us / 1e6, _zone_of(self.time_zone))

    def on_shift(self, person: str, at_us: int) -> bool:
        """Whether a time lies within the person's shifts; True for somebody whose shifts nobody wrote down."""
        spans = self.shifts.get(person, self.shifts.get(EVERYBODY))
        if spans is None:
            return True
        at = self.local(at_us).strftime("%H:%M")
        for begin, end in (span.split("-") for span in spans):
            if begin <= at < end or (end <= begin and (at >= begin or at < end)):
                return True
        return False
