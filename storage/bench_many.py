# SPDX-License-Identifier: Apache-2.0
"""A store with five years of hourly segments: its start, its list, and one look of deletion."""

from __future__ import annotations

import functools
import os
import shutil
import time
from pathlib import Path
from typing import Any

from storage.bench_world import FIRST_US, BenchDevice, took
from storage.layout import SEGMENT_SUFFIX
from storage.recovery import list_segments, recover_store
from storage.retention import held_epochs
from storage.types import SegmentInfo, StoreLimits, epoch_of

NAMES_A_FILE = 10_000  # file systems bound the names of one file: ext4 to 65,000
HOURS_A_RUN = 200  # between two starts of the process


def bench_many(folder: Path, segments: int) -> dict[str, Any]:
    """Figures of a store of so many closed segments, half of reads and half of pictures."""
    device = BenchDevice(folder)
    device.seal(FIRST_US)
    device.store.close()
    root = folder / "store"
    for info in device.store.segments():
        _multiply(info, segments // 2 - 1)
    start = functools.partial(recover_store, root, StoreLimits().max_uncommitted_bytes)
    return {
        "first_start_s_90k": took(start, time.process_time),
        "start_s_90k": took(start, time.process_time),
        "list_s_90k": took(lambda: list_segments(root), time.process_time),
        "deletion_look_s_90k": took(lambda: held_epochs(root, device.keyring), time.process_time),
    }


def _multiply(info: SegmentInfo, hours: int) -> None:
    """The same content under the names of as many later hours."""
    source = info.path
    for number in range(1, hours + 1):
        run, seq = divmod(number, HOURS_A_RUN)
        name = f"{epoch_of(FIRST_US) + number}-{info.kind.value}-{run:016x}-{seq}{SEGMENT_SUFFIX}"
        target = info.path.with_name(name)
        if number % NAMES_A_FILE:
            os.link(source, target)
        else:
            source = Path(shutil.copy(source, target))
