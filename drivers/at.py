# SPDX-License-Identifier: Apache-2.0
"""AT commands without a port: lines out of bytes, values out of lines (3GPP TS 27.007, ITU-T V.250). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from drivers.line_buffer import ANY_END, LineBuffer
from drivers.types import Registration, SimCard

MAX_LINE_BYTES: Final = 512  # longer is no answer to anything that is asked here
MAX_LINES: Final = 64  # of one answer; the rest of a flood is dropped
MAX_VALUE_CHARS: Final = 64  # of an operator's or access point's name
VALUE: Final = re.compile(r'\s*(?:"([^"]*)"|([^,"]*))\s*(?:,|$)')
ERROR: Final = re.compile(r"ERROR|\+CM[ES] ERROR: ?(.*)")

REGISTRATION: Final[dict[int, Registration]] = {  # 27.007, 7.2
    0: "idle",
    1: "home",
    2: "searching",
    3: "denied",
    5: "roaming",
}
TECHNOLOGY: Final = {  # 27.007, 7.3
    **dict.fromkeys((0, 1, 3), "gsm"),
    **dict.fromkeys((2, 4, 5, 6), "umts"),
    **dict.fromkeys((7, 8, 9), "lte"),
    **dict.fromkeys((10, 11, 12, 13), "nr"),
}
SIM_ERRORS: Final[dict[str, SimCard]] = {  # 27.007, 9.2: as numbers (AT+CMEE=1), as words (AT+CMEE=2)
    **dict.fromkeys(("10", "SIM not inserted"), "missing"),
    **dict.fromkeys(("5", "11", "12", "SIM PIN required", "SIM PUK required"), "locked"),
    **dict.fromkeys(("13", "15", "SIM failure", "SIM wrong"), "failed"),
}
HIGHEST_RSSI: Final = 31  # above: not known
HIGHEST_RSRP: Final = 97
MAX_DIGITS: Final = 6


class AtLines:
    """Feed it bytes; it gives whole lines, and drops what has no end."""

    def __init__(self) -> None:
        self._lines = LineBuffer(MAX_LINE_BYTES, ANY_END)

    def feed(self, data: bytes) -> list[str]:
        """The lines that have ended, without blanks around and without empty ones."""
        ended = (line for line in self._lines.feed(data) if len(line) <= MAX_LINE_BYTES)
        lines = (line.decode("ascii", "replace").strip() for line in ended)
        return [line for line in lines if line]


@dataclass(slots=True)
class Answer:
    """What came for one command. `wanted`: the prefix of the lines that answer it ("+CSQ"), and while it is `needed`
    an OK without such a line is the late answer to an earlier command.
    """

    wanted: str = ""
    needed: bool = True
    lines: list[str] = field(default_factory=list)
    final: str = ""

    def take(self, line: str) -> bool:
        """Takes the next line; True when the answer is complete. Echo and unsolicited lines are passed over."""
        if line == "OK":
            if not self.wanted or not self.needed or self.lines:
                self.final = line
        elif ERROR.fullmatch(line):
            self.final = line
        elif len(self.lines) < MAX_LINES and self.wanted and self._is_wanted(line):
            self.lines.append(line)
        return bool(self.final)

    def _is_wanted(self, line: str) -> bool:
        """Whether it answers: `+CREG: 0,1` does, `+CREG: 1` and `+CREG: 1,"00C3","0001"` came by themselves."""
        if not line.startswith(f"{self.wanted}:"):
            return False
        if self.wanted.endswith("REG"):
            values = values_of(line)
            return len(values) > 1 and '"' not in line.split(",")[1] and _integer(values, 1) is not None
        return True

    @property
    def error(self) -> str | None:
        """The words or the number behind +CME ERROR, empty for a bare ERROR; None when it went well."""
        found = ERROR.fullmatch(self.final)
        return None if found is None else (found[1] or "").strip()


def values_of(line: str) -> list[str]:
    """The values behind the colon, without quotes; commas within quotes belong to the value."""
    rest, values = line.partition(":")[2], []
    at = 0
    while at < len(rest):
        found = VALUE.match(rest, at)
        if found is None or found.end() == at:
            break
        values.append((found[1] if found[1] is not None else found[2]).strip()[:MAX_VALUE_CHARS])
        at = found.end()
    return values


def _integer(values: list[str], index: int) -> int | None:
    text = values[index] if index < len(values) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None


def rssi_dbm(line: str) -> float | None:
    """`+CSQ: 20,99` (27.007, 8.5)."""
    level = _integer(values_of(line), 0)
    return None if level is None or level > HIGHEST_RSSI else -113.0 + 2.0 * level


def rsrp_dbm(line: str) -> float | None:
    """The last value of `+CESQ: 99,99,255,255,20,50` (27.007, 8.69); None without LTE."""
    level = _integer(values_of(line), 5)
    return None if level is None or level > HIGHEST_RSRP else -141.0 + level


def registration(line: str) -> Registration:
    """The second value of `+CEREG: 0,1`."""
    state = _integer(values_of(line), 1)
    return "unknown" if state is None else REGISTRATION.get(state, "unknown")


def operator(line: str) -> tuple[str, str]:
    """Name and technology of `+COPS: 0,0,"Verizon",7`; empty where it has none."""
    values = values_of(line)
    access = _integer(values, 3)
    return values[2] if len(values) > 2 else "", "" if access is None else TECHNOLOGY.get(access, "")


def sim_card(line: str, error: str | None) -> SimCard:
    """From `+CPIN: READY`, or the error that came instead of it."""
    if error is not None:
        return SIM_ERRORS.get(error, "unknown")
    state = line.partition(":")[2].strip()
    return "ready" if state == "READY" else "locked" if state.startswith(("SIM P", "PH-")) else "unknown"


def access_point(line: str) -> str:
    """The third value of `+CGDCONT: 1,"IPV4V6","apn"`."""
    values = values_of(line)
    return values[2] if len(values) > 2 else ""
