# SPDX-License-Identifier: Apache-2.0
"""Sealing at full speed, and the memory of the process meanwhile."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from storage.bench_world import FIRST_US, MB, PAYLOAD_BYTES, BenchDevice
from storage.types import EPOCH_US, SegmentInfo, epoch_of

COMMIT_EVERY_S = 1.0
SAMPLES = 50  # of memory, over the growth of a segment


@dataclass(frozen=True, slots=True)
class SealedHour:
    """Closed segments of one hour, and what opens them."""

    segments: list[SegmentInfo]
    share: bytes
    agency: EllipticCurvePrivateKey


def bench_sealing(folder: Path, size: int, repeats: int) -> tuple[dict[str, Any], list[SealedHour]]:
    """Seal `size` bytes of payload into an hour's segments, in `repeats` hours; the figures and the hours."""
    device = BenchDevice(folder)
    reads = max(1, size // PAYLOAD_BYTES)
    rates, growth = [], 0.0
    for hour in range(repeats):
        rate, grown = _seal(device, reads, FIRST_US + hour * EPOCH_US)
        rates.append(rate)
        growth = max(growth, grown)
    device.store.close()
    on_disk = sum(info.size for info in device.store.segments()) / (reads * repeats)
    figures = {
        "sealed_reads_per_s": median(rates),
        "bytes_per_read": on_disk,
        "overhead_ratio": on_disk / PAYLOAD_BYTES - 1,
        "rss_growth_mb": growth,
    }
    return figures, [_hour(device, epoch_of(FIRST_US) + hour) for hour in range(repeats)]


def _hour(device: BenchDevice, epoch: int) -> SealedHour:
    segments = [info for info in device.store.segments() if info.epoch == epoch]
    return SealedHour(segments, device.keyring.share(epoch), device.agency)


def _seal(device: BenchDevice, reads: int, at_us: int) -> tuple[float, float]:
    """Reads a second, and MB that the process grew from a fifth of the way on."""
    sample_every = max(1, reads // SAMPLES)
    first, most = None, 0
    start = committed = time.perf_counter()
    for number in range(reads):
        device.seal(at_us)
        if time.perf_counter() - committed >= COMMIT_EVERY_S:
            device.store.commit()
            committed = time.perf_counter()
        if number % sample_every == 0 and number >= reads // 5:
            most = max(most, _rss_bytes())
            first = first or most
    device.store.commit()
    return reads / (time.perf_counter() - start), (most - (first or most)) / MB


def _rss_bytes() -> int:
    """Memory of this process that is in RAM now, from /proc."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
