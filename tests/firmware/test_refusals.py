# SPDX-License-Identifier: Apache-2.0
"""What health says of a disk that refuses some kinds of work: it is told, steadily, and only if it is the disk."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from firmware.disk_watch import DiskWatch
from firmware.health import Health
from firmware.sealing import _Waiting
from storage.audit import AuditDamagedError
from storage.errors import (
    DiskFullError,
    KeyringBusyError,
    RootOfTrustBusyError,
    RootOfTrustError,
    StorageError,
    WriteFailedError,
)
from storage.root_of_trust import RootOfTrust
from storage.root_watched import WatchedRoot

from .disk_rig import HOUR_US, T0_US, DiskRig, TroubledFiles
from .test_eye import CountingReader, FakeCamera, _eye

PLENTY = 1 << 40


class Watched:
    """A rig, the eye around its vault and keeper, and what its health was told."""

    def __init__(
        self, folder: Path, rig: DiskRig, tend: Callable[[], None] = lambda: None, free: int = PLENTY
    ) -> None:
        vault: Any = rig.vault
        self.rig = rig
        self.eye = _eye(FakeCamera([]), CountingReader(), vault, keeper=rig.keeper, tend=tend)
        self.disk = DiskWatch(folder, free_bytes=lambda _root: free)
        self.told: list[str] = []
        self.health = Health(lambda change: self.told.append(change.finding.code))
        self.turn()

    def turn(self) -> None:
        """One turn of the eye's threads for the disk, and a look at it."""
        self.rig.keeper.work()
        self.eye._commit()
        self.health.report(self.disk.finding(self.eye._disk_news()), T0_US)

    @property
    def code(self) -> str:
        found = self.health.of("disk")
        assert found is not None
        return found.code


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("call", ["create", "link"])
def test_a_disk_that_takes_no_new_files_is_told(tmp_path: Path, error: int, call: str) -> None:
    """No inode is left though many bytes are, or a folder is broken: nothing gets as far as a commit."""
    files = TroubledFiles()
    rig = DiskRig(tmp_path, files)
    watched = Watched(tmp_path, rig)
    files.refuse, files.refused_calls = error, (call,)
    for number in range(5):
        rig.see(T0_US + number)
        rig.hit(number)
        watched.turn()
        rig.alerts.retry_owed()
    assert watched.told == ["full" if error == errno.ENOSPC else "refused"]
    assert rig.alerts.owed == 5
    files.refuse = None
    rig.see(T0_US + 10)
    for _ in range(2):
        watched.turn()
    assert watched.told[1:] == [""]
    assert (rig.alerts.owed, rig.hits.count()) == (0, 5)


def test_a_refusal_of_one_kind_of_work_is_told_until_that_kind_is_done(tmp_path: Path) -> None:
    """Deletion is due each 30 s and commits each second: that the others succeed says nothing of it."""
    rig = DiskRig(tmp_path)
    turns = [0]
    errors: list[StorageError] = []

    def run(_now: object) -> list[object]:
        if errors:
            raise errors[0]
        return []

    rig.retention.run = run  # type: ignore[method-assign, assignment]

    def tend() -> None:
        turns[0] += 1
        if turns[0] % 25 == 1:
            rig.vault.tend(rig.evidence(T0_US))

    watched = Watched(tmp_path, rig, tend)
    errors.append(WriteFailedError("cannot write the keyring: check the disk"))
    for _ in range(100):
        rig.see(T0_US)
        watched.turn()
    assert watched.told == ["refused"]
    errors.clear()
    for _ in range(30):
        watched.turn()
    assert watched.told == ["refused", ""]


@pytest.mark.parametrize(
    "error",
    [
        RootOfTrustError("the TPM is in failure mode"),
        RootOfTrustBusyError("the TPM does not answer"),
        KeyringBusyError("held by another process"),
        AuditDamagedError("does not end in a whole entry"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_the_disks_fault_does_not_have_the_disk_replaced(
    tmp_path: Path, error: StorageError
) -> None:
    rig = DiskRig(tmp_path)

    def fails(*_: object, **__: object) -> None:
        raise error

    watched = Watched(tmp_path, rig, lambda: (rig.vault.tend(rig.evidence(T0_US)), None)[1])
    rig.retention.run = fails  # type: ignore[method-assign, assignment]
    rig.keyring.share = fails  # type: ignore[method-assign, assignment]
    for _ in range(10):
        rig.see(T0_US + HOUR_US)
        watched.turn()
    assert watched.told == []


def test_too_little_room_for_pictures_is_no_refusal(tmp_path: Path) -> None:
    files = TroubledFiles()
    rig = DiskRig(tmp_path, files)
    watched = Watched(tmp_path, rig)
    files.refuse, files.refused_calls = errno.ENOSPC, ("create",)
    rig.see(T0_US)
    watched.turn()
    assert watched.told == ["full"]
    files.refuse = None
    rig.store._free_bytes = lambda _root: 40 << 20
    watched.disk._free_bytes = lambda _root: 40 << 20
    rig.see(T0_US)
    watched.turn()
    assert watched.told == ["full", "nearly_full"]


class OnceBusy:
    """A root of trust that does not answer some calls."""

    def __init__(self, root: RootOfTrust) -> None:
        self._root = root
        self.fails = 0

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._root, name)
        if not callable(value):
            return value

        def call(*args: object) -> object:
            if self.fails:
                self.fails -= 1
                raise RootOfTrustBusyError("the TPM did not answer")
            return value(*args)

        return call


def test_reads_wait_while_the_root_of_trust_does_not_answer(tmp_path: Path) -> None:
    """One call of it fails as an hour begins, and it is left alone for half a minute: that costs no read."""
    rig = DiskRig(tmp_path)
    now = [0.0]
    once: Any = OnceBusy(rig.keyring._root)
    rig.keyring._root = WatchedRoot(once, lambda: now[0])
    watched = Watched(tmp_path, rig)
    rig.see(T0_US)
    watched.turn()
    once.fails = 1
    for number in range(35):
        now[0] += 1
        rig.see(T0_US + HOUR_US + number)
        rig.hit(number)
        watched.turn()
        assert rig.hits.count() == number + 1  # a hit does not wait behind them
    rig.vault.close()
    assert len(rig.reads()) == rig.counted()["reads"] == rig.passes == 36
    assert not [what for what in rig.counted() if what.startswith("lost")]
    assert watched.told == []


def test_reads_that_wait_for_the_root_of_trust_until_the_end_are_counted(tmp_path: Path) -> None:
    rig = DiskRig(tmp_path)
    rig.see(T0_US)
    rig.commit()
    once: Any = OnceBusy(rig.keyring._root)
    rig.keyring._root = once
    once.fails = 1000
    for _ in range(3):
        rig.see(T0_US + HOUR_US)
    rig.keeper.work()
    assert rig.keeper.waiting_reads == 3
    rig.keeper.close()
    rig.keeper.run(lambda: None)
    assert rig.counted()["lost: reads that could not be sealed"] == 3
    assert rig.counted()["reads"] == 1


def test_a_full_disk_is_told_as_full_whichever_work_meets_it(tmp_path: Path) -> None:
    rig = DiskRig(tmp_path)
    watched = Watched(tmp_path, rig)
    rig.store.commit = lambda: (_ for _ in ()).throw(DiskFullError("no space"))  # type: ignore[method-assign]
    rig.see(T0_US)
    watched.turn()
    assert (watched.code, watched.told) == ("full", ["full"])
    assert SimpleNamespace(**rig.vault.refusals()).commit is True


def test_records_that_a_refusal_kept_waiting_do_not_make_the_disk_slow(tmp_path: Path) -> None:
    rig = DiskRig(tmp_path)
    watched = Watched(tmp_path, rig)
    commit = rig.store.commit
    rig.store.commit = lambda: (_ for _ in ()).throw(DiskFullError("no space"))  # type: ignore[method-assign]
    rig.see(T0_US)
    watched.turn()
    rig.vault._waiting = [_Waiting(item.record, item.since_s - 300) for item in rig.vault._waiting]
    watched.turn()
    rig.store.commit = commit  # type: ignore[method-assign]
    watched.turn()
    assert rig.vault.ack_s > 299
    assert watched.told == ["full", ""]
