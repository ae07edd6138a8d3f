# SPDX-License-Identifier: Apache-2.0
"""Legal holds: what waits for a second person, what is held, and the buttons that approve or decline."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from backoffice.errors import BadRequest, Conflict, Refused
from backoffice.hold_file import HoldFolder, HoldState
from backoffice.holds import Holds, hours_left
from backoffice.pages.session import check_csrf, office, require
from backoffice.people import Action
from backoffice.search import MAX_REASON_CHARACTERS

MAX_CLOSED_SHOWN = 50  # the last asked for; `wayside-office hold list` tells them all
WAITS = {HoldState.WAITING, HoldState.SEALING, HoldState.END_ASKED, HoldState.ENDING}
blueprint = Blueprint("holds", __name__)
Page = str | BaseResponse | tuple[str, int]


@blueprint.get("/holds")
def listing() -> Page:
    """Those that wait for somebody first, then what is held, then the closed ones."""
    return _page(None)


@blueprint.post("/holds/<hold_id>/approve")
def approve(hold_id: str) -> Page:
    """Do what another person asked for."""
    return _act(Action.APPROVE_HOLD, lambda holds, _: _told(holds.approve(hold_id).problems))


@blueprint.post("/holds/<hold_id>/drop")
def drop(hold_id: str) -> Page:
    """Withdraw or decline a hold that waits."""
    return _act(Action.HOLD, lambda holds, why: _done(holds.drop(hold_id, why)))


@blueprint.post("/holds/<hold_id>/release")
def release(hold_id: str) -> Page:
    """Ask for the end of a hold."""
    return _act(Action.HOLD, lambda holds, why: _done(holds.ask_end(hold_id, why)))


@blueprint.post("/holds/<hold_id>/keep")
def keep(hold_id: str) -> Page:
    """Withdraw or decline an end that was asked for."""
    return _act(Action.HOLD, lambda holds, why: _done(holds.keep(hold_id, why)))


def count_waiting() -> int:
    """How many holds wait for a second person."""
    return sum(state in WAITS for state in HoldFolder(office().layout.holds).states())


def _act(action: Action, what: Callable[[Holds, str], str | None]) -> Page:
    check_csrf()
    who, here = require(action), office()
    record = partial(_record, who.name)
    try:
        problem = what(Holds(here, who.name, record), request.form.get("reason", ""))
    except (BadRequest, Conflict, Refused) as error:
        status = {BadRequest: 400, Conflict: 409, Refused: 403}[type(error)]
        return _page(str(error)), status
    return redirect(url_for("holds.listing")) if problem is None else _page(problem)


def _record(name: str, event: str, **fields: object) -> None:
    office().audit.record(event, user=name, at_us=office().clock(), **fields)


def _told(problems: tuple[str, ...]) -> str | None:
    """What was not held, in short; the hold's own card has all of it."""
    return f"{len(problems)} problems: {problems[0]}" if problems else None


def _done(_: object) -> None:
    return None


def _page(problem: str | None) -> str:
    who = require(Action.HOLD)
    found, damaged = HoldFolder(office().layout.holds).all()
    waiting = [hold for hold in found if hold.state in WAITS]
    return render_template(
        "holds.html",
        person=who,
        waiting=[(hold, hours_left(office(), hold) if hold.pending else None) for hold in waiting],
        held=[hold for hold in found if hold.state is HoldState.HELD],
        closed=[hold for hold in found if hold.closed][:MAX_CLOSED_SHOWN],
        damaged=damaged,
        longest_reason=MAX_REASON_CHARACTERS,
        problem=problem,
    )
