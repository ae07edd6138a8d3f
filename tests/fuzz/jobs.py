# SPDX-License-Identifier: Apache-2.0
"""Several targets at the same time, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.fuzz.engine import Report, fuzz
from tests.fuzz.targets import TARGETS


def run(name: str, inputs: int, seed: int) -> Report:
    """One target by its name."""
    return fuzz(TARGETS[name], inputs, seed)


def reports(names: Sequence[str], inputs: int, seed: int, jobs: int) -> Iterator[Report]:
    """Each target's report, as they end."""
    if jobs == 1:
        yield from (run(name, inputs, seed) for name in names)
        return
    with ProcessPoolExecutor(jobs, max_tasks_per_child=1) as pool:
        for done in as_completed([pool.submit(run, name, inputs, seed) for name in names]):
            yield done.result()
