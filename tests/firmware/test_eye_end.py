# SPDX-License-Identifier: Apache-2.0
"""How the eye ends: what waits is still written, what never will be is counted, and the first failure is told."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from firmware.health import Finding, well
from firmware.keeper import Rank
from storage.errors import StorageError

from .disk_rig import T0_US, DiskRig, TroubledFiles
from .test_eye import CountingReader, FakeCamera, PacedCamera, QuietVault, _eye, _frame


def poison() -> None:
    raise ValueError("a fault of our own")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("rank", [Rank.URGENT, Rank.READ])
def test_a_job_that_fails_as_nobody_thought_ends_the_eye_and_costs_nothing_else(
    tmp_path: Path, rank: Rank
) -> None:
    rig, reader = DiskRig(tmp_path), CountingReader()
    vault: Any = rig.vault
    rig.keeper(poison, rank)
    for number in range(20):
        rig.see(T0_US + number)
        rig.hit(number)
    rig.keeper(poison, rank)
    eye = _eye(PacedCamera([]), reader, vault, lossless=False, keeper=rig.keeper)
    with pytest.raises(ValueError, match="our own"):
        eye.run(threading.Event())
    assert (rig.hits.count(), rig.alerts.owed, rig.keeper.waiting_bytes) == (20, 0, 0)
    assert len(rig.reads()) == rig.counted()["reads"] == 20
    assert reader.flushed == 1  # what was in sight is sealed too: the nets did not fail


def test_a_read_that_fails_as_nobody_thought_is_counted(tmp_path: Path) -> None:
    rig = DiskRig(tmp_path)
    rig.see(T0_US)
    rig.store.append = lambda *_, **__: poison()  # type: ignore[method-assign, assignment]
    with pytest.raises(ValueError, match="our own"):
        rig.keeper.work()
    assert rig.counted()["lost: reads that could not be sealed"] == 1


@pytest.mark.timeout(30)
def test_a_fault_of_the_watching_thread_costs_nothing_that_waits(tmp_path: Path) -> None:
    rig = DiskRig(tmp_path)
    vault: Any = rig.vault

    def feed(_stalled: Sequence[str]) -> Finding:
        rig.see(T0_US)
        rig.hit(1)
        poison()
        return well("watchdog")

    with pytest.raises(ValueError, match="our own"):
        _eye(PacedCamera([]), CountingReader(), vault, feed=feed, lossless=False, keeper=rig.keeper).run(
            threading.Event()
        )
    assert (rig.hits.count(), len(rig.reads())) == (1, 1)


@pytest.mark.timeout(30)
def test_a_disk_that_refuses_at_the_end_does_not_hide_what_ended_the_eye(tmp_path: Path) -> None:
    files = TroubledFiles()
    rig = DiskRig(tmp_path, files)
    vault: Any = rig.vault
    rig.see(T0_US)
    rig.keeper.work()
    files.refuse, files.refused_calls = errno.EIO, ("write", "fsync")
    reader = CountingReader(RuntimeError("what really ended it"))
    with pytest.raises(RuntimeError, match="really"):
        _eye(FakeCamera([_frame(1)]), reader, vault, keeper=rig.keeper).run(threading.Event())


def test_segments_are_closed_though_the_last_commit_is_refused(tmp_path: Path) -> None:
    rig = DiskRig(tmp_path)
    rig.see(T0_US)
    rig.keeper.work()

    def refused() -> None:
        raise StorageError("not now")

    rig.store.commit = refused  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="not now"):
        rig.vault.close()
    assert rig.store.growing() == frozenset()
    assert len(rig.reads()) == 1


@pytest.mark.timeout(30)
def test_reads_that_wait_while_the_disk_hangs_at_the_end_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware.eye.END_S", 0.3)
    rig, hangs = DiskRig(tmp_path), threading.Event()
    vault: Any = QuietVault()
    rig.keeper(lambda: (hangs.wait(10.0), None)[1], Rank.READ)
    for number in range(4):
        rig.see(T0_US + number)
    eye = _eye(FakeCamera([_frame(1)]), CountingReader(), vault, keeper=rig.keeper)
    eye.run(threading.Event())
    assert eye.dropped()["lost: reads, the disk hung at the end"] == 5
    assert vault.closed == 0
    hangs.set()
    time.sleep(0.05)
