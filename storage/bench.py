# SPDX-License-Identifier: Apache-2.0
"""`wayside bench store`: what sealing, opening, recovering and deleting cost on this machine, through the real store.

One core; the payload is a read of 200 bytes with a crop of 8 KB and a scene of 60 KB, drawn from a seed. What each
figure means stands in docs/bench-store.md.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.bench_end import bench_deletion, bench_keyring, bench_recovery
from storage.bench_many import bench_many
from storage.bench_open import bench_opening
from storage.bench_road import bench_hit, bench_road
from storage.bench_seal import bench_sealing

Figures = dict[str, Any]
GOALS = {  # at least, at most
    "sealed_reads_per_s": (300, None),
    "overhead_ratio": (None, 0.03),
    "fsyncs_per_s": (None, 2),
    "open_mb_per_s": (500, None),
    "open_ratio": (0.5, None),
    "recovery_s_per_gb": (None, 1),
    "delete_epoch_s": (None, 1),
    "rss_growth_mb": (None, 8),
}


@dataclass(frozen=True, slots=True)
class BenchSizes:
    """How much is measured; the figures that are told are those of the defaults."""

    repeats: int = 3
    segment_bytes: int = 200_000_000  # of payload in the segment that grows
    road_s: int = 300
    crashed_bytes: int = 128_000_000
    epoch_records: int = 100_000
    keyring_epochs: int = 5 * 366 * 24
    many_segments: int = 90_000
    openssl_s: int = 1


def bench_store(folder: Path, sizes: BenchSizes = BenchSizes()) -> Figures:
    """All figures, and in `goals_missed` the names of those that fall short. Writes some 800 MB below `folder`."""
    parts = (
        ("seal", lambda at: _sealing_and_opening(at, sizes)),
        ("road", lambda at: bench_road(at, sizes.road_s)),
        ("hit", bench_hit),
        ("crash", lambda at: bench_recovery(at, sizes.crashed_bytes, sizes.repeats)),
        ("delete", lambda at: bench_deletion(at, sizes.epoch_records, sizes.repeats)),
        ("many", lambda at: bench_many(at, sizes.many_segments)),
        ("keyring", lambda at: bench_keyring(at, sizes.keyring_epochs, sizes.repeats)),
    )
    figures: Figures = {}
    with _one_core():
        for name, measure in parts:
            figures |= measure(folder / name)
            shutil.rmtree(folder / name)
    return {**figures, "goals_missed": missed(figures)}


def missed(figures: Figures) -> list[str]:
    """Names of the figures that are not within their goal; one that was not measured (None) is no miss."""
    out = []
    for name, (least, most) in GOALS.items():
        value = figures[name]
        if value is not None and not (least or value) <= value <= (value if most is None else most):
            out.append(name)
    return out


def _sealing_and_opening(folder: Path, sizes: BenchSizes) -> Figures:
    sealed, hours = bench_sealing(folder, sizes.segment_bytes, sizes.repeats)
    return sealed | bench_opening(hours, sizes.openssl_s, sizes.repeats)


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
