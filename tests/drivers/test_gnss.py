# SPDX-License-Identifier: Apache-2.0
"""NMEA sentences, the serial receiver on a pty, the simulated receiver and its faults."""

from __future__ import annotations

import os
import tty
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.errors import BadOption, GnssLost
from drivers.nmea import MAX_SENTENCE_BYTES, WORST_ACCURACY_M, Counters, NmeaReader, fields_of, sentence
from drivers.ports import Gnss
from drivers.registry import open_gnss

GGA = sentence("GPGGA,123519.25,4153.0220,N,08737.7340,W,1,08,0.9,181.4,M,-33.9,M,,")
RMC = sentence("GPRMC,123519.25,A,4153.0220,N,08737.7340,W,022.4,084.4,221126,003.1,W,A")
AT_US = 1_795_350_919_250_000  # 2026-11-22 12:35:19.25 UTC


def test_a_known_sentence() -> None:
    line = b"$GPGLL,4916.45,N,12311.12,W,225444,A,*1D"
    assert fields_of(line) == ["GPGLL", "4916.45", "N", "12311.12", "W", "225444", "A", ""]


def test_a_fix_has_place_speed_time_and_accuracy() -> None:
    reader = NmeaReader("test")
    assert reader.feed(GGA + RMC)
    fix = reader.latest
    assert fix is not None
    assert fix.lat == pytest.approx(41.883700)
    assert fix.lon == pytest.approx(-87.628900)
    assert fix.speed_mps == pytest.approx(11.5236, abs=1e-3)
    assert fix.time_us == AT_US
    assert fix.accuracy_m == pytest.approx(4.5)
    assert (fix.satellites, fix.quality, fix.source) == (8, 1, "test")


def test_bytes_may_come_one_at_a_time_after_noise() -> None:
    reader = NmeaReader("test")
    noise = bytes(range(256)) + b"\r\n"
    fresh = [reader.feed(bytes([byte])) for byte in noise + GGA + RMC]
    assert any(fresh)
    assert reader.latest is not None


def test_without_gga_the_accuracy_is_the_worst() -> None:
    reader = NmeaReader("test")
    reader.feed(RMC)
    assert reader.latest is not None
    assert reader.latest.accuracy_m == WORST_ACCURACY_M


@pytest.mark.parametrize(
    "damaged",
    [
        RMC.replace(b"A,4153", b"A,4154"),
        RMC.replace(b"$", b""),
        RMC[:40] + b"\n",
        sentence("GPRMC,123519,A,9953.0,N,08737.7,W,1,2,221126,,,A"),
        sentence("GPRMC,123519,A,4163.0,N,08737.7,W,1,2,221126,,,A"),
        sentence("GPRMC,123519,A,4153.0,X,08737.7,W,1,2,221126,,,A"),
        sentence("GPRMC,123519,A,4153.0,N,08737.7,W,1,2,991326,,,A"),
        sentence("GPRMC,123519,A"),
        sentence("GPGGA,123519,,,,,x,08,0.9,,,,,,"),
    ],
)
def test_damage_is_counted_and_gives_no_fix(damaged: bytes) -> None:
    reader = NmeaReader("test")
    assert not reader.feed(damaged)
    assert reader.latest is None
    assert reader.counters == Counters(damaged=1)


def test_a_void_sentence_takes_the_fix_away() -> None:
    reader = NmeaReader("test")
    reader.feed(GGA + RMC)
    reader.feed(sentence("GPRMC,123520,V,,,,,,,221126,,,N"))
    assert reader.latest is None
    assert reader.counters.void == 1


def test_week_rollover_is_repaired() -> None:
    reader = NmeaReader("test")
    reader.feed(RMC.replace(b"221126", b"080407")[:-5] + b"\n")  # checksum gone: refused
    assert reader.counters.damaged == 1
    reader.feed(sentence("GPRMC,123519.25,A,4153.0220,N,08737.7340,W,022.4,084.4,080407,003.1,W,A"))
    assert reader.latest is not None
    assert reader.latest.time_us == AT_US  # 8 April 2007 is 1024 weeks before 22 November 2026


def test_an_endless_line_is_dropped() -> None:
    reader = NmeaReader("test")
    for _ in range(100):
        reader.feed(b"$" + b"A" * MAX_SENTENCE_BYTES)
    assert len(reader._pending) <= MAX_SENTENCE_BYTES
    reader.feed(b"\n")
    assert reader.feed(GGA + RMC)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_survived_and_the_next_fix_is_read(noise: bytes) -> None:
    reader = NmeaReader("test")
    reader.feed(noise + b"\n")
    assert reader.feed(b"\n" + GGA + RMC)


@pytest.fixture
def wire() -> Iterator[tuple[int, str]]:
    master, slave = os.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    for fd in (master, slave):
        try:
            os.close(fd)
        except OSError:
            continue


def test_a_receiver_on_a_serial_port(wire: tuple[int, str]) -> None:
    master, name = wire
    receiver = open_gnss("nmea", {"port": name, "max_age_s": 1.0})
    assert isinstance(receiver, Gnss)
    assert receiver.fix() is None
    os.write(master, GGA + RMC)
    fix = receiver.fix()
    assert fix is not None
    assert fix.time_us == AT_US
    receiver._monotonic = lambda: 1e12  # type: ignore[attr-defined]
    assert receiver.fix() is None  # stale
    receiver.close()
    with pytest.raises(GnssLost):
        receiver.fix()


def test_a_port_that_is_not_there() -> None:
    with pytest.raises(GnssLost, match="/dev/ttyNOTHERE"):
        open_gnss("nmea", {"port": "/dev/ttyNOTHERE"})
    with pytest.raises(BadOption):
        open_gnss("nmea", {})


def test_a_pulled_cable_is_a_lost_receiver(wire: tuple[int, str]) -> None:
    master, name = wire
    receiver = open_gnss("nmea", {"port": name})
    os.close(master)
    with pytest.raises(GnssLost):
        [receiver.fix() for _ in range(10)]
    receiver.close()


class Stopwatch:
    """A clock that the test moves; microseconds."""

    def __init__(self) -> None:
        self.us = AT_US

    def __call__(self) -> int:
        return self.us


@pytest.mark.parametrize(
    ("script", "fixes"),
    [
        ("....", [True, True, True, True]),
        (".v.", [True, False, True]),
        ("ss.", [False, False, True]),
        ("gg.", [False, False, True]),
        ("c..", [False, True, True]),
        (".sssssss.", [True] * 6 + [False] * 2 + [True]),
    ],
)
def test_scripted_receiver(script: str, fixes: list[bool]) -> None:
    clock = Stopwatch()
    receiver = open_gnss("sim", {"faults": script, "now_us": clock})
    seen = []
    for _ in fixes:
        seen.append(receiver.fix() is not None)
        clock.us += 1_000_000
    assert seen == fixes


def test_scripted_rollover_move_and_unplugging() -> None:
    clock = Stopwatch()
    receiver = open_gnss("sim", {"faults": ".rmu.", "now_us": clock, "lat": 40.0, "lon": -88.0})
    steady, rolled = receiver.fix(), None
    assert steady is not None
    assert steady.lat == pytest.approx(40.0, abs=1e-4)
    clock.us += 1_000_000
    rolled = receiver.fix()
    assert rolled is not None
    assert rolled.time_us == pytest.approx(AT_US + 1_000_000, abs=10_000)
    clock.us += 1_000_000
    moved = receiver.fix()
    assert moved is not None
    assert moved.lat - 40.0 == pytest.approx(0.0045, abs=1e-4)
    clock.us += 1_000_000
    with pytest.raises(GnssLost):
        receiver.fix()
    clock.us += 1_000_000
    assert receiver.fix() is not None


def test_none_and_fixed() -> None:
    assert open_gnss("none", {}).fix() is None
    fixed = open_gnss("fixed", {"lat": 41.5, "lon": -88.25}).fix()
    assert fixed is not None
    assert (fixed.lat, fixed.lon, fixed.time_us, fixed.source) == (41.5, -88.25, None, "surveyed")
    with pytest.raises(BadOption):
        open_gnss("fixed", {"lat": 91})
