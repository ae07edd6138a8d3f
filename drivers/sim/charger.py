# SPDX-License-Identifier: Apache-2.0
"""A charge controller at a pseudo-terminal that speaks VE.Direct, for the driver that opens its `path`."""

from __future__ import annotations

import os
import tty
from typing import Final

from drivers.sim.faults import FaultScript
from drivers.vedirect import encode

FAULTS: Final = {
    "m": "mute",
    "c": "wrong checksum",
    "g": "garbage",
    "h": "a hexadecimal message in the middle",
    "n": "no voltage in the frame",
}
HEX: Final = b":A4F10000000000000000A7\n"


class PtyCharger:
    """`send` is one frame, as a real one sends each second; each letter of `faults` is one frame."""

    def __init__(self, faults: str = "") -> None:
        self._faults = FaultScript("charger sim", faults, FAULTS)
        self._frames = 0
        self._ours, self._theirs = (
            os.openpty()
        )  # the other end is kept open: else a driver that leaves hangs up
        tty.setraw(self._theirs)
        self.path = os.ttyname(self._theirs)

    def send(self, volts: float, amperes: float) -> None:
        """Tells the battery's volts and the amperes into it, as an MPPT 75/15 does."""
        fault = self._faults.at(self._frames)
        self._frames += 1
        if fault != "m":
            os.write(self._ours, self._frame(fault, volts, amperes))

    @staticmethod
    def _frame(fault: str, volts: float, amperes: float) -> bytes:
        fields = {
            "PID": "0xA053", "FW": "159", "SER#": "HQ0000SIM00", "V": str(round(volts * 1000)),
            "I": str(round(amperes * 1000)), "VPV": "18040", "PPV": "4", "CS": "3", "ERR": "0", "HSDS": "57",
        }  # fmt: skip
        if fault == "n":
            del fields["V"]
        data = encode(fields)
        half = len(data) // 2
        return {
            "c": data[:-1] + bytes([data[-1] ^ 1]),
            "g": bytes(range(1, 256)),
            "h": data[:half] + HEX + data[half:],
        }.get(fault, data)

    def unplug(self) -> None:
        """Pulls the cable: the port is gone. May be called twice."""
        for end in (self._ours, self._theirs):
            if end >= 0:
                os.close(end)
        self._ours = self._theirs = -1
