# SPDX-License-Identifier: Apache-2.0
"""The hourly look at the holds.

The deletion says what it takes of those that wait for approval: they do not stop it, and nobody may miss it. And what
was done and could not be told to the audit log is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

import structlog

from backoffice.devices import all_devices
from backoffice.errors import OfficeError
from backoffice.hold_file import Hold, HoldFolder
from backoffice.hold_told import last_acts, untold
from backoffice.holds import HOUR_US, Holds, hours_left, next_loss_us
from backoffice.office import Office
from backoffice.pull import open_keyring
from storage.atomic import locked
from storage.errors import StorageError
from storage.hold import case_scope, is_case_scope
from storage.types import EpochId

log = structlog.get_logger(__name__)
WARN_US = 72 * HOUR_US  # from then on each round of the deletion tells of a hold that waits
SEALING_WAIT_S = 600.0  # that the deletion waits for an approval that is sealing


@contextmanager
def sealing_ends(office: Office) -> Iterator[None]:
    """Nobody seals for a hold meanwhile: what was approved in time is held. It waits SEALING_WAIT_S at most."""
    with locked(HoldFolder(office.layout.holds).lock, SEALING_WAIT_S):
        yield


def case_scopes(office: Office, scopes: Iterable[str]) -> set[str]:
    """Which scopes of the keyring are of cases, whose shares end with their holds.

    A device that was enrolled under such a name before there were holds is a device.
    """
    return {scope for scope in scopes if is_case_scope(scope)} - {d.device_id for d in all_devices(office)}


def lone_cases(office: Office) -> list[str]:
    """Cases whose key is here and whose hold is not: `holds/` was lost, or restored without the keyring."""
    known = {case_scope(hold_id) for hold_id in HoldFolder(office.layout.holds).ids()}
    return sorted(case_scopes(office, open_keyring(office).scopes()) - known)


def watch_holds(
    office: Office, shares: Mapping[str, Collection[EpochId]], hits: Collection[str], by: str
) -> None:
    """Tell in the log of holds that will lose something soon, in the audit log of those that do by this deletion.

    Call it before the shares and hits go.
    """
    holds, problems = HoldFolder(office.layout.holds).all()
    for problem in problems:
        log.warning("hold_damaged", why=problem)
    for scope in lone_cases(office):
        log.warning("hold_key_alone", scope=scope)
    for hold in holds:
        if hold.pending:
            reads = sum(read.epoch in shares.get(read.device, ()) for read in hold.reads)
            _watch(office, hold, reads, sum(hit.hit_id in hits for hit in hold.hits), by)


def finish_holds(office: Office, by: str) -> None:
    """Tell the audit log of every act that was done and not told; what cannot be finished now is logged."""

    def record(event: str, **fields: object) -> None:
        office.audit.record(event, user=by, at_us=office.clock(), **fields)

    holds, _ = HoldFolder(office.layout.holds).all()
    acts = last_acts(office) if holds else {}
    for hold in holds:
        if untold(hold, acts.get(hold.hold_id)) is None:
            continue
        try:
            Holds(office, by, record).finish(hold.hold_id)
        except (OfficeError, StorageError, OSError) as error:
            log.warning("hold_unfinished", hold=hold.hold_id, why=type(error).__name__)


def _watch(office: Office, hold: Hold, reads: int, hits: int, by: str) -> None:
    lost = {"reads_lost": reads, "hits_lost": hits}
    end = next_loss_us(office, hold)
    if reads or hits:
        said = {"hold": hold.hold_id, "case": hold.case, **lost}
        office.audit.record("hold_loses", user=by, at_us=office.clock(), **said)
    if reads or hits or (end is not None and end - office.clock() <= WARN_US):
        log.warning("hold_waits", hold=hold.hold_id, hours_left=hours_left(office, hold), **lost)
