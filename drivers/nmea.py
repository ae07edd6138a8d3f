# SPDX-License-Identifier: Apache-2.0
"""NMEA 0183: bytes to sentences to fixes. Pure: no port, no clock.

Source of the formats: NMEA 0183 version 4 as the receivers' makers publish it (u-blox M8 protocol specification,
chapter 31). RMC gives place, speed, course and date; GGA quality, satellites and HDOP; GST the receiver's own estimate.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import reduce
from math import hypot
from typing import Final

from drivers.gnss_time import dated, utc_us
from drivers.line_buffer import LineBuffer
from drivers.types import Fix, GnssCounters

MAX_SENTENCE_BYTES: Final = 120  # the standard says 82; receivers with many digits send a few more
ERROR_PER_HDOP_M: Final = (
    5.0  # metres (95 %) per unit of HDOP: twice the 2.5 m range error of a consumer receiver
)
SIGMAS: Final = 2.0  # GST tells one standard deviation; 95 % of fixes lie within two
WORST_ACCURACY_M: Final = 500.0  # metres, when the receiver states neither HDOP nor GST
GST_LASTS: Final = 2  # GGA sentences after which a GST that was not repeated is forgotten
MAX_SPEED_KNOTS: Final = 1000.0  # receivers are built to refuse more (the export limit)
MAX_NUMBER: Final = 100_000.0  # HDOP, satellites, deviations in metres
KNOT_MPS: Final = 1852.0 / 3600.0
NO_FIX_QUALITIES: Final = (0, 7, 8)  # none; typed in by hand; simulated
FIRST_YEAR: Final = 80  # of the two digits: GPS time begins in 1980

NUMBER: Final = re.compile(r"\d{1,10}(\.\d{0,10})?", re.ASCII)
CLOCK: Final = re.compile(r"(\d\d)(\d\d)(\d\d)(?:\.(\d{1,9}))?", re.ASCII)
DATE: Final = re.compile(r"(\d\d)(\d\d)(\d\d)", re.ASCII)
CHECKSUM: Final = re.compile(rb"[0-9A-Fa-f]{2}")


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
    body = line[1:-3]
    if not CHECKSUM.fullmatch(line[-2:]) or checksum(body) != int(line[-2:], 16):
        return None
    try:
        return body.decode("ascii").split(",")
    except UnicodeDecodeError:
        return None


def _number(text: str, most: float) -> float:
    """An unsigned decimal of at most `most`; raises ValueError (float() alone would take `nan`, `1_0` and `1e9`)."""
    if not NUMBER.fullmatch(text) or float(text) > most:
        raise ValueError(text)
    return float(text)


def _degrees(value: str, half: str, positive: str, negative: str, most: float) -> float:
    """`ddmm.mmmm` or `dddmm.mmmm` with its hemisphere, as degrees; raises ValueError."""
    if half not in (positive, negative):
        raise ValueError(half)
    whole = value.partition(".")[0]
    minutes = _number(value[len(whole) - 2 :], MAX_NUMBER)
    degrees = _number(whole[:-2] or "0", MAX_NUMBER) + minutes / 60.0
    if degrees > most or minutes >= 60.0:
        raise ValueError(value)
    return degrees if half == positive else -degrees


def _time_us(clock: str, date: str) -> int:
    """`hhmmss.ss` and `ddmmyy` as Unix microseconds; raises ValueError. The years are 1980 to 2079."""
    time, day = CLOCK.fullmatch(clock), DATE.fullmatch(date)
    if time is None or day is None:
        raise ValueError(clock)
    year = int(day[3]) + (1900 if int(day[3]) >= FIRST_YEAR else 2000)
    return utc_us(year, int(day[2]), int(day[1]), (int(time[1]), int(time[2]), int(time[3])), time[4] or "")


class NmeaReader:
    """Feed it bytes; `latest` is the newest fix, None as soon as the receiver says that it has none."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._lines = LineBuffer(MAX_SENTENCE_BYTES)
        self._gga: tuple[int, int, float] = (1, 0, WORST_ACCURACY_M)  # quality, satellites, accuracy
        self._gst_m: float | None = None
        self._gga_since_gst = 0
        self.latest: Fix | None = None
        self.counters = GnssCounters()

    def feed(self, data: bytes) -> bool:
        """Takes bytes as they come; True when `latest` was set anew."""
        dropped, fresh = self._lines.dropped, False
        for line in self._lines.feed(data):
            fresh |= self._line(line)
        damaged = self.counters.damaged + self._lines.dropped - dropped
        self.counters = replace(self.counters, damaged=damaged)
        return fresh

    def _count_damaged(self) -> bool:
        self.counters = replace(self.counters, damaged=self.counters.damaged + 1)
        return False

    def _void(self) -> bool:
        self.latest = None
        self.counters = replace(self.counters, void=self.counters.void + 1)
        return False

    def _line(self, line: bytes) -> bool:
        if not line.strip():
            return False
        fields = fields_of(line)
        if fields is None:
            return self._count_damaged()
        take = {"GGA": self._take_gga, "GST": self._take_gst, "RMC": self._take_rmc}.get(fields[0][2:])
        try:
            return take is not None and take(fields)
        except (ValueError, IndexError):
            return self._count_damaged()

    def _take_gga(self, fields: list[str]) -> bool:
        quality, satellites = int(_number(fields[6] or "0", 9)), int(_number(fields[7] or "0", MAX_NUMBER))
        hdop = _number(fields[8] or "0", MAX_NUMBER)
        if quality in NO_FIX_QUALITIES:
            return self._void()
        accuracy = hdop * ERROR_PER_HDOP_M if hdop > 0.0 else WORST_ACCURACY_M
        self._gga = (quality, satellites, accuracy)
        self._gga_since_gst += 1
        if self._gga_since_gst > GST_LASTS:
            self._gst_m = None
        self._count_used()
        return False

    def _take_gst(self, fields: list[str]) -> bool:
        north_m, east_m = (_number(field, MAX_NUMBER) if field else None for field in fields[6:8])
        self._gst_m = None if north_m is None or east_m is None else SIGMAS * hypot(north_m, east_m)
        self._gga_since_gst = 0
        self._count_used()
        return False

    def _count_used(self) -> None:
        self.counters = replace(self.counters, used=self.counters.used + 1)

    def _take_rmc(self, fields: list[str]) -> bool:
        if fields[2] != "A":
            return self._void()
        quality, satellites, accuracy_m = self._gga
        when = dated(_time_us(fields[1], fields[9]))
        self.latest = Fix(
            lat=_degrees(fields[3], fields[4], "N", "S", 90.0),
            lon=_degrees(fields[5], fields[6], "E", "W", 180.0),
            speed_mps=_number(fields[7] or "0", MAX_SPEED_KNOTS) * KNOT_MPS,
            time_us=when.time_us,
            accuracy_m=min(accuracy_m if self._gst_m is None else self._gst_m, WORST_ACCURACY_M),
            source=self._source,
            satellites=satellites,
            quality=quality,
            course_deg=_number(fields[8], 360.0) if fields[8] else None,
            rollovers=when.rollovers,
        )
        self.counters = replace(self.counters, old_week=self.counters.old_week + (when.rollovers > 0))
        self._count_used()
        return True
