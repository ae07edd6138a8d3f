# SPDX-License-Identifier: Apache-2.0
"""The agency's devices: enrolment, revocation, last heartbeat, what is asked of them."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from sqlalchemy import RowMapping, delete, select, update

from backoffice import ca, keys
from backoffice.db import devices, insert_once, pull_requests
from backoffice.errors import BadRequest, Conflict, NotFound, Refused
from backoffice.limits import LIMITS
from backoffice.office import Office
from backoffice.retention_policy import newest
from backoffice.tls import Peer
from storage.hold import CASE_PREFIX, is_case_scope
from sync.certificates import OU_DEVICE, CertificateError, fingerprint, load_certificate, public_pem, read_csr
from sync.enrolment import (
    Agency,
    EnrolmentBundle,
    EnrolmentError,
    Placement,
    RecipientKey,
    Retention,
    sign_bundle,
)
from sync.limits import MAX_PULL_REQUESTS

OFFER_US = 30 * 86_400 * 1_000_000  # a bundle may be installed for thirty days
HEARTBEAT_LATE_US = LIMITS.heartbeat_late_s * 1_000_000


@dataclass(frozen=True, slots=True)
class Device:
    """One device as the office knows it; times in Unix microseconds, None where it has not happened."""

    device_id: str
    key_sha256: str
    cert_pem: str
    pull_url: str | None
    enrolled_us: int
    revoked_us: int | None
    revoked_reason: str | None
    heartbeat_us: int | None
    heartbeat: str | None

    def late(self, now_us: int) -> bool:
        """Whether its last heartbeat is too long ago; not of one that was never heard."""
        return self.heartbeat_us is not None and now_us - self.heartbeat_us > HEARTBEAT_LATE_US


@dataclass(frozen=True, slots=True)
class Enrolment:
    """How a device is to be enrolled; `device_id` None takes the request's own."""

    office_url: str
    device_id: str | None = None
    placement: Placement = Placement()  # noqa: RUF009 - frozen


def enrol(office: Office, csr: bytes, how: Enrolment) -> tuple[str, bytes]:
    """Issue a certificate and a signed bundle: (device id, bundle). Conflict for a known id with another key."""
    try:
        request = read_csr(csr)
    except CertificateError as error:
        raise BadRequest(str(error)) from error
    if how.device_id is not None and how.device_id != request.device_id:
        raise BadRequest(f"the request is for {request.device_id!r}, not {how.device_id!r}")
    if is_case_scope(request.device_id):
        raise BadRequest(f"no device's id begins with {CASE_PREFIX!r}: choose another one")
    server = load_certificate((office.layout.pki / "server.pem").read_text())
    if request.device_id in ca.host_names(server):  # its certificate would serve under that name
        raise BadRequest(f"{request.device_id!r} is a host name of this office: choose another one")
    mark = fingerprint(request.public_key)
    now = office.clock()
    authority = keys.load_authority(office.layout)
    when = dt.datetime.fromtimestamp(now / 1e6, dt.UTC)
    certificate = ca.issue_client(authority, request.public_key, request.device_id, OU_DEVICE, when)
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    bundle = _bundle(office, request.device_id, pem, how, now)
    signed = _sign(bundle, authority)
    row = {"device_id": request.device_id, "cert_pem": pem, "cert_sha256": mark, "enrolled_us": now}
    if not insert_once(office.engine, devices, row):
        _renew(office, request.device_id, mark, pem)
    return request.device_id, signed


def _renew(office: Office, device_id: str, mark: str, pem: str) -> None:
    known = get_device(office, device_id)
    if known.key_sha256 != mark:
        raise Conflict(f"{device_id} is enrolled with another key: revoke it and choose a new device id")
    if known.revoked_us is not None:
        raise Refused(f"{device_id} was revoked: reset the device, it then gets a new key and id")
    with office.engine.begin() as connection:
        connection.execute(update(devices).where(devices.c.device_id == device_id).values(cert_pem=pem))


def _bundle(office: Office, device_id: str, pem: str, how: Enrolment, now: int) -> EnrolmentBundle:
    layout, settings, policy = office.layout, office.settings, newest(office).policy
    try:
        return EnrolmentBundle(
            bundle_id=secrets.token_hex(16),
            issued_us=now,
            expires_us=now + OFFER_US,
            device_id=device_id,
            device_cert_pem=pem,
            ca_pem=(layout.pki / "ca.pem").read_text(),
            office_url=how.office_url,
            recipients=(
                RecipientKey.of("reads", keys.load_purpose_public(layout, keys.READS)),
                RecipientKey.of("hits", keys.load_purpose_public(layout, keys.HITS)),
            ),
            list_keys=(public_pem(keys.load_purpose_public(layout, keys.LISTS)),),
            retention=Retention(seconds=policy.seconds, version=policy.version, number=policy.number),
            placement=how.placement,
            agency=Agency(name=settings.agency, ori=settings.ori),
        )
    except ValueError as error:
        raise BadRequest(f"the bundle cannot be made: {error}") from error


def _sign(bundle: EnrolmentBundle, authority: ca.Authority) -> bytes:
    try:
        return sign_bundle(bundle, authority.key)
    except EnrolmentError as error:
        raise BadRequest(f"the bundle cannot be signed: {error}") from error


def all_devices(office: Office) -> list[Device]:
    """Every device ever enrolled, by id."""
    with office.engine.connect() as connection:
        rows = connection.execute(select(devices).order_by(devices.c.device_id)).mappings()
        return [_device(row) for row in rows]


def get_device(office: Office, device_id: str) -> Device:
    """One device; NotFound."""
    with office.engine.connect() as connection:
        row = connection.execute(select(devices).where(devices.c.device_id == device_id)).mappings().first()
    if row is None:
        raise NotFound(f"there is no device {device_id!r}; `devices list` shows them")
    return _device(row)


def revoke(office: Office, device_id: str, reason: str) -> None:
    """From now on every request of this device gets a 403."""
    get_device(office, device_id)
    change = update(devices).where(devices.c.device_id == device_id, devices.c.revoked_us.is_(None))
    with office.engine.begin() as connection:
        connection.execute(change.values(revoked_us=office.clock(), revoked_reason=reason))


def admit(office: Office, peer: Peer) -> Device:
    """The enrolled device behind a verified certificate; Refused for any other role, key or state."""
    if peer.role != OU_DEVICE:
        raise Refused("only devices may use this port")
    try:
        device = get_device(office, peer.name)
    except NotFound:
        raise Refused("this device is not enrolled here") from None
    if device.revoked_us is not None or device.key_sha256 != peer.key_sha256:
        raise Refused("this device's enrolment was revoked or replaced")
    return device


def record_heartbeat(office: Office, device_id: str, body: str) -> tuple[str, ...]:
    """Keep the last heartbeat; returns the segments that the office wants pushed."""
    with office.engine.begin() as connection:
        connection.execute(
            update(devices)
            .where(devices.c.device_id == device_id)
            .values(heartbeat_us=office.clock(), heartbeat=body)
        )
        wanted = select(pull_requests.c.segment_id).where(pull_requests.c.device_id == device_id)
        oldest = wanted.order_by(pull_requests.c.requested_us).limit(MAX_PULL_REQUESTS)
        return tuple(connection.execute(oldest).scalars())


def request_segment(office: Office, device_id: str, segment_id: str) -> None:
    """Ask a device to push a segment; it learns of it with its next heartbeat."""
    get_device(office, device_id)
    row = {"device_id": device_id, "segment_id": segment_id, "requested_us": office.clock()}
    insert_once(office.engine, pull_requests, row)


def wants_segment(office: Office, device_id: str, segment_id: str) -> bool:
    """Whether this segment was asked for and is not here yet."""
    mine = (pull_requests.c.device_id == device_id) & (pull_requests.c.segment_id == segment_id)
    with office.engine.connect() as connection:
        return connection.execute(select(pull_requests.c.segment_id).where(mine)).first() is not None


def segment_arrived(office: Office, device_id: str, segment_id: str) -> None:
    """Stop asking for a segment."""
    mine = (pull_requests.c.device_id == device_id) & (pull_requests.c.segment_id == segment_id)
    with office.engine.begin() as connection:
        connection.execute(delete(pull_requests).where(mine))


def _device(row: RowMapping) -> Device:
    return Device(
        device_id=row["device_id"],
        key_sha256=row["cert_sha256"],
        cert_pem=row["cert_pem"],
        pull_url=row["pull_url"],
        enrolled_us=row["enrolled_us"],
        revoked_us=row["revoked_us"],
        revoked_reason=row["revoked_reason"],
        heartbeat_us=row["heartbeat_us"],
        heartbeat=row["heartbeat"],
    )
