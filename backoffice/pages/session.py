# SPDX-License-Identifier: Apache-2.0
"""Logins of the pages: signed cookie, idle and total limit, CSRF token, training checked at every request."""

from __future__ import annotations

import hmac
import secrets
from typing import cast

from flask import current_app, g, request, session

from backoffice.errors import NotFound, Refused
from backoffice.limits import LIMITS
from backoffice.office import Office, day_of
from backoffice.people import Action, Person, check_allowed

OFFICE = "wayside_office"


class LoginRequired(Refused):
    """Nobody is logged in, or the login ended: log in again."""


class PasswordChangeRequired(Refused):
    """The one-time password must be replaced first."""


def office() -> Office:
    """The office that this app serves."""
    return cast("Office", current_app.extensions[OFFICE])


def begin(person: Person) -> None:
    """Start a login; a fresh session, so that nothing set before it survives."""
    now = office().clock()
    session.clear()
    session["name"] = person.name
    session["epoch"] = person.session_epoch
    session["began_us"] = session["seen_us"] = now
    session["csrf"] = secrets.token_urlsafe(24)


def person(*, touch: bool = True) -> Person:
    """Who is logged in; LoginRequired. `touch` False: an automatic refresh does not keep a login alive."""
    name = session.get("name")
    if not name:
        raise LoginRequired("log in first")
    now = office().clock()
    idle_s = (now - session.get("seen_us", 0)) / 1e6
    total_s = (now - session.get("began_us", 0)) / 1e6
    try:
        found = office().people.get(name)
    except NotFound:
        raise LoginRequired("log in again") from None
    ended = found.session_epoch != session.get("epoch")
    if ended or idle_s > LIMITS.session_idle_s or total_s > LIMITS.session_total_s:
        session.clear()
        raise LoginRequired("your login has ended; log in again")
    if touch:
        session["seen_us"] = now
    g.person = found
    return found


def require(action: Action, *, touch: bool = True) -> Person:
    """Who is logged in, allowed to do this today; else Refused."""
    found = person(touch=touch)
    if found.one_time:
        raise PasswordChangeRequired("choose your own password first")
    check_allowed(found, action, day_of(office().clock()))
    return found


def csrf_token() -> str:
    """The token that every form carries."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    return str(session["csrf"])


def check_csrf() -> None:
    """Refused unless the form carries this session's token."""
    sent = request.form.get("csrf", "")
    held = str(session.get("csrf", ""))
    if not held or not hmac.compare_digest(sent.encode(), held.encode()):
        raise Refused("the form is too old or was not made here: go back, reload, try again")
