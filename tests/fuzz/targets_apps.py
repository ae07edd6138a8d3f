# SPDX-License-Identifier: Apache-2.0
"""Targets in the back office: its two web applications whole, with a real office in memory behind them.

Their parsers have targets of their own; here whole requests look for what lies between: routes, headers, forms, the
database. A request costs a thousand times as much as a parser, so only a PART of the inputs asked for is run.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any
from unittest.mock import patch

from flask import Flask

from backoffice import devices, keys, lists, people
from backoffice.device_api import create_device_app
from backoffice.hits import HitStore
from backoffice.office import Office, create
from backoffice.pages.app import create_pages
from backoffice.settings import Settings
from backoffice.tls import PEER_CERTIFICATE
from storage.receipts import sign_receipt
from storage.seal import seal
from storage.types import Recipient
from sync.schema import HIT_INFO
from tests.fuzz.engine import Target
from tests.fuzz.held import DEVICE, NOW_US, memory_folder
from tests.fuzz.sources import either, exactly, mutated
from tests.fuzz.targets_certificates import csr_of
from tests.fuzz.targets_storage import RECEIPT_BODY
from tests.fuzz.targets_sync import _BEAT
from tests.sync.factories import hit_record

PART = 0.01  # of the inputs asked for
CHEAP_PASSWORDS = "scrypt:256:8:1"
PASSWORD = "correct horse battery"
_HIT = hit_record(raised_us=NOW_US)


@cache
def _office() -> tuple[Office, HitStore, str]:
    """An office with an administrator, a device, a list and a hit; the device's certificate in PEM."""
    root = memory_folder() / "office"
    create(root, Settings(agency="Prairie Town PD", device_url="https://127.0.0.1:1"), NOW_US)
    office = Office.open(root, lambda: NOW_US)
    with patch.object(people, "SCRYPT", CHEAP_PASSWORDS):
        office.people.set_password("admin", PASSWORD)
    lists.publish(office)
    devices.enrol(office, csr_of("device"), devices.Enrolment("https://127.0.0.1:1"))
    devices.request_segment(office, "dev-1", "s-1")
    hits = HitStore(office, keys.load_purpose_key(office.layout, keys.HITS))
    hits.put(_HIT.hit_id, "dev-1", _sealed(office))
    return office, hits, devices.get_device(office, "dev-1").cert_pem


def _sealed(office: Office) -> bytes:
    recipient = Recipient.of(keys.load_purpose_public(office.layout, keys.HITS))
    return seal([recipient], _HIT.encode(), info=HIT_INFO, aad=_HIT.hit_id.encode())


def _environ(data: bytes) -> dict[str, Any]:
    """A request: a line with method and path, lines of headers, an empty line, the body."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.decode("latin-1").split("\n")
    method, _, target = first.partition(" ")
    path, _, query = target.partition("?")
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
    }
    for line in lines:
        name, _, value = line.partition(": ")
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    return environ


def _answered(app: Flask, environ: dict[str, Any]) -> bool:
    """Whether it was done; what an application does not handle comes out as it was raised."""
    said: list[str] = []
    app.config["PROPAGATE_EXCEPTIONS"] = True
    b"".join(app.wsgi_app(environ, lambda status, _headers, _info=None: said.append(status)))  # type: ignore[arg-type]
    assert not said[0].startswith("500")
    return said[0] < "4"


@cache
def _device_app() -> Flask:
    office, hits, _ = _office()
    return create_device_app(office, hits)


def _device_request(data: bytes) -> bool:
    environ = _environ(data) | {"SSL_CLIENT_VERIFY": "SUCCESS", PEER_CERTIFICATE: _office()[2]}
    return _answered(_device_app(), environ)


@cache
def _pages() -> tuple[Flask, str, bytes]:
    """The pages, the cookie of somebody who is logged in, and the token that his forms carry."""
    office, hits, _ = _office()
    app = create_pages(office, hits)
    client = app.test_client()
    client.get("/login")
    with client.session_transaction() as session:
        token = session["csrf"]
    client.post("/login", data={"csrf": token, "name": "admin", "password": PASSWORD})
    with client.session_transaction() as session:
        token = str(session["csrf"])
    cookie = client.get_cookie("wayside_office")
    assert cookie is not None
    return app, f"wayside_office={cookie.value}", token.encode()


def _page_request(data: bytes) -> bool:
    app, cookie, token = _pages()
    return _answered(app, _environ(data.replace(b"TOKEN", token)) | {"HTTP_COOKIE": cookie})


def _form(path: str, fields: str) -> bytes:
    return f"POST {path}\nContent-Type: application/x-www-form-urlencoded\n\ncsrf=TOKEN&{fields}".encode()


_ID = f"X-Wayside-Id: {_HIT.hit_id}\n".encode()
_RECEIPT = sign_receipt(replace(RECEIPT_BODY, device_id="dev-1"), DEVICE)
_DEVICE_REQUESTS: tuple[bytes, ...] = (
    b"POST /v1/heartbeat\nX-Wayside-Audit: {}\n\n" + _BEAT.encode(),
    b'GET /v1/hotlists\nIf-None-Match: "0"\n\n',
    b"GET /v1/hotlists/leads?from=3\n\n",
    b"PUT /v1/segments/s-1\nContent-Range: bytes 0-3/9\n\nabcd",
    b"PUT /v1/segments/s-1\nContent-Range: bytes */9\n\n",
    b"POST /v1/receipts\nX-Wayside-Id: r-0\n\n"
    + sign_receipt(replace(RECEIPT_BODY, device_id="dev-1"), DEVICE).encode(),
)
_PAGE_REQUESTS = (
    b"GET /hits?page=1&refresh=1\n\n",
    b"GET /hits/rows\n\n",
    f"GET /hits/{_HIT.hit_id}\n\n".encode(),
    f"GET /hits/{_HIT.hit_id}/crop\n\n".encode(),
    _form(f"/hits/{_HIT.hit_id}/decision", "decision=rejected&reason=wrong+state&note=x&characters_ok=yes"),
    _form("/tickets/1-1/close", "note=done"),
    _form("/holds/00000000/approve", "reason=x"),
    b"GET /devices\n\n",
    b"GET /lists\n\n",
    b"GET /alarm\n\n",
)
_WORDS = (
    b"POST ",
    b"GET ",
    b"PUT ",
    b"&",
    b"=",
    b"?",
    b"%00",
    b"%ff",
    b"/..",
    b"\n\n",
    b": ",
    b"bytes ",
    b"page=",
)


def _target(name: str, parse: Callable[[bytes], object], requests: tuple[bytes, ...]) -> Target:
    return Target(name, parse, either(mutated(*requests, tokens=_WORDS), exactly(*requests)), part=PART)


TARGETS = (
    _target("device-request", _device_request, _DEVICE_REQUESTS),
    _target("page-request", _page_request, _PAGE_REQUESTS),
)
