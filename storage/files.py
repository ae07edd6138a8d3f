# SPDX-License-Identifier: Apache-2.0
"""The system calls that change files, in one place, so that a test can stop the world at each of them."""

from __future__ import annotations

import os
from pathlib import Path


class Files:
    """Changes to files and folders, straight to the operating system; raises OSError."""

    def create(self, path: Path, mode: int = 0o600) -> int:
        """Descriptor of a new file; FileExistsError when the name is taken."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)

    def append_to(self, path: Path, mode: int = 0o600) -> int:
        """Descriptor that writes at the end of a file, made when absent."""
        return os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, mode)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write some of `data`; the number of bytes taken."""
        return os.write(fd, data)

    def allocate(self, fd: int, size: int) -> None:
        """Reserve `size` bytes for a file, so that they are really taken from the disk."""
        os.posix_fallocate(fd, 0, size)

    def fsync(self, fd: int) -> None:
        """Make a file's content durable."""
        os.fsync(fd)

    def sync_all(self) -> None:
        """Make durable whatever was written to any file or folder; tells of no error, so not for what must be known."""
        os.sync()

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file to `size` bytes."""
        os.truncate(path, size)

    def set_mode(self, path: Path, mode: int) -> None:
        """Change who may open a file or folder."""
        path.chmod(mode)

    def replace(self, source: Path, target: Path) -> None:
        """Rename over a target in one step."""
        source.replace(target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name; FileExistsError when that is taken."""
        target.hardlink_to(source)

    def unlink(self, path: Path) -> None:
        """Remove a name; an absent one is fine."""
        path.unlink(missing_ok=True)

    def make_dir(self, path: Path, mode: int = 0o700) -> None:
        """Make one folder; an existing one is fine."""
        path.mkdir(mode=mode, exist_ok=True)

    def fsync_dir(self, folder: Path) -> None:
        """Make the names in a folder durable."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


OS_FILES = Files()


def write_all(files: Files, fd: int, data: bytes) -> None:
    """Write the whole of `data`; raises OSError."""
    view = memoryview(data)
    while view:
        view = view[files.write(fd, view) :]
