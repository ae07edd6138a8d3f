# SPDX-License-Identifier: Apache-2.0
"""`wayside verify --repair`: what is safe, and only while no service runs. It never removes what anybody could use.

In this order, each step safe to cut off and to do again: files left over by replacements that a crash cut off are
removed, torn tails of segments are cut as a start would do, and what others could open is closed to them. Only what a
device keeps there is touched, and only where a device keeps it.
"""

from __future__ import annotations

import stat
from pathlib import Path

from firmware.errors import FirmwareError
from firmware.stopped import services_stopped
from firmware.verify import layout_of, shown
from firmware.verify_files import PRIVATE_FILE, PRIVATE_FOLDER, Entry, entries
from storage.files import OS_FILES, Files
from storage.layout import DataLayout
from storage.recovery import cut_torn_tails
from storage.types import StoreLimits

SPOOL_TEMPS = ("spool/hits/tmp", "spool/receipts/tmp")


def repair(path: Path, *, files: Files = OS_FILES) -> list[str]:
    """What was mended, a line each; raises FirmwareError while a service runs or when the disk refuses."""
    layout = layout_of(path)
    if not any(mark.exists() for mark in (layout.keyring, layout.identity, layout.audit)):
        raise FirmwareError(
            f"{layout.root}: neither keyring, identity nor audit log; name the device's data folder"
        )
    with services_stopped(layout):
        try:
            return [*_remove_temps(layout, files), *_cut_tails(layout, files), *_close(layout, files)]
        except OSError as error:
            raise FirmwareError(
                f"the disk refused the repair ({error.strerror}): check it, then try again"
            ) from error


def _remove_temps(layout: DataLayout, files: Files) -> list[str]:
    strays = [
        entry for entry in entries(layout.root) if (entry.is_temp and entry.belongs) or _of_spool(entry)
    ]
    for entry in strays:
        files.unlink(entry.path)
    return [f"removed {shown(entry.path)}, left over from a crash" for entry in strays]


def _of_spool(entry: Entry) -> bool:
    """A file that was being put into an outbox: it was never acknowledged to anybody."""
    return entry.place.rpartition("/")[0] in SPOOL_TEMPS and stat.S_ISREG(entry.status.st_mode)


def _cut_tails(layout: DataLayout, files: Files) -> list[str]:
    found = cut_torn_tails(layout.store, StoreLimits().max_uncommitted_bytes, files=files)
    return [f"cut the torn tail of {shown(path)}" for path in found]


def _close(layout: DataLayout, files: Files) -> list[str]:
    found = [entry for entry in entries(layout.root) if entry.belongs and not entry.is_private]
    for entry in found:
        files.set_mode(entry.path, PRIVATE_FOLDER if entry.is_folder else PRIVATE_FILE)
    return [f"closed {shown(entry.path)} to others" for entry in found]
