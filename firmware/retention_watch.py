# SPDX-License-Identifier: Apache-2.0
"""Which retention policy the eye obeys, and whether deletion keeps its promise.

The sync service leaves the office's signed policy in a file. It has the network and is not trusted with deletion: the
eye verifies signature and number again, writes the policy into its own book, and only then obeys it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import structlog

from firmware.enrolled import file_stamp, retention_policy
from firmware.health import Condition, Finding, well
from storage.audit import AuditLog
from storage.errors import PolicyInvalidError, PolicyRolledBackError, StateDamagedError, StorageError
from storage.files import OS_FILES, Files
from storage.layout import RETENTION_FILE, DataLayout
from storage.retention_policies import PolicyBook, SignedPolicy, load_schedule
from storage.retention_schedule import Calendar, RetentionPolicy, RetentionSchedule
from storage.retention_state import load_state
from storage.types import EpochId
from sync.certificates import load_public_key
from sync.enrolment import EnrolmentBundle
from sync.errors import ListError
from sync.retention_document import MAX_POLICY_BYTES, open_retention

US_PER_S: Final = 1_000_000
LATE_S: Final = 2 * 3600  # an epoch may live an hour longer anyway
ALONE_S: Final = 86_400

LATE = Finding(
    "retention",
    Condition.FAILED,
    "late",
    "one source says that it is later than two agree on: reads may be kept that much longer; connect the office, "
    "give the receiver a view of the sky",
)
REFUSED = Finding(
    "retention",
    Condition.DEGRADED,
    "policy_refused",
    "a retention policy was refused, the one before is obeyed: send the agency's newest from the office",
)
ALONE = Finding(
    "retention",
    Condition.DEGRADED,
    "time_not_agreed",
    "no two sources agreed on the time for a day: deletion goes by this unit's running time and is late by any time "
    "without power; connect the office, give the receiver a view of the sky",
)

log = structlog.get_logger(__name__)


class PolicyWatch:
    """The book of policies of a running eye; `poll` takes what the office sent since."""

    def __init__(
        self,
        layout: DataLayout,
        bundle: EnrolmentBundle,
        audit: AuditLog,
        held: Callable[[], set[EpochId]],
        *,
        files: Files = OS_FILES,
    ) -> None:
        """Opens the book, or makes it anew from the bundle and what lies there; raises OSError of a read."""
        self._path = layout.policy_offer
        self._keys = [load_public_key(pem) for pem in bundle.list_keys]
        self._audit = audit
        self._held = held
        self._first = retention_policy(bundle)
        self._seen: tuple[int, int] | None = None
        self._waits = False  # a policy that can be taken once hours have died
        self._untold: list[tuple[str, dict[str, object]]] = []  # what the audit log has not taken yet
        self.refused = False
        first = SignedPolicy(self._first)
        self._book = PolicyBook.open(layout.policies, [first, *self._at_hand()], held(), files=files)
        if self._book.lost:
            self._untold.append(("retention_policies_lost", _fields(self._book.schedule.steps[0].policy)))
        self._enrolled = False
        self._guarded(self._settle)

    @property
    def schedule(self) -> RetentionSchedule:
        """What is obeyed."""
        return self._book.schedule

    def poll(self) -> RetentionSchedule:
        """Takes a policy that was left there since the last look; what is obeyed from now on."""
        self._guarded(self._look_if_new)
        return self.schedule

    def _guarded(self, work: Callable[[], None]) -> None:
        """A disk that refuses keeps no eye from starting, and no hour from dying: the next look tries again."""
        try:
            work()
        except (OSError, StorageError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            log.error("state_not_saved", part="PolicyBook", reason=str(reason))

    def _settle(self) -> None:
        """What a start owes the disk: the book, the word that it was lost, and the policy of a newer bundle."""
        self._book.keep()
        self._tell_all()
        if not self._enrolled and self._first.number >= self._book.schedule.newest.number:
            self._take(SignedPolicy(self._first))
        self._enrolled = True

    def _look_if_new(self) -> None:
        self._settle()
        stamp = file_stamp(self._path)
        if stamp not in (None, self._seen) or self._waits:
            self._look()
            self._seen = stamp

    def _at_hand(self) -> list[SignedPolicy]:
        try:
            offered = self._offered()
        except (OSError, ListError):
            return []
        return [offered] if offered.policy.number >= self._first.number else []

    def _offered(self) -> SignedPolicy:
        with self._path.open("rb") as file:
            signed = file.read(MAX_POLICY_BYTES + 1)
        return open_retention(signed, self._keys).signed_policy(signed)

    def _look(self) -> None:
        try:
            offered = self._offered()
        except ListError as error:
            self._refuse(str(error))
            return
        if offered.policy.number >= self._first.number:  # an older one was overtaken by a new bundle
            self._take(offered)

    def _take(self, offered: SignedPolicy) -> None:
        try:
            taken = self._book.take(offered, self._held())
        except PolicyRolledBackError as error:
            self._refuse(str(error))
        except PolicyInvalidError as error:  # until hours have died: it is looked at again
            if not self._waits:
                self._refuse(str(error))
            self._waits = True
        else:
            self.refused = self._waits = False
            if taken:
                self._tell("retention_policy_obeyed", _fields(offered.policy))

    def _refuse(self, reason: str) -> None:
        self.refused, self._waits = True, False
        self._tell("retention_policy_refused", {"reason": reason})

    def _tell(self, event: str, fields: dict[str, object]) -> None:
        self._untold.append((event, fields))
        self._tell_all()

    def _tell_all(self) -> None:
        """What the audit log refuses to take is told at a later look."""
        while self._untold:
            self._audit.append(*self._untold[0])
            del self._untold[0]


class Deletion(Protocol):
    """What `storage.retention.Retention` says of itself, µs."""

    @property
    def late_us(self) -> int:
        """How much later than the believed time one source says that it is."""
        ...

    @property
    def alone_us(self) -> int:
        """How long no two sources have agreed."""
        ...


class Obedience(Protocol):
    """What a `PolicyWatch` says of itself."""

    @property
    def refused(self) -> bool:
        """Whether the policy that was offered last was refused."""
        ...


def retention_finding(retention: Deletion, policies: Obedience) -> Finding:
    """How deletion is; a unit that never hears an agreed time must not keep its reads in silence."""
    if retention.late_us > LATE_S * US_PER_S:
        return LATE
    if policies.refused:
        return REFUSED
    return ALONE if retention.alone_us > ALONE_S * US_PER_S else well("retention")


class CalendarReader:
    """When epochs die, as the eye has written it down: for the sync service, which hands out no share past its time."""

    def __init__(self, layout: DataLayout, bundle: EnrolmentBundle) -> None:
        self._files = (layout.policies, layout.retention / RETENTION_FILE)
        self._first = RetentionSchedule.of(retention_policy(bundle))
        self._seen: list[tuple[int, int] | None] = []
        self._calendar = Calendar(self._first)

    def now(self) -> Calendar:
        """The calendar as it stands; the bundle's policy where there is none, or a damaged one."""
        stamps = [file_stamp(path) for path in self._files]
        if stamps != self._seen:
            self._calendar, self._seen = self._read(), stamps
        return self._calendar

    def _read(self) -> Calendar:
        policies, state = self._files
        try:
            return Calendar(load_schedule(policies), load_state(state).dates)
        except (OSError, StateDamagedError):
            return Calendar(self._first)


def _fields(policy: RetentionPolicy) -> dict[str, object]:
    return {"number": policy.number, "seconds": policy.seconds, "version": policy.version}
