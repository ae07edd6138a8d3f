# SPDX-License-Identifier: Apache-2.0
"""AT lines and answers, the driver on a pseudo-terminal, and the simulated modem with its faults."""

from __future__ import annotations

import os
import threading
import time
import tty
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import at
from drivers.errors import BadOption, ModemLost, ModemMute
from drivers.modem_at import CALLS
from drivers.ports import Modem
from drivers.registry import open_modem
from drivers.sim.faults import FaultScript
from drivers.sim.modem import BOOT_S, FAULTS, SEARCH_S, ModemModel, PtyModem
from drivers.types import ModemStatus


def test_lines_are_cut_wherever_the_bytes_are() -> None:
    lines = at.AtLines()
    said = [line for byte in b"\r\n+CSQ: 20,99\r\n\r\nOK\r\n" for line in lines.feed(bytes([byte]))]
    assert said == ["+CSQ: 20,99", "OK"]


def test_an_endless_line_is_dropped() -> None:
    lines = at.AtLines()
    for _ in range(50):
        assert lines.feed(b"A" * at.MAX_LINE_BYTES) == []
        assert len(lines._lines._pending) <= at.MAX_LINE_BYTES
    assert lines.feed(b"AAA\r\nOK\r\n") == ["OK"]
    assert lines.feed(b"B" * 2 * at.MAX_LINE_BYTES + b"\r\nOK\r\n") == ["OK"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=12))
def test_any_bytes_are_survived_and_the_next_answer_is_read(pieces: list[bytes]) -> None:
    lines, answer = at.AtLines(), at.Answer("+CSQ")
    for piece in pieces:
        for line in lines.feed(piece):
            answer.take(line)
    fresh = at.Answer("+CSQ")
    assert any(fresh.take(line) for line in lines.feed(b"\r\n+CSQ: 20,99\r\nOK\r\n"))
    assert at.rssi_dbm(fresh.lines[0]) == -73.0


def answered(wanted: str, *lines: str) -> at.Answer:
    answer = at.Answer(wanted)
    for line in lines:
        answer.take(line)
    return answer


def test_echo_and_unsolicited_lines_are_passed_over() -> None:
    answer = answered("+CSQ", "AT+CSQ", "RING", "+CREG: 1", "+CSQ: 7,99", "NO CARRIER", "OK")
    assert (answer.lines, answer.final, answer.error) == (["+CSQ: 7,99"], "OK", None)


@pytest.mark.parametrize(
    "unasked", ["+CREG: 1", '+CREG: 1,"00C3","0001"', '+CREG: 5,"00C3","0001",7', "+CREG: "]
)
def test_a_registration_that_nobody_asked_for_answers_nothing(unasked: str) -> None:
    answer = answered("+CREG", unasked, "+CREG: 0,2", "OK")
    assert answer.lines == ["+CREG: 0,2"]


def test_the_late_ok_of_an_earlier_command_is_not_this_one_s() -> None:
    answer = answered("+CSQ", "OK")
    assert not answer.final
    assert answer.take("+CSQ: 7,99") is False
    assert answer.take("OK") is True


def test_a_flood_is_bounded() -> None:
    assert len(answered("+CSQ", *["+CSQ: 7,99"] * 1000).lines) == at.MAX_LINES


@pytest.mark.parametrize(
    ("line", "error"), [("ERROR", ""), ("+CME ERROR: 10", "10"), ("+CME ERROR: SIM failure", "SIM failure")]
)
def test_errors_end_an_answer(line: str, error: str) -> None:
    answer = answered("+CPIN", line)
    assert answer.error == error


def test_values_and_quotes() -> None:
    assert at.values_of('+COPS: 0,0,"Prairie, Inc",7') == ["0", "0", "Prairie, Inc", "7"]
    assert at.values_of("+COPS: 0") == ["0"]
    assert at.values_of("nothing") == []


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=100))
def test_any_line_has_values_or_none(line: str) -> None:
    for text in (line, f"+COPS: {line}"):
        assert all(len(value) <= at.MAX_VALUE_CHARS for value in at.values_of(text))
        assert at.rssi_dbm(text) is None or -113 <= (at.rssi_dbm(text) or 0) <= -51
        assert at.rsrp_dbm(text) is None or -141 <= (at.rsrp_dbm(text) or 0) <= -44
        assert at.registration(text) in {*at.REGISTRATION.values(), "unknown"}
        assert at.operator(text)[1] in {*at.TECHNOLOGY.values(), ""}
        assert at.sim_card(text, None) in ("ready", "locked", "unknown")
        at.access_point(text)


@pytest.mark.parametrize(
    ("line", "dbm"), [("+CSQ: 0,0", -113), ("+CSQ: 31,99", -51), ("+CSQ: 99,99", None), ("", None)]
)
def test_rssi(line: str, dbm: float | None) -> None:
    assert at.rssi_dbm(line) == dbm


@pytest.mark.parametrize(
    ("line", "dbm"),
    [("+CESQ: 99,99,255,255,20,50", -91), ("+CESQ: 99,99,255,255,255,255", None), ("+CESQ: 1", None)],
)
def test_rsrp(line: str, dbm: float | None) -> None:
    assert at.rsrp_dbm(line) == dbm


@pytest.mark.parametrize(
    ("line", "error", "card"),
    [
        ("+CPIN: READY", None, "ready"),
        ("+CPIN: SIM PIN", None, "locked"),
        ("+CPIN: PH-NET PIN", None, "locked"),
        ("", "10", "missing"),
        ("", "SIM not inserted", "missing"),
        ("", "13", "failed"),
        ("", "14", "unknown"),
        ("", "", "unknown"),
    ],
)
def test_sim_cards(line: str, error: str | None, card: str) -> None:
    assert at.sim_card(line, error) == card


CALL_S = 0.15
WELL = ModemStatus(
    registered=True,
    signal_dbm=-69.0,
    operator="Prairie Mobile, Inc",
    registration="home",
    sim="ready",
    rsrp_dbm=-91.0,
    technology="lte",
    apn="wayside.fixed",
)


class Seconds:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.modem_at.CALL_S", CALL_S)


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


Opens = Callable[..., Modem]


@pytest.fixture(params=["sim", "at"])
def plugged(request: pytest.FixtureRequest, clock: Seconds) -> Iterator[Opens]:
    """Opens the simulated modem, or the driver for real modems at a simulated modem's port."""
    opened: list[Modem | PtyModem] = []

    def plug(faults: str = "") -> Modem:
        if request.param == "sim":
            opened.append(open_modem("sim", {"faults": faults, "monotonic_s": clock, "timeout_s": 0.3}))
        else:
            opened.append(PtyModem(ModemModel(FaultScript("modem", faults, FAULTS), clock)))
            opened.append(open_modem("at", {"port": opened[-1].path, "timeout_s": 0.3}))  # type: ignore[union-attr]
        assert isinstance(opened[-1], Modem)
        return opened[-1]

    yield plug
    for one in reversed(opened):
        one.close()


def test_a_sound_modem_tells_everything(plugged: Opens) -> None:
    modem = plugged()
    assert modem.status() == WELL
    assert modem.status() == WELL


def test_a_modem_that_chatters_is_understood(plugged: Opens) -> None:
    modem = plugged("c" * 60)
    for _ in range(3):
        assert modem.status() == WELL


@pytest.mark.parametrize(
    ("fault", "sim", "registration"),
    [
        ("s", "missing", "idle"),
        ("p", "locked", "idle"),
        ("n", "ready", "searching"),
        ("d", "ready", "denied"),
    ],
)
def test_what_keeps_it_off_the_network(fault: str, sim: str, registration: str, plugged: Opens) -> None:
    status = plugged(fault * 60).status()
    assert (status.registered, status.sim, status.registration) == (False, sim, registration)


def test_a_weak_signal(plugged: Opens) -> None:
    status = plugged("w" * 60).status()
    assert (status.registered, status.signal_dbm, status.rsrp_dbm) == (True, -107.0, -123.0)


def test_an_old_modem_tells_what_it_knows(plugged: Opens) -> None:
    status = plugged("e" * 60).status()
    assert (status.registered, status.signal_dbm, status.rsrp_dbm, status.sim) == (
        True,
        -69.0,
        None,
        "unknown",
    )


def test_a_mute_modem_is_told_in_time_and_hears_again(plugged: Opens, clock: Seconds) -> None:
    modem = plugged("m")
    begun = time.monotonic()
    with pytest.raises(ModemMute):
        modem.status()
    assert time.monotonic() - begun < CALLS * CALL_S + 1.0
    clock.s += 2.0
    assert modem.status() == WELL


def test_garbage_is_a_mute_modem_and_leaves_nothing_behind(plugged: Opens, clock: Seconds) -> None:
    modem = plugged("g")
    with pytest.raises(ModemMute):
        modem.status()
    clock.s += 2.0
    assert modem.status() == WELL


def test_it_starts_anew_when_told_and_is_understood_afterwards(plugged: Opens, clock: Seconds) -> None:
    modem = plugged()
    modem.status()
    modem.restart()
    with pytest.raises(ModemMute):
        modem.status()
    clock.s += BOOT_S + 0.1
    assert modem.status().registration == "searching"
    clock.s += SEARCH_S
    assert modem.status() == WELL


def test_a_modem_that_starts_by_itself_is_understood_afterwards(plugged: Opens, clock: Seconds) -> None:
    modem = plugged(".b")
    modem.status()
    clock.s += 1.0
    with pytest.raises(ModemMute):
        modem.status()
    clock.s += BOOT_S + SEARCH_S + 1.0
    assert modem.status() == WELL


def test_a_mute_modem_can_still_be_told_to_start(plugged: Opens) -> None:
    plugged("m" * 60).restart()


def test_it_may_be_closed_twice_and_is_then_lost(plugged: Opens) -> None:
    modem = plugged()
    modem.close()
    modem.close()
    with pytest.raises(ModemLost):
        modem.status()


def test_unplugged_by_script(plugged: Opens, clock: Seconds) -> None:
    modem = plugged(".u")
    modem.status()
    clock.s += 1.0
    time.sleep(0.05)
    with pytest.raises(ModemLost):
        [modem.status() for _ in range(3)]
    with pytest.raises(ModemLost):
        modem.restart()


def test_a_pulled_cable_is_a_lost_modem() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    modem = open_modem("at", {"port": os.ttyname(slave), "timeout_s": 0.2})
    os.close(master)
    os.close(slave)
    with pytest.raises(ModemLost):
        [modem.status() for _ in range(3)]
    modem.close()


def test_a_port_that_is_not_there() -> None:
    with pytest.raises(ModemLost, match="/dev/ttyNOTHERE"):
        open_modem("at", {"port": "/dev/ttyNOTHERE"})
    with pytest.raises(BadOption):
        open_modem("at", {})


def test_none() -> None:
    modem = open_modem("none", {})
    assert isinstance(modem, Modem)
    assert not modem.status().registered
    modem.restart()
    modem.close()


def model(faults: str = "") -> ModemModel:
    return ModemModel(FaultScript("modem", faults, FAULTS), lambda: 0.0)


def test_the_model_echoes_until_told_not_to() -> None:
    modem = model()
    assert modem.feed(b"AT\r") == b"AT\r\r\nOK\r\n"
    assert modem.feed(b"ATE0\r") == b"ATE0\r\r\nOK\r\n"
    assert modem.feed(b"A") == b""
    assert modem.feed(b"T\r") == b"\r\nOK\r\n"


def test_the_model_s_errors_follow_cmee() -> None:
    modem = model("s")
    assert b"\r\nERROR\r\n" in modem.feed(b"AT+CPIN?\r")
    assert b"+CME ERROR: 10\r\n" in modem.feed(b"AT+CMEE=1\rAT+CPIN?\r")
    assert b"+CME ERROR: SIM not inserted\r\n" in modem.feed(b"AT+CMEE=2\rAT+CPIN?\r")
    assert b"ERROR" in modem.feed(b"AT+CMEE=7\r")


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=600))
def test_the_model_survives_any_command(noise: bytes) -> None:
    modem = model()
    modem.feed(noise)
    assert b"OK" in modem.feed(b"\rATE0\rAT\r")


def test_no_thread_is_left() -> None:
    port = PtyModem(model())
    assert any(thread.name == "sim-modem" for thread in threading.enumerate())
    port.close()
    port.close()
    assert not any(thread.name == "sim-modem" for thread in threading.enumerate())
