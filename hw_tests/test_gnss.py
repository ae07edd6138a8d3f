# SPDX-License-Identifier: Apache-2.0
"""The positioning receiver: garbage before the first fix on a real pseudo-terminal, silence, the cable out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.errors import GnssLost
from drivers.gnss_nmea import open_nmea
from drivers.ports import Gnss

from .conftest import part
from .rig import Rig
from .serial_receiver import PLACE, SerialReceiver
from .wait import wait_for

AT_US = 1_795_350_919_000_000
ARRIVES_S = 5.0
STALE_S = 1.0


class Line:
    """A receiver's serial line: bytes of the simulated receiver in, the real driver at the other end."""

    def __init__(self, script: str, folder: Path) -> None:
        self._said = 0
        self._receiver = SerialReceiver(folder / "receiver", script, self._now_us)
        self._receiver.plug()
        self.driver = open_nmea({"port": str(self._receiver.port), "max_age_s": STALE_S})

    def _now_us(self) -> int:
        return AT_US + self._said * 1_000_000

    def say(self) -> None:
        """One second of the script."""
        self._receiver.say()
        self._said += 1

    def heard(self) -> bool:
        return self.driver.fix() is not None

    def lost(self) -> bool:
        try:
            self.driver.fix()
        except GnssLost:
            return True
        return False

    def unplug(self) -> None:
        self._receiver.unplug()

    def close(self) -> None:
        self.driver.close()
        self.unplug()


@pytest.fixture
def line(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Line]:
    wire = Line(request.param, tmp_path)
    yield wire
    wire.close()


@pytest.mark.parametrize("line", ["ggcv."], indirect=True)
def test_garbage_then_damaged_then_void_then_a_fix(line: Line) -> None:
    for _ in "ggcv":
        line.say()
        assert not wait_for(line.heard, 0.1)
    line.say()
    assert wait_for(line.heard, ARRIVES_S)
    fix = line.driver.fix()
    assert fix is not None
    assert (fix.lat, fix.lon) == pytest.approx(PLACE, abs=1e-3)
    assert fix.time_us == AT_US + 4 * 1_000_000
    assert line.driver.counters.damaged >= 3
    assert line.driver.counters.void >= 1


@pytest.mark.parametrize("line", ["."], indirect=True)
def test_a_fix_that_is_not_renewed_is_none(line: Line) -> None:
    line.say()
    assert wait_for(line.heard, ARRIVES_S)
    assert wait_for(lambda: not line.heard(), STALE_S + ARRIVES_S)


@pytest.mark.parametrize("line", ["."], indirect=True)
def test_the_cable_out_is_told(line: Line) -> None:
    line.say()
    assert wait_for(line.heard, ARRIVES_S)
    line.unplug()
    assert wait_for(line.lost, ARRIVES_S)


def test_the_rig_s_receiver_gets_a_fix(rig: Rig, gnss: Gnss) -> None:
    assert wait_for(lambda: gnss.fix() is not None, part(rig.gnss, "gnss").fix_within_s, poll_s=0.2)
    fix = gnss.fix()
    assert fix is not None
    assert fix.accuracy_m > 0.0
