# SPDX-License-Identifier: Apache-2.0
"""The agency's retention policy: every version that it signed, which holds for an epoch, and which a device obeys.

Order of writes when a policy is set: the audit log says so, the row with the signed document enters the database (the
sole commit point), the audit log says that it is done. From then on the office's own deletion and every heartbeat's
answer go by it. The policy of `init` is number 0 and is signed with each enrolment bundle.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from pydantic import ValidationError
from sqlalchemy import select

from backoffice import keys
from backoffice.db import devices, insert_once, retention_policies
from backoffice.errors import BadRequest, Conflict
from backoffice.office import Office
from storage.errors import PolicyInvalidError
from storage.retention_schedule import US_PER_S, RetentionPolicy, RetentionSchedule
from storage.types import EPOCH_US, epoch_of
from sync.errors import BadRecord
from sync.retention_document import KIND, OvertakenPolicy, RetentionDocument, sign_retention
from sync.schema import Heartbeat, SignedDocument

DAY_S: Final = 86_400
PROFILES: Final = {"illinois-30": 30 * DAY_S, "illinois-60": 60 * DAY_S}  # seconds
MAX_LEAP: Final = 1000  # numbers; by how much a device's policy may be ahead of the office's newest
NUMBER, VERSION = "retention_number", "retention_policy"  # what the eye's status calls them


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One version as the office keeps it; number 0 is of `init`: nobody signed it alone, and `issued_us` is 0."""

    policy: RetentionPolicy
    issued_us: int = 0
    by: str = ""
    reason: str = ""
    signed: bytes = b""


def versions(office: Office) -> list[PolicyVersion]:
    """Every version, oldest first."""
    settings = office.settings
    first = PolicyVersion(RetentionPolicy(settings.retention_seconds, settings.retention_version))
    with office.engine.connect() as connection:
        rows = connection.execute(select(retention_policies).order_by(retention_policies.c.number)).mappings()
        return [
            first,
            *(
                PolicyVersion(
                    RetentionPolicy(row["seconds"], row["version"], row["number"]),
                    row["issued_us"],
                    row["decided_by"],
                    row["reason"],
                    row["signed"],
                )
                for row in rows
            ),
        ]


def newest(office: Office) -> PolicyVersion:
    """The version in force."""
    return versions(office)[-1]


def schedule(office: Office) -> RetentionSchedule:
    """Which policy holds for each epoch, of whichever device: shortened at once, lengthened for new hours only."""
    return schedules(office)[-1][1]


def schedules(office: Office) -> list[tuple[int, RetentionSchedule]]:
    """From when on (Unix µs) which schedule was in force, oldest first."""
    first, *later = versions(office)
    found = [(first.issued_us, RetentionSchedule.of(first.policy))]
    for version in later:
        latest = found[-1][1].with_policy(version.policy, epoch_of(version.issued_us) + 1)
        found.append((version.issued_us, latest))
    return found


def schedule_with(office: Office, seconds: int, version: str) -> RetentionSchedule:
    """Which policy would hold for each epoch, had one of this length been set now."""
    policies = schedule(office)
    try:
        policy = RetentionPolicy(seconds, version, policies.newest.number + 1)
    except PolicyInvalidError as error:
        raise BadRequest(str(error)) from error
    return policies.with_policy(policy, epoch_of(office.clock()) + 1)


def dies_us(policies: RetentionSchedule, at_us: int) -> int:
    """When something that was made at `at_us` is past its retention."""
    return at_us + policies.seconds_for(epoch_of(at_us)) * US_PER_S


def hit_since_us(policies: RetentionSchedule, raised_us: int, received_us: int) -> int:
    """A hit goes by when it was raised or when it came, whichever is earlier: a clock ahead keeps nothing for ever.

    A hit that would have been past its retention when it came was raised by a clock that was never set: then the
    time of its arrival alone counts, or an officer would never see it.
    """
    return received_us if dies_us(policies, raised_us) < received_us else min(raised_us, received_us)


def draft(office: Office, seconds: int, version: str, by: str, reason: str) -> RetentionDocument:
    """The next version, not signed; BadRequest out of bounds."""
    now = office.clock()
    try:
        return RetentionDocument(
            number=max(newest(office).policy.number, *_told_numbers(office), 0) + 1,
            seconds=seconds,
            version=version,
            issued_us=now,
            by=by,
            reason=reason.strip(),
            overtaken=_overtaken(versions(office), seconds, now),
        )
    except ValidationError as error:
        raise BadRequest(
            "a retention policy has 3 minutes to 5 years, a name of 1 to 64 letters, digits, '.', '_' or '-', "
            "and a reason of at most 500 characters"
        ) from error


def set_policy(office: Office, seconds: int, version: str, by: str, reason: str) -> PolicyVersion:
    """Sign and keep a new version. BadRequest out of bounds, Conflict when another one was set in this moment."""
    document = draft(office, seconds, version, by, reason)
    signed = sign_retention(document, keys.load_purpose_key(office.layout, keys.LISTS))
    row = {
        "number": document.number,
        "seconds": seconds,
        "version": version,
        "issued_us": document.issued_us,
        "decided_by": by,
        "reason": document.reason,
        "signed": signed,
    }
    if not insert_once(office.engine, retention_policies, row):
        raise Conflict(
            f"retention policy {document.number} was set by someone else just now: look at `retention show`"
        )
    return PolicyVersion(document.policy, document.issued_us, by, document.reason, signed)


def _overtaken(before: list[PolicyVersion], seconds: int, now_us: int) -> tuple[OvertakenPolicy, ...]:
    """Versions that are shorter than every later one, while an hour that one of them shortened may be held."""
    found: list[OvertakenPolicy] = []
    least, until_us = seconds, now_us
    longest_us = max(version.policy.seconds for version in before) * US_PER_S
    for version in reversed(before[1:]):  # the first is every device's own
        policy = version.policy
        if policy.seconds < least and until_us + longest_us + EPOCH_US > now_us:
            least = policy.seconds
            found.insert(0, OvertakenPolicy(**asdict(policy), until_us=until_us))
        until_us = version.issued_us
    return tuple(found)


def _told_numbers(office: Office) -> list[int]:
    """Numbers that devices obey: after a restore from a backup they may be ahead of ours. A leap is not believed."""
    own = newest(office).policy.number
    with office.engine.connect() as connection:
        beats = connection.execute(select(devices.c.heartbeat).where(devices.c.heartbeat.is_not(None)))
        told = [number for text in beats.scalars() if (number := _number_in(text)) is not None]
    return [number for number in told if number <= own + MAX_LEAP]


def _number_in(heartbeat: str) -> int | None:
    try:
        return _number(Heartbeat.decode(heartbeat.encode()))
    except BadRecord:
        return None


def documents_for(office: Office, beat: Heartbeat) -> tuple[SignedDocument, ...]:
    """The newest policy, for a device that does not say that it obeys it."""
    version = newest(office)
    told = _number(beat), beat.health.get(VERSION)
    if not version.signed or told == (version.policy.number, version.policy.version):
        return ()
    return (SignedDocument(kind=KIND, signed=version.signed),)


@dataclass(frozen=True, slots=True)
class Obeyed:
    """What a device said last that it obeys; `newest`: whether that is the agency's newest."""

    number: int
    version: str
    newest: bool


def obeyed(heartbeat: str | None, latest: RetentionPolicy) -> Obeyed | None:
    """Which policy a device obeys by its last heartbeat; None where it did not say."""
    if heartbeat is None:
        return None
    try:
        beat = Heartbeat.decode(heartbeat.encode())
    except BadRecord:
        return None
    number = _number(beat)
    if number is None:
        return None
    version = str(beat.health.get(VERSION) or "")
    return Obeyed(number, version, (number, version) == (latest.number, latest.version))


def obeys(heartbeat: str | None, latest: RetentionPolicy) -> str:
    """The same in words."""
    told = obeyed(heartbeat, latest)
    if told is None:
        return "not said yet"
    return f"{told.number} {told.version}{'' if told.newest else ': not the newest'}"


def _number(beat: Heartbeat) -> int | None:
    number = beat.health.get(NUMBER)
    return number if isinstance(number, int) and not isinstance(number, bool) else None
