# SPDX-License-Identifier: Apache-2.0
"""After a crash, at the end of retention, and after five years: recovery, deletion, the keyring."""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import time
from pathlib import Path
from statistics import median
from typing import Any

from storage.bench_road import POLICY, evidence, make_retention
from storage.bench_world import CROP, FIRST_US, MB, READ, SCENE, BenchDevice, took
from storage.errors import StorageError
from storage.keyring import SELF
from storage.layout import KEYRING_FILE, RECOVERED_FILE, SEGMENT_SUFFIX
from storage.receipts import Receipt
from storage.recovery import measure, recover_store, segment_path
from storage.types import SegmentKind, StoreLimits, epoch_of

TORN = b"R\0\0"  # the beginning of a record that did not reach the disk
EXPIRED_S = POLICY.seconds + 5400  # of the first hour, and of that alone
READS_A_PICTURE = 100  # so that their writing does not take minutes
SMALL_SEGMENT_BYTES = 4 << 20
GB = 1e9


def bench_recovery(folder: Path, size: int, repeats: int) -> dict[str, Any]:
    """Look through a crashed segment of small reads and one of pictures, each of `size` bytes."""
    slowest = walk = 0.0
    for kind in SegmentKind:
        root = folder / kind.value
        path = _crashed(BenchDevice(root), kind, size)
        whole = path.stat().st_size
        spent = [_recover(path, root / "crashed") for _ in range(repeats)]
        slowest = max(slowest, median(spent) / whole * GB)
        if kind is SegmentKind.READS:
            walk = (
                median(took(functools.partial(measure, path), time.process_time) for _ in range(repeats))
                / whole
                * GB
            )
    return {"recovery_s_per_gb": slowest, "walk_s_per_gb": walk}


def _crashed(device: BenchDevice, kind: SegmentKind, size: int) -> Path:
    """Copy of a segment that is still written, in a store of its own: what a crash leaves."""
    payloads = (READ,) if kind is SegmentKind.READS else (CROP, SCENE)
    done = 0
    while done < size:
        for payload in payloads:
            device.store.append(kind, payload, at_us=FIRST_US)
            done += len(payload)
    device.store.commit()
    (info,) = device.store.segments()
    path = segment_path(device.folder / "crashed", kind, info.segment_id)
    path.parent.mkdir(parents=True)
    shutil.copy(info.path, path)
    device.store.close()
    return path


def _recover(path: Path, root: Path) -> float:
    """Seconds that a start spends on a torn segment that is on the disk and not in memory."""
    (root / RECOVERED_FILE).unlink(missing_ok=True)
    with path.open("ab") as file:
        file.write(TORN)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return took(lambda: recover_store(root, StoreLimits().max_uncommitted_bytes))


def bench_deletion(folder: Path, records: int, repeats: int) -> dict[str, Any]:
    """Delete an hour of so many reads in several segments and its pictures, through one run of deletion."""
    return {"delete_epoch_s": median(_delete(folder / str(number), records) for number in range(repeats))}


def _delete(folder: Path, records: int) -> float:
    device = BenchDevice(folder, limits=StoreLimits(max_segment_bytes=SMALL_SEGMENT_BYTES))
    epoch = epoch_of(FIRST_US)
    device.keyring.import_shares(SELF, {epoch + n: bytes(32) for n in range(1, POLICY.seconds // 3600)})
    for number in range(records):
        device.store.append(SegmentKind.READS, READ, at_us=FIRST_US)
        if number % READS_A_PICTURE == 0:
            device.store.append(SegmentKind.IMAGES, SCENE, at_us=FIRST_US)
    device.store.commit()
    growing = next(i for i in device.store.segments() if i.kind is SegmentKind.READS and not i.closed)
    shutil.copy(growing.path, growing.path.with_name(f"{epoch}-reads-{'0' * 16}-0{SEGMENT_SUFFIX}"))
    retention = make_retention(device)  # as after a start: the hour was there before it
    receipts: list[Receipt] = []
    spent = took(lambda: receipts.extend(retention.run(evidence(EXPIRED_S))))
    gone = sum(segment.records or 0 for receipt in receipts for segment in receipt.body.segments)
    if len(receipts) != 1 or gone < records:
        raise StorageError(
            f"{gone} records in {len(receipts)} receipts: the measurement deleted something else"
        )
    device.store.close()
    return spent


def bench_keyring(folder: Path, epochs: int, repeats: int) -> dict[str, Any]:
    """Size of a keyring of so many hours, and adding one, which rewrites it."""
    device = BenchDevice(folder)
    first = epoch_of(FIRST_US)
    device.keyring.import_shares(SELF, {first - n: secrets.token_bytes(32) for n in range(epochs)})
    spent = [took(functools.partial(device.keyring.share, first + 1 + number)) for number in range(repeats)]
    device.store.close()
    size = (device.folder / "keyring" / KEYRING_FILE).stat().st_size
    return {"keyring_mb_5_years": size / MB, "keyring_rewrite_ms_5_years": median(spent) * 1e3}
