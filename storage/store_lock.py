# SPDX-License-Identifier: Apache-2.0
"""The lock of a store: one process writes; and the questions about its disk that everybody may ask."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from storage.errors import StoreBusyError


def free_space(folder: Path) -> int:
    """Bytes that a process without privileges may still write to the disk of a folder; raises OSError."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


def is_read_only(folder: Path) -> bool:
    """Whether the file system of a folder takes no writes, as after it found itself damaged; raises OSError."""
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def is_written(root: Path) -> bool:
    """Whether a process writes this store now."""
    try:
        os.close(lock_store(root, shared=True))
    except StoreBusyError:
        return True
    except OSError:
        return False  # no lock was ever made here, or it cannot be: a copy, a disk that is read-only
    return False


def lock_store(root: Path, *, shared: bool = False) -> int:
    """Descriptor that holds the store's lock (`shared`: only asks, and makes no file); raises StoreBusyError."""
    made = 0 if shared else os.O_CREAT
    fd = os.open(root / ".lock", made | os.O_RDONLY | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise StoreBusyError(f"another process writes {root}: stop it first") from error
    return fd
