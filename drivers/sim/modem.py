# SPDX-License-Identifier: Apache-2.0
"""A simulated cellular modem, in the manner of a Quectel EC25; the real driver talks to it.

`ModemModel` is the modem (bytes in, bytes out, its own clock): it keeps echo, error style and the settings that it is
told, knows what the driver asks, is deaf for 5 s while it starts, then speaks unasked (RDY, +CFUN, +CPIN, ...) and
searches for 3 s. `PtyModem` hangs it on a pseudo-terminal, as if it were plugged into a port.
"""

from __future__ import annotations

import os
import re
import select
import threading
import time
import tty
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from drivers.errors import ModemLost
from drivers.modem_at import AtModem
from drivers.options import Options
from drivers.sim.faults import FaultScript

FAULTS: Final = {
    "m": "mute",
    "s": "SIM missing",
    "p": "SIM wants its PIN",
    "n": "searching for a network",
    "d": "refused by the network",
    "w": "weak signal",
    "g": "garbage among the answers",
    "c": "chatters unasked",
    "e": "knows only CSQ and CREG",
    "b": "starts anew",
    "u": "unplugged",
}
MAX_COMMAND_BYTES: Final = 256
BOOT_S: Final = 5.0
SEARCH_S: Final = 3.0  # from its start to the network
READ_BYTES: Final = 4096
QUIET_S: Final = 0.01  # between two looks at a modem that says nothing
BOOT_LINES: Final = ("RDY", "+CFUN: 1", "+CPIN: READY", "+QUSIM: 1", "+QIND: SMS DONE", "+QIND: PB DONE")
CHATTER: Final = ('+QIND: "csq",20,99', "+CREG: 1", '+CEREG: 1,"00C3","0001A2B3",7', "NO CARRIER", "+CUSD: 4")
CME: Final = {"s": ("10", "SIM not inserted"), "": ("100", "unknown")}
SET: Final = re.compile(r"AT\+(CREG|CGREG|CEREG|CMEE|COPS|CGDCONT)=(.{0,100})")


def _framed(line: str) -> bytes:
    return f"\r\n{line}\r\n".encode("ascii")


class ModemModel:
    """Each letter of `faults` is one second of the clock since it was switched on."""

    def __init__(self, faults: FaultScript, monotonic_s: Callable[[], float], seed: int = 1) -> None:
        self._faults, self._monotonic_s = faults, monotonic_s
        self._rng = np.random.default_rng([seed, 9])
        self._on_s = self._booted_s = monotonic_s()
        self._waiting = b""
        self._said_boot = True
        self._fault_boot = -1
        self._reset()

    def _reset(self) -> None:
        """What it forgets when it starts."""
        self._echo, self._cmee = True, 0
        self._urc = {"CREG": 0, "CGREG": 0, "CEREG": 0}
        self._waiting = b""

    @property
    def fault(self) -> str:
        """The letter of this second."""
        return self._faults.at(int(self._monotonic_s() - self._on_s))

    @property
    def unplugged(self) -> bool:
        """Whether its port is gone."""
        return self.fault == "u"

    def _start_anew(self) -> None:
        self._booted_s, self._said_boot = self._monotonic_s() + BOOT_S, False
        self._reset()

    def tick(self) -> bytes:
        """What it says unasked, now."""
        second = int(self._monotonic_s() - self._on_s)
        if self.fault == "b" and second != self._fault_boot:
            self._fault_boot = second
            self._start_anew()
        if not self._said_boot and self._monotonic_s() >= self._booted_s and self.fault != "m":
            self._said_boot = True
            return b"".join(map(_framed, BOOT_LINES))
        return _framed(str(self._rng.choice(CHATTER))) if self.fault == "c" else b""

    def feed(self, data: bytes) -> bytes:
        """Takes what is sent to it; gives what it answers."""
        if self.fault == "m" or self._monotonic_s() < self._booted_s:
            return b""
        *commands, self._waiting = (self._waiting + data).split(b"\r")
        self._waiting = self._waiting[-MAX_COMMAND_BYTES:]
        return b"".join(self._answer(command.strip(b"\n")) for command in commands)

    def _answer(self, raw: bytes) -> bytes:
        echo = raw + b"\r" if self._echo else b""
        command = raw.decode("ascii", "replace").strip().upper()
        if not command:
            return echo
        said = b"".join(map(_framed, self._obey(command)))
        if self.fault == "g":
            noise = bytes(self._rng.integers(0, 256, 40, dtype=np.uint8))
            return echo + noise + said[: len(said) // 2] + noise
        chatter = _framed(str(self._rng.choice(CHATTER))) if self.fault == "c" else b""
        return echo + chatter + said

    def _error(self) -> list[str]:
        number, words = CME["s" if self.fault == "s" else ""]
        return [["ERROR"], [f"+CME ERROR: {number}"], [f"+CME ERROR: {words}"]][self._cmee]

    def _obey(self, command: str) -> list[str]:
        """The lines of an answer."""
        if command in ("ATE0", "ATE1"):
            self._echo = command == "ATE1"
        elif command == "AT+CFUN=1,1":
            self._start_anew()
        elif found := SET.fullmatch(command):
            return self._set(found[1], found[2])
        elif command not in ("AT", "ATZ"):
            return self._tell(command)
        return ["OK"]

    def _set(self, name: str, value: str) -> list[str]:
        """A parameter; what it does not take is an error."""
        number = int(value) if value in ("0", "1", "2") else None
        if name == "CMEE" and number is not None:
            self._cmee = number
        elif name in self._urc and number is not None:
            self._urc[name] = number
        elif name in ("CMEE", *self._urc):
            return self._error()
        return ["OK"]

    def _tell(self, command: str) -> list[str]:
        """The answer to a question; an EC25 says ERROR to what it does not know."""
        known = {
            "AT+CSQ": f"+CSQ: {self._csq()},99",
            "AT+CREG?": f"+CREG: {self._urc['CREG']},{self._stat()}",
        }
        if self.fault != "e":
            known |= {
                "AT+CPIN?": "+CPIN: SIM PIN" if self.fault == "p" else "+CPIN: READY",
                "AT+CESQ": f"+CESQ: 99,99,255,255,{20 if self._heard() else 255},{self._rsrp()}",
                "AT+CGREG?": f"+CGREG: {self._urc['CGREG']},{self._stat()}",
                "AT+CEREG?": f"+CEREG: {self._urc['CEREG']},{self._stat()}",
                "AT+COPS?": '+COPS: 0,0,"Prairie Mobile, Inc",7' if self._stat() == 1 else "+COPS: 0",
                "AT+CGDCONT?": '+CGDCONT: 1,"IPV4V6","wayside.fixed","0.0.0.0",0,0',
                "AT+CGMM": "EC25",
            }
        if command not in known or (command == "AT+CPIN?" and self.fault == "s"):
            return self._error()
        return [known[command], "OK"]

    def _heard(self) -> bool:
        return self.fault not in ("n", "s", "p")

    def _csq(self) -> int:
        """0..31 in steps of 2 dB above -113 dBm."""
        return {True: 22, False: 99}[self._heard()] if self.fault != "w" else 3

    def _rsrp(self) -> int:
        """0..97 in dB above -141 dBm."""
        return {True: 50, False: 255}[self._heard()] if self.fault != "w" else 18

    def _stat(self) -> int:
        """Home, searching, denied, or nothing without a usable SIM (27.007, 7.2)."""
        told = {"n": 2, "d": 3, "s": 0, "p": 0}.get(self.fault)
        searching = self._booted_s > self._on_s and self._monotonic_s() - self._booted_s < SEARCH_S
        return told if told is not None else 2 if searching else 1


class ModelLine:
    """A modem at the driver's end of a cable of its own, in process."""

    def __init__(self, model: ModemModel) -> None:
        self._model = model
        self._said = b""
        self._closed = False

    def read(self) -> bytes:
        """What the modem has said; raises ModemLost."""
        self._check()
        said, self._said = self._said + self._model.tick(), b""
        if not said:
            time.sleep(QUIET_S)
        return said

    def write(self, data: bytes) -> None:
        """Tells it something; raises ModemLost."""
        self._check()
        self._said += self._model.feed(data)

    def _check(self) -> None:
        if self._closed or self._model.unplugged:
            raise ModemLost("the simulated modem is unplugged")

    def close(self) -> None:
        """Lets go of the cable."""
        self._closed = True


class PtyModem:
    """A modem at a pseudo-terminal, for a driver that opens `path`. Once unplugged the port stays gone."""

    def __init__(self, model: ModemModel) -> None:
        self._model = model
        self._master, self._slave = os.openpty()  # the slave is kept open: else a driver that leaves hangs up
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="sim-modem", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop.is_set() and not self._model.unplugged:
            ready, _, _ = select.select([self._master], [], [], QUIET_S)
            data = os.read(self._master, READ_BYTES) if ready else b""
            said = self._model.tick() + (self._model.feed(data) if data else b"")
            if said:
                os.write(self._master, said)
        for end in (self._master, self._slave):
            os.close(end)

    def close(self) -> None:
        """Switches it off; may be called twice."""
        self._stop.set()
        self._thread.join()


def open_sim(options: Mapping[str, object]) -> AtModem:
    """Options: faults (a letter a second since it was opened), seed, timeout_s; in process only: monotonic_s."""
    read = Options("modem sim", options)
    faults = FaultScript("modem sim", read.text("faults", ""), FAULTS)
    seed, timeout_s = read.integer("seed", 1, 0, 2**31), read.number("timeout_s", 1.0, 0.1, 30.0)
    clock = read.thing("monotonic_s")
    read.finish()
    model = ModemModel(faults, clock if callable(clock) else time.monotonic, seed)
    return AtModem(ModelLine(model), timeout_s)
