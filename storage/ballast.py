# SPDX-License-Identifier: Apache-2.0
"""Room kept for the day the disk is full: deletion has to write (a plan, a keyring) before it frees anything.

The ballast is a file of allocated bytes that hold nothing. It is released when a deletion meets a full disk, and made
again when there is room. It is advisory: a missing or short one only means that there is nothing to release.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from storage.files import OS_FILES, Files

BALLAST_FILE = "ballast"
BALLAST_BYTES = (
    8 << 20
)  # a keyring with five years of shares is under 4 MiB, and it is written beside the old one


class Ballast:
    """One ballast file of `size` bytes; 0 means none is kept."""

    def __init__(self, path: Path, size: int = BALLAST_BYTES, *, files: Files = OS_FILES) -> None:
        self._path = path
        self._size = size
        self._files = files

    def hold(self) -> bool:
        """Make the file when it is not whole; whether it is now. Never raises: a full disk just has no room for it."""
        if self._size == 0 or self._whole():
            return self._size > 0
        try:
            self._files.unlink(self._path)
            self._allocate()
        except OSError:
            with contextlib.suppress(OSError):
                self._files.unlink(self._path)
            return False
        return True

    def release(self) -> bool:
        """Give the bytes back to the disk; whether there were any."""
        try:
            held = self._path.stat().st_size > 0
            self._files.unlink(self._path)
        except OSError:
            return False
        return held

    def _whole(self) -> bool:
        try:
            return self._path.stat().st_size == self._size
        except OSError:
            return False

    def _allocate(self) -> None:
        fd = self._files.create(self._path)
        try:
            self._files.allocate(fd, self._size)
            self._files.fsync(fd)
        finally:
            self._files.close(fd)
