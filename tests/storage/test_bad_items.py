# SPDX-License-Identifier: Apache-2.0
"""Bad sectors under the outbox and the audit log: one item that cannot be read does not stop the others.

`/proc/self/mem` gives a real EIO: its first page cannot be read.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from storage_world import DEVICE_KEY, HOUR, T0, Scripted

from storage import audit as audit_module
from storage.audit import CHECKPOINT, SET_ASIDE, AuditLog, read_entries, verify_audit
from storage.errors import AuditDamagedError, ItemDamagedError, WriteFailedError
from storage.receipt_file import BLOCK_BYTES, ReceiptFile
from storage.receipts import ErasedSegment, ReceiptBody
from storage.spool import EARLIEST_US, Spool

PUBLIC = DEVICE_KEY.public_key()


def spoil(path: Path) -> None:
    path.unlink()
    path.symlink_to("/proc/self/mem")
    with path.open("rb") as file, pytest.raises(OSError, match="Input/output"):
        file.read(1)


@pytest.fixture
def box(tmp_path) -> Spool:
    box = Spool.open(tmp_path)
    for name in ("a", "b", "c"):
        box.put(name, name.encode(), kind="hit")
    return box


def test_the_others_are_sent_and_the_bad_one_is_set_aside(box, tmp_path) -> None:
    spoil(tmp_path / "pending" / "b")
    assert sorted(item.id for item in box.pending()) == ["a", "c"]
    assert [(item.id, item.reason) for item in box.quarantined()] == [("b", "the disk cannot read it")]
    assert box.read("c") == b"c"


def test_an_item_that_goes_bad_while_it_is_read_is_told(box, tmp_path) -> None:
    spoil(tmp_path / "pending" / "b")
    with pytest.raises(ItemDamagedError, match="the disk cannot read it"):
        box.read("b")
    assert box.quarantined_count() == 1


def test_on_a_disk_that_takes_no_writes_the_others_are_sent_all_the_same(box, tmp_path) -> None:
    spoil(tmp_path / "pending" / "b")
    box._files = Scripted(dict.fromkeys(range(100), errno.EROFS))
    assert sorted(item.id for item in box.pending()) == ["a", "c"]
    assert box.count() == 3  # it still waits


def test_the_others_expire_too(box, tmp_path) -> None:
    spoil(tmp_path / "pending" / "b")
    assert box.expire(lambda queued_us: queued_us > EARLIEST_US) == ["a", "b", "c"]


def test_another_error_is_no_reason_to_set_an_item_aside(box, tmp_path) -> None:
    (tmp_path / "pending" / "b").unlink()
    (tmp_path / "pending" / "b").mkdir()
    with pytest.raises(WriteFailedError):
        box.read("b")
    assert box.quarantined_count() == 0


def filled(path: Path) -> None:
    log = AuditLog.open(path, DEVICE_KEY)
    for n in range(5):
        log.append("opened", {"n": n})


def unreadable(monkeypatch, path: Path) -> None:
    """The end of this one file gives EIO. No symlink here: an append would write into this process's memory."""
    reads = audit_module._read_head
    inode = path.stat().st_ino

    def bad(at: Path, size: int):
        if at.stat().st_ino == inode:
            raise OSError(errno.EIO, "EIO")
        return reads(at, size)

    monkeypatch.setattr(audit_module, "_read_head", bad)


@pytest.mark.parametrize("how", ["unreadable", "damaged"])
def test_a_log_that_cannot_be_continued_is_set_aside_and_a_new_one_begins(tmp_path, monkeypatch, how) -> None:
    path = tmp_path / "audit.jsonl"
    filled(path)
    if how == "damaged":
        path.write_bytes(bytes(200_000))
    else:
        unreadable(monkeypatch, path)
    before = path.read_bytes()
    with pytest.raises((AuditDamagedError, WriteFailedError)):
        AuditLog.open(path, DEVICE_KEY)
    AuditLog.open_or_begin(path, DEVICE_KEY).append("started", {})
    first, second = read_entries(path)
    assert (first.event, second.event) == (SET_ASIDE, "started")
    assert (tmp_path / first.fields["file"]).read_bytes() == before
    assert verify_audit(path, PUBLIC).ok
    AuditLog.open_or_begin(path, DEVICE_KEY).append("again", {})
    assert len(list(tmp_path.glob("*.damaged"))) == 1


@pytest.mark.parametrize("how", ["unreadable", "damaged"])
def test_a_log_that_goes_bad_while_services_write_it_is_set_aside_once(tmp_path, monkeypatch, how) -> None:
    path = tmp_path / "audit.jsonl"
    filled(path)
    eye, sync = (AuditLog.open_or_begin(path, DEVICE_KEY) for _ in range(2))
    strict = AuditLog.open(path, DEVICE_KEY)
    with path.open("ab") as file:  # what a bad card makes of the end of a log
        file.write(os.urandom(200_000).replace(b"\n", b"x"))
    if how == "unreadable":
        unreadable(monkeypatch, path)
    before = path.read_bytes()
    with pytest.raises((AuditDamagedError, WriteFailedError)):
        strict.append("more", {})
    eye.append("epoch_erased", {})
    assert sync.signed_head().n == 1
    sync.checkpoint()
    assert [entry.event for entry in read_entries(path)] == [SET_ASIDE, "epoch_erased", CHECKPOINT]
    assert verify_audit(path, PUBLIC).ok
    (aside,) = tmp_path.glob("*.damaged")
    assert aside.read_bytes() == before


def test_a_log_whose_end_the_disk_cannot_write_is_read_again(tmp_path, monkeypatch) -> None:
    """An append into a block that cannot be read fails; the size, which is what others change, stays as it was."""
    path = tmp_path / "audit.jsonl"
    filled(path)
    files = Scripted()
    log = AuditLog.open_or_begin(path, DEVICE_KEY, files=files)
    unreadable(monkeypatch, path)
    files.plan = {len(files.calls): errno.EIO}
    with pytest.raises(WriteFailedError):
        log.append("x", {})
    assert log.append("y", {}).n == 1
    assert [entry.event for entry in read_entries(path)] == [SET_ASIDE, "y"]


def test_a_sound_log_is_continued(tmp_path) -> None:
    filled(tmp_path / "audit.jsonl")
    AuditLog.open_or_begin(tmp_path / "audit.jsonl").append("more", {})
    assert verify_audit(tmp_path / "audit.jsonl").entries == 6


def test_a_full_disk_is_no_reason_for_a_new_log(tmp_path) -> None:
    path = tmp_path / "audit.jsonl"
    filled(path)
    path.write_bytes(bytes(200_000))
    with pytest.raises(WriteFailedError):
        AuditLog.open_or_begin(path, files=Scripted(dict.fromkeys(range(1, 50), errno.ENOSPC)))
    assert not list(tmp_path.glob("*.damaged"))


def body(n: int, prev: str) -> ReceiptBody:
    segments = tuple(ErasedSegment(f"{n}-{k}", "reads", 1, 1, "0" * 64, closed=True) for k in range(40))
    return ReceiptBody("pole-7", n, prev, HOUR + n, T0, ("gnss",), 3600, "1h-1", "file", True, segments)


@pytest.mark.parametrize("block", [0, 1, -1])
def test_deletion_goes_on_when_the_disk_cannot_read_all_receipts(tmp_path, monkeypatch, block) -> None:
    chain = ReceiptFile(tmp_path / "receipts.jsonl", DEVICE_KEY)
    for _ in range(6):
        chain.write([body(*chain.end())])
    size = (tmp_path / "receipts.jsonl").stat().st_size
    bad_at = range(0, size, BLOCK_BYTES)[block]
    reads = os.pread

    def pread(fd: int, count: int, at: int) -> bytes:
        if at == bad_at:
            raise OSError(errno.EIO, "EIO")
        return reads(fd, count, at)

    monkeypatch.setattr(os, "pread", pread)
    n, prev = chain.end()
    assert n == 6  # its number is not given twice, also when it is the last one that cannot be read
    assert chain.write([body(n, prev)])[0].body.n == n
    monkeypatch.undo()
    assert chain.end()[0] == n + 1


def test_a_check_tells_where_the_disk_fails(tmp_path) -> None:
    path = tmp_path / "audit.jsonl"
    path.symlink_to("/proc/self/mem")
    (problem,) = verify_audit(path).problems
    assert "the disk cannot read line 1" in problem


def test_an_outbox_and_a_log_open_on_a_disk_that_takes_no_writes(box, tmp_path) -> None:
    filled(tmp_path / "audit.jsonl")
    refused = Scripted(dict.fromkeys(range(100), errno.EROFS))
    assert Spool.open(tmp_path, files=refused).count() == 3
    AuditLog.open_or_begin(tmp_path / "audit.jsonl", files=refused)
    assert set(refused.calls) == {"fsync_dir"}
