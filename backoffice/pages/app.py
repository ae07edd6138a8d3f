# SPDX-License-Identifier: Apache-2.0
"""The pages' Flask app: loopback HTTP, dark pages that work without JavaScript."""

from __future__ import annotations

import datetime as dt

import structlog
from flask import Flask, Response, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException, SecurityError
from werkzeug.wrappers import Response as BaseResponse

from backoffice.audit_report import ReviewReminder
from backoffice.errors import BadRequest, Conflict, NotFound, OfficeError, Refused
from backoffice.hits import HitStore
from backoffice.limits import LIMITS
from backoffice.office import Office, day_of
from backoffice.pages import (
    alarm_pages,
    audit_pages,
    hit_pages,
    hold_pages,
    login_pages,
    status_pages,
    ticket_pages,
    views,
)
from backoffice.pages.session import OFFICE, LoginRequired, PasswordChangeRequired, csrf_token
from backoffice.people import ALLOWED, Action, Person, check_allowed
from backoffice.tickets import count_open
from storage.errors import StorageError

log = structlog.get_logger(__name__)

POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
STATUS: tuple[tuple[type[OfficeError], int], ...] = (
    (Refused, 403),
    (BadRequest, 400),
    (NotFound, 404),
    (Conflict, 409),
)


def create_pages(office: Office, hits: HitStore) -> Flask:
    """The app over one office; `hits` opens what the pages show."""
    app = Flask("backoffice.pages", static_folder="static", template_folder="templates")
    app.config.update(
        SECRET_KEY=(office.layout.keys / "session.key").read_bytes(),
        SESSION_COOKIE_NAME="wayside_office",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        PERMANENT_SESSION_LIFETIME=dt.timedelta(seconds=LIMITS.session_total_s),
        MAX_CONTENT_LENGTH=LIMITS.form_bytes,
        MAX_FORM_MEMORY_SIZE=LIMITS.form_bytes,
        # the pages listen on the loopback: another name means that a web site rebound its own
        TRUSTED_HOSTS=["127.0.0.1", "localhost"],
    )
    app.extensions[OFFICE] = office
    app.extensions[hit_pages.HITS] = hits
    app.register_blueprint(login_pages.blueprint)
    app.register_blueprint(hit_pages.blueprint)
    app.register_blueprint(alarm_pages.blueprint)
    app.register_blueprint(status_pages.blueprint)
    app.register_blueprint(ticket_pages.blueprint)
    app.register_blueprint(hold_pages.blueprint)
    app.register_blueprint(audit_pages.blueprint)
    app.after_request(_secure)
    app.register_error_handler(OfficeError, _refuse)
    app.register_error_handler(StorageError, _storage_fails)
    app.register_error_handler(OSError, _storage_fails)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(UnicodeDecodeError, _not_text)
    _fill_templates(app, office)
    return app


def _fill_templates(app: Flask, office: Office) -> None:
    app.jinja_env.filters.update(
        when=views.when, span=views.span, percent=views.percent, uncertainty=views.uncertainty
    )
    app.jinja_env.globals.update(
        views=views, csrf_token=csrf_token, agency=office.settings.agency, may=may, Action=Action
    )

    def training_left(person: Person) -> int:
        return person.training_days_left(day_of(office.clock()))

    def hears(person: Person) -> bool:
        """Whether hits are announced to this person: not to one who may not see them today."""
        try:
            check_allowed(person, Action.HITS, day_of(office.clock()))
        except Refused:
            return False
        return not person.one_time

    def open_tickets() -> int:
        return count_open(office)

    app.jinja_env.globals.update(
        training_left=training_left,
        hears=hears,
        open_tickets=open_tickets,
        waiting_holds=hold_pages.count_waiting,
        review_overdue=ReviewReminder(office).overdue,
    )


def may(person: Person, action: Action) -> bool:
    """Whether the role allows an action: what the menu shows."""
    return action in ALLOWED[person.role]


def _secure(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint == "static":
        response.headers["Cache-Control"] = "max-age=60"
    return response


def _refuse(error: OfficeError) -> tuple[str, int] | BaseResponse:
    if isinstance(error, LoginRequired):
        return redirect(url_for("login.form"))
    if isinstance(error, PasswordChangeRequired):
        return redirect(url_for("login.password_form"))
    status = next((code for kind, code in STATUS if isinstance(error, kind)), 500)
    return render_template("problem.html", message=str(error), status=status), status


def _storage_fails(error: StorageError | OSError) -> tuple[str, int]:
    """The disk is full, the keyring busy: what was begun can be asked for again, when that is mended."""
    log.error("page_failed", path=request.path, why=type(error).__name__)
    why = error if isinstance(error, StorageError) else error.strerror
    message = f"This could not be done: {why}. Mend that, then do it again."
    return render_template("problem.html", message=message, status=503), 503


def _not_text(_error: UnicodeDecodeError) -> tuple[str, int]:
    return render_template("problem.html", message="The address is not UTF-8.", status=400), 400


def _http_error(error: HTTPException) -> tuple[str, int]:
    status = error.code or 500
    if isinstance(error, SecurityError):  # a foreign host name: there are no addresses to build a page with
        return "This host name is not served here.", status
    return render_template("problem.html", message=error.description, status=status), status
