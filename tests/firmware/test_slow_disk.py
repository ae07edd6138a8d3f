# SPDX-License-Identifier: Apache-2.0
"""A disk whose fsync hangs: plates are read, hits are told, memory is bounded, and nothing is lost without a count."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from firmware.disk_watch import DiskWatch
from firmware.keeper import MAX_WAITING_BYTES
from storage.files import Files
from storage.types import SegmentKind, StoreLimits

from .disk_rig import T0_US, DiskRig, TroubledFiles
from .test_eye import SETTINGS, CountingReader, PacedCamera, QuietVault, _eye, _fed, _told

READS, IMAGES = SegmentKind


@contextmanager
def running(*works: Callable[[], object]) -> Iterator[list[threading.Thread]]:
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    yield threads
    for thread in threads:
        thread.join(20.0)
        assert not thread.is_alive()


def timed(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


@pytest.mark.timeout(30)
def test_reads_and_hits_are_kept_while_a_commit_hangs(tmp_path: Path) -> None:
    """The store's fsync hangs, the outbox's does not: hits are durable meanwhile."""
    files = TroubledFiles()
    rig = DiskRig(tmp_path, files, spool_files=Files())
    rig.see(T0_US)
    rig.commit()
    rig.see(T0_US)
    rig.keeper.work()
    files.flows.clear()
    with running(rig.vault.commit):
        while not rig.vault._committing:
            time.sleep(0.01)

        def a_busy_second() -> None:
            for number in range(20):
                assert rig.see(T0_US, scene=bytes(60_000))
                rig.hit(number)
            rig.keeper.work()

        assert timed(a_busy_second) < 2.0
        assert rig.hits.count() == 20
        assert rig.alerts.owed == 0
        assert rig.vault.waiting_s > 0
        files.flows.set()
    rig.commit()
    assert rig.vault.ack_s > 0
    assert len(rig.reads()) == rig.reader.reads == 22
    assert len(rig.opened(IMAGES)) == 42
    assert rig.vault.lost == 0


@pytest.mark.timeout(30)
def test_a_disk_that_hangs_as_a_whole_delays_neither_the_reader_nor_the_alarm(tmp_path: Path) -> None:
    files = TroubledFiles()
    rig = DiskRig(tmp_path, files)
    rig.see(T0_US)
    rig.commit()
    files.flows.clear()
    with running(lambda: rig.keeper.run(lambda: None)):
        waits = [timed(lambda: rig.see(T0_US)) for _ in range(50)]
        waits += [timed(lambda n=n: rig.hit(n)) for n in range(50)]  # type: ignore[misc]
        assert max(waits) < 1.0
        assert len(rig.announced) == rig.alerts.owed == 50
        time.sleep(0.2)
        assert rig.keeper.waiting_s > 0.1
        assert rig.hits.count() <= 1  # the one whose fsync hangs
        files.flows.set()
        rig.keeper.close()
    rig.vault.commit()
    assert rig.alerts.owed == 0
    assert rig.hits.count() == 50
    assert len(rig.announced) == 50
    assert len(rig.reads()) == 51


@pytest.mark.timeout(60)
def test_a_hang_that_outlasts_the_memory_gives_up_pictures_then_reads_and_counts_each(tmp_path: Path) -> None:
    files = TroubledFiles()
    rig = DiskRig(tmp_path, files)
    rig.see(T0_US)
    rig.commit()
    files.flows.clear()
    scene, most = bytes(1 << 20), 0
    with running(lambda: rig.keeper.run(lambda: None)):
        for _ in range(2):
            for _ in range(100):
                rig.see(T0_US, scene=scene)
                most = max(most, rig.keeper.waiting_bytes)
            time.sleep(0.3)  # the store has taken what it may hold, and hangs
        for _ in range(6000):
            rig.see(T0_US, crop=b"")
        files.flows.set()
        rig.keeper.close()
    rig.vault.commit()
    counted = rig.counted()
    assert MAX_WAITING_BYTES * 0.9 < most <= MAX_WAITING_BYTES + (8 << 20)
    assert counted["given up: pictures, the disk is too slow"] > 100
    assert counted["lost: reads, the disk is too slow"] > 1000
    assert counted["reads"] + counted["lost: reads, the disk is too slow"] == rig.passes
    assert len(rig.reads()) == counted["reads"]
    pictures = 1 + 2 * 200  # crops and scenes of all passes that had any
    assert len(rig.opened(IMAGES)) + counted["given up: pictures, the disk is too slow"] == pictures


@pytest.mark.timeout(30)
def test_memory_of_the_store_is_bounded_while_a_commit_hangs(tmp_path: Path) -> None:
    """An append beyond the bound waits for the commit; it is the sealing thread that waits."""
    files = TroubledFiles()
    limits = StoreLimits(max_uncommitted_bytes=300_000, write_buffer_bytes=50_000)
    rig = DiskRig(tmp_path, files, limits=limits)
    rig.see(T0_US)
    rig.commit()
    files.flows.clear()
    with running(lambda: rig.keeper.run(lambda: None)):
        for _ in range(50):
            rig.see(T0_US, scene=bytes(20_000))
        time.sleep(0.3)
        assert rig.store._uncommitted() <= limits.max_uncommitted_bytes
        assert rig.keeper.waiting_bytes > 0
        files.flows.set()
        rig.keeper.close()
    rig.vault.commit()
    assert len(rig.reads()) == 51


@pytest.mark.timeout(30)
def test_the_eye_reads_on_feeds_the_watchdog_and_tells_while_its_disk_hangs(tmp_path: Path) -> None:
    vault, hangs, feeds = QuietVault(), threading.Event(), list[float]()

    def commit() -> list[Any]:
        vault.waiting_s = 31.0
        hangs.wait(10.0)
        return []

    vault.commit = commit  # type: ignore[method-assign]
    reader = CountingReader()
    threading.Timer(1.5, hangs.set).start()
    disk = DiskWatch(tmp_path, free_bytes=lambda _root: 1 << 40)
    told: list[str] = []
    stop = threading.Event()
    threading.Timer(1.2, stop.set).start()
    eye = _eye(
        PacedCamera([]),
        reader,
        vault,
        feed=lambda stalled: _fed(feeds, stalled),
        lossless=False,
        disk=disk,
        report=lambda finding: told.append(f"{finding.part} {finding.code}"),
    )
    eye.run(stop)
    assert reader.frames > 3
    assert len(feeds) > 5
    assert "disk slow" in told
    assert "eye stalled" not in told


@pytest.mark.timeout(30)
def test_a_disk_that_hangs_for_minutes_starves_the_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware.eye.DISK_PATIENCE_S", 0.3)
    monkeypatch.setattr("firmware.eye.END_S", 0.5)
    vault, hangs = QuietVault(), threading.Event()

    def commit() -> list[Any]:
        hangs.wait(5.0)
        return []

    vault.commit = commit  # type: ignore[method-assign]
    settings = SETTINGS.model_copy(update={"stall_limit_s": 0.3})
    told = _told(PacedCamera([]), vault, 1.2, lossless=False, settings=settings)
    hangs.set()
    (stalled,) = [change.finding for change in told if change.finding.code == "stalled"]
    assert "commit" in stalled.advice
    assert vault.closed == 0  # it hangs still: the end does not wait for it
