# SPDX-License-Identifier: Apache-2.0
"""A simulated receiver at the far end of a serial cable that can be pulled; the driver under test is the real one."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import tty
from collections.abc import Callable
from pathlib import Path

from drivers.sim.faults import FaultScript
from drivers.sim.gnss import FAULTS, SimGnss
from drivers.types import Fix

PLACE = (40.3084, -88.1559)


class SerialReceiver:
    """A receiver's cable: a pseudo-terminal behind a name that stays; unplugged, the name leads nowhere."""

    def __init__(self, port: Path, script: str, now_us: Callable[[], int]) -> None:
        self.port, self._now_us = port, now_us
        self._faults = FaultScript("receiver", script, FAULTS)
        self._receiver = SimGnss(Fix(*PLACE, 0.0, None, 0.0, "start"), 1, self._faults, now_us)
        self._master = self._slave = -1
        self._epoch = 0

    def say(self) -> None:
        """One second of the script."""
        if self._faults.at(self._epoch) == "u":
            self.unplug()
        else:
            self.plug()
            os.write(self._master, self._receiver.nmea(self._epoch, self._now_us()))
        self._epoch += 1

    def plug(self) -> None:
        if self._master < 0:
            self._master, self._slave = os.openpty()
            tty.setraw(self._slave)
            self.port.unlink(missing_ok=True)
            self.port.symlink_to(os.ttyname(self._slave))

    def unplug(self) -> None:
        if self._master >= 0:
            self.port.unlink()
            os.close(self._master)
            os.close(self._slave)
            self._master = self._slave = -1

    def drained(self) -> bool:
        """Whether the driver has read everything."""
        if self._slave < 0:
            return True
        waiting = fcntl.ioctl(self._slave, termios.FIONREAD, b"\0" * 4)
        return bool(struct.unpack("i", waiting)[0] == 0)
