# SPDX-License-Identifier: Apache-2.0
"""What buzzer and lamp do for a hit: one pattern a kind of hit, and one that says "verify" where the read is in doubt.

Pure: which pattern, in which order, and what is on at a moment. docs/hardware/alerts.md shows the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sync.hotlists.entry import Category
from sync.schema import HitRecord, MatchKind, StateAgreement

SLOT_S: Final = 0.1  # one letter of a pattern
LONGEST_S: Final = 8.0  # no pattern is longer
MAX_FLASHES_A_SECOND: Final = 3  # WCAG 2.3.1: more can harm people with photosensitive epilepsy
SURE: Final = 0.9  # a match of less probability sounds as "verify"
LEVELS: Final = {
    "#": (True, True),
    "b": (True, False),
    "l": (False, True),
    "-": (False, False),
}  # buzzer, lamp


@dataclass(frozen=True, slots=True)
class Pattern:
    """`slots`: a letter for each tenth of a second (# both, b buzzer, l lamp, - nothing); `urgency`: 0 is first."""

    name: str
    urgency: int
    slots: str

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.slots) * SLOT_S


DANGER: Final = Pattern("danger", 0, "#-#-#-------" * 5)
RESCUE: Final = Pattern("rescue", 1, "#-####-#------" * 4)
LISTED: Final = Pattern("listed", 2, "####--####--------" * 3)
VERIFY: Final = Pattern("verify", 3, "llllllbb-bb-" * 4)
NOTICE: Final = Pattern("notice", 4, "####--------" * 2)
TAKEN_BACK: Final = Pattern("taken back", 5, "bbbbbb-b----")
TEST: Final = Pattern("test", 6, "##--")
PATTERNS: Final = (DANGER, RESCUE, LISTED, VERIFY, NOTICE, TAKEN_BACK, TEST)

BY_CATEGORY: Final[Mapping[Category, Pattern]] = {
    Category.FELONY_VEHICLE: DANGER,
    Category.VIOLENT_PERSON: DANGER,
    Category.WANTED_PERSON: DANGER,
    Category.GANG_TERRORIST: DANGER,
    Category.AMBER_ALERT: RESCUE,
    Category.MISSING_PERSON: RESCUE,
    Category.PROTECTION_ORDER: RESCUE,
    Category.PROTECTIVE_INTEREST: RESCUE,
    Category.STOLEN_VEHICLE: LISTED,
    Category.STOLEN_PLATE: LISTED,
    Category.CANADIAN: LISTED,
    Category.MANUAL: LISTED,
    Category.OTHER: LISTED,
    Category.SUPERVISED_RELEASE: NOTICE,
    Category.SEX_OFFENDER: NOTICE,
    Category.IMMIGRATION_VIOLATOR: NOTICE,
    Category.SUSPENDED_REGISTRATION: NOTICE,
    Category.REVOKED_REGISTRATION: NOTICE,
    Category.SCOFFLAW: NOTICE,
    Category.CALIBRATION: TEST,
}


def doubtful(hit: HitRecord) -> bool:
    """Whether this hit more than others asks for a look at the plate (every hit asks for one)."""
    match = hit.match
    return bool(
        hit.preliminary
        or match.kind is not MatchKind.EXACT
        or match.doubts
        or match.stale
        or match.state_agreement is StateAgreement.DIFFERS
        or (hit.probability is not None and hit.probability < SURE)
    )


def pattern_of(hit: HitRecord) -> Pattern | None:
    """The pattern of a hit; None for a silent one."""
    if hit.match.silent:
        return None
    if hit.supersedes:
        return TAKEN_BACK
    if hit.match.calibration:
        return TEST
    return VERIFY if doubtful(hit) else BY_CATEGORY[hit.entry.category]


@dataclass(slots=True)
class _Entry:
    """A pattern that plays or waits, for the hits that asked for it."""

    pattern: Pattern
    hits: set[str]
    started_s: float = 0.0


@dataclass(slots=True)
class Programme:
    """What plays now and what comes next. The more urgent interrupts; a pattern that waits already is not repeated."""

    playing: _Entry | None = None
    waiting: list[_Entry] = field(default_factory=list)

    def add(self, pattern: Pattern, hit_id: str, now_s: float) -> None:
        """Takes a pattern for a hit; one that it interrupts is played anew afterwards: nobody heard it to its end."""
        self.levels(now_s)  # what has ended meanwhile is not interrupted
        entry, interrupted = _Entry(pattern, {hit_id}), self.playing
        if interrupted is not None and pattern.urgency >= interrupted.pattern.urgency:
            self._wait(entry)
            return
        self._play(entry, now_s)
        if interrupted is not None:
            self._wait(interrupted)

    def _wait(self, entry: _Entry) -> None:
        same = next((waits for waits in self.waiting if waits.pattern is entry.pattern), None)
        if same is not None:
            same.hits |= entry.hits
        else:
            self.waiting = sorted([*self.waiting, entry], key=lambda waits: waits.pattern.urgency)

    def drop(self, hit_id: str, now_s: float) -> None:
        """Ends what plays or waits for this hit alone."""
        for entry in (self.playing, *self.waiting):
            if entry is not None:
                entry.hits.discard(hit_id)
        self.waiting = [entry for entry in self.waiting if entry.hits]
        if self.playing is not None and not self.playing.hits:
            self._play(None, now_s)

    def clear(self) -> None:
        """Ends everything."""
        self.playing, self.waiting = None, []

    def levels(self, now_s: float) -> tuple[bool, bool]:
        """Buzzer and lamp at this moment; goes on to the next pattern when one has ended."""
        while self.playing is not None:
            slot = int((now_s - self.playing.started_s) / SLOT_S + 1e-6)
            if slot < len(self.playing.pattern.slots):
                return LEVELS[self.playing.pattern.slots[max(0, slot)]]
            self._play(None, now_s)
        return False, False

    def _play(self, entry: _Entry | None, now_s: float) -> None:
        self.playing = entry or (self.waiting.pop(0) if self.waiting else None)
        if self.playing is not None:
            self.playing.started_s = now_s
