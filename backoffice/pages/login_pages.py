# SPDX-License-Identifier: Apache-2.0
"""Log in, log out, choose a password."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from backoffice.errors import BadRequest, Refused
from backoffice.pages.session import begin, check_csrf, office, person

blueprint = Blueprint("login", __name__)
Page = str | Response | tuple[str, int]


@blueprint.get("/login")
def form() -> Page:
    """The login form."""
    return render_template("login.html", problem=None)


@blueprint.post("/login")
def log_in() -> Page:
    """Check name and password; the audit log records success and failure alike."""
    check_csrf()
    name = request.form.get("name", "")[:64]
    here = office()
    try:
        who = here.people.log_in(name, request.form.get("password", ""), here.clock())
    except Refused as error:
        here.audit.record("login_failed", user=name, at_us=here.clock(), why=str(error))
        return render_template("login.html", problem=str(error)), 403
    here.audit.record("login", user=who.name, at_us=here.clock())
    begin(who)
    return redirect(url_for("login.password_form" if who.one_time else "hits.listing"))


@blueprint.post("/logout")
def log_out() -> Page:
    """End every login of this person: a cookie that was copied must not outlive the logout."""
    check_csrf()
    who = person()
    session.clear()
    office().audit.record("logout", user=who.name, at_us=office().clock())
    office().people.end_sessions(who.name)
    return redirect(url_for("login.form"))


@blueprint.get("/password")
def password_form() -> Page:
    """The form for a new password."""
    return render_template("password.html", person=person(), problem=None)


@blueprint.post("/password")
def change_password() -> Page:
    """Replace the password; needs the present one."""
    check_csrf()
    who, here = person(), office()
    new = request.form.get("new", "")
    if new != request.form.get("again", ""):
        return render_template("password.html", person=who, problem="the two new passwords differ"), 400
    try:
        here.people.log_in(who.name, request.form.get("present", ""), here.clock())
        here.audit.record("password_change", user=who.name, at_us=here.clock())
        here.people.set_password(who.name, new)
    except (Refused, BadRequest) as error:
        return render_template("password.html", person=who, problem=str(error)), 400
    here.audit.record("password_changed", user=who.name, at_us=here.clock())
    begin(here.people.get(who.name))
    return redirect(url_for("hits.listing"))
