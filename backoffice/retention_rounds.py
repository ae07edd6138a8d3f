# SPDX-License-Identifier: Apache-2.0
"""Runs the office's retention while it serves: at the start, then hourly; after a fault sooner.

A round that does not believe the clock deletes nothing: the log says so each time, the audit log once. Until a round is
done the office has a ticket of its own.
"""

from __future__ import annotations

import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError

from backoffice import retention
from backoffice.errors import ClockInDoubt, OfficeError
from backoffice.hourly import look_after
from backoffice.office import Office
from backoffice.tickets import notice_deletion

log = structlog.get_logger(__name__)
EVERY_S = 3600.0  # an hour is what keys are made for
AFTER_FAULT_S = 15 * 60.0
STOP_WAIT_S = 10.0
BY = "office"  # whom the audit log names


class RetentionRounds:
    """A thread that deletes what is past its retention; `stop` ends it."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._doubted = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """The first run begins at once, in the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End after the run under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(STOP_WAIT_S)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S if self._once() else AFTER_FAULT_S):
            pass

    def _once(self) -> bool:
        look_after(self._office, BY)
        try:
            why = self._round()
        except Exception as error:  # noqa: BLE001 -- an edge: without this thread nothing is ever deleted
            log.error("retention_failed", why=type(error).__name__, again_in_s=AFTER_FAULT_S)
            why = f"it failed ({type(error).__name__})"
        try:
            notice_deletion(self._office, why)
        except (OfficeError, SQLAlchemyError) as error:
            log.error("retention_failed", why=type(error).__name__, again_in_s=AFTER_FAULT_S)
        return not why

    def _round(self) -> str:
        """Why nothing was deleted; empty when the round was done."""
        try:
            retention.run_round(self._office, BY)
        except ClockInDoubt as doubt:
            self._tell(doubt)
            return "the clock is in doubt"
        self._doubted = False
        return ""

    def _tell(self, doubt: ClockInDoubt) -> None:
        log.error("retention_clock_in_doubt", why=str(doubt), again_in_s=AFTER_FAULT_S)
        if not self._doubted:
            self._office.audit.record("retention_clock_in_doubt", user=BY, at_us=self._office.clock())
        self._doubted = True
