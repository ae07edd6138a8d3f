# SPDX-License-Identifier: Apache-2.0
"""What may lie where a segment should: a start, a listing, a check and a deletion get past each of them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from retention_world import evidence, fill, receipts_of, retention
from storage_world import DEVICE_KEY, HOUR, T0, Scripted, World

from storage.errors import WriteFailedError
from storage.fsck import verify_store
from storage.types import EPOCH_US, SegmentKind, StoreLimits

READS, IMAGES = SegmentKind
RUN = "0123456789abcdef"


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(5000))


def empty(path: Path) -> None:
    path.touch()


def huge_header(path: Path) -> None:
    path.write_bytes(b"WAYSEGM\n" + b"\xff" * 70_000)


def long_header(path: Path) -> None:
    path.write_bytes(b"WAYSEGM\n\x00\x01" + (1 << 31).to_bytes(4, "big") + b"{}")


def folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").touch()


def link_to_nowhere(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_what_gives_eio(path: Path) -> None:
    path.symlink_to("/proc/self/mem")  # its first page cannot be read: EIO


OBSTACLES = (
    garbage,
    empty,
    huge_header,
    long_header,
    folder,
    link_to_nowhere,
    link_to_itself,
    pipe,
    link_to_what_gives_eio,
)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("obstacle", OBSTACLES, ids=lambda make: make.__name__)
def test_a_start_gets_past_what_is_no_segment(world: World, obstacle: Callable[[Path], None]) -> None:
    store = world.store()
    store.append(READS, b"good", at_us=T0)
    store.commit()
    world.close()
    for kind in SegmentKind:
        obstacle(world.store_root / kind.value / f"{HOUR}-{kind.value}-{RUN}-0.wseg")
    again = world.store()
    (info,) = again.segments()
    assert world.open(info).records == [b"good"]
    again.append(READS, b"next", at_us=T0)
    again.close()
    assert len(again.segments()) == 2
    report = verify_store(world.store_root, verify_key=DEVICE_KEY.public_key())
    assert len({problem.path for problem in report.problems}) == 2
    assert all(problem.do for problem in report.problems)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("obstacle", OBSTACLES, ids=lambda make: make.__name__)
def test_a_deletion_gets_past_it_too(world: World, obstacle: Callable[[Path], None]) -> None:
    fill(world)
    world.close()
    for kind in SegmentKind:
        obstacle(world.store_root / kind.value / f"{HOUR}-{kind.value}-{RUN}-0.wseg")
    assert len(retention(world).run(evidence())) == 2
    assert [receipt.body.epoch for receipt in receipts_of(world)] == [HOUR, HOUR + 1]
    assert len(world.keyring().epochs()) == 1


@pytest.mark.parametrize("call", ["truncate", "fsync", "replace", "unlink"])
@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS, errno.ENOSPC])
def test_a_recovery_that_the_disk_refuses_stops_no_start(world: World, call: str, error: int) -> None:
    store = world.store()
    for hour in range(2):
        store.append(READS, b"good", at_us=T0 + hour * EPOCH_US)
    store.commit()
    world.close()
    for info in store.segments():
        with info.path.open("ab") as file:
            file.write(b"R\0\0\0\x20" + bytes(10))
    (world.store_root / "reads" / ".left.tmp").touch()

    class Refusing(Scripted):
        def _step(self, name: str) -> None:
            super()._step(name)
            if name == call:
                raise OSError(error, errno.errorcode[error])

    world.store(files=Refusing())
    world.close()
    again = world.store()
    assert [world.open(info).records for info in again.segments()] == [[b"good"], [b"good"]]


def test_an_unreadable_keyring_share_is_a_failed_write(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the disk says, an append raises what its callers count."""
    store = world.store(limits=StoreLimits())

    def share(_epoch: int) -> bytes:
        raise OSError(errno.EROFS, "EROFS")

    monkeypatch.setattr(store._keyring, "share", share)
    with pytest.raises(WriteFailedError):
        store.append(READS, b"x", at_us=T0)
