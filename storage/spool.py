# SPDX-License-Identifier: Apache-2.0
"""The outbox: one file an item, a folder a state; several processes, no shared index, safe from kill -9.

    tmp/         being written
    pending/     waits for the office, named by its id
    done/        empty markers of acknowledged ids, kept for a while so that nothing is put twice
    quarantine/  refused for good by the office or damaged; kept until a person decides
    attempts/    how often an item was tried; advisory

put: temp file, fsync, hard link into pending/ (sole commit point; fails when the id is there), fsync pending/. An id
that is there already is made durable too before the call returns: whoever linked it may have been killed before that.
expire: as ack, whatever state the item is in; ids of expired items are remembered like acknowledged ones.
ack: marker into done/, fsync done/ (sole commit point), then the item is removed; a crash in between leaves
both, and the item no longer counts as pending.
failed for good: the reason into attempts/, rename into quarantine/ (sole commit point), fsync both folders; requeue is
the same way back. A failed try that is not for good is not synced: losing a count costs nothing, a sync costs flash.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.atomic import make_folder
from storage.errors import (
    BadIdError,
    DiskFullError,
    ItemDamagedError,
    ItemMissingError,
    SpoolFullError,
    TooLargeError,
    WriteFailedError,
    is_bad_sector,
    is_disk_full,
)
from storage.files import OS_FILES, Files, write_all
from storage.primitives import canonical_json
from storage.spool_file import (
    HEADER_AT,
    MAGIC,
    MAX_HEADER_BYTES,
    changed_ns,
    head_of,
    parse_head,
    queued_us_of,
)
from storage.types import is_id

EARLIEST_US = 1_767_225_600_000_000  # 2026-01-01T00:00Z: a clock before it was never set
_STATES = ("tmp", "pending", "done", "quarantine", "attempts")


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """Bounds of an outbox."""

    max_item_bytes: int = 4 << 20
    max_items: int = 20_000  # waiting
    max_reason_chars: int = 200
    done_keep_s: int = 7 * 86_400  # how long an acknowledged id is remembered
    stale_temp_s: int = 3_600  # a temp file older than this is of a dead process


@dataclass(frozen=True, slots=True)
class SpoolItem:
    """An item that waits; `size` in bytes of its body."""

    id: str
    kind: str
    size: int
    queued_us: int
    attempts: int


@dataclass(frozen=True, slots=True)
class QuarantinedItem:
    """An item that was set aside, and why."""

    id: str
    reason: str


def _now_us() -> int:
    return time.time_ns() // 1000


class Spool:
    """An outbox folder; every method may be called from any process."""

    def __init__(self, folder: Path, limits: SpoolLimits, now_us: Callable[[], int], files: Files) -> None:
        self._folders = {state: folder / state for state in _STATES}
        self._limits = limits
        self._now_us = now_us
        self._files = files

    @classmethod
    def open(
        cls,
        folder: Path,
        limits: SpoolLimits = SpoolLimits(),
        *,
        now_us: Callable[[], int] = _now_us,
        files: Files = OS_FILES,
    ) -> Spool:
        """Open, make folders when absent, and clear what crashes left; raises WriteFailedError."""
        spool = cls(folder, limits, now_us, files)
        with _translated(folder):
            for path in spool._folders.values():
                make_folder(path, files=files)
            spool._clear_leftovers()
        return spool

    def put(self, item_id: str, body: bytes, *, kind: str) -> bool:
        """Queue a body, durable on return; False when this id already waits, was set aside or acknowledged.

        Raises BadIdError, TooLargeError, SpoolFullError, DiskFullError or WriteFailedError.
        """
        self._check(item_id, kind)
        if len(body) > self._limits.max_item_bytes:
            raise TooLargeError(f"item is over {self._limits.max_item_bytes} bytes: split it")
        for state in ("done", "pending", "quarantine"):
            if self._path(state, item_id).exists():
                with _translated(self._path(state, item_id)):
                    self._files.fsync_dir(self._folders[state])
                return False
        waiting = self.count()
        if waiting >= self._limits.max_items:
            raise SpoolFullError(f"{waiting} items wait already: restore the link to the office")
        with _translated(self._path("pending", item_id)):
            return self._put(item_id, body, kind)

    def pending(self, limit: int = 100) -> list[SpoolItem]:
        """The oldest waiting items, at most `limit`; damaged ones move to quarantine."""
        found: list[SpoolItem] = []
        for path in self._oldest_first():
            if len(found) >= limit:
                break
            with contextlib.suppress(ItemMissingError, ItemDamagedError):
                found.append(self._describe(path.name))
        return found

    def count(self) -> int:
        """How many items wait."""
        return sum(1 for _ in self._waiting())

    def read(self, item_id: str) -> bytes:
        """Body of a waiting item; raises ItemMissingError, or ItemDamagedError once it is in quarantine."""
        self._check(item_id, "read")
        header, body = self._load(item_id)
        if hashlib.sha256(body).hexdigest() != header["sha256"]:
            raise self._damaged(item_id, "checksum differs")
        return body

    def ack(self, item_id: str) -> None:
        """The office has it: forget the item, remember its id. A second call does nothing."""
        self._check(item_id, "ack")
        with _translated(self._path("done", item_id)):
            self._finish(self._path("pending", item_id))

    def failed(self, item_id: str, reason: str, *, permanent: bool = False) -> None:
        """Note a failed try; a permanent one moves the item to quarantine. Raises ItemMissingError."""
        self._check(item_id, "failed")
        reason = reason[: self._limits.max_reason_chars]
        if not self._path("pending", item_id).exists():
            raise ItemMissingError(f"item {item_id} does not wait")
        if permanent:
            self._set_aside(item_id, reason)
            return
        with _translated(self._path("attempts", item_id)):
            self._write_attempts(item_id, reason, durable=False)

    def quarantined(self) -> list[QuarantinedItem]:
        """Items that were set aside, by id."""
        names = sorted(path.name for path in self._folders["quarantine"].iterdir())
        return [QuarantinedItem(name, self._attempts(name)[1]) for name in names]

    def quarantined_count(self) -> int:
        """How many items were set aside; opens none of them."""
        return sum(1 for _ in self._folders["quarantine"].iterdir())

    def requeue(self, item_id: str) -> None:
        """Let an item of the quarantine wait again, its attempts forgotten; raises ItemMissingError."""
        self._check(item_id, "requeue")
        self._move(item_id, "quarantine", "pending")
        with _translated(self._path("attempts", item_id)):
            self._files.unlink(self._path("attempts", item_id))

    def expire(self, is_past: Callable[[int], bool]) -> list[str]:
        """Drop what is past its time, waiting or set aside; the ids, so that they can be counted.

        `is_past` is asked with when an item was queued, Unix µs.

        An item that was queued while the clock was not set counts from the first call that meets it.
        """
        gone = set()
        for state in ("pending", "quarantine"):
            for path in list(self._folders[state].iterdir()):
                with contextlib.suppress(FileNotFoundError), _translated(path):
                    if is_past(self._queued_us(path)):
                        self._finish(path)
                        gone.add(path.name)
        return sorted(gone)

    def _queued_us(self, path: Path) -> int:
        """When an item was queued: by its head, or by its file when that is damaged or later."""
        queued_us = queued_us_of(head_of(path))
        changed_us = path.stat().st_mtime_ns // 1000
        found = changed_us if queued_us is None or queued_us < EARLIEST_US else queued_us
        if found < EARLIEST_US:
            found = self._now_us()
            os.utime(path, ns=(found * 1000, found * 1000))
        return found

    def _finish(self, path: Path) -> None:
        """Remember an item's id as done, durably, then remove the item."""
        self._touch(self._path("done", path.name))
        self._files.fsync_dir(self._folders["done"])
        self._remove(path)

    def _put(self, item_id: str, body: bytes, kind: str) -> bool:
        queued_us = self._now_us()
        digest = hashlib.sha256(body).hexdigest()
        header = canonical_json(
            {"id": item_id, "kind": kind, "queued_us": queued_us, "sha256": digest, "size": len(body)}
        )
        temp = self._temp(MAGIC + len(header).to_bytes(2, "big") + header + body)
        try:
            self._files.link(temp, self._path("pending", item_id))
            new = True
        except FileExistsError:
            new = False
        except FileNotFoundError as error:
            raise WriteFailedError(f"item {item_id}: its temp file vanished; put it again") from error
        finally:
            with contextlib.suppress(OSError):
                self._files.unlink(temp)
        self._files.fsync_dir(self._folders["pending"])
        return new

    def _temp(self, data: bytes, *, durable: bool = True) -> Path:
        temp = self._folders["tmp"] / secrets.token_hex(8)
        fd = self._files.create(temp)
        try:
            write_all(self._files, fd, data)
            if durable:
                self._files.fsync(fd)
        except OSError:
            with contextlib.suppress(OSError):
                self._files.unlink(temp)
            raise
        finally:
            self._files.close(fd)
        return temp

    def _describe(self, item_id: str) -> SpoolItem:
        header, _ = self._load(item_id, HEADER_AT + MAX_HEADER_BYTES)
        return SpoolItem(
            item_id, header["kind"], header["size"], header["queued_us"], self._attempts(item_id)[0]
        )

    def _load(self, item_id: str, most: int | None = None) -> tuple[dict[str, Any], bytes]:
        """Header and body (what of it lies in the first `most` bytes of the file)."""
        if self._path("done", item_id).exists():
            raise ItemMissingError(f"item {item_id} was acknowledged")
        try:
            with self._path("pending", item_id).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                data = file.read(most or HEADER_AT + MAX_HEADER_BYTES + self._limits.max_item_bytes)
        except FileNotFoundError as error:
            raise ItemMissingError(f"item {item_id} does not wait") from error
        except OSError as error:
            if not is_bad_sector(error):
                raise WriteFailedError(f"cannot read item {item_id}: check the disk") from error
            raise self._damaged(item_id, "the disk cannot read it") from error
        parsed = parse_head(data, item_id, size)
        if parsed is None:
            raise self._damaged(item_id, "damaged file")
        return parsed[0], data[parsed[1] :]

    def _waiting(self) -> Iterator[Path]:
        done = {path.name for path in self._folders["done"].iterdir()}
        return (path for path in self._folders["pending"].iterdir() if path.name not in done)

    def _oldest_first(self) -> list[Path]:
        ages = []
        for path in self._waiting():
            with contextlib.suppress(FileNotFoundError):
                ages.append((changed_ns(path), path.name, path))
        return [path for _, _, path in sorted(ages)]

    def _attempts(self, item_id: str) -> tuple[int, str]:
        try:
            value = json.loads(self._path("attempts", item_id).read_bytes())
            return int(value["attempts"]), str(value["reason"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return 0, ""

    def _write_attempts(self, item_id: str, reason: str, *, durable: bool) -> None:
        attempts = self._attempts(item_id)[0] + 1
        temp = self._temp(canonical_json({"attempts": attempts, "reason": reason}), durable=durable)
        self._files.replace(temp, self._path("attempts", item_id))
        if durable:
            self._files.fsync_dir(self._folders["attempts"])

    def _set_aside(self, item_id: str, reason: str) -> None:
        with _translated(self._path("attempts", item_id)):
            self._write_attempts(item_id, reason, durable=True)
        with contextlib.suppress(ItemMissingError):
            self._move(item_id, "pending", "quarantine")

    def _damaged(self, item_id: str, reason: str) -> ItemDamagedError:
        """Set an unusable item aside; on a disk that takes no writes it stays, and the next call tries again."""
        with contextlib.suppress(WriteFailedError):
            self._set_aside(item_id, reason)
        return ItemDamagedError(f"item {item_id}: {reason}; see quarantine, and put it again if you can")

    def _move(self, item_id: str, source: str, target: str) -> None:
        try:
            with _translated(self._path(target, item_id)):
                self._files.replace(self._path(source, item_id), self._path(target, item_id))
                self._files.fsync_dir(self._folders[target])
                self._files.fsync_dir(self._folders[source])
        except FileNotFoundError as error:
            raise ItemMissingError(f"item {item_id} is not in {source}") from error

    def _remove(self, path: Path) -> None:
        self._files.unlink(path)
        self._files.unlink(self._path("attempts", path.name))
        self._files.fsync_dir(path.parent)

    def _touch(self, path: Path) -> None:
        with contextlib.suppress(FileExistsError):
            self._files.close(self._files.create(path))

    def _clear_leftovers(self) -> None:
        now_s = self._now_us() / 1e6
        for path in self._folders["tmp"].iterdir():
            self._unlink_older(path, now_s - self._limits.stale_temp_s)
        for path in self._folders["done"].iterdir():
            for state in ("pending", "quarantine"):
                if self._path(state, path.name).exists():
                    # A marker whose process was killed before its sync must be durable before the item goes.
                    self._files.fsync_dir(self._folders["done"])
                    self._remove(self._path(state, path.name))
            self._unlink_older(path, now_s - self._limits.done_keep_s)

    def _unlink_older(self, path: Path, than_s: float) -> None:
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < than_s:
                self._files.unlink(path)

    def _check(self, item_id: str, kind: str) -> None:
        if not (is_id(item_id) and is_id(kind)):
            raise BadIdError("an item's id and kind are 1 to 64 of a-z, 0-9 and '-'")

    def _path(self, state: str, item_id: str) -> Path:
        return self._folders[state] / item_id


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """OSError to DiskFullError or WriteFailedError; FileNotFoundError is let through."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        kind = DiskFullError if is_disk_full(error) else WriteFailedError
        raise kind(f"cannot write {path}: check the disk") from error
