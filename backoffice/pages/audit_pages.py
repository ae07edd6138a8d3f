# SPDX-License-Identifier: Apache-2.0
"""The audit for whoever reviews it: what stands out and why, the sample, the sign-off."""

from __future__ import annotations

import datetime as dt

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from backoffice.audit_report import (
    DAY_US,
    MAX_NOTE_CHARACTERS,
    Asked,
    Record,
    Report,
    describe,
    last_days,
    last_review,
    make_report,
    sign_off,
)
from backoffice.audit_rules import AuditRules
from backoffice.errors import BadRequest
from backoffice.odd_use import Period, person_of
from backoffice.pages.session import check_csrf, office, require
from backoffice.people import Action, Person
from storage.audit import AuditEntry

FIRST_YEAR, LAST_YEAR = 1970, 2999  # of a period: what every date and microsecond here can say
blueprint = Blueprint("audit", __name__)
Page = str | BaseResponse | tuple[str, int]


@blueprint.get("/audit")
def listing() -> Page:
    """When it is due, and the period to ask for; nothing is looked through yet."""
    return _page(require(Action.AUDIT))


@blueprint.post("/audit")
def report() -> Page:
    """Make a report; it is recorded, so it is asked for by a form and not by a link."""
    check_csrf()
    who = require(Action.AUDIT)
    try:
        asked = Asked(_period(), request.form.get("person", "").strip() or None)
        made = make_report(office(), _recorder(who), asked)
    except BadRequest as error:
        return _page(who, problem=str(error)), 400
    return _page(who, report=made)


@blueprint.post("/audit/<int:number>/sign-off")
def signed(number: int) -> Page:
    """Record the review of a report."""
    check_csrf()
    who = require(Action.AUDIT)
    try:
        sign_off(office(), _recorder(who), number, request.form.get("note", ""), who.name)
    except BadRequest as error:
        return _page(who, problem=str(error)), 400
    return redirect(url_for("audit.listing"))


def _recorder(who: Person) -> Record:
    here = office()

    def record(event: str, **fields: object) -> AuditEntry:
        return here.audit.record(event, user=who.name, at_us=here.clock(), **fields)

    return record


def _period() -> Period:
    usual = last_days(office().clock(), AuditRules.load(office().layout.audit_rules))
    since, until = request.form.get("since", ""), request.form.get("until", "")
    return Period(_day(since) if since else usual.since_us, _day(until) + DAY_US if until else usual.until_us)


def _day(text: str) -> int:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError as error:
        raise BadRequest("a day is written YYYY-MM-DD") from error
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise BadRequest(f"a day is of the years {FIRST_YEAR} to {LAST_YEAR}")
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp() * 1e6)


def _page(who: Person, *, report: Report | None = None, problem: str | None = None) -> str:
    now = office().clock()
    return render_template(
        "audit.html",
        person=who,
        report=report,
        problem=problem,
        review=last_review(office()),
        now_us=now,
        describe=describe,
        person_of=person_of,
        longest_note=MAX_NOTE_CHARACTERS,
        since=request.form.get("since", ""),
        until=request.form.get("until", ""),
        about=request.form.get("person", ""),
    )
