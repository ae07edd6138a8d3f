# SPDX-License-Identifier: Apache-2.0
"""Could the machines fail? Each runs over a disk that leaves out one single sync of the product, and has to notice."""

from __future__ import annotations

from pathlib import Path

import pytest
from lossy import LossyMachine, finds_a_fault
from test_lossy_audit import AuditMachine
from test_lossy_deletion import DeletionMachine
from test_lossy_segments import SegmentsMachine
from test_lossy_spool import SpoolMachine
from unsafe_disk import UnsafeDisk


class WithoutFolder(UnsafeDisk):
    """Never syncs one folder, named by its last part."""

    left_out = ""

    def fsync_dir(self, folder: Path) -> None:
        if folder.name == self.left_out:
            self._step("fsync_dir")
        else:
            super().fsync_dir(folder)


class WithoutFile(UnsafeDisk):
    """Never syncs the content of files whose path holds a text."""

    left_out = ""

    def fsync(self, fd: int) -> None:
        if self.left_out in str(Path(f"/proc/self/fd/{fd}").readlink()):
            self._step("fsync")
        else:
            super().fsync(fd)


def found_late(machine: type[LossyMachine], name: str) -> object:
    """A row that takes long: many runs pass before the one that shows it."""
    return pytest.param(machine, name, marks=pytest.mark.slow)


# Not here: `quarantine` of the outbox. In the model a rename between two folders is one, and the other is synced.
FOLDERS = (
    (SpoolMachine, "pending"),
    (SpoolMachine, "done"),
    (AuditMachine, "audit"),
    found_late(SegmentsMachine, "reads"),
    found_late(SegmentsMachine, "images"),
    (DeletionMachine, "keyring"),
    found_late(DeletionMachine, "retention"),
    found_late(DeletionMachine, "reads"),
)
FILES = (
    (SpoolMachine, "hits/tmp/"),
    (AuditMachine, "audit.jsonl"),
    found_late(SegmentsMachine, ".wseg"),
    (DeletionMachine, "keyring.wkr"),
    found_late(DeletionMachine, "receipts.jsonl"),
    found_late(DeletionMachine, "retention.json"),
)


@pytest.mark.parametrize(("machine", "name"), FOLDERS, ids=str)
def test_a_folder_that_is_never_synced_is_noticed(machine: type[LossyMachine], name: str) -> None:
    finds_a_fault(machine, type("Mutant", (WithoutFolder,), {"left_out": name}))


@pytest.mark.parametrize(("machine", "name"), FILES, ids=str)
def test_a_file_that_is_never_synced_is_noticed(machine: type[LossyMachine], name: str) -> None:
    finds_a_fault(machine, type("Mutant", (WithoutFile,), {"left_out": name}))
