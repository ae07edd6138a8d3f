# SPDX-License-Identifier: Apache-2.0
"""Where the keyring's key lives, and dies. One root serves one keyring."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Protocol

from storage.atomic import TEMP_SUFFIX, make_folder, write_atomic
from storage.errors import RootOfTrustError, SlotMissingError
from storage.files import OS_FILES, Files, write_all
from storage.types import is_id

MAX_SLOT_BYTES = 1024  # bytes of a slot's secret
_SUFFIX = ".slot"


class RootOfTrust(Protocol):
    """Keeps small secrets under handles; what it destroyed cannot come back unless `best_effort`."""

    @property
    def name(self) -> str:
        """Backend's name, as receipts and status give it."""

    @property
    def best_effort(self) -> bool:
        """True when a forensic copy of the medium may still hold a destroyed secret."""

    def store(self, slot_secret: bytes) -> str:
        """Keep a secret, durably; its handle (a plain id). Raises RootOfTrustError."""

    def load(self, handle: str) -> bytes:
        """The secret; raises SlotMissingError."""

    def destroy(self, handle: str) -> None:
        """Destroy a secret; an absent one is fine. Raises RootOfTrustError."""

    def handles(self) -> list[str]:
        """Handles of all secrets that are held."""

    def recover(self) -> None:
        """Destroy what a crash left half-made; only while nobody stores. Raises RootOfTrustError."""


class FileRootOfTrust:
    """Secrets as files: overwritten before they are removed, which flash may not honour."""

    name = "file"
    best_effort = True

    def __init__(self, folder: Path, *, files: Files = OS_FILES) -> None:
        self._folder = folder
        self._files = files

    def store(self, slot_secret: bytes) -> str:
        """Keep a secret of at most 1024 bytes; its handle. Raises RootOfTrustError."""
        if not 1 <= len(slot_secret) <= MAX_SLOT_BYTES:
            raise RootOfTrustError(f"a slot holds 1 to {MAX_SLOT_BYTES} bytes")
        handle = secrets.token_hex(8)
        try:
            make_folder(self._folder, files=self._files)
            write_atomic(self._path(handle), slot_secret, files=self._files)
        except OSError as error:
            raise RootOfTrustError(f"cannot keep a slot in {self._folder}: check the disk") from error
        return handle

    def load(self, handle: str) -> bytes:
        """The secret; raises SlotMissingError, or RootOfTrustError when it cannot be read."""
        try:
            with self._path(handle).open("rb") as file:
                return file.read(MAX_SLOT_BYTES)
        except FileNotFoundError as error:
            raise SlotMissingError("the slot was destroyed, or is of another machine") from error
        except OSError as error:
            raise RootOfTrustError(f"cannot read a slot in {self._folder}: check its mode") from error

    def destroy(self, handle: str) -> None:
        """Overwrite, sync, remove, sync the folder; an absent slot is fine."""
        path = self._path(handle)
        try:
            with contextlib.suppress(FileNotFoundError):
                self._overwrite(path)
            if self._folder.is_dir():
                self._files.unlink(path)
                self._files.fsync_dir(self._folder)
        except OSError as error:
            raise RootOfTrustError(f"cannot destroy a slot in {self._folder}: check the disk") from error

    def handles(self) -> list[str]:
        """Handles of all slots in the folder."""
        return sorted(path.name[: -len(_SUFFIX)] for path in self._folder.glob(f"[!.]*{_SUFFIX}"))

    def recover(self) -> None:
        """Overwrite and remove temp files of a cut `store`: each may hold a key."""
        try:
            for stray in self._folder.glob(f".*{TEMP_SUFFIX}"):
                self._overwrite(stray)
                self._files.unlink(stray)
        except OSError as error:
            raise RootOfTrustError(f"cannot clear {self._folder}: check the disk") from error

    def _overwrite(self, path: Path) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            write_all(self._files, fd, bytes(os.fstat(fd).st_size))
            self._files.fsync(fd)
        finally:
            self._files.close(fd)

    def _path(self, handle: str) -> Path:
        if not is_id(handle):
            raise SlotMissingError("the handle is no plain id: the keyring was altered")
        return self._folder / f"{handle}{_SUFFIX}"
