# SPDX-License-Identifier: Apache-2.0
"""Work on a data folder that no service may do anything to meanwhile: repairs, and moves of the keyring."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from firmware.errors import FirmwareError
from firmware.status import SERVICES, ask
from storage.errors import StoreBusyError
from storage.layout import DataLayout
from storage.store_lock import lock_store


@contextmanager
def services_stopped(layout: DataLayout) -> Iterator[None]:
    """Raises FirmwareError while a service runs; until the end no eye begins to write, for the store is locked."""
    running = [name for name in SERVICES if ask(layout.root, name) is not None]
    held = None
    try:
        held = lock_store(layout.store) if layout.store.is_dir() else None
    except StoreBusyError:
        running.append("a writer of the store")
    except OSError as error:
        raise FirmwareError(f"{layout.store}: cannot be locked ({error.strerror}); check the disk") from error
    try:
        if running:
            raise FirmwareError(f"{' and '.join(running)} runs: stop the services first, then try again")
        yield
    finally:
        if held is not None:
            os.close(held)
