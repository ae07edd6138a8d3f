# SPDX-License-Identifier: Apache-2.0
"""Who may do what: users, roles, yearly training, passwords and lockout."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Engine, RowMapping, select, update
from werkzeug.security import check_password_hash, generate_password_hash

from backoffice.db import insert_once, users
from backoffice.errors import BadRequest, Conflict, NotFound, Refused

TRAINING_LIFETIME_DAYS = 365
MAX_FAILURES = 5  # wrong passwords in a row before the account rests
LOCKOUT_US = 15 * 60 * 1_000_000
MIN_PASSWORD_CHARACTERS = 12
MAX_PASSWORD_CHARACTERS = 256
MAX_NAME_CHARACTERS = 64
SCRYPT = "scrypt:32768:8:1"


class Role(StrEnum):
    """The roles of the agency's policy."""

    ADMINISTRATOR = "administrator"
    SUPERVISOR = "supervisor"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    TECHNICIAN = "technician"


class Action(StrEnum):
    """What a role may be allowed."""

    HITS = "hits"  # see and decide hits
    SEARCH = "search"
    OPEN = "open"  # open pulled segments, and what is held
    HOLD = "hold"  # ask for a legal hold, or for its end
    APPROVE_HOLD = "approve-hold"  # what another person asked for
    PULL = "pull"
    LISTS = "lists"
    MANUAL = "manual"  # a manual list entry
    DEVICES = "devices"  # see devices and their health
    TICKETS = "tickets"  # close a device's ticket
    ENROL = "enrol"
    USERS = "users"
    AUDIT = "audit"
    RETENTION = "retention"


ALLOWED: dict[Role, frozenset[Action]] = {
    Role.ADMINISTRATOR: frozenset(Action),
    Role.SUPERVISOR: frozenset(
        {
            *(Action.HITS, Action.SEARCH, Action.OPEN, Action.MANUAL, Action.DEVICES, Action.TICKETS),
            *(Action.HOLD, Action.APPROVE_HOLD),
        }
    ),
    Role.OPERATOR: frozenset({Action.HITS, Action.SEARCH, Action.HOLD}),
    Role.AUDITOR: frozenset({Action.AUDIT, Action.DEVICES}),
    Role.TECHNICIAN: frozenset({Action.DEVICES, Action.TICKETS, Action.ENROL}),
}
# these show or touch what the units saw, so they ask for training of the last year
NEEDS_TRAINING = frozenset(
    {
        *(Action.HITS, Action.SEARCH, Action.OPEN, Action.PULL, Action.MANUAL, Action.ENROL),
        *(Action.HOLD, Action.APPROVE_HOLD),
    }
)
# compared against when the name is unknown, so that both answers take the same time
_NOBODY = generate_password_hash(secrets.token_urlsafe(24), method=SCRYPT)


@dataclass(frozen=True, slots=True)
class Person:
    """One user. `trained_on` is the day of the last training; `session_epoch` ends older sessions."""

    name: str
    role: Role
    trained_on: dt.date
    one_time: bool
    session_epoch: int

    def training_days_left(self, today: dt.date) -> int:
        """Days until the training lapses; negative when it has."""
        return TRAINING_LIFETIME_DAYS - (today - self.trained_on).days


def check_allowed(person: Person, action: Action, today: dt.date) -> None:
    """Refused unless the role allows the action and, where asked for, the training is current."""
    if action not in ALLOWED[person.role]:
        raise Refused(f"the role {person.role} may not do this ({action}); ask an administrator")
    if person.trained_on > today:
        raise Refused("the training date lies in the future; an administrator must correct it")
    if action in NEEDS_TRAINING and person.training_days_left(today) < 0:
        raise Refused(
            f"the training of {person.trained_on} is over {TRAINING_LIFETIME_DAYS} days old; renew it first"
        )


class People:
    """The users of one office."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(
        self, name: str, role: Role, trained_on: dt.date, now_us: int, password: str | None = None
    ) -> str:
        """Add a user; returns the password (a random one-time one when none is given)."""
        if not 1 <= len(name) <= MAX_NAME_CHARACTERS or not name.isprintable() or name != name.strip():
            raise BadRequest(f"a user name has 1 to {MAX_NAME_CHARACTERS} printable characters")
        chosen = password or secrets.token_urlsafe(12)
        row = {
            "name": name,
            "role": str(role),
            "password": _hash(chosen),
            "one_time": password is None,
            "trained_on": trained_on.isoformat(),
            "created_us": now_us,
        }
        if not insert_once(self._engine, users, row):
            raise Conflict(f"there is a user {name!r} already")
        return chosen

    def all(self) -> list[Person]:
        """Every user, by name."""
        with self._engine.connect() as connection:
            return [
                _person(row) for row in connection.execute(select(users).order_by(users.c.name)).mappings()
            ]

    def get(self, name: str) -> Person:
        """One user; NotFound."""
        return _person(self._row(name))

    def retrain(self, name: str, trained_on: dt.date) -> None:
        """Record a new training date."""
        self._row(name)
        self._set(name, trained_on=trained_on.isoformat())

    def set_password(self, name: str, password: str) -> None:
        """Replace the password, end older sessions; BadRequest when it is too short, too long or the present one."""
        row, chosen = self._row(name), _hash(password)
        if check_password_hash(row["password"], password):
            raise BadRequest("choose a password other than the present one")
        self._set(name, password=chosen, one_time=False, session_epoch=users.c.session_epoch + 1)

    def end_sessions(self, name: str) -> None:
        """End every login of this person."""
        self._set(name, session_epoch=users.c.session_epoch + 1)

    def reset_password(self, name: str) -> str:
        """A new one-time password; ends older sessions and a lockout."""
        self._row(name)
        chosen = secrets.token_urlsafe(12)
        self._set(
            name,
            password=_hash(chosen),
            one_time=True,
            session_epoch=users.c.session_epoch + 1,
            failures=0,
            locked_until_us=0,
        )
        return chosen

    def log_in(self, name: str, password: str, now_us: int) -> Person:
        """The person, when the password is right; Refused (with no hint which half was wrong) when not."""
        wrong = Refused("wrong name or password")
        try:
            row = self._row(name)
        except NotFound:
            check_password_hash(_NOBODY, password[:MAX_PASSWORD_CHARACTERS])
            raise wrong from None
        if now_us < row["locked_until_us"]:
            raise Refused("too many wrong passwords: wait 15 minutes or ask an administrator")
        if not check_password_hash(row["password"], password[:MAX_PASSWORD_CHARACTERS]):
            self._count_failure(row, now_us)
            raise wrong
        if row["failures"]:
            self._set(name, failures=0, locked_until_us=0)
        return _person(row)

    def _count_failure(self, row: RowMapping, now_us: int) -> None:
        # the database adds, so that parallel guesses are all counted
        statement = update(users).where(users.c.name == row["name"])
        with self._engine.begin() as connection:
            connection.execute(statement.values(failures=users.c.failures + 1))
            full = statement.where(users.c.failures >= MAX_FAILURES)
            connection.execute(full.values(failures=0, locked_until_us=now_us + LOCKOUT_US))

    def _row(self, name: str) -> RowMapping:
        with self._engine.connect() as connection:
            row = connection.execute(select(users).where(users.c.name == name)).mappings().first()
        if row is None:
            raise NotFound(f"there is no user {name!r}")
        return row

    def _set(self, name: str, **values: object) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(users).where(users.c.name == name).values(values))


def _hash(password: str) -> str:
    if not MIN_PASSWORD_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
        raise BadRequest(f"a password has {MIN_PASSWORD_CHARACTERS} to {MAX_PASSWORD_CHARACTERS} characters")
    return generate_password_hash(password, method=SCRYPT)


def _person(row: RowMapping) -> Person:
    return Person(
        name=row["name"],
        role=Role(row["role"]),
        trained_on=dt.date.fromisoformat(row["trained_on"]),
        one_time=row["one_time"],
        session_epoch=row["session_epoch"],
    )
