# SPDX-License-Identifier: Apache-2.0
"""A GNSS receiver on a serial port that speaks NMEA 0183."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

import serial

from drivers.errors import GnssLost
from drivers.nmea import Counters, NmeaReader
from drivers.options import Options
from drivers.types import Fix

READ_BYTES: Final = 4096  # bytes taken per question; a receiver sends about 500 a second


class NmeaGnss:
    """Reads what has arrived whenever it is asked; it never waits."""

    def __init__(self, port: serial.Serial, max_age_s: float, monotonic: Callable[[], float]) -> None:
        self._port, self._max_age_s, self._monotonic = port, max_age_s, monotonic
        self._reader = NmeaReader("gnss")
        self._fresh_at_s = float("-inf")

    @property
    def counters(self) -> Counters:
        """Used, damaged and void lines so far."""
        return self._reader.counters

    def fix(self) -> Fix | None:
        """The newest fix, None when there is none or it is older than `max_age_s`; raises GnssLost."""
        try:
            data = self._port.read(READ_BYTES)
        except (serial.SerialException, OSError, TypeError) as error:  # TypeError: pyserial after close
            raise GnssLost("the receiver's port is gone; check its cable, then open it again") from error
        now_s = self._monotonic()
        if self._reader.feed(data):
            self._fresh_at_s = now_s
        return self._reader.latest if now_s - self._fresh_at_s <= self._max_age_s else None

    def close(self) -> None:
        """Releases the port."""
        self._port.close()


def open_nmea(options: Mapping[str, object]) -> NmeaGnss:
    """Options: port (/dev/ttyACM0), baud, max_age_s."""
    read = Options("gnss nmea", options)
    name, baud = read.text("port"), read.integer("baud", 9600, 1200, 921_600)
    max_age_s = read.number("max_age_s", 5.0, 1.0, 600.0)
    read.finish()
    try:
        port = serial.Serial(name, baud, timeout=0)
    except (serial.SerialException, OSError) as error:
        raise GnssLost(f"the receiver's port {name} cannot be opened") from error
    return NmeaGnss(port, max_age_s, time.monotonic)
