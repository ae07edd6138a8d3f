# SPDX-License-Identifier: Apache-2.0
"""Runs the office's retention while it serves: at the start, then daily; after a fault sooner."""

from __future__ import annotations

import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError

from backoffice import retention
from backoffice.errors import OfficeError
from backoffice.office import Office
from storage.errors import StorageError

log = structlog.get_logger(__name__)
EVERY_S = 24 * 3600.0
AFTER_FAULT_S = 15 * 60.0
STOP_WAIT_S = 10.0
BY = "office"  # whom the audit log names


class DailyRetention:
    """A thread that deletes what is past its retention; `stop` ends it."""

    def __init__(self, office: Office) -> None:
        self._office = office
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
        try:
            retention.delete(self._office, retention.plan(self._office), BY)
        except (OfficeError, StorageError, SQLAlchemyError, OSError) as error:
            log.error("retention_failed", why=type(error).__name__, again_in_s=AFTER_FAULT_S)
            return False
        return True
