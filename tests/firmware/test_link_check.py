# SPDX-License-Identifier: Apache-2.0
"""What is told of the modem and when it is restarted, on the simulated modem behind the real driver."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from drivers.errors import ModemLost
from drivers.ports import Modem
from drivers.registry import open_modem
from drivers.types import ModemStatus
from firmware.health import Condition, Finding
from firmware.link_check import (
    ASK_EVERY_S,
    BETTER_DB,
    LONGEST_RESTART_S,
    MUTE_S,
    NO_SIM_S,
    NOT_REGISTERED_S,
    RESTART_S,
    WEAK_RSRP_DBM,
    WEAK_RSSI_DBM,
    WEAK_S,
    LinkCheck,
    LinkJudge,
    Restarts,
)

WELL = ModemStatus(
    registered=True, signal_dbm=-70.0, operator="x", registration="home", sim="ready", rsrp_dbm=-90.0
)
OFF = ModemStatus(registered=False, signal_dbm=-70.0, operator="", registration="searching", sim="ready")


class Pole:
    """A simulated modem, a clock that the test moves, and the check over them."""

    def __init__(self, faults: str) -> None:
        self.s = 0.0
        self._faults = faults
        self._modem: Modem | None = None
        self.check = LinkCheck(self._open, monotonic_s=lambda: self.s)

    def _open(self) -> Modem:
        script = self._faults[int(self.s) :]  # one modem, however often its port is opened
        self._modem = open_modem("sim", {"faults": script, "monotonic_s": lambda: self.s, "timeout_s": 0.1})
        return self._modem

    def run(self, seconds: float) -> list[str]:
        """The code after each look."""
        told = []
        for _ in range(int(seconds / ASK_EVERY_S)):
            self.check.step()
            (finding,) = self.check.poll()
            told.append(finding.code)
            self.s += ASK_EVERY_S
        return told


@pytest.fixture
def poles() -> Iterator[list[Pole]]:
    made: list[Pole] = []
    yield made
    for pole in made:
        pole.check.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.modem_at.CALL_S", 0.05)
    monkeypatch.setattr("drivers.modem_at.SETTLE_S", 0.005)


@pytest.mark.parametrize(
    ("fault", "code", "after_s"),
    [
        ("m", "mute", MUTE_S),
        ("u", "mute", MUTE_S),
        ("g", "mute", MUTE_S),
        ("s", "no_sim", NO_SIM_S),
        ("p", "no_sim", NO_SIM_S),
        ("n", "not_registered", NOT_REGISTERED_S),
        ("d", "not_registered", NOT_REGISTERED_S),
        ("w", "weak", WEAK_S),
    ],
)
def test_each_fault_is_told_once_it_lasted_and_forgotten(
    fault: str, code: str, after_s: float, poles: list[Pole]
) -> None:
    poles.append(Pole("." * 60 + fault * 270))
    told = poles[0].run(330 + WEAK_S + 90)
    assert told[1] == ""
    begun = 60 + after_s
    assert set(told[: int(begun / ASK_EVERY_S)]) == {""}
    assert told[int(329 / ASK_EVERY_S)] == code
    assert told[-1] == ""
    assert set(told) == {"", code}


def test_a_sound_modem_is_well_and_tells_what_a_technician_wants(poles: list[Pole]) -> None:
    poles.append(Pole(""))
    assert set(poles[0].run(300)) == {""}
    status = poles[0].check.status()
    assert (status["operator"], status["rsrp_dbm"], status["problem"]) == ("Prairie Mobile, Inc", -91.0, "")


def test_a_modem_that_is_not_there_is_mute_and_its_reason_is_in_the_status() -> None:
    seconds = [0.0]

    def refuse() -> Modem:
        raise ModemLost("the modem's port /dev/ttyUSB2 cannot be opened")

    check = LinkCheck(refuse, monotonic_s=lambda: seconds[0])
    codes = []
    for _ in range(5):
        check.step()
        codes.append(check.poll()[0].code)
        seconds[0] += ASK_EVERY_S
    assert codes[0] == ""
    assert codes[-1] == "mute"
    assert "ttyUSB2" in str(check.status()["problem"])


def test_without_a_modem_it_is_absent() -> None:
    with LinkCheck(None) as check:
        assert check.poll() == [Finding("modem", Condition.ABSENT)]


def test_a_signal_at_the_edge_does_not_flap() -> None:
    judge = LinkJudge()
    codes = []
    for second in range(0, 4000, 30):
        swing = 1.0 if second % 60 else -1.0
        status = ModemStatus(
            registered=True, signal_dbm=None, operator="x", sim="ready", rsrp_dbm=WEAK_RSRP_DBM - 1.5 + swing
        )
        codes.append(judge.look(float(second), status).code)
    assert codes[-1] == "weak"
    assert sum(a != b for a, b in pairwise(codes)) == 1
    strong = ModemStatus(
        registered=True, signal_dbm=None, operator="x", rsrp_dbm=WEAK_RSRP_DBM + BETTER_DB + 1
    )
    assert judge.look(4000.0, strong).code == "weak"
    assert judge.look(4000.0 + WEAK_S, strong).code == ""


def test_without_lte_the_whole_power_counts() -> None:
    judge = LinkJudge()
    weak = ModemStatus(registered=True, signal_dbm=WEAK_RSSI_DBM - 2, operator="x")
    assert [judge.look(float(s), weak).code for s in (0, WEAK_S)] == ["", "weak"]


def test_restarts_wait_twice_as_long_each_time_and_begin_anew_after_success() -> None:
    restarts = Restarts()
    at_s = [s for s in range(0, 100_000, 10) if restarts.due(float(s), hopeful=True)]
    gaps = [b - a for a, b in zip([0, *at_s], at_s, strict=False)]
    assert gaps[:4] == [RESTART_S, 2 * RESTART_S, 4 * RESTART_S, 8 * RESTART_S]
    assert max(gaps) == LONGEST_RESTART_S
    assert restarts.due(100_010.0, hopeful=False) is False
    assert not restarts.due(100_020.0, hopeful=True)
    assert restarts.due(100_020.0 + RESTART_S, hopeful=True)


class Recorded:
    """A modem that says what it is told to say, and counts its restarts."""

    def __init__(self, status: ModemStatus) -> None:
        self._status, self.restarts = status, 0

    def status(self) -> ModemStatus:
        return self._status

    def restart(self) -> None:
        self.restarts += 1

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "restarted"),
    [
        (WELL, False),
        (OFF, True),
        (
            ModemStatus(registered=False, signal_dbm=None, operator="", registration="denied", sim="ready"),
            False,
        ),
        (
            ModemStatus(registered=False, signal_dbm=None, operator="", registration="idle", sim="missing"),
            False,
        ),
    ],
)
def test_only_what_a_restart_can_end_restarts_it(status: ModemStatus, restarted: bool) -> None:
    seconds, modem = [0.0], Recorded(status)
    check = LinkCheck(lambda: modem, monotonic_s=lambda: seconds[0])
    with capture_logs() as logs:
        while seconds[0] < RESTART_S + 2 * ASK_EVERY_S:
            check.step()
            seconds[0] += ASK_EVERY_S
    assert modem.restarts == restarted
    assert [entry["event"] for entry in logs] == ["modem_restarted"] * restarted
    assert check.status()["restarts"] == modem.restarts


def test_a_mute_modem_is_restarted_as_the_last_resort(poles: list[Pole]) -> None:
    poles.append(Pole("m" * 20_000))
    poles[0].run(RESTART_S + 10 * ASK_EVERY_S)
    assert poles[0].check.status()["restarts"] == 1


class Hung:
    """A modem whose port never answers and never times out."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def status(self) -> ModemStatus:
        self.let_go.wait(20)
        return WELL

    def restart(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_hung_port_blocks_nobody_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware.link_check.HUNG_S", 0.1)
    monkeypatch.setattr("firmware.link_check.MUTE_S", 0.0)
    hung = Hung()
    with LinkCheck(lambda: hung) as check:
        end, code = time.monotonic() + 5.0, ""
        while code != "mute" and time.monotonic() < end:
            begun = time.monotonic()
            code = check.poll()[0].code
            assert time.monotonic() - begun < 0.05
        assert code == "mute"
        hung.let_go.set()


def test_its_own_thread_asks_and_ends() -> None:
    with LinkCheck(lambda: open_modem("sim", {})) as check:
        end = time.monotonic() + 5.0
        while not check.status().get("registered") and time.monotonic() < end:
            time.sleep(0.01)
        assert check.status()["registered"] is True
    assert not any(thread.name == "modem" for thread in threading.enumerate())
