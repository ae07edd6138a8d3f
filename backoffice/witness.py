# SPDX-License-Identifier: Apache-2.0
"""Office and devices note each other's audit logs: what a heartbeat and its answer carry, and the checks against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from backoffice.audit import AuditUnavailable
from backoffice.devices import get_device
from backoffice.errors import BadRequest
from backoffice.office import Office
from backoffice.tickets import notice_log
from storage.audit import AuditReport, verify_audit
from storage.errors import AuditError
from storage.witness import (
    OF_DEVICE,
    OF_OFFICE,
    WENT_BACK,
    Witness,
    compare,
    noted,
    read_statement,
    statement,
)
from sync.certificates import certificate_key, load_certificate
from sync.wire import AUDIT_HEADER

log = structlog.get_logger(__name__)
BY = "office"  # whom the log names


class AuditEnds:
    """What the device port does with a heartbeat's statement; thread-safe."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._witness = Witness(OF_DEVICE, self._note, office.layout.audit)
        self._lock = Lock()

    def exchange(self, device_id: str, theirs: str) -> dict[str, str]:
        """Note where the device's log ends ("": it says nothing); a header that says where ours does.

        A log that cannot be written stops what people do, not the heartbeats: they go on without.
        """
        try:
            if theirs:
                self._take(device_id, theirs)
            return {AUDIT_HEADER: statement(self._office.audit.signed_head(self._office.clock()))}
        except AuditUnavailable as error:
            log.warning("audit_end_not_exchanged", device=device_id, why=type(error).__name__)
            return {}

    def _take(self, device_id: str, theirs: str) -> None:
        try:
            _check_signed(theirs, _enrolled_key(self._office, device_id))
            with self._lock:
                self._witness.saw(device_id, theirs, self._office.clock())
        except AuditError as error:
            log.warning("audit_end_not_exchanged", device=device_id, why=type(error).__name__)

    def _note(self, event: str, fields: Mapping[str, Any]) -> None:
        self._office.audit.record(event, user=BY, at_us=self._office.clock(), **fields)
        if event == WENT_BACK:
            notice_log(self._office, str(fields["of"]))


def _check_signed(theirs: str, key: EllipticCurvePublicKey) -> None:
    if not read_statement(theirs).signed_by(key):
        raise AuditError("this end of a log is not signed by the device")


def _enrolled_key(office: Office, device_id: str) -> EllipticCurvePublicKey:
    return certificate_key(load_certificate(get_device(office, device_id).cert_pem))


def office_against_devices(path: Path, key: EllipticCurvePublicKey, witnesses: Iterable[Path]) -> list[str]:
    """Problems of the office's log against what devices' logs note of it; BadRequest when one is none."""
    return [
        f"{witness}: {problem}"
        for witness in witnesses
        for problem in _compared(path, key, witness, OF_OFFICE, "office")
    ]


def device_against_office(office: Office, device_id: str, path: Path) -> tuple[AuditReport, list[str]]:
    """A device's log checked with its enrolled key, and against what the office's log notes of it."""
    key = _enrolled_key(office, device_id)
    try:
        report = verify_audit(path, key)
    except AuditError as error:
        raise BadRequest(str(error)) from error
    return report, _compared(path, key, office.layout.audit, OF_DEVICE, device_id)


def _compared(path: Path, key: EllipticCurvePublicKey, witness: Path, event: str, whose: str) -> list[str]:
    try:
        kept = list(noted(witness, event, whose))
        found = compare(path, key, kept)
    except (OSError, AuditError) as error:
        raise BadRequest(f"{witness} cannot be read as an audit log: {error}") from error
    return found if kept else ["it notes nothing of this log"]
