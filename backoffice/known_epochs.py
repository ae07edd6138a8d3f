# SPDX-License-Identifier: Apache-2.0
"""Hours that a device is known to have had: each of them must end in a deletion receipt."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from sqlalchemy import select

from backoffice.db import device_epochs, insert_missing
from backoffice.office import Office
from backoffice.retention_policy import schedules
from storage.retention_schedule import US_PER_S, Calendar
from storage.types import EpochId, epoch_of

GRACE_S = 2 * 86_400  # seconds past its retention that a device has to send a receipt
ROWS_AT_ONCE = 200  # a database bounds the values of one statement


def remember_epochs(office: Office, device_id: str, epochs: Iterable[EpochId]) -> None:
    """Keep that a device listed segments of these hours, or gave their shares."""
    now = office.clock()
    mine = sorted(set(epochs) - known_epochs(office, device_id))
    for at in range(0, len(mine), ROWS_AT_ONCE):
        some = mine[at : at + ROWS_AT_ONCE]
        rows: list[dict[str, object]] = [
            {"device_id": device_id, "epoch": epoch, "first_us": now} for epoch in some
        ]
        insert_missing(office.engine, device_epochs, rows)


def known_epochs(office: Office, device_id: str) -> set[EpochId]:
    """Hours that a device is known to have had."""
    mine = select(device_epochs.c.epoch).where(device_epochs.c.device_id == device_id)
    with office.engine.connect() as connection:
        return set(connection.execute(mine).scalars())


def first_met(office: Office, device_id: str) -> dict[EpochId, int]:
    """When the office first heard of each known hour of a device, Unix µs by the office's clock."""
    query = select(device_epochs.c.epoch, device_epochs.c.first_us).where(
        device_epochs.c.device_id == device_id
    )
    with office.engine.connect() as connection:
        return {int(epoch): int(first_us) for epoch, first_us in connection.execute(query)}


def due_epochs(office: Office, device_id: str) -> set[EpochId]:
    """Known hours of a device whose receipts should have come by now.

    An hour is due when it dies by a policy that was in force then. One that was dead by its name when it was first
    heard of was named by a clock that was wrong: the device keeps it for a whole retention from when it met it.
    """
    calendars = [(since_us, Calendar(policies)) for since_us, policies in schedules(office)]
    limit_us = office.clock() - GRACE_S * US_PER_S

    def ends_us(epoch: EpochId) -> int:
        return min(max(calendar.dies_us(epoch), since_us) for since_us, calendar in calendars)

    def due_us(epoch: EpochId, met_us: int) -> int:
        return ends_us(epoch) if met_us < ends_us(epoch) else ends_us(epoch_of(met_us))

    return {epoch for epoch, met in first_met(office, device_id).items() if due_us(epoch, met) <= limit_us}


def spans(epochs: Iterable[EpochId]) -> list[tuple[EpochId, EpochId]]:
    """Runs of hours that follow each other, as (first, last)."""
    found = []
    for _, run in groupby(enumerate(sorted(epochs)), key=lambda pair: pair[1] - pair[0]):
        hours = [epoch for _, epoch in run]
        found.append((hours[0], hours[-1]))
    return found
