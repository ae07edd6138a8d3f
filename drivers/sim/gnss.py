# SPDX-License-Identifier: Apache-2.0
"""A simulated receiver: it writes NMEA sentences, sound or damaged, and the real parser reads them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from drivers.errors import GnssLost
from drivers.nmea import KNOT_MPS, NmeaReader, sentence
from drivers.options import Options
from drivers.sim.faults import FaultScript
from drivers.types import Fix, GnssCounters

FAULTS: Final = {
    "v": "void fix",
    "s": "silent",
    "g": "garbage bytes",
    "c": "wrong checksum",
    "r": "date 1024 weeks back",
    "e": "date of January 1980",
    "y": "spoofed: time a year ahead",
    "m": "moved by 500 m",
    "j": "jumped by 30 km",
    "u": "unplugged",
}
JITTER_DEG: Final = 1.5e-5  # about 1.5 m
JITTER_M: Final = 1.5
DISPLACED_DEG: Final = {"m": 0.0045, "j": 0.27}  # north: about 500 m, 30 km
M_PER_DEG: Final = 111_195.0  # of latitude, on a sphere of 6371 km
MAX_AGE_S: Final = 5.0
CENTISECOND_US: Final = 10_000  # what its sentences round the time to
GPS_EPOCH: Final = datetime(1980, 1, 6, tzinfo=UTC)


def _angle(value: float, digits: int, halves: str) -> str:
    degrees, minutes = divmod(abs(value) * 60.0, 60.0)
    return f"{int(degrees):0{digits}d}{minutes:07.4f},{halves[0] if value >= 0 else halves[1]}"


def _date(when: datetime, fault: str, epoch: int) -> datetime:
    """The time that the receiver tells under a fault."""
    told = {"r": when - timedelta(weeks=1024), "y": when + timedelta(days=365)}
    return GPS_EPOCH + timedelta(seconds=epoch) if fault == "e" else told.get(fault, when)


class SimGnss:
    """One epoch a second of the clock; each letter of `faults` is one epoch. It drives on at `speed_mps`."""

    def __init__(
        self,
        start: Fix,
        seed: int,
        faults: FaultScript,
        now_us: Callable[[], int],
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._start, self._faults = start, faults
        self._now_us, self._monotonic_ns = now_us, monotonic_ns
        self._rng = np.random.default_rng([seed, 5])
        self._reader = NmeaReader("gnss-sim")
        self._begun_us = now_us()
        self._epoch = -1
        self._fresh_us: int | None = None
        self._fix: Fix | None = None

    @property
    def counters(self) -> GnssCounters:
        """What became of the sentences so far."""
        return self._reader.counters

    def _place(self, epoch: int, fault: str) -> tuple[float, float]:
        """Where it says that it is, degrees."""
        ahead_deg = self._start.speed_mps * epoch / M_PER_DEG
        course = math.radians(self._start.course_deg or 0.0)
        lat = self._start.lat + ahead_deg * math.cos(course) + DISPLACED_DEG.get(fault, 0.0)
        lon = self._start.lon + ahead_deg * math.sin(course) / math.cos(math.radians(self._start.lat))
        north, east = self._rng.normal(0.0, JITTER_DEG, 2)
        return lat + float(north), lon + float(east)

    def nmea(self, epoch: int, at_us: int) -> bytes:
        """The bytes that the receiver sends in one epoch."""
        fault = self._faults.at(epoch)
        if fault == "s":
            return b""
        if fault == "g":
            return bytes(self._rng.integers(0, 256, 200, dtype=np.uint8)) + b"\r\n"
        when = _date(datetime.fromtimestamp(at_us / 1e6, UTC), fault, epoch)
        lat, lon = self._place(epoch, fault)
        where = f"{_angle(lat, 2, 'NS')},{_angle(lon, 3, 'EW')}"
        clock = when.strftime("%H%M%S.") + f"{when.microsecond // CENTISECOND_US:02d}"
        void = fault == "v"
        gga = f"GPGGA,{clock},{where},{0 if void else 1},{0 if void else 9:02d},0.9,200.0,M,-33.0,M,,"
        gst = f"GPGST,{clock},{JITTER_M},,,,{JITTER_M},{JITTER_M},{2 * JITTER_M}"
        motion = f"{self._start.speed_mps / KNOT_MPS:.2f},{self._start.course_deg or 0.0:.1f}"
        rmc = f"GPRMC,{clock},{'V' if void else 'A'},{where},{motion},{when:%d%m%y},,,A"
        lines = [sentence(line) for line in (gga, gst, rmc)]
        if fault == "c":
            lines = [line.replace(b"*", b"*F")[:-3] + b"\r\n" for line in lines]
        return b"".join(lines)

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
                self._take(at_us, now_us)
            self._epoch = epoch
        if self._reader.latest is None or now_us - (self._fresh_us or 0) > MAX_AGE_S * 1e6:
            return None
        return self._fix

    def _take(self, at_us: int, now_us: int) -> None:
        latest = self._reader.latest
        at_ns = self._monotonic_ns() - (now_us - at_us) * 1000
        self._fresh_us = at_us
        self._fix = latest and replace(latest, monotonic_ns=at_ns, time_uncertainty_us=CENTISECOND_US)

    def close(self) -> None:
        """Nothing to release."""


def _wall_us() -> int:
    return time.time_ns() // 1000


def open_sim(options: Mapping[str, object]) -> SimGnss:
    """Options: lat, lon, speed_mps, course_deg, seed, faults (a letter a second), and in process only two clocks:
    now_us, monotonic_ns.
    """
    read = Options("gnss sim", options)
    lat, lon = read.number("lat", 41.8837, -90.0, 90.0), read.number("lon", -87.6289, -180.0, 180.0)
    speed_mps, course_deg = (
        read.number("speed_mps", 0.01, 0.0, 100.0),
        read.number("course_deg", 0.0, 0.0, 360.0),
    )
    start = Fix(lat, lon, speed_mps, None, 0.0, "start", course_deg=course_deg)
    seed = read.integer("seed", 1, 0, 2**31)
    faults = FaultScript("gnss sim", read.text("faults", ""), FAULTS)
    clock, monotonic_ns = read.thing("now_us"), read.thing("monotonic_ns")
    read.finish()
    return SimGnss(
        start,
        seed,
        faults,
        clock if callable(clock) else _wall_us,
        monotonic_ns if callable(monotonic_ns) else time.monotonic_ns,
    )
