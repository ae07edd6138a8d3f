# SPDX-License-Identifier: Apache-2.0
"""A simulated receiver: it writes NMEA sentences, sound or damaged, and the real parser reads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from drivers.errors import GnssLost
from drivers.nmea import Counters, NmeaReader, sentence
from drivers.options import Options
from drivers.sim.faults import FaultScript
from drivers.types import Fix

FAULTS: Final = {
    "v": "void fix",
    "s": "silent",
    "g": "garbage bytes",
    "c": "wrong checksum",
    "r": "date 1024 weeks back",
    "m": "moved by 500 m",
    "u": "unplugged",
}
JITTER_DEG: Final = 1.5e-5  # about 1.5 m
MOVED_DEG: Final = 0.0045  # about 500 m north
MAX_AGE_S: Final = 5.0


def _angle(value: float, digits: int, halves: str) -> str:
    degrees, minutes = divmod(abs(value) * 60.0, 60.0)
    return f"{int(degrees):0{digits}d}{minutes:07.4f},{halves[0] if value >= 0 else halves[1]}"


class SimGnss:
    """One epoch a second of the clock; each letter of `faults` is one epoch."""

    def __init__(
        self, lat: float, lon: float, seed: int, faults: FaultScript, now_us: Callable[[], int]
    ) -> None:
        self._place, self._faults, self._now_us = (lat, lon), faults, now_us
        self._rng = np.random.default_rng([seed, 5])
        self._reader = NmeaReader("gnss-sim")
        self._begun_us = now_us()
        self._epoch = -1
        self._fresh_us: int | None = None

    @property
    def counters(self) -> Counters:
        """Used, damaged and void lines so far."""
        return self._reader.counters

    def nmea(self, epoch: int, at_us: int) -> bytes:
        """The bytes that the receiver sends in one epoch."""
        fault = self._faults.at(epoch)
        if fault == "s":
            return b""
        if fault == "g":
            return bytes(self._rng.integers(0, 256, 200, dtype=np.uint8)) + b"\r\n"
        when = datetime.fromtimestamp(at_us / 1e6, UTC) - timedelta(weeks=1024 if fault == "r" else 0)
        lat, lon = (value + float(self._rng.normal(0.0, JITTER_DEG)) for value in self._place)
        where = f"{_angle(lat + MOVED_DEG * (fault == 'm'), 2, 'NS')},{_angle(lon, 3, 'EW')}"
        clock = when.strftime("%H%M%S.") + f"{when.microsecond // 10000:02d}"
        void = fault == "v"
        gga = sentence(
            f"GPGGA,{clock},{where},{0 if void else 1},{0 if void else 9:02d},0.9,200.0,M,-33.0,M,,"
        )
        rmc = sentence(f"GPRMC,{clock},{'V' if void else 'A'},{where},0.02,,{when:%d%m%y},,,A")
        return (gga + rmc).replace(b"*", b"*F", 2)[:-1] + b"\n" if fault == "c" else gga + rmc

    def fix(self) -> Fix | None:
        """The newest fix; raises GnssLost while unplugged."""
        now_us = self._now_us()
        due = (now_us - self._begun_us) // 1_000_000
        if self._faults.at(due) == "u":
            self._epoch = due
            raise GnssLost("the simulated receiver is unplugged")
        for epoch in range(max(self._epoch + 1, due - 10), due + 1):
            at_us = self._begun_us + epoch * 1_000_000
            if self._reader.feed(self.nmea(epoch, at_us)):
                self._fresh_us = at_us
            self._epoch = epoch
        if self._fresh_us is None or now_us - self._fresh_us > MAX_AGE_S * 1e6:
            return None
        return self._reader.latest

    def close(self) -> None:
        """Nothing to release."""


def _wall_us() -> int:
    return time.time_ns() // 1000


def open_sim(options: Mapping[str, object]) -> SimGnss:
    """Options: lat, lon, seed, faults (a letter a second), now_us (in process only: a clock)."""
    read = Options("gnss sim", options)
    lat, lon = read.number("lat", 41.8837, -90.0, 90.0), read.number("lon", -87.6289, -180.0, 180.0)
    seed = read.integer("seed", 1, 0, 2**31)
    faults = FaultScript("gnss sim", read.text("faults", ""), FAULTS)
    clock = read.thing("now_us")
    read.finish()
    return SimGnss(lat, lon, seed, faults, clock if callable(clock) else _wall_us)
