# SPDX-License-Identifier: Apache-2.0
"""What the state machines over the disk that loses things have in common: kills, restarts, power cuts."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from storage_world import Killed
from unsafe_disk import UnsafeDisk

from storage.errors import StorageError

alive = precondition(lambda self: not self.disk.dead)
dead = precondition(lambda self: self.disk.dead)
CALLS = st.integers(0, 15) | st.integers(0, 70)  # how far into an operation the process is killed
BOUNDED = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    report_multiple_bugs=False,
)

LONG = settings(BOUNDED, max_examples=1000, stateful_step_count=40)  # for make test-slow
UNTIL_FOUND = settings(
    BOUNDED,
    max_examples=3000,
    derandomize=True,  # a test that a fault is found must not hang on luck
    phases=(Phase.generate,),
    report_multiple_bugs=False,
)


class NoSync(UnsafeDisk):
    """A mutant: no content is ever synced."""

    def fsync(self, fd: int) -> None:
        self._step("fsync")


class NoNames(UnsafeDisk):
    """A mutant: no folder is ever synced."""

    def fsync_dir(self, folder: Path) -> None:
        self._step("fsync_dir")


class LossyMachine(RuleBasedStateMachine):
    """Runs one product object over an `UnsafeDisk`; `opened` makes it anew, as a started process would."""

    disk_type: type[UnsafeDisk] = UnsafeDisk

    def __init__(self) -> None:
        super().__init__()
        self._base = Path(tempfile.mkdtemp(prefix="lossy-"))
        self._cuts = 0
        first = self._base / "0"
        first.mkdir()
        self.disk = self.disk_type(first)
        self.begin()
        self.opened()

    def begin(self) -> None:
        """Set the model up; once."""

    def opened(self) -> None:
        """Open the product over `self.disk` and check what it holds; at each start."""
        raise NotImplementedError

    def closed(self) -> None:
        """Let go of what a dead process would let go of, such as locks."""

    def returned(self, operation: Callable[[], object]) -> bool:
        """Whether an operation returned; otherwise the process was killed in it."""
        try:
            operation()
        except Killed:
            return False
        return True

    @alive
    @rule(steps=CALLS)
    def will_be_killed(self, steps: int) -> None:
        self.disk.kill_in(steps)

    @dead
    @rule(steps=st.none() | CALLS)
    def restart(self, steps: int | None) -> None:
        self.disk.restart()
        self._start(steps)

    @rule(data=st.data(), steps=st.none() | CALLS)
    def power_cut(self, data: Any, steps: int | None) -> None:
        self._cuts += 1
        self.disk = self.disk.crash(data.draw, self._base / str(self._cuts))
        self._start(steps)

    def _start(self, steps: int | None) -> None:
        self.closed()
        if steps is not None:
            self.disk.kill_in(steps)
        self.returned(self.opened)

    def teardown(self) -> None:
        self.disk.power_off()
        self.closed()
        shutil.rmtree(self._base)


def run(machine: type[LossyMachine], bounds: settings = BOUNDED) -> None:
    """Run a machine as a test."""
    case = machine.TestCase
    case.settings = bounds
    case("runTest").runTest()


def finds_a_fault(machine: type[LossyMachine], disk: type[UnsafeDisk]) -> None:
    """Run a machine over a disk that leaves something out: it has to fail, or it could not fail at all."""
    careless = type("Careless", (machine,), {"disk_type": disk})
    with pytest.raises((AssertionError, StorageError, FileNotFoundError)):
        run(careless, UNTIL_FOUND)
