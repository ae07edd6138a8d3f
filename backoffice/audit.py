# SPDX-License-Identifier: Apache-2.0
"""The office's audit chain: who did what, when and why; the server and the commands write to the same file."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from backoffice.errors import OfficeError
from storage.audit import AuditEntry, AuditLog, AuditReport, Checkpoint, read_entries, verify_audit
from storage.errors import StorageError


class AuditUnavailable(OfficeError):
    """The audit log cannot be written: check the disk and `audit verify`.

    Every action is recorded before it is done, so one whose intention could not be recorded was not done.
    """

    exit_code = 4


class Audit:
    """Appends to the chain; safe across threads and processes."""

    def __init__(self, path: Path, signer: ec.EllipticCurvePrivateKey) -> None:
        self._path = path
        self._signer = signer
        self._log: AuditLog | None = None

    def record(self, event: str, *, user: str, at_us: int, **fields: object) -> AuditEntry:
        """Append one entry, durably; AuditUnavailable when that fails, and then the action must not go on."""
        try:
            return self._opened().append(event, {"user": user, **fields}, at_us=at_us)
        except StorageError as error:
            raise AuditUnavailable(f"the audit log cannot be written: {error}") from error

    def entries(self, *events: str) -> Iterator[AuditEntry]:
        """Every entry in order (of these events, when any is named), unchecked; `verify` first."""
        try:
            yield from read_entries(self._path, *events)
        except OSError as error:
            raise AuditUnavailable(f"the audit log cannot be read: {error.strerror}") from error

    def verify(self) -> AuditReport:
        """Check the whole chain with the office's own key."""
        try:
            return verify_audit(self._path, self._signer.public_key())
        except StorageError as error:
            raise AuditUnavailable(str(error)) from error

    def checkpoint(self, at_us: int) -> Checkpoint:
        """Sign the present end, for keeping elsewhere."""
        try:
            return self._opened().checkpoint(at_us=at_us)
        except StorageError as error:
            raise AuditUnavailable(f"the audit log cannot be written: {error}") from error

    def signed_head(self, at_us: int) -> Checkpoint:
        """Sign the present end for a witness; nothing is entered."""
        try:
            return self._opened().signed_head(at_us=at_us)
        except StorageError as error:
            raise AuditUnavailable(f"the audit log cannot be read: {error}") from error

    def _opened(self) -> AuditLog:
        if self._log is None:
            self._log = AuditLog.open(self._path, self._signer)
        return self._log


def operating_system_user() -> str:
    """The login name of who runs a command, recorded beside the name that they give."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
