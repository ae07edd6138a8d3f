# SPDX-License-Identifier: Apache-2.0
"""Any order of asking, approving, ending, deletion and power cuts: what was told as held opens, and no more."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

sys.path.append(str(Path(__file__).parents[1] / "storage"))

from hold_world import DAY_US, Road, choice, expire, held, holds, reads_of, staff, still_open, thief_opens
from office_world import Clock, make_device
from storage_world import Killed, Scripted

from backoffice.errors import Conflict, NotFound
from backoffice.hold_file import HoldState
from backoffice.office import Created, Office
from storage.types import EPOCH_US, epoch_of

AGES = {"old": 29, "middle": 20, "young": 2}  # days; two reads of each
READS = [f"{age}-{n}" for age in AGES for n in (0, 1)]
PEOPLE = ("doyle", "sergeant")
KILL = st.sampled_from([None, None, *range(0, 30, 2)])  # at which change of a file the power goes


class HoldMachine(RuleBasedStateMachine):
    """`told` has what each hold was told to keep; a hold that was ended must be closed to a thief with every file."""

    base: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        shutil.copytree(self.base, self.root / "office")
        self.clock = Clock(time.time_ns() // 1000)
        self.office = Office.open(self.root / "office", self.clock)
        self.told: dict[str, set[str]] = {}
        self.asked: dict[str, set[str]] = {}
        self.ended: set[str] = set()

    def teardown(self) -> None:
        self.office.close()
        shutil.rmtree(self.root)

    def some(self, number: int) -> str | None:
        return sorted(self.asked)[number % len(self.asked)] if self.asked else None

    @rule(reads=st.sets(st.sampled_from(READS), min_size=1, max_size=3), by=st.sampled_from(PEOPLE))
    def ask(self, reads, by) -> None:
        try:
            hold = holds(self.office, by).request(choice(*(f"pole-1/{read}" for read in reads))).hold
        except NotFound:
            assert not reads & set(still_open(self.office))
            return
        self.asked[hold.hold_id] = {read.read_id for read in hold.reads}

    @initialize(reads=st.sets(st.sampled_from(READS), min_size=1, max_size=3), end=st.booleans())
    def begin_with_a_hold(self, reads, end) -> None:
        self.ask(reads, "doyle")
        self.approve(0, None)
        self.what_was_told_opens()
        if end:
            self.say(0, "ask_end")

    @rule(number=st.integers(0, 9), kill=KILL)
    def approve(self, number, kill) -> None:
        hold_id = self.some(number)
        if hold_id is None:
            return
        before = holds(self.office).get(hold_id).state
        files = Scripted({} if kill is None else {kill: "kill"})
        try:
            state = holds(self.office, "chief", files).approve(hold_id).hold.state
        except Conflict:
            assert before not in {HoldState.END_ASKED, HoldState.ENDING}
            return
        except Killed:
            state = holds(self.office).get(hold_id).state
            if state is HoldState.ENDING:  # its end was approved: no longer told to be held
                self.told.pop(hold_id, None)
            elif state is HoldState.ENDED:
                self.end(hold_id)
            return
        if state is HoldState.ENDED:
            self.end(hold_id)
        else:
            self.told[hold_id] = set(reads_of(held(self.office, hold_id)))
            alive = set(still_open(self.office)) & self.asked[hold_id]
            assert alive <= self.told[hold_id] <= self.asked[hold_id]

    def end(self, hold_id: str) -> None:
        self.told.pop(hold_id, None)
        self.ended.add(hold_id)
        assert thief_opens(self.office, self.root / "copies" / hold_id) == []

    @rule(number=st.integers(0, 9), what=st.sampled_from(["drop", "ask_end", "keep"]))
    def say(self, number, what) -> None:
        hold_id = self.some(number)
        if hold_id is None:
            return
        state = holds(self.office).get(hold_id).state
        fits = {
            "drop": {HoldState.WAITING, HoldState.SEALING},
            "ask_end": {HoldState.HELD},
            "keep": {HoldState.END_ASKED},
        }
        if state in fits[what]:
            getattr(holds(self.office, "sergeant"), what)(hold_id, "a reason")
        else:
            with pytest.raises(Conflict):
                getattr(holds(self.office, "sergeant"), what)(hold_id, "a reason")

    @rule(days=st.sampled_from([1, 2, 11]))
    def time_passes(self, days) -> None:
        self.clock.forward(days * 86_400)
        expire(self.office)

    @invariant()
    def what_was_told_opens(self) -> None:
        for hold_id, reads in self.told.items():
            assert set(reads_of(held(self.office, hold_id))) == reads
        for folder in self.office.layout.holds.glob("*/"):  # a thief copies every file while it is there
            shutil.copytree(folder, self.root / "copies" / folder.name, dirs_exist_ok=True)


@pytest.mark.parametrize("examples", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_any_order_of_holds_deletion_and_power_cuts(
    template: tuple[Path, Created], tmp_path: Path, cheap_passwords: None, examples: int
) -> None:
    base = tmp_path / "office"
    shutil.copytree(template[0], base)
    office = Office.open(base, Clock(time.time_ns() // 1000))
    road = Road(office, make_device(office, tmp_path / "pole-1"), tmp_path / "device-data")
    for age, days in AGES.items():
        hour = epoch_of(office.clock() - days * DAY_US) * EPOCH_US
        for n in (0, 1):
            road.see(f"{age}-{n}", f"AB{days:03}{n}", hour + n)
    road.pulled()
    staff(office)
    office.close()
    HoldMachine.base = base
    run_state_machine_as_test(
        HoldMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
