# SPDX-License-Identifier: Apache-2.0
"""NMEA 0183: bytes to sentences to fixes. Pure: no port, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Final

from drivers.types import Fix

MAX_SENTENCE_BYTES: Final = 120  # the standard says 82; receivers with many digits send a few more
ERROR_PER_HDOP_M: Final = 5.0  # metres of horizontal error per unit of HDOP for a consumer receiver
WORST_ACCURACY_M: Final = 500.0  # metres, when the receiver states no HDOP
KNOT_MPS: Final = 1852.0 / 3600.0
WEEK_ROLLOVER: Final = timedelta(weeks=1024)  # an old receiver's date falls back by this
OLDEST_DATE: Final = datetime(2025, 1, 1, tzinfo=UTC)  # no fix of ours is older
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def checksum(body: bytes) -> int:
    """XOR of all bytes between `$` and `*`."""
    return reduce(lambda total, byte: total ^ byte, body, 0)


def sentence(body: str) -> bytes:
    """A whole line for a body, with `$`, checksum and line end."""
    raw = body.encode("ascii")
    return b"$%b*%02X\r\n" % (raw, checksum(raw))


def fields_of(line: bytes) -> list[str] | None:
    """The comma-separated fields of one line, or None when its frame or checksum is wrong."""
    line = line.strip()
    if len(line) > MAX_SENTENCE_BYTES or not line.startswith(b"$") or line[-3:-2] != b"*":
        return None
    try:
        body = line[1:-3]
        if checksum(body) != int(line[-2:], 16):
            return None
        return body.decode("ascii").split(",")
    except ValueError:
        return None


def _degrees(value: str, half: str, positive: str, negative: str, most: float) -> float:
    """`ddmm.mmmm` or `dddmm.mmmm` with its hemisphere, as degrees; raises ValueError."""
    if half not in (positive, negative):
        raise ValueError(half)
    dot = value.index(".") if "." in value else len(value)
    minutes = float(value[dot - 2 :])
    degrees = float(value[: dot - 2] or "0") + minutes / 60.0
    if not 0.0 <= degrees <= most or not 0.0 <= minutes < 60.0:
        raise ValueError(value)
    return degrees if half == positive else -degrees


def _time_us(clock: str, date: str) -> int:
    """`hhmmss.ss` and `ddmmyy` as Unix microseconds, repaired by whole week rollovers; raises ValueError."""
    when = datetime.strptime(date + clock[:6], "%d%m%y%H%M%S").replace(tzinfo=UTC)
    when += timedelta(seconds=float("0" + clock[6:]) if clock[6:] else 0.0)
    while when < OLDEST_DATE:
        when += WEEK_ROLLOVER
    return (when - EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Counters:
    """What became of the lines: used ones, damaged ones, and sound ones that say there is no fix."""

    used: int = 0
    damaged: int = 0
    void: int = 0


class NmeaReader:
    """Feed it bytes; `latest` is the newest fix, None as soon as the receiver says that it has none."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._pending = b""
        self._skipping = False
        self._gga: tuple[int, int, float] = (1, 0, WORST_ACCURACY_M)  # quality, satellites, accuracy
        self.latest: Fix | None = None
        self.counters = Counters()

    def feed(self, data: bytes) -> bool:
        """Takes bytes as they come; True when `latest` was set anew."""
        lines = (self._pending + data).split(b"\n")
        self._pending = lines.pop()
        fresh = False
        for line in lines:
            fresh |= not self._skipping and self._line(line)
            self._skipping = False
        if len(self._pending) > MAX_SENTENCE_BYTES:  # noise without line ends must not pile up
            self._pending, self._skipping = b"", True
            self._count(damaged=1)
        return fresh

    def _count(self, *, used: int = 0, damaged: int = 0, void: int = 0) -> None:
        old = self.counters
        self.counters = Counters(old.used + used, old.damaged + damaged, old.void + void)

    def _line(self, line: bytes) -> bool:
        if not line.strip():
            return False
        fields = fields_of(line)
        if fields is None:
            self._count(damaged=1)
            return False
        try:
            if fields[0].endswith("GGA"):
                return self._take_gga(fields)
            return fields[0].endswith("RMC") and self._take_rmc(fields)
        except (ValueError, IndexError):
            self._count(damaged=1)
            return False

    def _take_gga(self, fields: list[str]) -> bool:
        quality, satellites = int(fields[6] or "0"), int(fields[7] or "0")
        hdop = float(fields[8]) if fields[8] else 0.0
        if quality == 0:
            self.latest = None
            self._count(void=1)
            return False
        accuracy = hdop * ERROR_PER_HDOP_M if hdop > 0.0 else WORST_ACCURACY_M
        self._gga = (quality, satellites, min(accuracy, WORST_ACCURACY_M))
        self._count(used=1)
        return False

    def _take_rmc(self, fields: list[str]) -> bool:
        if fields[2] != "A":
            self.latest = None
            self._count(void=1)
            return False
        lat = _degrees(fields[3], fields[4], "N", "S", 90.0)
        lon = _degrees(fields[5], fields[6], "E", "W", 180.0)
        speed_mps = float(fields[7] or "0") * KNOT_MPS
        quality, satellites, accuracy_m = self._gga
        time_us = _time_us(fields[1], fields[9])
        self.latest = Fix(lat, lon, speed_mps, time_us, accuracy_m, self._source, satellites, quality)
        self._count(used=1)
        return True
