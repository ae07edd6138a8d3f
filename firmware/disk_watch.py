# SPDX-License-Identifier: Apache-2.0
"""How the disk is: room for pictures and reads, and whether it keeps what it was given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from firmware.health import Condition, Finding, well
from storage.store import free_space
from storage.types import StoreLimits

AGAIN = 1.1  # of a limit: so much must be free before it counts as kept again

FULL = Finding(
    "disk", Condition.FAILED, "full", "reads are refused: fit a larger disk, or shorten the retention"
)
LOW = Finding("disk", Condition.DEGRADED, "nearly_full", "pictures are not kept any more: fit a larger disk")
REFUSED = Finding(
    "disk", Condition.FAILED, "refused", "the disk takes no writes: replace the card or the drive"
)
LOST = Finding(
    "disk", Condition.FAILED, "records_lost", "reads were lost on it: replace the card or the drive"
)


class DiskWatch:
    """`note_refused` and `lost` come from the vault; `finding` looks at the room that is left."""

    def __init__(
        self,
        root: Path,
        limits: StoreLimits = StoreLimits(),  # noqa: B008 -- frozen
        free_bytes: Callable[[Path], int] = free_space,
    ) -> None:
        self._root, self._limits, self._free_bytes = root, limits, free_bytes
        self._standing = well("disk")
        self.free: int | None = None  # bytes at the last look

    def finding(self, *, lost: int, refused: bool) -> Finding:
        """`lost` records so far, whether the last commit was `refused`; a disk that lost a record stays suspect."""
        try:
            self.free = self._free_bytes(self._root)
        except OSError:
            self.free = None
        room = REFUSED if self.free is None else self._room(self.free)
        if lost:
            self._standing = LOST
        elif refused and room != FULL:  # a full disk explains its refusal
            self._standing = REFUSED
        else:
            self._standing = room
        return self._standing

    def _room(self, free: int) -> Finding:
        full = self._limits.min_free_for_reads_bytes * (AGAIN if self._standing == FULL else 1.0)
        low = self._limits.min_free_for_images_bytes * (AGAIN if self._standing in (FULL, LOW) else 1.0)
        return FULL if free < full else LOW if free < low else well("disk")
