# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from backoffice.db import open_database
from backoffice.errors import BadRequest, Conflict, Refused
from backoffice.pages.views import percent, span
from backoffice.people import (
    ALLOWED,
    MAX_FAILURES,
    MAX_PASSWORD_CHARACTERS,
    MIN_PASSWORD_CHARACTERS,
    NEEDS_TRAINING,
    TRAINING_LIFETIME_DAYS,
    Action,
    People,
    Person,
    Role,
    check_allowed,
)
from backoffice.segments import ContentRange

TODAY = dt.date(2026, 11, 22)


def person(role: Role, days: int = 0) -> Person:
    return Person("p", role, TODAY - dt.timedelta(days=days), one_time=False, session_epoch=0)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("action", list(Action))
def test_every_role_and_action(role: Role, action: Action) -> None:
    if action in ALLOWED[role]:
        check_allowed(person(role), action, TODAY)
    else:
        with pytest.raises(Refused, match="role"):
            check_allowed(person(role), action, TODAY)


def test_separation_of_duties() -> None:
    assert Action.SEARCH not in ALLOWED[Role.AUDITOR]
    assert Action.HITS not in ALLOWED[Role.TECHNICIAN]
    assert all(
        Action.AUDIT not in ALLOWED[role] for role in (Role.OPERATOR, Role.SUPERVISOR, Role.TECHNICIAN)
    )


@pytest.mark.parametrize("action", sorted(NEEDS_TRAINING))
def test_training_lapses_after_a_year(action: Action) -> None:
    check_allowed(person(Role.ADMINISTRATOR, TRAINING_LIFETIME_DAYS), action, TODAY)
    with pytest.raises(Refused, match="training"):
        check_allowed(person(Role.ADMINISTRATOR, TRAINING_LIFETIME_DAYS + 1), action, TODAY)
    with pytest.raises(Refused, match="future"):
        check_allowed(person(Role.ADMINISTRATOR, -1), action, TODAY)


def test_bounds_of_names_and_passwords(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "x.db")
    people = People(engine)
    for name in ("", "a" * 65, " a", "a\n"):
        with pytest.raises(BadRequest):
            people.add(name, Role.OPERATOR, TODAY, 0)
    for size in (MIN_PASSWORD_CHARACTERS - 1, MAX_PASSWORD_CHARACTERS + 1):
        with pytest.raises(BadRequest):
            people.add("a", Role.OPERATOR, TODAY, 0, "x" * size)
    people.add("a", Role.OPERATOR, TODAY, 0)
    with pytest.raises(Conflict):
        people.add("a", Role.OPERATOR, TODAY, 0)
    engine.dispose()


def test_parallel_guesses_are_all_counted(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "x.db")
    people = People(engine)
    people.add("a", Role.OPERATOR, TODAY, 0, "x" * MIN_PASSWORD_CHARACTERS)

    def guess(_: int) -> None:
        with pytest.raises(Refused):
            people.log_in("a", "wrong", 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(guess, range(MAX_FAILURES)))
    with pytest.raises(Refused, match="too many"):
        people.log_in("a", "x" * MIN_PASSWORD_CHARACTERS, 2)
    engine.dispose()


def test_a_table_of_an_older_version_gets_its_new_columns(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    engine = open_database(path)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE hits DROP COLUMN deleted_us"))
    engine.dispose()
    engine = open_database(path)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT deleted_us FROM hits")).all() == []
    engine.dispose()


@settings(max_examples=50)
@given(st.floats(0, 1))
def test_only_certainty_is_100_percent(p: float) -> None:
    assert (percent(p) == 100) == (p == 1)
    assert (percent(p) == 0) == (p == 0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (100_000, "27 h"), (200_000, "2 d")],
)
def test_span(seconds: float, words: str) -> None:
    assert span(seconds) == words


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_content_range_never_surprises(header: str) -> None:
    try:
        parsed = ContentRange.parse(header)
    except BadRequest:
        return
    assert 0 <= parsed.length <= parsed.total
