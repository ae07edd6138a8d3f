# SPDX-License-Identifier: Apache-2.0
"""What is told of the clock, on a simulated one."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.sim.clock import SimClock
from firmware.clock import DeviceClock, TimeOffer
from firmware.clock_check import JUMPED_S, SETTLED_S, UNCONFIRMED_S, UNSET_S, ClockCheck

START_US = 1_800_000_000_000_000
HOUR_S = 3600.0


class Watched:
    """A clock, its check, and the truth."""

    def __init__(self, folder: Path, system_off_s: float = 0.0) -> None:
        self.time = SimClock(START_US, running=False)
        self._off_s = system_off_s
        self.clock = DeviceClock(
            folder / "clock.json", system_us=self.system_us, monotonic_ns=self.time.monotonic_ns
        )
        self.check = ClockCheck(self.clock, lambda: self.time.monotonic_ns() / 1e9)

    def system_us(self) -> int:
        return max(0, self.time.now_us() + round(self._off_s * 1e6))

    def set_system(self, off_s: float) -> None:
        self._off_s = off_s

    def run(self, seconds: float, **offers: float) -> str:
        """Lets time pass while sources say (seconds off) the time every half minute; the last code."""
        for second in range(round(seconds)):
            self.time.advance(1.0)
            if second % 30 == 0:
                for source, off_s in offers.items():
                    at_us = self.time.now_us() + round(off_s * 1e6)
                    self.clock.offer(TimeOffer(source, at_us, self.time.monotonic_ns(), 300_000))
            (finding,) = self.check.poll()
        return finding.code


def test_a_confirmed_clock_is_well(tmp_path: Path) -> None:
    assert Watched(tmp_path).run(2 * UNCONFIRMED_S, office=0.0) == ""


def test_a_clock_of_1970_is_unset_until_somebody_tells_the_time(tmp_path: Path) -> None:
    watched = Watched(tmp_path, -2 * START_US / 1e6)
    assert watched.run(UNSET_S / 2) == ""
    assert watched.run(UNSET_S) == "unset"
    assert watched.run(2, gnss=0.0) == ""
    assert watched.run(UNCONFIRMED_S + 10, gnss=0.0) == "unconfirmed"  # one source is one source
    assert watched.run(60, gnss=0.0, office=0.1) == ""


def test_nobody_confirms(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    assert watched.run(UNCONFIRMED_S - 10) == ""
    assert watched.run(20) == "unconfirmed"
    assert watched.run(5, office=0.0) == ""


def test_a_confirmation_wears_off_with_the_crystal(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.run(2, office=0.0)
    watched.time.advance(26 * HOUR_S)
    assert watched.run(5) == ""
    watched.time.advance(4 * HOUR_S)
    assert watched.run(UNCONFIRMED_S + 10) == "unconfirmed"


@pytest.mark.parametrize("off_s", [-HOUR_S, 365 * 86_400.0])
def test_a_system_clock_that_jumps_is_told_and_forgotten(off_s: float, tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.run(60, office=0.0)
    watched.set_system(off_s)
    assert watched.run(JUMPED_S / 2, office=0.0) == ""
    assert watched.run(JUMPED_S, office=0.0) == "jumped"
    watched.set_system(0.0)
    assert watched.run(SETTLED_S / 2, office=0.0) == "jumped"
    assert watched.run(SETTLED_S, office=0.0) == ""


def test_a_forged_receiver_is_told_and_named(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.run(60, office=0.0)
    assert watched.run(2 * JUMPED_S, office=0.0, gnss=365 * 86_400.0) == "jumped"
    assert watched.check.status()["contradicting_s"] == {"gnss": 365 * 86_400.0}
    assert watched.check.status()["grade"] == "confirmed"


def test_a_battery_clock_that_was_wrong_from_the_start_is_no_jump(tmp_path: Path) -> None:
    watched = Watched(tmp_path, HOUR_S)
    assert watched.run(300, gnss=0.0, office=0.0) == ""
