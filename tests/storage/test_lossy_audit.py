# SPDX-License-Identifier: Apache-2.0
"""The audit log on a disk that loses what was not synced: what was acknowledged is a prefix of what is found."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule
from lossy import LONG, LossyMachine, NoNames, NoSync, alive, finds_a_fault, run
from storage_world import DEVICE_KEY

from storage.audit import CHECKPOINT, TAIL_CUT, AuditLog, read_entries, verify_audit

PUBLIC = DEVICE_KEY.public_key()


class AuditMachine(LossyMachine):
    """Appends and checkpoints; each entry that was returned stays, and at most the one under way joins it."""

    def begin(self) -> None:
        self.acked: list[str] = []  # hashes of entries
        self.checkpoints = []
        self.n = 0

    @property
    def path(self):
        return self.disk.root / "audit" / "audit.jsonl"

    def opened(self) -> None:
        self.log = AuditLog.open(self.path, DEVICE_KEY, files=self.disk)
        self.acked.append(self.log.append("started", {}).hash)
        self.check()

    @alive
    @rule(size=st.sampled_from([0, 30, 700, 2000]))
    def append(self, size: int) -> None:
        self.n += 1
        fields = {"n": self.n, "text": "x" * size}
        self.returned(lambda: self.acked.append(self.log.append("x", fields).hash))

    @alive
    @rule()
    def checkpoint(self) -> None:
        self.returned(lambda: self.checkpoints.append(self.log.checkpoint()))

    def check(self) -> None:
        entries = list(read_entries(self.path))
        found = [entry.hash for entry in entries]
        assert [digest for digest in found if digest in self.acked] == self.acked
        assert all(entry.event in {"x", "started", CHECKPOINT, TAIL_CUT} for entry in entries)
        for checkpoint in [None, *self.checkpoints]:
            assert verify_audit(self.path, PUBLIC, checkpoint=checkpoint).problems == ()

    def teardown(self) -> None:
        assert {path.name for path in self.disk.unknown()} <= {"audit.jsonl.lock"}
        super().teardown()


def test_the_audit_log_keeps_what_it_acknowledged() -> None:
    run(AuditMachine)


@pytest.mark.slow
def test_the_audit_log_keeps_what_it_acknowledged_in_many_runs() -> None:
    run(AuditMachine, LONG)


@pytest.mark.parametrize("disk", [NoSync, NoNames])
def test_the_machine_finds_a_missing_sync(disk) -> None:
    finds_a_fault(AuditMachine, disk)
