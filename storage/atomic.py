# SPDX-License-Identifier: Apache-2.0
"""The one way a file is replaced: temp file in the same folder, fsync, rename, fsync the folder.

The rename is the sole commit point: a crash before it leaves the old file and a stray temp file, a crash after
it leaves the new one. Stray temp files go when their folder's one writer starts, or an hour later where there are more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from storage.files import OS_FILES, Files, write_all

TEMP_SUFFIX = ".tmp"
LOCK_POLL_S = 0.01
OLD_TEMP_S = 3600  # a temp file this old is of a dead process


def temp_beside(path: Path) -> Path:
    """Fresh hidden temp name in the folder of `path`."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMP_SUFFIX}")


def write_temp(path: Path, data: bytes, mode: int = 0o600, *, files: Files = OS_FILES) -> Path:
    """Write and sync `data` under a temp name beside `path`; the temp path. Raises OSError, leaving nothing."""
    temp = temp_beside(path)
    fd = files.create(temp, mode)
    try:
        write_all(files, fd, data)
        files.fsync(fd)
    except OSError:
        with contextlib.suppress(OSError):
            files.unlink(temp)
        raise
    finally:
        files.close(fd)
    return temp


def write_atomic(path: Path, data: bytes, mode: int = 0o600, *, files: Files = OS_FILES) -> None:
    """Replace `path` by `data`, durable when it returns; raises OSError and then the old content stands."""
    temp = write_temp(path, data, mode, files=files)
    try:
        files.replace(temp, path)
    except OSError:
        with contextlib.suppress(OSError):
            files.unlink(temp)
        raise
    files.fsync_dir(path.parent)


def make_folder(folder: Path, mode: int = 0o700, *, files: Files = OS_FILES) -> None:
    """Make a folder and its parents, durably; an existing one is fine. Raises OSError.

    The name of the deepest folder that is there already is synced too: who made it may have been killed before that.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    # A parent that we may not read was not ours to make; a disk that cannot sync refuses the writes that matter too.
    with contextlib.suppress(OSError):
        files.fsync_dir((missing[-1].parent if missing else folder).parent)
    for path in reversed(missing):
        files.make_dir(path, mode)
        files.fsync_dir(path.parent)


def remove_stray_temps(folder: Path, *, files: Files = OS_FILES) -> None:
    """Remove temp files that a crash left; only for a folder whose writers are all locked out.

    One that cannot be removed (a disk that went read-only) stays, and stops nobody.
    """
    for stray in folder.glob(f".*{TEMP_SUFFIX}"):
        with contextlib.suppress(OSError):
            files.unlink(stray)


def remove_old_temps(folders: Iterable[Path], *, files: Files = OS_FILES) -> None:
    """Remove what a crash left an hour ago or longer, in folders with several writers; never raises OSError."""
    for stray in (path for folder in folders for path in folder.glob(f".*{TEMP_SUFFIX}")):
        with contextlib.suppress(OSError):  # it costs a little room, no more
            if time.time() - stray.stat().st_mtime > OLD_TEMP_S:
                files.unlink(stray)


@contextlib.contextmanager
def locked(path: Path, timeout_s: float) -> Iterator[bool]:
    """Hold the lock file `path` between processes; yields False when it was not free in `timeout_s`."""
    fd = os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600)  # of a disk that went read-only too
    try:
        yield _acquire(fd, timeout_s)
    finally:
        os.close(fd)


def _acquire(fd: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOCK_POLL_S)
        else:
            return True
