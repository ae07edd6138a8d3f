# SPDX-License-Identifier: Apache-2.0
"""One office: its folder, database, people and audit log; and how a new one is made."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from sqlalchemy import Engine

from backoffice import ca, keys
from backoffice.audit import Audit
from backoffice.db import open_database
from backoffice.errors import AlreadyInitialised, NotFound
from backoffice.layout import OfficeLayout
from backoffice.people import People, Role
from backoffice.settings import Settings
from storage.atomic import make_folder, write_atomic
from sync.certificates import OU_OFFICE, fingerprint

ADMIN = "admin"
LOCAL_NAMES = ("127.0.0.1", "localhost")


def now_us() -> int:
    """Unix microseconds UTC."""
    return time.time_ns() // 1000


def day_of(time_us: int) -> dt.date:
    """The UTC day of a time."""
    return dt.datetime.fromtimestamp(time_us / 1e6, dt.UTC).date()


@dataclass(frozen=True, slots=True)
class Office:
    """Everything that the commands and the server share."""

    layout: OfficeLayout
    settings: Settings
    engine: Engine
    people: People
    audit: Audit
    clock: Callable[[], int]

    @classmethod
    def open(cls, root: Path, clock: Callable[[], int] = now_us) -> Office:
        """Open an office; NotInitialised when the folder holds none."""
        layout = OfficeLayout(root)
        settings = Settings.load(layout.settings)
        engine = open_database(layout.database)
        audit = Audit(layout.audit, keys.load_purpose_key(layout, keys.AUDIT))
        return cls(layout, settings, engine, People(engine), audit, clock)

    def close(self) -> None:
        """Release the database."""
        self.engine.dispose()

    def device_url(self) -> str:
        """Where devices reach the office: as set at init, else where the server listens now."""
        if self.settings.device_url:
            return self.settings.device_url
        try:
            return str(json.loads(self.layout.serving.read_bytes())["device_url"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise NotFound(
                "the office's address is not known: start `serve`, or give --office-url"
            ) from error


@dataclass(frozen=True, slots=True)
class Created:
    """What init made; the password is shown once and kept nowhere."""

    agency: str
    ca_fingerprint: str
    admin: str
    password: str


def create(root: Path, settings: Settings, at_us: int) -> Created:
    """Make a new office: CA, certificates, keys, the first administrator. AlreadyInitialised if one is there."""
    layout = OfficeLayout(root)
    if layout.settings.exists():
        raise AlreadyInitialised(f"{root} holds an office already; nothing was changed")
    make_folder(root)
    for folder in layout.folders():
        make_folder(folder)
    secret = keys.passphrase()
    mark = _create_certificates(layout, settings, at_us, secret)
    keys.create_purpose_keys(layout, secret)
    write_atomic(layout.keys / "session.key", os.urandom(32), mode=0o600)
    engine = open_database(layout.database)
    try:
        password = _first_administrator(engine, at_us)
    finally:
        engine.dispose()
    Audit(layout.audit, keys.load_purpose_key(layout, keys.AUDIT)).record(
        "office_created", user=ADMIN, at_us=at_us, agency=settings.agency
    )
    settings.save(layout.settings)  # last: a folder with settings is a complete office
    return Created(settings.agency, mark, ADMIN, password)


def _first_administrator(engine: Engine, at_us: int) -> str:
    people = People(engine)
    if any(person.name == ADMIN for person in people.all()):  # an init that was cut short is repeated
        return people.reset_password(ADMIN)
    return people.add(ADMIN, Role.ADMINISTRATOR, day_of(at_us), at_us)


def _create_certificates(layout: OfficeLayout, settings: Settings, at_us: int, secret: bytes | None) -> str:
    now = dt.datetime.fromtimestamp(at_us / 1e6, dt.UTC)
    authority = ca.create_authority(settings.agency, now)
    keys.write_private(layout.pki / "ca.key", authority.key, secret)
    server, office = ca.new_key(), ca.new_key()
    names: Sequence[str] = list(dict.fromkeys((*LOCAL_NAMES, *settings.names)))
    certificates = {
        "ca": authority.certificate,
        "server": ca.issue_server(authority, server.public_key(), names, now),
        "office": ca.issue_client(authority, office.public_key(), "office", OU_OFFICE, now),
    }
    keys.write_private(layout.pki / "server.key", server, secret)
    keys.write_private(layout.pki / "office.key", office, secret)
    for name, certificate in certificates.items():
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        write_atomic(layout.pki / f"{name}.pem", pem, mode=0o644)
    return fingerprint(authority.key.public_key())
