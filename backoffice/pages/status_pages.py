# SPDX-License-Identifier: Apache-2.0
"""Devices and lists: what is out there, how it is, what it matches against."""

from __future__ import annotations

from flask import Blueprint, render_template

from backoffice.devices import all_devices
from backoffice.lists import published
from backoffice.pages.session import office, require
from backoffice.pages.views import device_row
from backoffice.people import Action
from backoffice.retention_policy import newest, obeys

blueprint = Blueprint("status", __name__)


@blueprint.get("/devices")
def devices() -> str:
    """Every device: health, last heartbeat, what waits on it."""
    who = require(Action.DEVICES)
    now = office().clock()
    known, latest = all_devices(office()), newest(office()).policy
    found = [device_row(device, now) for device in known]
    policies = {device.device_id: obeys(device.heartbeat, latest) for device in known}
    return render_template("devices.html", person=who, devices=found, policies=policies)


@blueprint.get("/lists")
def lists() -> str:
    """Every published list: version, age, entries, expiry."""
    who = require(Action.HITS)
    return render_template("lists.html", person=who, lists=published(office()), now_us=office().clock())
