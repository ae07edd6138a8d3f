# SPDX-License-Identifier: Apache-2.0
"""A disk that breaks or goes read-only under the eye: it reads and alarms on, counts, and goes on by itself."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.audit import SET_ASIDE, read_entries
from storage.errors import StorageError, TooLargeError, WriteFailedError
from storage.fsck import verify_store
from storage.layout import RECEIPTS_FILE
from storage.receipt_file import read_receipts
from storage.types import SegmentKind

from .disk_rig import HOUR_US, T0_US, DiskRig, TroubledFiles

READS, IMAGES = SegmentKind
LOST = "lost: reads the disk refused"


def refused(rig: DiskRig, now_us: int = T0_US) -> int:
    """One round of the disk's thread; how many parts of it were refused."""
    count = 0
    for work in (
        rig.vault.commit,
        lambda: rig.vault.tend(rig.evidence(now_us)),
        lambda: rig.vault.make_room(now_us),
        rig.alerts.retry_owed,
        rig.keeper.work,
    ):
        try:
            work()
        except StorageError:
            count += 1
    return count


@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS, errno.ENOSPC])
def test_while_nothing_can_be_written_hits_are_told_and_owed_and_reads_are_counted(
    tmp_path: Path, error: int
) -> None:
    files = TroubledFiles()
    rig = DiskRig(tmp_path, files)
    rig.see(T0_US)
    rig.commit()
    files.refuse = error
    for number in range(30):
        rig.see(T0_US + (HOUR_US if number % 2 else 0))
        rig.hit(number)
        refused(rig)
    assert len(rig.announced) == 30
    assert rig.alerts.owed == 30
    assert rig.hits.count() == 0
    files.refuse = None
    assert refused(rig) == 0
    assert rig.alerts.owed == 0
    assert rig.hits.count() == 30
    rig.see(T0_US + HOUR_US)
    rig.commit()
    rig.vault.close()
    counted, kept = rig.counted(), len(rig.reads())
    lost = counted.get("lost: reads on a broken part of the disk", 0)
    assert counted["reads"] + counted.get(LOST, 0) == rig.passes == 32
    assert kept == counted["reads"] - lost
    assert lost == 0 if error == errno.ENOSPC else lost > 0
    assert verify_store(rig.layout.store, verify_key=rig.signer.public_key()).ok


def test_a_bad_sector_costs_its_segment_and_the_rest_goes_on_in_a_new_one(tmp_path: Path) -> None:
    files = TroubledFiles()
    rig = DiskRig(tmp_path, files)
    rig.see(T0_US)
    rig.commit()
    for _ in range(5):
        rig.see(T0_US)
    rig.keeper.work()
    files.refuse, files.refused_calls = errno.EIO, ("fsync",)
    with pytest.raises(WriteFailedError):
        rig.vault.commit()
    files.refuse = None
    for _ in range(4):
        rig.see(T0_US)
    rig.commit()
    rig.vault.close()
    counted = rig.counted()
    lost = counted.get("lost: reads on a broken part of the disk", 0)
    assert rig.vault.lost in {5, 10}  # the reads, the pictures or both
    assert counted["reads"] == 10
    assert len(rig.reads()) >= 10 - lost  # what was written and not acknowledged may still be there
    assert {read.read_id for read in rig.reads()} >= {"r1", "r7", "r8", "r9", "r10"}


def test_an_image_segment_that_breaks_costs_no_read(tmp_path: Path) -> None:
    files = TroubledFiles()
    rig = DiskRig(tmp_path, files)
    rig.see(T0_US)
    rig.commit()
    create = files.create

    def no_images(path: Path, mode: int = 0o600) -> int:
        if path.parent.name == "images":
            raise OSError(errno.EIO, "EIO")
        return create(path, mode)

    files.create = no_images  # type: ignore[method-assign]
    rig.see(T0_US + HOUR_US)
    rig.commit()
    first, second = rig.reads()
    assert first.images is not None
    assert second.images is not None
    assert first.images.crop_ref is not None
    assert second.images.crop_ref is None
    assert rig.counted()["lost: pictures the disk refused"] == 1
    assert LOST not in rig.counted()


def test_a_record_that_meets_a_broken_segment_is_put_into_a_new_one(tmp_path: Path) -> None:
    files = TroubledFiles()
    rig = DiskRig(tmp_path, files)
    write, left = files.write, [1]

    def one_bad_write(fd: int, data: bytes | memoryview) -> int:
        if left and left.pop():
            raise OSError(errno.EIO, "EIO")
        return write(fd, data)

    files.write = one_bad_write  # type: ignore[method-assign]
    rig.see(T0_US, crop=bytes(2 << 20))  # over the store's buffer: written at once, and refused
    rig.commit()
    read = rig.reads()[-1]
    assert read.images is not None
    assert read.images.crop_ref is not None
    assert len(rig.opened(IMAGES)) == 1
    assert LOST not in rig.counted()


def test_hits_beyond_the_bound_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware.alerts.MAX_OWED", 50)
    files = TroubledFiles()
    rig = DiskRig(tmp_path, files)
    files.refuse = errno.EROFS
    for number in range(55):
        rig.hit(number)
    assert len(rig.announced) == 55
    assert (rig.alerts.owed, rig.counted()["lost: hits owed beyond the bound"]) == (50, 5)
    files.refuse = None
    rig.keeper.work()
    assert rig.hits.count() == 50


def test_a_hit_that_the_outbox_never_takes_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = DiskRig(tmp_path)
    put = rig.hits.put

    def picky(item_id: str, body: bytes, *, kind: str) -> bool:
        if item_id.endswith("0"):
            raise TooLargeError("item is over the bound: split it")
        return put(item_id, body, kind=kind)

    monkeypatch.setattr(rig.hits, "put", picky)
    rig.hit(0)
    rig.hit(1)
    rig.keeper.work()
    assert (rig.alerts.owed, rig.hits.count(), len(rig.announced)) == (0, 1, 2)
    assert rig.counted()["lost: hits that the outbox does not take"] == 1


# --- real file systems ---


def mounted(folder: Path, options: str) -> None:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("a file system can only be mounted as root")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    mounted(folder, "size=40m,mode=700")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def test_a_disk_that_is_remounted_read_only_and_back(disk: Path) -> None:
    rig = DiskRig(disk / "data")
    rig.see(T0_US)
    rig.commit()
    rig.store.close_epochs([T0_US // HOUR_US])  # or the open files would forbid the remount
    remount(disk, "ro")
    for number in range(10):
        rig.see(T0_US + HOUR_US)
        rig.hit(number)
        refused(rig)
    assert len(rig.announced) == rig.alerts.owed == 10
    remount(disk, "rw")
    assert refused(rig) == 0
    rig.see(T0_US + HOUR_US)
    rig.commit()
    rig.vault.close()
    counted = rig.counted()
    assert (rig.alerts.owed, rig.hits.count()) == (0, 10)
    assert counted[LOST] == 10
    assert len(rig.reads()) == counted["reads"] == rig.passes - 10 == 2
    assert verify_store(rig.layout.store, verify_key=rig.signer.public_key()).ok


def test_an_audit_log_that_goes_bad_keeps_no_hour_from_being_deleted(tmp_path: Path) -> None:
    rig = DiskRig(tmp_path, policy_s=3600)
    assert refused(rig) == 0  # the time is agreed before the first read: its hour goes by its name
    for hour in range(4):
        rig.see(T0_US + hour * HOUR_US)
        rig.commit()
    rig.audit.append("x", {})
    with rig.layout.audit.open("ab") as file:
        file.write(b"\xff" * 200_000)  # what a bad card makes of its end
    assert refused(rig, T0_US + 6 * HOUR_US) == 0
    assert rig.keyring.epochs() == []
    assert len(read_receipts(rig.layout.retention / RECEIPTS_FILE)) == 4
    assert [entry.event for entry in read_entries(rig.layout.audit)] == [SET_ASIDE, *["epoch_erased"] * 4]
