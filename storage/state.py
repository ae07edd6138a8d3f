# SPDX-License-Identifier: Apache-2.0
"""Small state as a TinyDB over the atomic replace; the whole file is rewritten at each change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tinydb import TinyDB
from tinydb.storages import Storage

from storage.atomic import make_folder, write_atomic
from storage.errors import StateDamagedError, TooLargeError, WriteFailedError
from storage.files import OS_FILES, Files
from storage.primitives import canonical_json

MAX_STATE_BYTES = 4 << 20
MAX_ROW_DIGITS = 18  # of a row's number


class AtomicStorage(Storage):
    """TinyDB storage whose every write replaces the file, durably."""

    def __init__(self, path: Path, files: Files = OS_FILES) -> None:
        self._path = path
        self._files = files

    def read(self) -> dict[str, dict[str, Any]] | None:
        """The content, or None when there is no file yet; raises StateDamagedError."""
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise StateDamagedError(f"{self._path} is no JSON: set it aside and start again") from error
        if not isinstance(value, dict) or not all(_is_table(table) for table in value.values()):
            raise StateDamagedError(f"{self._path} holds no tables: set it aside and start again")
        return value

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Replace the file; raises TooLargeError or WriteFailedError, and then the old content stands."""
        raw = canonical_json({table: dict(rows) for table, rows in data.items()})
        if len(raw) > MAX_STATE_BYTES:
            raise TooLargeError(f"state is over {MAX_STATE_BYTES} bytes: keep less in {self._path}")
        try:
            write_atomic(self._path, raw, files=self._files)
        except OSError as error:
            raise WriteFailedError(f"cannot write {self._path}: check the disk") from error


def _is_table(value: object) -> bool:
    """Rows by number, as TinyDB keeps them."""
    return isinstance(value, dict) and all(
        key.isascii() and key.isdigit() and len(key) <= MAX_ROW_DIGITS and isinstance(row, dict)
        for key, row in value.items()
    )


def open_state(path: Path, *, files: Files = OS_FILES) -> TinyDB:
    """The state database at `path`, made at its first write."""
    make_folder(path.parent, files=files)
    return TinyDB(path, files, storage=AtomicStorage)
