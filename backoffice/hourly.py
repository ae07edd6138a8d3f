# SPDX-License-Identifier: Apache-2.0
"""What the office looks after each hour beside its deletion; a fault here never keeps a read."""

from __future__ import annotations

from functools import partial

import structlog
from sqlalchemy.exc import SQLAlchemyError

from backoffice.devices import all_devices
from backoffice.errors import OfficeError
from backoffice.hold_watch import finish_holds
from backoffice.known_epochs import due_epochs
from backoffice.office import Office
from backoffice.receipts import erased_epochs
from backoffice.retention_policy import schedule
from backoffice.tickets import notice_receipts
from storage.errors import StorageError
from storage.retention_schedule import Calendar

log = structlog.get_logger(__name__)


def look_after(office: Office, by: str) -> None:
    """Finish what was done with holds and not told, and open a ticket where receipts are overdue; faults are logged."""
    for duty in (partial(finish_holds, office, by), partial(look_for_receipts, office)):
        try:
            duty()
        except (OfficeError, StorageError, SQLAlchemyError, OSError) as error:
            log.error("hourly_look_failed", why=type(error).__name__)


def look_for_receipts(office: Office) -> None:
    """A ticket for each device, not revoked, that owes a receipt; it is well again when all have come."""
    calendar = Calendar(schedule(office))
    for device in all_devices(office):
        if device.revoked_us is None:
            missing = due_epochs(office, device.device_id) - erased_epochs(office, device.device_id)
            since_us = min((calendar.dies_us(epoch) for epoch in missing), default=office.clock())
            notice_receipts(office, device.device_id, len(missing), since_us)
