# SPDX-License-Identifier: Apache-2.0
"""The file of a device's receipt chain: one line a receipt, appended and synced (sole commit point).

What follows the last receipt and is none was never acknowledged, when that receipt is the one before the plan's first:
it is cut, and its receipts are written again. Other lines that are none are damage: they stay for a check to
report, and the chain goes on behind them, because deletion must not wait for a person. The same holds for what the
disk cannot read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from storage.errors import ReceiptInvalidError, is_bad_sector
from storage.files import OS_FILES, Files, write_all
from storage.receipts import GENESIS, Receipt, ReceiptBody, sign_receipt

BLOCK_BYTES = 4096  # what is given up for a bad sector


def read_receipts(path: Path) -> list[Receipt]:
    """The receipt chain of a device, oldest first; raises ReceiptInvalidError. A torn last line is left out."""
    data = path.read_bytes() if path.exists() else b""
    receipts = []
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), 1):
        try:
            receipts.append(Receipt.decode(line))
        except ReceiptInvalidError as error:
            raise ReceiptInvalidError(f"{path}, line {number}: {error}") from error
    return receipts


class ReceiptFile:
    """Appends to the chain; one writer."""

    def __init__(self, path: Path, signer: EllipticCurvePrivateKey, *, files: Files = OS_FILES) -> None:
        self._path = path
        self._signer = signer
        self._files = files

    def segments(self) -> set[str]:
        """Ids of the segments that the receipts name."""
        return {item.segment_id for receipt in _found(self._path).receipts for item in receipt.body.segments}

    def end(self) -> tuple[int, str]:
        """(number, link) of the next receipt; each damaged line behind the last good one counts as one."""
        found = _found(self._path)
        if not found.receipts:
            return found.damaged, GENESIS
        last = found.receipts[-1].body
        return last.n + 1 + found.damaged, last.hash

    def write(self, plan: Sequence[ReceiptBody]) -> list[Receipt]:
        """Signs and appends those of the plan that are not there yet; all of them. Durable on return."""
        found = _found(self._path)
        written = {item.body.n: item for item in found.receipts if item.body.n >= plan[0].n}
        last_n = found.receipts[-1].body.n if found.receipts else -1
        if last_n >= plan[0].n - 1 and found.good_bytes < found.size:
            self._files.truncate(self._path, found.good_bytes)
        missing = [sign_receipt(body, self._signer) for body in plan if body.n not in written]
        if missing:
            gap = b"" if found.ends_whole or last_n >= plan[0].n - 1 else b"\n"
            self._append(gap + b"".join(receipt.encode() + b"\n" for receipt in missing))
        return [*written.values(), *missing]

    def _append(self, data: bytes) -> None:
        fd = self._files.append_to(self._path)
        try:
            write_all(self._files, fd, data)
            self._files.fsync(fd)
        finally:
            self._files.close(fd)
        self._files.fsync_dir(self._path.parent)


@dataclass(frozen=True, slots=True)
class _Found:
    """What lies in the file: `damaged` lines behind the last good one, which ends at `good_bytes` of `size`."""

    receipts: list[Receipt]
    damaged: int
    good_bytes: int
    size: int
    ends_whole: bool


def _found(path: Path) -> _Found:
    data = _bytes_of(path) if path.exists() else b""
    receipts: list[Receipt] = []
    damaged = at = good = 0
    for line in data.split(b"\n")[:-1]:
        at += len(line) + 1
        try:
            receipts.append(Receipt.decode(line))
        except ReceiptInvalidError:
            damaged += 1
        else:
            damaged, good = 0, at
    ends_whole = data[-1:] in {b"", b"\n"}
    return _Found(receipts, damaged + (not ends_whole), good, len(data), ends_whole)


def _bytes_of(path: Path) -> bytes:
    """The bytes of a file, with zeros where the disk cannot read it."""
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        return b"".join(_block(file.fileno(), at, size) for at in range(0, size, BLOCK_BYTES))


def _block(fd: int, at: int, size: int) -> bytes:
    wanted = min(BLOCK_BYTES, size - at)
    try:
        return os.pread(fd, wanted, at)
    except OSError as error:
        if not is_bad_sector(error):
            raise
        return bytes(wanted)
