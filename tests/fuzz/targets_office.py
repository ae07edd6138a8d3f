# SPDX-License-Identifier: Apache-2.0
"""Targets in the back office: what devices send, what people type, and what its pages make of either."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

from backoffice import technicians, tickets
from backoffice.cli_lists import expiry
from backoffice.devices import Device
from backoffice.errors import (
    BadRequest,
    HitNotOpenable,
    HitUnreadable,
    NotFound,
    NotInitialised,
    ReceiptRefused,
    Refused,
)
from backoffice.hits import _decoded
from backoffice.lists import _load_draft
from backoffice.office import Office
from backoffice.pages import views
from backoffice.pages.audit_pages import _day
from backoffice.receipts import _checked
from backoffice.search import Purpose, Query, make_query, matches
from backoffice.segments import ContentRange
from backoffice.settings import Settings
from backoffice.tls import identify
from storage.primitives import canonical_json
from sync.documents import Heartbeat
from sync.errors import BadRecord
from tests.fuzz.engine import Target
from tests.fuzz.held import DEVICE, NOW_US, held, of_file
from tests.fuzz.sources import either, exactly, json_like, mutated
from tests.fuzz.targets_certificates import DEVICE_PEM, certificates, csr_of
from tests.fuzz.targets_storage import _BODIES, _RECEIPT
from tests.fuzz.targets_sync import _BEAT
from tests.sync.factories import hit_record

_DEVICE = Device("dev-1", "00", "", None, 1, None, None, NOW_US, None)
_HIT = hit_record().encode()
_PAGES = tuple(
    getattr(views, name)
    for name in (
        *("characters", "listed_characters", "state_words", "state_warning", "category_words", "early_words"),
        "vehicle_words",
    )
)


def _heartbeat(data: bytes) -> bool:
    """Taken, kept as it is told, its problems made tickets, shown on the devices page."""
    beat = Heartbeat.decode(data)
    for text in beat.problems:
        tickets._alarm(text, NOW_US)
    views.device_row(replace(_DEVICE, heartbeat=beat.encode().decode()), NOW_US)
    return True


def _hit(data: bytes) -> bool:
    """Opened and shown."""
    record = _decoded(data)
    for show in _PAGES:
        show(record)
    views.when(record.read.captured_us)
    views.uncertainty(record.read.time_uncertainty_us)
    if record.entry.expires_us:
        views.when(record.entry.expires_us)
    return True


def _query(data: bytes) -> bool:
    pattern, _, rest = data.decode("latin-1").partition("\n")
    reason, _, case = rest.partition("\n")
    query = make_query(Query(pattern, Purpose.TEST, reason, case))
    matches(query.pattern, "AB12345")
    return True


def _receipt(data: bytes) -> object:
    return _checked(data, "pole-7", DEVICE.public_key())


def _device_url(data: bytes) -> object:
    office = SimpleNamespace(
        settings=SimpleNamespace(device_url=None), layout=SimpleNamespace(serving=held(data))
    )
    return Office.device_url(cast("Office", office))


_SETTINGS = canonical_json(Settings(agency="Joliet Police Department").model_dump(mode="json"))
_DRAFT = canonical_json(
    {"as_of_us": 5, "entries": [json.loads(_HIT)["entry"]], "layout": "leads", "title": "t"}
)

TARGETS = (
    Target(
        "content-range",
        lambda data: ContentRange.parse(data.decode("latin-1")),
        mutated(b"bytes 0-99/200", b"bytes */200", tokens=(b"bytes ", b"-", b"/", b"*")),
        (BadRequest,),
    ),
    Target(
        "office-heartbeat",
        _heartbeat,
        either(json_like(_BEAT.encode()), mutated(_BEAT.encode())),
        (BadRecord,),
    ),
    Target("office-hit", _hit, json_like(_HIT), (HitUnreadable, HitNotOpenable)),
    Target(
        "office-receipt", _receipt, either(_BODIES, json_like(_RECEIPT), exactly(_RECEIPT)), (ReceiptRefused,)
    ),
    Target(
        "office-peer",
        lambda data: identify(data.decode("latin-1")),
        certificates(DEVICE_PEM, "CERTIFICATE"),
        (Refused,),
    ),
    Target(
        "technician-csr",
        lambda data: technicians._requested_key("dev-1", data),
        either(certificates(csr_of("technician"), "CERTIFICATE REQUEST"), exactly(csr_of("technician"))),
        (BadRequest,),
    ),
    Target(
        "search",
        _query,
        mutated(b"AB?12*\nstolen car\n2026-1", b"ab 123\nr\nc", tokens=(b"*", b"?", b"\n", b"AB")),
        (BadRequest,),
    ),
    Target(
        "expiry",
        lambda data: expiry(data.decode("latin-1"), NOW_US),
        mutated(
            b"30m",
            b"12h",
            b"7d",
            b"2026-09-15T12:00",
            b"2026-09-15T12:00:00+02:00",
            b"0001-01-01",
            b"9999-12-31T23:59",
        ),
        (BadRequest,),
    ),
    Target(
        "audit-day",
        lambda data: _day(data.decode("latin-1")),
        mutated(b"2026-09-15", b"0001-01-01", b"20260915"),
        (BadRequest,),
    ),
    Target(
        "settings",
        of_file(Settings.load),
        either(json_like(_SETTINGS), mutated(_SETTINGS)),
        (BadRequest, NotInitialised),
    ),
    Target("draft", of_file(_load_draft), either(json_like(_DRAFT), mutated(_DRAFT)), (BadRequest,)),
    Target(
        "serving",
        _device_url,
        either(json_like(b'{"device_url":"https://x"}'), mutated(b'{"device_url":"https://x"}')),
        (NotFound,),
    ),
)
