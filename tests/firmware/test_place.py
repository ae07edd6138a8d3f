# SPDX-License-Identifier: Apache-2.0
"""The watch over the receiver: what it tells of it, of the pole and of the time, on the simulated receiver."""

from __future__ import annotations

import os
import threading
import time
import tty
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from drivers.errors import BadOption, GnssLost
from drivers.nmea import sentence
from drivers.ports import Gnss
from drivers.registry import open_gnss
from drivers.sim.clock import SimClock
from drivers.types import Fix, GnssCounters
from firmware.clock import DeviceClock
from firmware.gnss_check import MOVED_S, NO_FIX_S, GnssCheck
from firmware.health import Condition, Finding
from firmware.place import PlaceWatch
from firmware.track import metres

START_US = 1_800_000_000_000_000
PLACE = (40.0, -88.0)
RMC = sentence("GPRMC,123519.00,A,4153.0220,N,08737.7340,W,000.0,,221126,,,A")


class Roadside:
    """A simulated receiver, a clock that the test moves, and the watch over them."""

    def __init__(
        self, folder: Path, faults: str = "", *, deployment: str = "fixed", **options: object
    ) -> None:
        self.time = SimClock(START_US, running=False)
        self.clock = DeviceClock(
            folder / "clock.json", system_us=self.time.now_us, monotonic_ns=self.time.monotonic_ns
        )
        self.opened = 0
        self._options = {"lat": PLACE[0], "lon": PLACE[1], "faults": faults, **options}
        self.watch = PlaceWatch(
            self._open,
            PLACE if deployment == "fixed" else None,
            self.clock,
            deployment,
            monotonic_ns=self.time.monotonic_ns,
        )
        self._receiver: Gnss | None = None

    def _open(self) -> Gnss:
        self.opened += 1
        if self._receiver is None:  # one receiver, however often its port is opened: its script goes on
            clocks = {"now_us": self.time.now_us, "monotonic_ns": self.time.monotonic_ns}
            self._receiver = open_gnss("sim", {**self._options, **clocks})
        return self._receiver

    def run(self, seconds: int) -> list[str]:
        """The finding's code after each second; `ok` where all is well."""
        told = []
        for _ in range(seconds):
            self.watch.step()
            (finding,) = self.watch.poll()
            told.append(finding.code or finding.condition.value)
            self.time.advance(1.0)
        return told

    def finding(self) -> Finding:
        (finding,) = self.watch.poll()
        return finding


def test_a_receiver_at_its_place_is_well(tmp_path: Path) -> None:
    assert set(Roadside(tmp_path).run(30)) == {"ok"}


def test_without_a_receiver_it_is_absent(tmp_path: Path) -> None:
    watch = PlaceWatch(None, None, Roadside(tmp_path).clock, "mobile")
    watch.start()
    assert watch.poll() == [Finding("gnss", Condition.ABSENT)]
    assert watch.position(START_US) is None
    watch.close()


def test_unplugged_lost_plugged_well(tmp_path: Path) -> None:
    told = Roadside(tmp_path, "." * 10 + "u" * 20).run(60)
    assert told[9] == "ok"
    assert told[15] == "lost"
    assert told[-1] == "ok"
    assert told.count("lost") >= 15


@pytest.mark.parametrize(
    ("deployment", "condition"), [("fixed", Condition.DEGRADED), ("mobile", Condition.FAILED)]
)
def test_a_fixed_unit_reads_on_without_a_receiver(
    deployment: str, condition: Condition, tmp_path: Path
) -> None:
    roadside = Roadside(tmp_path, "u" * 60, deployment=deployment)
    roadside.run(20)
    assert roadside.finding().condition is condition


def test_a_cut_cable_behind_an_open_port_is_a_lost_receiver(tmp_path: Path) -> None:
    """A UART does not notice that nobody is at its other end."""
    told = Roadside(tmp_path, "." * 10 + "s" * 200).run(230)
    assert told[10] == "ok"
    assert set(told[30:205]) == {"lost"}  # not that the sky is hidden, and without a gap
    assert told[-1] == "ok"


def test_no_fix_is_told_after_a_while_and_ends_with_a_fix(tmp_path: Path) -> None:
    told = Roadside(tmp_path, "v" * (int(NO_FIX_S) + 60)).run(int(NO_FIX_S) + 100)
    assert told[int(NO_FIX_S) - 10] == "ok"
    assert told[int(NO_FIX_S) + 10] == "no_fix"
    assert told[-1] == "ok"


def test_a_garage_is_no_failure(tmp_path: Path) -> None:
    roadside = Roadside(tmp_path, "v" * 400, deployment="mobile")
    assert roadside.run(300)[-1] == "no_fix"
    assert roadside.finding().condition is Condition.DEGRADED


def test_garbage_is_told_and_forgotten(tmp_path: Path) -> None:
    told = Roadside(tmp_path, "g" * 90).run(240)
    assert told[80] == "garbage"
    assert told[-1] == "ok"


def test_a_single_bad_line_is_not_told(tmp_path: Path) -> None:
    assert set(Roadside(tmp_path, ("." * 29 + "c") * 10).run(300)) == {"ok"}


@pytest.mark.parametrize("fault", ["r", "e"])
def test_an_old_week_is_told(fault: str, tmp_path: Path) -> None:
    told = Roadside(tmp_path, fault * 60).run(200)
    assert told[30] == "old_week"
    assert told[-1] == "ok"


def test_a_date_of_1980_offers_no_time(tmp_path: Path) -> None:
    roadside = Roadside(tmp_path, "e" * 60)
    roadside.run(30)
    assert "gnss" not in roadside.clock.evidence().sources


def test_a_moved_pole_is_an_alarm_after_minutes_and_ends_after_minutes(tmp_path: Path) -> None:
    minutes = int(MOVED_S)
    told = Roadside(tmp_path, "." * 60 + "m" * (2 * minutes)).run(60 + 4 * minutes)
    assert told[60 + minutes - 30] == "ok"
    assert told[60 + minutes + 30] == "moved"
    assert told[60 + 2 * minutes + 30] == "moved"
    assert told[-1] == "ok"
    assert sum(a != b for a, b in pairwise(told)) == 2  # no flapping


def test_a_short_excursion_is_no_alarm(tmp_path: Path) -> None:
    assert "moved" not in Roadside(tmp_path, ("m" * 60 + "." * 60) * 10).run(1200)


def test_the_antenna_pulled_does_not_hide_a_moved_pole(tmp_path: Path) -> None:
    minutes = int(MOVED_S)
    roadside = Roadside(tmp_path, "m" * (minutes + 60) + "u" * 200)
    assert roadside.run(minutes + 160)[-1] == "moved"
    assert roadside.finding().condition is Condition.FAILED


def test_a_mobile_unit_may_be_anywhere(tmp_path: Path) -> None:
    told = Roadside(tmp_path, "m" * 900, deployment="mobile").run(900)
    assert "moved" not in told


def test_the_limit_widens_with_the_receiver_s_own_doubt() -> None:
    check = GnssCheck(PLACE, mobile=False)
    far = Fix(PLACE[0] + 60 / 111_195, PLACE[1], 0.0, START_US, 30.0, "gnss", monotonic_ns=1)
    for second in range(2 * int(MOVED_S)):
        finding = check.look(float(second), lost=False, fix=far, counters=GnssCounters(used=second))
    assert finding.code == ""
    sure = Fix(PLACE[0] + 60 / 111_195, PLACE[1], 0.0, START_US, 5.0, "gnss", monotonic_ns=1)
    for second in range(2 * int(MOVED_S), 4 * int(MOVED_S)):
        finding = check.look(float(second), lost=False, fix=sure, counters=GnssCounters(used=second))
    assert finding.code == "moved"


def test_a_fixed_unit_is_where_it_was_surveyed(tmp_path: Path) -> None:
    roadside = Roadside(tmp_path)
    roadside.run(5)
    position = roadside.watch.position(roadside.time.now_us())
    assert position is not None
    assert (position.lat, position.lon, position.source) == (*PLACE, "surveyed")


def test_a_mobile_unit_s_read_gets_the_place_of_its_frame(tmp_path: Path) -> None:
    roadside = Roadside(tmp_path, deployment="mobile", speed_mps=20.0, course_deg=90.0)
    roadside.run(30)
    captured_us = START_US + 12_400_000
    position = roadside.watch.position(captured_us)
    assert position is not None
    assert metres(PLACE, (position.lat, position.lon)) == pytest.approx(20.0 * 12.4, abs=8.0)
    assert position.age_s == pytest.approx(0.4, abs=0.1)
    assert 2.0 < position.accuracy_m < 20.0


def test_a_mobile_unit_without_a_fix_says_so(tmp_path: Path) -> None:
    roadside = Roadside(tmp_path, "...." + "v" * 100, deployment="mobile")
    roadside.run(40)
    assert roadside.watch.position(START_US + 2_000_000) is not None
    assert roadside.watch.position(START_US + 39_000_000) is None


def test_a_jump_of_one_second_places_no_read(tmp_path: Path) -> None:
    roadside = Roadside(tmp_path, "." * 10 + "j" + "." * 10, deployment="mobile")
    roadside.run(21)
    position = roadside.watch.position(START_US + 10_000_000)
    assert position is not None
    assert metres(PLACE, (position.lat, position.lon)) < 30.0
    assert roadside.watch.status()["jumps"] == 1


def test_its_time_is_offered(tmp_path: Path) -> None:
    roadside = Roadside(tmp_path)
    roadside.run(15)
    evidence = roadside.clock.evidence()
    assert "gnss" in evidence.sources
    assert abs(evidence.now_us - roadside.time.now_us()) < 50_000


def test_status_tells_what_a_technician_wants_to_know(tmp_path: Path) -> None:
    roadside = Roadside(tmp_path, "m" * 100)
    roadside.run(30)
    status = roadside.watch.status()
    assert status["satellites"] == 9
    assert status["from_survey_m"] == pytest.approx(500, abs=20)
    assert isinstance(status["accuracy_m"], float)


class Hung:
    """A receiver whose port never answers, as a USB hub that has hung itself up."""

    counters = GnssCounters()

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def fix(self) -> Fix | None:
        self.let_go.wait(20)
        return None

    def close(self) -> None:
        pass


def _until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5.0
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def hung() -> Iterator[Hung]:
    device = Hung()
    yield device
    device.let_go.set()


def test_a_hung_port_blocks_nobody_and_is_told(
    hung: Hung, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware.place.HUNG_S", 0.2)
    monkeypatch.setattr("firmware.gnss_check.LOST_S", 0.0)
    watch = PlaceWatch(lambda: hung, PLACE, Roadside(tmp_path).clock, "fixed")
    watch.start()

    def lost() -> bool:
        begun = time.monotonic()
        (finding,) = watch.poll()
        assert time.monotonic() - begun < 0.05
        return finding.code == "lost"

    assert _until(lost)
    hung.let_go.set()
    watch.close()


@pytest.mark.parametrize("error", [GnssLost("gone"), BadOption("gnss nmea: option 'baud' must be a number")])
def test_a_receiver_that_cannot_be_opened_is_lost_and_its_reason_is_in_the_status(
    error: Exception, tmp_path: Path
) -> None:
    roadside = Roadside(tmp_path)

    def refuse() -> Any:
        raise error

    roadside.watch = PlaceWatch(
        refuse, PLACE, roadside.clock, "fixed", monotonic_ns=roadside.time.monotonic_ns
    )
    assert roadside.run(20)[-1] == "lost"
    assert roadside.watch.status()["problem"] == str(error)


def test_its_own_thread_follows_the_receiver_and_ends(tmp_path: Path) -> None:
    clock = DeviceClock(tmp_path / "clock.json")
    with PlaceWatch(lambda: open_gnss("sim", {}), None, clock, "mobile") as watch:
        assert _until(lambda: watch.position(clock.now_us()) is not None)
        assert any(thread.name == "gnss" for thread in threading.enumerate())
    assert not any(thread.name == "gnss" for thread in threading.enumerate())


class Cable:
    """A receiver at a pseudo-terminal that is plugged in anew under the same name, as udev's by-id links do it."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self._ends: tuple[int, ...] = ()

    def plug(self) -> None:
        master, slave = os.openpty()
        tty.setraw(slave)
        self._ends = (master, slave)
        self.link.symlink_to(os.ttyname(slave))

    def say(self) -> None:
        os.write(self._ends[0], RMC)

    def unplug(self) -> None:
        self.link.unlink(missing_ok=True)
        for descriptor in self._ends:
            os.close(descriptor)
        self._ends = ()


def test_a_receiver_on_a_real_port_is_unplugged_and_plugged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware.gnss_check.LOST_S", 0.0)
    monkeypatch.setattr("firmware.gnss_check.BACK_S", 0.0)
    cable = Cable(tmp_path / "usb-receiver")
    cable.plug()
    clock = DeviceClock(tmp_path / "clock.json")
    options = {"port": str(cable.link)}
    with PlaceWatch(lambda: open_gnss("nmea", options), None, clock, "mobile") as watch:

        def code() -> str:
            begun = time.monotonic()
            (finding,) = watch.poll()
            assert time.monotonic() - begun < 0.05
            return finding.code

        def placed() -> bool:
            cable.say()
            return code() == "" and watch.status()["fix"] is True

        assert _until(placed)
        cable.unplug()
        assert _until(lambda: code() == "lost")
        assert watch.status()["fix"] is False
        cable.plug()
        assert _until(placed)
    cable.unplug()
