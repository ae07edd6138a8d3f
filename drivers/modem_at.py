# SPDX-License-Identifier: Apache-2.0
"""A cellular modem that is asked by AT commands over a serial port (the one that carries no data)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Protocol

from drivers import at
from drivers.errors import ModemLost, ModemMute
from drivers.options import Options
from drivers.serial_line import SerialLine
from drivers.types import ModemStatus, Registration

POLL_S: Final = 0.05
CALLS: Final = 3  # how often it is called before it counts as mute: the first may wake it
CALL_S: Final = 0.5
SETTLE_S: Final = 0.05  # after it answered: late answers to earlier commands come now
REGISTRATIONS: Final = ("+CEREG", "+CGREG", "+CREG")  # LTE, packets, voice
REGISTERED: Final = ("home", "roaming")


class Line(Protocol):
    """What carries the bytes: a SerialLine, or a simulated modem itself."""

    def read(self) -> bytes:
        """What has arrived, after waiting a moment for it; raises ModemLost."""

    def write(self, data: bytes) -> None:
        """Sends all of it; raises ModemLost."""

    def close(self) -> None:
        """Releases it; may be called twice."""


class AtModem:
    """Every question begins anew (call, echo off, errors as numbers), so a modem that was restarted is no matter."""

    def __init__(self, line: Line, timeout_s: float) -> None:
        self._line, self._timeout_s = line, timeout_s
        self._lines = at.AtLines()

    def status(self) -> ModemStatus:
        """SIM, registration, signal, operator, access point; raises ModemMute, ModemLost."""
        self._call()
        for command in ("ATE0", "AT+CMEE=1"):
            self._ask(command)
        pin = self._ask("AT+CPIN?", "+CPIN")
        sim = at.sim_card(_only(pin), pin.error)
        registration = self._registration()
        name, technology = at.operator(_only(self._ask("AT+COPS?", "+COPS")))
        return ModemStatus(
            registered=registration in REGISTERED,
            signal_dbm=at.rssi_dbm(_only(self._ask("AT+CSQ", "+CSQ"))),
            operator=name,
            registration=registration,
            sim=sim,
            rsrp_dbm=at.rsrp_dbm(_only(self._ask("AT+CESQ", "+CESQ"))),
            technology=technology,
            apn=self._access_point(),
        )

    def _registration(self) -> Registration:
        """The best of the three: LTE's, the packet network's, the voice network's."""
        told = [at.registration(_only(self._ask(f"AT{name}?", name))) for name in REGISTRATIONS]
        order = (*REGISTERED, "denied", "searching", "idle", "unknown")
        return min(told, key=order.index)

    def _access_point(self) -> str:
        """Of the first context; a modem may have none, and answers with a bare OK."""
        return at.access_point(_only(self._ask("AT+CGDCONT?", "+CGDCONT", needed=False)))

    def restart(self) -> None:
        """`AT+CFUN=1,1`, heard or not; raises ModemLost when the port was gone before."""
        self._send("AT+CFUN=1,1")
        with suppress(ModemLost):  # its port goes away with it
            self._wait(at.Answer(), self._timeout_s)

    def close(self) -> None:
        """Releases the port."""
        self._line.close()

    def _call(self) -> None:
        """Until it answers; what it says late to earlier questions is then read away."""
        for _ in range(CALLS):
            self._send("AT")
            if self._wait(at.Answer(), CALL_S):
                self._wait(at.Answer("nothing"), SETTLE_S)
                return
        raise ModemMute("the modem does not answer; look at its lamp and its cable")

    def _ask(self, command: str, wanted: str = "", *, needed: bool = True) -> at.Answer:
        """One command's answer, well or with an error; raises ModemMute."""
        self._send(command)
        answer = at.Answer(wanted, needed)
        if not self._wait(answer, self._timeout_s):
            raise ModemMute(f"the modem does not answer {command}")
        return answer

    def _send(self, command: str) -> None:
        self._line.write(command.encode("ascii") + b"\r")

    def _wait(self, answer: at.Answer, timeout_s: float) -> bool:
        """Whether the answer is complete in time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in self._lines.feed(self._line.read()):
                if answer.take(line):
                    return True
        return False


def _only(answer: at.Answer) -> str:
    """Its line, empty where there was an error instead."""
    return answer.lines[0] if answer.lines else ""


def open_at(options: Mapping[str, object]) -> AtModem:
    """Options: port (/dev/ttyUSB2), baud, timeout_s of one command."""
    read = Options("modem at", options)
    name, baud = read.text("port"), read.integer("baud", 115_200, 1200, 4_000_000)
    timeout_s = read.number("timeout_s", 2.0, 0.1, 30.0)
    read.finish()
    return AtModem(SerialLine(name, baud, "the modem", ModemLost, POLL_S), timeout_s)
