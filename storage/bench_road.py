# SPDX-License-Identifier: Apache-2.0
"""A busy road with group commits: what is synced and written, and how long a read waits to be durable.

The road's time is counted, not waited for: a read's wait for its commit is by that time, the commit's own duration
by the clock.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles
from typing import Any

from storage.audit import AuditLog
from storage.bench_world import FIRST_US, BenchDevice, CountingFiles
from storage.retention import Retention, RetentionPolicy
from storage.spool import Spool
from storage.types import TimeEvidence

ROAD_READS_PER_S = 20
COMMIT_EVERY_S = 1.2  # the eye's default
RETENTION_EVERY_S = 30  # the eye's default
HALF_A_READ_S = 0.5 / ROAD_READS_PER_S  # times are sums of fractions: close enough is due
POLICY = RetentionPolicy(30 * 86_400, "bench")
HIT_BYTES = 20_000
SOURCES = ("gnss", "office")


def bench_road(folder: Path, seconds: int) -> dict[str, Any]:
    """Seal a road's reads for so many of its seconds; syncs, bytes and waits."""
    device = BenchDevice(folder)
    road_s = 0.0
    retention = make_retention(device, lambda: int(road_s * 1e9))
    syncs_before, bytes_before, disk_before = device.files.syncs, device.files.written, _disk_bytes()
    acks: list[float] = []
    arrived: list[float] = []
    committed_s = tended_s = 0.0
    reads = seconds * ROAD_READS_PER_S
    for number in range(reads):
        road_s = number / ROAD_READS_PER_S
        if road_s - committed_s >= COMMIT_EVERY_S - HALF_A_READ_S:
            start = time.perf_counter()
            device.store.commit()
            spent = time.perf_counter() - start
            acks += [road_s - at + spent for at in arrived]
            arrived, committed_s = [], road_s
        if road_s - tended_s >= RETENTION_EVERY_S:
            retention.run(evidence(road_s))
            tended_s = road_s
        device.seal(FIRST_US + int(road_s * 1e6))
        arrived.append(road_s)
    device.store.close()
    cuts = quantiles(acks, n=100)
    disk = _disk_bytes()
    return {
        "fsyncs_per_s": (device.files.syncs - syncs_before) / seconds,
        "ack_ms_p50": cuts[49] * 1e3,
        "ack_ms_p95": cuts[94] * 1e3,
        "bytes_written_per_read": (device.files.written - bytes_before) / reads,
        "disk_bytes_per_read": (disk - disk_before) / reads if disk and disk_before is not None else None,
    }


def evidence(after_s: float) -> TimeEvidence:
    """What two sources that agree say so long after the first record."""
    return TimeEvidence(FIRST_US + int(after_s * 1e6), 1000, SOURCES)


def make_retention(device: BenchDevice, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> Retention:
    """The deletion of a bench's device, with its audit log."""
    return Retention(
        device.folder / "store",
        device.folder / "retention",
        keyring=device.keyring,
        policy=POLICY,
        signer=device.signer,
        device_id="bench",
        audit=AuditLog.open(device.folder / "audit.jsonl", device.signer, files=device.files),
        store=device.store,
        monotonic_ns=monotonic_ns,
        files=device.files,
    )


def bench_hit(folder: Path) -> dict[str, Any]:
    """Syncs of one hit that is put into the outbox and acknowledged."""
    files = CountingFiles()
    spool = Spool.open(folder, files=files)
    before = files.syncs
    spool.put("hit-1", bytes(HIT_BYTES), kind="hit")
    spool.ack("hit-1")
    return {"syncs_per_hit": files.syncs - before}


def _disk_bytes() -> int | None:
    """Bytes that this process caused to be sent to a disk, by the kernel's count; None where it keeps none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
    return None
