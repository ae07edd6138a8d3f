# SPDX-License-Identifier: Apache-2.0
"""Tickets: what is wrong with the devices, and the note that closes one."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from backoffice import tickets
from backoffice.errors import BadRequest
from backoffice.hits import MAX_NOTE_CHARACTERS
from backoffice.pages.session import check_csrf, office, require
from backoffice.people import Action

MAX_CLOSED_SHOWN = 100  # the last closed; `wayside-office tickets --all` tells them all
blueprint = Blueprint("tickets", __name__)
Page = str | BaseResponse | tuple[str, int]


@blueprint.get("/tickets")
def listing() -> Page:
    """Open ones first, then the last closed."""
    return _page(None)


@blueprint.post("/tickets/<ticket_id>/close")
def close(ticket_id: str) -> Page:
    """Close one; recorded before and after, like a decision."""
    check_csrf()
    who, here = require(Action.TICKETS), office()
    note = request.form.get("note", "").strip()
    try:
        tickets.check_closable(here, ticket_id, note)
        here.audit.record("ticket_close", user=who.name, at_us=here.clock(), ticket=ticket_id, note=note)
        tickets.close(here, ticket_id, who.name, note)
    except BadRequest as error:
        return _page(f"{ticket_id}: {error}"), 400
    here.audit.record("ticket_closed", user=who.name, at_us=here.clock(), ticket=ticket_id, note=note)
    return redirect(url_for("tickets.listing"))


def _page(problem: str | None) -> str:
    who = require(Action.DEVICES)
    waiting = tickets.open_tickets(office())
    return render_template(
        "tickets.html",
        person=who,
        waiting=waiting,
        closed=tickets.closed_tickets(office(), MAX_CLOSED_SHOWN),
        full=tickets.full_devices(waiting),
        most=tickets.MAX_OPEN,
        longest_note=MAX_NOTE_CHARACTERS,
        problem=problem,
    )
