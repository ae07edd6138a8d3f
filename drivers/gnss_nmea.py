# SPDX-License-Identifier: Apache-2.0
"""A GNSS receiver on a serial port that speaks NMEA 0183, with its pulse where one is wired."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.errors import GnssLost
from drivers.gnss_stream import StreamGnss
from drivers.nmea import NmeaReader
from drivers.options import Options
from drivers.pps import open_pulse
from drivers.serial_line import SerialLine


def open_nmea(options: Mapping[str, object]) -> StreamGnss:
    """Options: port (/dev/serial/by-id/...), baud, max_age_s, pps (/sys/class/pps/pps0/assert)."""
    read = Options("gnss nmea", options)
    name, baud = read.text("port"), read.integer("baud", 9600, 1200, 921_600)
    max_age_s = read.number("max_age_s", 5.0, 1.0, 600.0)
    pps = read.optional_path("pps")
    read.finish()
    pulse = None if pps is None else open_pulse(pps)
    line = SerialLine(name, baud, "the receiver", GnssLost)
    return StreamGnss(line, NmeaReader("gnss"), max_age_s, pulse)
