# SPDX-License-Identifier: Apache-2.0
"""Deletion on a disk that loses what was not synced: a destroyed share never comes back, receipts are complete."""

from __future__ import annotations

import pytest
from hypothesis.stateful import rule
from lossy import LONG, LossyMachine, NoNames, NoSync, alive, finds_a_fault, run
from storage_world import DEVICE_KEY, T0, World
from unsafe_disk import UnsafeDisk

from storage.audit import AuditLog, verify_audit
from storage.receipt_file import ReceiptFile, read_receipts
from storage.receipts import GENESIS, ReceiptBody, check_receipts, verify_receipts
from storage.retention import Retention, RetentionPolicy
from storage.spool import Spool
from storage.store import Store
from storage.types import EPOCH_US, SegmentKind, TimeEvidence, epoch_of

PUBLIC = DEVICE_KEY.public_key()
POLICY = RetentionPolicy(3600, "1h-1")
KEPT_HOURS = 2  # the hour that is written, and the one whose end is not an hour past


class DeletionMachine(LossyMachine):
    """Reads are written hour after hour; what is older than two hours is deleted."""

    def begin(self) -> None:
        self.store: Store | None = None
        self.hour = 0
        self.shares: dict[int, bytes] = {}
        self.kept: dict[int, set[bytes]] = {}  # acknowledged records by epoch
        self.gone: set[int] = set()

    def closed(self) -> None:
        if self.store is not None:
            self.store._release()

    def opened(self) -> None:
        root = self.disk.root
        self.world = World(root)
        self.keyring = self.world.keyring(self.disk)
        self.store = self.world.store(files=self.disk, keyring=self.keyring)
        self.spool = Spool.open(root / "spool" / "receipts", files=self.disk)
        self.retention = Retention(
            self.world.store_root,
            root / "retention",
            keyring=self.keyring,
            policy=POLICY,
            signer=DEVICE_KEY,
            device_id="pole-7",
            audit=AuditLog.open(root / "audit.jsonl", DEVICE_KEY, files=self.disk),
            store=self.store,
            deliver=lambda r: self.spool.put(f"receipt-{r.body.n}", r.encode(), kind="receipt"),
            files=self.disk,
            ballast_bytes=4096,
        )
        self.check()

    @property
    def now_us(self) -> int:
        return T0 + self.hour * EPOCH_US

    @alive
    @rule()
    def an_hour_passes(self) -> None:
        self.hour += 1

    @alive
    @rule()
    def write(self) -> None:
        payload = b"read of %d" % self.now_us
        if self.returned(lambda: self.wrote(payload)):
            self.kept.setdefault(epoch_of(self.now_us), set()).add(payload)

    def wrote(self, payload: bytes) -> None:
        self.store.append(SegmentKind.READS, payload, at_us=self.now_us)
        share = self.keyring.peek(epoch_of(self.now_us))
        assert share is not None
        self.shares[epoch_of(self.now_us)] = share
        self.store.commit()

    @alive
    @rule()
    def delete(self) -> None:
        if self.returned(self.ran):
            self.gone |= {epoch for epoch in self.shares if epoch <= epoch_of(self.now_us) - KEPT_HOURS}
            self.check_gone()

    def ran(self) -> None:
        self.retention.run(TimeEvidence(self.now_us, 0, ("gnss", "office")))

    def check(self) -> None:
        """What a started process finds, then the run that finishes what a crash cut."""
        self.check_shares()
        self.check_kept()
        self.ran()
        self.check_gone()
        receipts = read_receipts(self.disk.root / "retention" / "receipts.jsonl")
        assert verify_receipts(receipts, PUBLIC).problems == ()
        assert self.gone <= {receipt.body.epoch for receipt in receipts}
        assert self.spool.count() == len(receipts)
        if receipts:
            assert verify_audit(self.disk.root / "audit.jsonl", PUBLIC).problems == ()

    def check_shares(self) -> None:
        """What is destroyed is in no keyring that any slot opens; the machine's own is the only one there is."""
        assert all(self.keyring.peek(epoch) is None for epoch in self.gone)
        assert len(self.world.trust().handles()) == 1

    def check_gone(self) -> None:
        self.check_shares()
        left = {info.epoch for info in self.store.segments()}
        assert not self.gone & left

    def check_kept(self) -> None:
        first_kept = epoch_of(self.now_us) - KEPT_HOURS + 1
        held: dict[int, set[bytes]] = {}
        for info in self.store.segments():
            if info.epoch >= first_kept:
                held.setdefault(info.epoch, set()).update(bytes(r) for r in self.world.open(info).records)
        for epoch, records in self.kept.items():
            assert epoch < first_kept or records <= held.get(epoch, set())


def test_deletion_is_final_and_finished() -> None:
    run(DeletionMachine)


@pytest.mark.slow
def test_deletion_is_final_and_finished_in_many_runs() -> None:
    run(DeletionMachine, LONG)


@pytest.mark.parametrize("disk", [NoSync, NoNames])
def test_the_machine_finds_a_missing_sync(disk: type[UnsafeDisk]) -> None:
    finds_a_fault(DeletionMachine, disk)


@pytest.mark.parametrize("torn", [b"torn", b"{}\n", b"\n\n{}", bytes(700), b"\xa5\n{}\xff"])
def test_a_torn_append_of_any_content_is_written_again(tmp_path, torn) -> None:
    path = tmp_path / "receipts.jsonl"
    chain = ReceiptFile(path, DEVICE_KEY)
    first = chain.write([body(0, GENESIS)])
    with path.open("ab") as file:
        file.write(torn)
    again = ReceiptFile(path, DEVICE_KEY).write([body(1, first[0].body.hash)])
    assert read_receipts(path) == [*first, *again]
    assert verify_receipts(read_receipts(path), PUBLIC).problems == ()


@pytest.mark.parametrize("rot", [b"rubbish\n", b"rubbish"])
def test_a_damaged_receipt_does_not_stop_deletion_and_stays(tmp_path, rot) -> None:
    path = tmp_path / "receipts.jsonl"
    chain = ReceiptFile(path, DEVICE_KEY)
    first = chain.write([body(0, GENESIS)])
    chain.write([body(1, first[0].body.hash)])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + rot)
    n, prev = chain.end()
    assert n == 2
    chain.write([body(n, prev)])
    assert rot.strip() in path.read_bytes()
    report = check_receipts(path, PUBLIC)
    assert (report.ok, report.next_n, report.receipts) == (False, 3, 2)


def body(n: int, prev: str) -> ReceiptBody:
    return ReceiptBody("pole-7", n, prev, 500_000 + n, T0, ("gnss",), 3600, "1h-1", "file", True, ())
