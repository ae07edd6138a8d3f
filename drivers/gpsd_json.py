# SPDX-License-Identifier: Apache-2.0
"""gpsd's JSON messages to fixes (gpsd_json(5), protocol 3). Pure: no socket, no clock.

VERSION opens the talk; DEVICES and DEVICE say which receivers gpsd has; TPV is a fix or says that there is none; SKY
tells of satellites and HDOP; GST is the receiver's own estimate; ERROR and all other classes are passed over.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from drivers.errors import GnssLost
from drivers.gnss_time import Dated, dated, utc_us
from drivers.line_buffer import LineBuffer
from drivers.nmea import ERROR_PER_HDOP_M, SIGMAS, WORST_ACCURACY_M
from drivers.types import Fix, GnssCounters

WATCH: Final = b'?WATCH={"enable":true,"json":true};\n'
PROTOCOL: Final = 3  # major number; another may mean anything
MAX_LINE_BYTES: Final = 16_384  # gpsd's own longest answer is 10240
MAX_DEVICES: Final = 16
MAX_NUMBER: Final = 1e6
MAX_SPEED_MPS: Final = 600.0
SIMULATED: Final = 8  # TPV status
QUALITY: Final = {2: 2, 3: 4, 4: 5, 5: 6, 6: 6}  # TPV status to NMEA fix quality
TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)

Message = Mapping[str, Any]


def _number(message: Message, key: str, low: float, high: float) -> float | None:
    """A finite number in its bounds, None when it is not there; raises ValueError."""
    value = message.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(key)
    return float(value)


def _when(message: Message) -> Dated:
    """The time of a TPV, repaired; raises ValueError."""
    text = message.get("time")
    if text is None:
        return Dated(None, 0)
    parts = TIME.fullmatch(text) if isinstance(text, str) else None
    if parts is None:
        raise ValueError("time")
    year, month, day, hours, minutes, seconds = (int(parts[i]) for i in range(1, 7))
    return dated(utc_us(year, month, day, (hours, minutes, seconds), parts[7] or ""))


def _decoded(line: bytes) -> Message:
    """One message; raises ValueError (also for NaN, which json would take, and for nesting without end)."""

    def refuse(constant: str) -> float:
        raise ValueError(constant)

    try:
        message = json.loads(line, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(message, dict):
        raise ValueError("not an object")  # noqa: TRY004 -- what comes over the wire is a value here
    return message


class GpsdReader:
    """Feed it bytes; `latest` is the newest fix, None as soon as gpsd says that there is none."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._lines = LineBuffer(MAX_LINE_BYTES)
        self._deviation_m: float | None = None
        self._hdop: float | None = None
        self._satellites = 0
        self.latest: Fix | None = None
        self.counters = GnssCounters()

    def feed(self, data: bytes) -> bool:
        """Takes bytes as they come; True when `latest` was set anew. Raises GnssLost when gpsd has no receiver."""
        dropped, fresh = self._lines.dropped, False
        for line in self._lines.feed(data):
            fresh |= bool(line.strip()) and self._line(line)
        damaged = self.counters.damaged + self._lines.dropped - dropped
        self.counters = replace(self.counters, damaged=damaged)
        return fresh

    def _line(self, line: bytes) -> bool:
        classes: Mapping[object, Callable[[Message], bool]] = {
            "TPV": self._take_fix,
            "SKY": self._take_sky,
            "GST": self._take_deviation,
            "DEVICES": self._take_devices,
            "DEVICE": self._take_device,
            "VERSION": self._take_version,
        }
        try:
            message = _decoded(line)
            kind = message.get("class")
            take = classes.get(kind) if isinstance(kind, str) else None
            return take is not None and take(message)
        except ValueError:
            self.counters = replace(self.counters, damaged=self.counters.damaged + 1)
            return False

    def _take_version(self, message: Message) -> bool:
        if message.get("proto_major") != PROTOCOL:
            raise GnssLost(f"gpsd speaks another protocol than {PROTOCOL}: install gpsd 3")
        return False

    def _take_devices(self, message: Message) -> bool:
        devices = message.get("devices")
        if not isinstance(devices, list) or len(devices) > MAX_DEVICES:
            raise ValueError("devices")
        if not devices:
            raise GnssLost("gpsd has no receiver; check its cable and DEVICES in /etc/default/gpsd")
        return False

    def _take_device(self, message: Message) -> bool:
        if message.get("activated") == 0:
            raise GnssLost("gpsd has lost its receiver; check its cable")
        return False

    def _take_sky(self, message: Message) -> bool:
        self._hdop = _number(message, "hdop", 0.0, MAX_NUMBER) or self._hdop
        satellites = _number(message, "uSat", 0, 1000)
        self._satellites = self._satellites if satellites is None else int(satellites)
        return False

    def _take_deviation(self, message: Message) -> bool:
        north_m, east_m = (_number(message, key, 0.0, MAX_NUMBER) for key in ("lat", "lon"))
        self._deviation_m = (
            None if north_m is None or east_m is None else SIGMAS * math.hypot(north_m, east_m)
        )
        return False

    def _accuracy_m(self, message: Message) -> float:
        """The receiver's own estimate, else gpsd's, else by geometry."""
        told = self._deviation_m or _number(message, "eph", 0.0, MAX_NUMBER)
        told = told or (self._hdop or 0.0) * ERROR_PER_HDOP_M
        return min(told or WORST_ACCURACY_M, WORST_ACCURACY_M)

    def _take_fix(self, message: Message) -> bool:
        mode, status = _number(message, "mode", 0, 3), int(_number(message, "status", 0, 99) or 0)
        lat, lon = _number(message, "lat", -90.0, 90.0), _number(message, "lon", -180.0, 180.0)
        if mode is None:
            raise ValueError("mode")
        if mode < 2 or status == SIMULATED or lat is None or lon is None:
            self.latest = None
            self.counters = replace(self.counters, void=self.counters.void + 1)
            return False
        when = _when(message)
        self.latest = Fix(
            lat=lat,
            lon=lon,
            speed_mps=_number(message, "speed", 0.0, MAX_SPEED_MPS) or 0.0,
            time_us=when.time_us,
            accuracy_m=self._accuracy_m(message),
            source=self._source,
            satellites=self._satellites,
            quality=QUALITY.get(status, 1),
            course_deg=_number(message, "track", 0.0, 360.0),
            rollovers=when.rollovers,
        )
        old_week = self.counters.old_week + (when.rollovers > 0)
        self.counters = replace(self.counters, used=self.counters.used + 1, old_week=old_week)
        return True
