# SPDX-License-Identifier: Apache-2.0
"""Opening at the office, beside what the machine's OpenSSL does in the same minutes."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from storage.bench_seal import SealedHour
from storage.bench_world import MB, SCENE_BYTES
from storage.reader import open_segment
from storage.types import SegmentKind

OPENSSL_BLOCK = 16_384
_SPEED = re.compile(
    r"^\+F:\d+:AES-256-GCM:([0-9.]+)$", re.MULTILINE
)  # of `openssl speed -mr`: bytes a second


def bench_opening(hours: Sequence[SealedHour], openssl_s: int, repeats: int) -> dict[str, Any]:
    """Open each hour's segments; OpenSSL is measured between two of them, so that noise falls on both."""
    speeds, read_rates, blocks, scenes = [], [], [], []
    for number in range(repeats):
        hour = hours[number % len(hours)]
        opened = {info.kind: _open(hour, info.path) for info in hour.segments}
        images, reads = opened[SegmentKind.IMAGES], opened[SegmentKind.READS]
        speeds.append(images.size / images.spent_s)
        read_rates.append(reads.records / reads.spent_s)
        blocks.append(openssl_bytes_per_s(OPENSSL_BLOCK, openssl_s))
        scenes.append(openssl_bytes_per_s(SCENE_BYTES, openssl_s))
    speed, block, scene = median(speeds), _median(blocks), _median(scenes)
    return {
        "open_mb_per_s": speed / MB,
        "open_reads_per_s": median(read_rates),
        "openssl_mb_per_s": block and block / MB,
        "openssl_scene_mb_per_s": scene and scene / MB,
        "open_ratio": block and speed / block,
    }


@dataclass(frozen=True, slots=True)
class _Opened:
    records: int
    size: int  # bytes of payload
    spent_s: float  # of processor time


def _open(hour: SealedHour, path: Path) -> _Opened:
    start, records, size = time.process_time(), 0, 0
    with path.open("rb") as file:
        for _, payload in open_segment(file, share=hour.share, private_key=hour.agency, verify_key=None):
            records += 1
            size += len(payload)
    return _Opened(records, size, time.process_time() - start)


def openssl_bytes_per_s(block: int, seconds: int) -> float | None:
    """AES-256-GCM of `openssl speed` with blocks of so many bytes; None without that program or its answer."""
    program = shutil.which("openssl")
    if program is None:
        return None
    command = [program, "speed", "-mr", "-seconds", str(seconds), "-bytes", str(block), "-evp", "aes-256-gcm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + 10 * seconds, check=False)
    return parse_speed(done.stdout)


def parse_speed(text: str) -> float | None:
    """Bytes a second from the machine-readable output of `openssl speed`; None when it tells none."""
    found = _SPEED.search(text)
    return float(found[1]) if found else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
