# SPDX-License-Identifier: Apache-2.0
"""Who runs a command: their role and training are checked first, and the audit log names them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from backoffice.audit import operating_system_user
from backoffice.errors import NotFound, Refused
from backoffice.office import Office, day_of
from backoffice.people import Action, check_allowed
from storage.audit import AuditEntry


@dataclass(frozen=True, slots=True)
class Acting:
    """An open office and the person who acts on it."""

    office: Office
    name: str

    def record(self, event: str, **fields: object) -> AuditEntry:
        """Add to the audit log, with the login name of the operating system beside the name given."""
        return self.office.audit.record(
            event, user=self.name, at_us=self.office.clock(), os_user=operating_system_user(), **fields
        )


@contextmanager
def acting(arguments: argparse.Namespace, action: Action) -> Iterator[Acting]:
    """Open the office as the person given by `--as`; Refused (and audited) unless they may do this today."""
    office = Office.open(arguments.data)
    try:
        actor = Acting(office, str(arguments.actor))
        try:
            person = office.people.get(actor.name)
            check_allowed(person, action, day_of(office.clock()))
        except (Refused, NotFound) as error:
            actor.record("refused", action=str(action), why=str(error))
            raise Refused(str(error)) from error
        yield actor
    finally:
        office.close()
