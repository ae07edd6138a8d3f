# SPDX-License-Identifier: Apache-2.0
"""The outbox on a disk that loses what was not synced: nothing acknowledged is lost, nothing comes back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule
from lossy import LONG, LossyMachine, NoNames, NoSync, alive, finds_a_fault, run

from storage.spool import EARLIEST_US, Spool

IDS = st.sampled_from(["a", "b"])
STATES = ("pending", "quarantine", "done", "absent")


class SpoolMachine(LossyMachine):
    """Each id is in one of the states that its operations allow; a killed operation allows one more."""

    def begin(self) -> None:
        self.may: dict[str, set[str]] = {"a": {"absent"}, "b": {"absent"}}
        self.now_us = EARLIEST_US

    def opened(self) -> None:
        folder = self.disk.root / "spool" / "hits"
        self.spool = Spool.open(folder, now_us=lambda: self.now_us, files=self.disk)
        self.check()

    def moves(self, name: str, to: str, operation: Any) -> None:
        """Run an operation that takes an id to a state once it returns, and perhaps when it is killed."""
        if self.returned(operation):
            self.may[name] = {to}
        else:
            self.may[name] = self.may[name] | {to}

    @alive
    @rule(name=IDS)
    def put(self, name: str) -> None:
        state = self.state_of(name)
        answer: list[bool] = []
        body = name.encode() * 600
        if state in {"absent", "pending"}:
            self.moves(name, "pending", lambda: answer.append(self.spool.put(name, body, kind="hit")))
        else:
            self.returned(lambda: answer.append(self.spool.put(name, body, kind="hit")))
        assert answer in ([], [state == "absent"])

    @alive
    @rule(name=IDS)
    def ack(self, name: str) -> None:
        if self.state_of(name) in {"pending", "done"}:
            self.moves(name, "done", lambda: self.spool.ack(name))

    @alive
    @rule(name=IDS, permanent=st.booleans())
    def failed(self, name: str, permanent: bool) -> None:
        if self.state_of(name) != "pending":
            return
        if permanent:
            self.moves(name, "quarantine", lambda: self.spool.failed(name, "no", permanent=True))
        else:
            self.returned(lambda: self.spool.failed(name, "no link"))

    @alive
    @rule(name=IDS)
    def requeue(self, name: str) -> None:
        if self.state_of(name) == "quarantine":
            self.moves(name, "pending", lambda: self.spool.requeue(name))

    @alive
    @rule()
    def expire(self) -> None:
        self.now_us += 1
        held = [name for name in self.may if self.state_of(name) in {"pending", "quarantine"}]
        gone: list[str] = []
        done = self.returned(lambda: gone.extend(self.spool.expire(lambda at_us: at_us < self.now_us)))
        for name in held:
            self.may[name] = {"done"} if done else self.may[name] | {"done"}
        assert not done or gone == held

    def state_of(self, name: str) -> str:
        """What the outbox says of an id. Counted once: it is in exactly one state."""
        waiting = [item.id for item in self.spool.pending()]
        aside = [item.id for item in self.spool.quarantined()]
        assert waiting.count(name) + aside.count(name) <= 1
        if name in waiting:
            assert self.spool.read(name) == name.encode() * 600
            return "pending"
        if name in aside:
            return "quarantine"
        return "done" if (self.disk.root / "spool" / "hits" / "done" / name).exists() else "absent"

    def check(self) -> None:
        for name, may in self.may.items():
            assert self.state_of(name) in may

    def teardown(self) -> None:
        assert self.disk.unknown() == set()
        super().teardown()


def test_the_outbox_keeps_what_it_acknowledged() -> None:
    run(SpoolMachine)


@pytest.mark.slow
def test_the_outbox_keeps_what_it_acknowledged_in_many_runs() -> None:
    run(SpoolMachine, LONG)


@pytest.mark.parametrize("disk", [NoSync, NoNames])
def test_the_machine_finds_a_missing_sync(disk) -> None:
    finds_a_fault(SpoolMachine, disk)
