# SPDX-License-Identifier: Apache-2.0
"""Hits: the list that refreshes itself, one hit with its crop beside the list entry, the decision."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Response, current_app, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response as BaseResponse

from backoffice.errors import BadRequest, NotFound
from backoffice.hits import Decision, Hit, HitStore, Reason, Verdict
from backoffice.limits import LIMITS
from backoffice.pages.session import check_csrf, office, require
from backoffice.people import Action, Person

HITS = "wayside_hits"
LISTED_EVERY_US = 600_000_000  # a page that refreshes itself is one access, recorded every ten minutes
MAX_PAGE_DIGITS = 6
JPEG_START = b"\xff\xd8\xff"
blueprint = Blueprint("hits", __name__)
Page = str | BaseResponse | tuple[str, int]


def store() -> HitStore:
    """The hits of this app."""
    return cast("HitStore", current_app.extensions[HITS])


@blueprint.get("/")
def home() -> Page:
    """The hits are the first page."""
    return redirect(url_for("hits.listing"))


@blueprint.get("/hits")
def listing() -> Page:
    """Open hits first, newest first, then the decided ones; in pages, so that none is out of reach."""
    who = require(Action.HITS, touch="refresh" not in request.args)
    _record_listing(who)
    return render_template("hits.html", person=who, **_rows())


@blueprint.get("/hits/rows")
def rows() -> Page:
    """The rows alone, for the page's own refresh."""
    _record_listing(require(Action.HITS, touch=False))
    return render_template("hit_rows.html", **_rows())


@blueprint.get("/hits/<hit_id>")
def show(hit_id: str) -> Page:
    """One hit; the view is audited."""
    who = require(Action.HITS)
    hit = store().get(hit_id)
    office().audit.record("hit_viewed", user=who.name, at_us=office().clock(), hit=hit_id)
    session["viewed"] = hit_id
    return _hit_page(hit, None)


@blueprint.get("/hits/<hit_id>/crop")
def crop(hit_id: str) -> Response:
    """The plate's picture, as the device cut it; audited unless it belongs to a page that was."""
    who = require(Action.HITS, touch=False)
    hit = store().get(hit_id)
    if not _listed_lately() and session.get("viewed") != hit_id:
        office().audit.record("hit_crop_viewed", user=who.name, at_us=office().clock(), hit=hit_id)
    if hit.record is None or not hit.record.crop_jpeg.startswith(JPEG_START):
        raise NotFound("this hit has no picture")
    return Response(hit.record.crop_jpeg, mimetype="image/jpeg")


@blueprint.post("/hits/<hit_id>/decision")
def decide(hit_id: str) -> Page:
    """Accept or reject, once; characters and state are confirmed by marks of their own."""
    check_csrf()
    who = require(Action.HITS)
    try:
        verdict = _verdict()
        store().check_decidable(hit_id, verdict)
        _record_decision(
            "hit_decision", who, hit_id, verdict
        )  # before: an unrecorded decision must not stand
        store().decide(hit_id, who.name, verdict)
    except BadRequest as error:
        return _hit_page(store().get(hit_id), str(error)), 400
    _record_decision("hit_decided", who, hit_id, verdict)
    return redirect(url_for("hits.show", hit_id=hit_id))


def _record_decision(event: str, who: Person, hit_id: str, verdict: Verdict) -> None:
    office().audit.record(
        event,
        user=who.name,
        at_us=office().clock(),
        hit=hit_id,
        decision=str(verdict.decision),
        characters_ok=verdict.characters_ok,
        state_ok=verdict.state_ok,
        reason=str(verdict.reason),
    )


def _record_listing(who: Person) -> None:
    if not _listed_lately(_page()):
        now = office().clock()
        office().audit.record("hits_listed", user=who.name, at_us=now, page=_page())
        session["listed"] = [_page(), now]


def _listed_lately(page: int | None = None) -> bool:
    """Whether this login's view of the list (of this page of it) was recorded in the last minutes."""
    listed, at_us = session.get("listed", [0, 0])
    return office().clock() - at_us <= LISTED_EVERY_US and page in {None, listed}


def _page() -> int:
    """The page asked for, from 1; anything else counts as the first."""
    text = request.args.get("page", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) <= MAX_PAGE_DIGITS else 1


def _verdict() -> Verdict:
    form = request.form
    try:
        return Verdict(
            decision=Decision(form.get("decision", "")),
            characters_ok=form.get("characters_ok") == "yes",
            state_ok=form.get("state_ok") == "yes",
            reason=Reason(form.get("reason", "")),
            note=form.get("note", ""),
        )
    except ValueError as error:
        raise BadRequest("choose accept or reject, and a reason") from error


def _rows() -> dict[str, object]:
    total, waiting = store().count()
    size = LIMITS.hits_per_page
    pages = max(1, -(-total // size))
    page = min(_page(), pages)
    return {
        "hits": store().recent(size, offset=(page - 1) * size),
        "total": total,
        "waiting": waiting,
        "page": page,
        "pages": pages,
        "now_us": office().clock(),
    }


def _hit_page(hit: Hit, problem: str | None) -> str:
    who = require(Action.HITS)
    return render_template(
        "hit.html", person=who, hit=hit, now_us=office().clock(), reasons=list(Reason), problem=problem
    )
