# SPDX-License-Identifier: Apache-2.0
"""What an open page has to announce: new hits and those taken back. There is no plate in it."""

from __future__ import annotations

from flask import Blueprint

from backoffice.hits import Hit
from backoffice.pages import views
from backoffice.pages.hit_pages import store
from backoffice.pages.session import require
from backoffice.people import Action

MAX_TOLD = 20  # hits told at once, newest first
blueprint = Blueprint("alarm", __name__)


@blueprint.get("/alarm")
def alarm() -> dict[str, object]:
    """Open hits that alert, those taken back, and how many are open: asked by every open page every two seconds."""
    require(Action.HITS, touch=False)
    newest = store().recent(MAX_TOLD)
    _, waiting = store().count()
    return {
        "open": waiting,
        "alerts": [_told(hit) for hit in newest if views.alerts(hit)],
        "taken_back": [hit.hit_id for hit in newest if hit.taken_back],
    }


def _told(hit: Hit) -> dict[str, object]:
    words = views.category_words(hit.record) if hit.record else "sealed"
    return {"id": hit.hit_id, "received_us": hit.received_us, "words": words}
