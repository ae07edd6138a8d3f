# SPDX-License-Identifier: Apache-2.0
"""NMEA sentences, the serial receiver on a pty, the simulated receiver and its faults."""

from __future__ import annotations

import os
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.clock import EARLIEST_US, kernel_time
from drivers.errors import BadOption, GnssLost
from drivers.gnss_stream import StreamGnss
from drivers.gnss_time import MAX_ROLLOVERS, MESSAGE_DELAY_US, WEEK_ROLLOVER_US, Dated, dated
from drivers.nmea import MAX_SENTENCE_BYTES, WORST_ACCURACY_M, NmeaReader, fields_of, sentence
from drivers.ports import Gnss
from drivers.pps import Pulse
from drivers.registry import open_gnss
from drivers.serial_line import SerialLine
from drivers.types import Fix, GnssCounters

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
    assert reader.counters == GnssCounters(damaged=1)


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
    assert len(reader._lines._pending) <= MAX_SENTENCE_BYTES
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
    receiver._monotonic_ns = lambda: 10**20  # type: ignore[attr-defined]
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


def rmc(clock: str = "123519.25", date: str = "221126", place: str = "4153.0220,N,08737.7340,W") -> bytes:
    return sentence(f"GPRMC,{clock},A,{place},022.4,084.4,{date},003.1,W,A")


def fix_of(*lines: bytes) -> Fix:
    reader = NmeaReader("test")
    assert reader.feed(b"".join(lines))
    assert reader.latest is not None
    return reader.latest


def test_course_is_told_and_may_be_unknown() -> None:
    assert fix_of(RMC).course_deg == pytest.approx(84.4)
    standing = sentence("GPRMC,123519,A,4153.0220,N,08737.7340,W,,,221126,,,A")
    assert fix_of(standing).course_deg is None
    assert fix_of(standing).speed_mps == 0.0


def test_the_receiver_s_own_estimate_is_better_than_its_geometry() -> None:
    gst = sentence("GPGST,123519.25,3.2,6.6,4.7,47.3,3.0,4.0,22.0")
    assert fix_of(GGA, gst, RMC).accuracy_m == pytest.approx(10.0)  # two deviations of 5 m
    assert fix_of(GGA, gst, RMC, GGA, GGA, GGA, RMC).accuracy_m == pytest.approx(4.5)  # it stopped telling
    empty = sentence("GPGST,123519.25,,,,,,,")
    assert fix_of(GGA, empty, RMC).accuracy_m == pytest.approx(4.5)


@pytest.mark.parametrize("quality", ["0", "7", "8"])
def test_a_place_that_was_typed_in_or_simulated_is_no_fix(quality: str) -> None:
    reader = NmeaReader("test")
    reader.feed(RMC + sentence(f"GPGGA,123519.25,4153.0220,N,08737.7340,W,{quality},08,0.9,181.4,M,,,,"))
    assert reader.latest is None
    assert reader.counters.void == 1


def test_a_leap_second_is_the_next_day_s_first() -> None:
    assert fix_of(rmc("235960.00", "311226")).time_us == fix_of(rmc("000000.00", "010127")).time_us
    assert fix_of(rmc("235960.50", "311226")).time_us == fix_of(rmc("000000.50", "010127")).time_us


@pytest.mark.parametrize(
    "clock", ["120060.00", "235961.00", "245959", "12:3519", "1235", "", "nan", "123519.x"]
)
def test_a_time_that_no_clock_shows_is_damage(clock: str) -> None:
    reader = NmeaReader("test")
    assert not reader.feed(rmc(clock))
    assert reader.counters == GnssCounters(damaged=1)


@pytest.mark.parametrize(("date", "rollovers"), [("221126", 0), ("080407", 1), ("230887", 2)])
def test_old_weeks_are_told(date: str, rollovers: int) -> None:
    reader = NmeaReader("test")
    reader.feed(rmc(date=date))
    assert reader.latest is not None
    assert reader.latest.time_us == AT_US
    assert reader.latest.rollovers == rollovers
    assert reader.counters.old_week == (rollovers > 0)


def test_a_date_of_1980_is_a_place_without_a_time() -> None:
    reader = NmeaReader("test")
    reader.feed(rmc(date="060180"))
    assert reader.latest is not None
    assert reader.latest.time_us is None
    assert reader.counters.old_week == 1


@given(st.integers(EARLIEST_US, EARLIEST_US + WEEK_ROLLOVER_US - 1), st.integers(0, MAX_ROLLOVERS))
def test_any_date_is_told_right_again_after_whole_rollovers(true_us: int, rollovers: int) -> None:
    assert dated(true_us - rollovers * WEEK_ROLLOVER_US) == Dated(true_us, rollovers)


@pytest.mark.parametrize(
    "damaged",
    [
        sentence("GPRMC,123519,A,4153.0220,N,08737.7340,W,nan,084.4,221126,,,A"),
        sentence("GPRMC,123519,A,4153.0220,N,08737.7340,W,1e9,084.4,221126,,,A"),
        sentence("GPRMC,123519,A,4153.0220,N,08737.7340,W,5000,084.4,221126,,,A"),
        sentence("GPRMC,123519,A,41nan,N,08737.7340,W,1,084.4,221126,,,A"),
        sentence("GPRMC,123519,A,4153.0220,N,18037.7340,W,1,084.4,221126,,,A"),
        sentence("GPRMC,123519,A,4153.0220,N,08737.7340,W,1,400.0,221126,,,A"),
        sentence("GPGGA,123519,4153.0,N,08737.7,W,1,-8,0.9,,,,,,"),
        sentence("GPGST,123519,1,1,1,1,x,1,1"),
    ],
)
def test_values_out_of_bounds_are_damage(damaged: bytes) -> None:
    reader = NmeaReader("test")
    assert not reader.feed(damaged)
    assert reader.counters == GnssCounters(damaged=1)


FIELD = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="$*,"), max_size=12)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["GPRMC", "GNGGA", "GPGST", "GPXXX"]), st.lists(FIELD, max_size=14))
def test_any_sound_sentence_gives_a_fix_within_bounds_or_none(kind: str, fields: list[str]) -> None:
    reader = NmeaReader("test")
    reader.feed(sentence(",".join([kind, *fields])))
    fix = reader.latest
    if fix is not None:
        assert -90 <= fix.lat <= 90
        assert -180 <= fix.lon <= 180
        assert 0 <= fix.speed_mps < 600
        assert 0 < fix.accuracy_m <= WORST_ACCURACY_M


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=20))
def test_it_does_not_matter_how_the_bytes_are_cut(cuts: list[int]) -> None:
    whole, pieces = NmeaReader("test"), NmeaReader("test")
    data = (GGA + RMC) * 3
    whole.feed(data)
    for cut in cuts:
        pieces.feed(data[:cut])
        data = data[cut:]
    pieces.feed(data)
    assert pieces.latest == whole.latest
    assert pieces.counters == whole.counters


class Moments:
    """A wall and a monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.ns = 7_000_000_000

    def wall_ns(self) -> int:
        return AT_US * 1000 + self.ns

    def monotonic_ns(self) -> int:
        return self.ns


def test_without_a_pulse_the_time_is_as_unsure_as_the_sentence_is_late(wire: tuple[int, str]) -> None:
    master, name = wire
    now = Moments()
    receiver = StreamGnss(
        SerialLine(name, 9600, "it", GnssLost), NmeaReader("gnss"), 5.0, None, now.monotonic_ns
    )
    now.ns += 300_000_000
    os.write(master, rmc("123519.00"))
    fix = receiver.fix()
    assert fix is not None
    assert fix.monotonic_ns is not None
    assert fix.time_uncertainty_us is not None
    assert fix.time_uncertainty_us == MESSAGE_DELAY_US + 300_000
    assert fix.monotonic_ns <= now.ns
    receiver.close()


@pytest.mark.parametrize(
    ("since_pulse_ms", "told_ms"), [(200, 5), (900, 5), (20, None), (1200, None), (-50, None)]
)
def test_a_pulse_tells_when_the_second_began(
    since_pulse_ms: int, told_ms: int | None, wire: tuple[int, str], tmp_path: Path
) -> None:
    master, name = wire
    now, path = Moments(), tmp_path / "assert"
    pulse_ns = now.wall_ns() - since_pulse_ms * 1_000_000
    path.write_text(f"{pulse_ns // 10**9}.{pulse_ns % 10**9:09d}#17\n")
    pulse = Pulse(path, now.wall_ns, now.monotonic_ns)
    receiver = StreamGnss(
        SerialLine(name, 9600, "it", GnssLost), NmeaReader("gnss"), 5.0, pulse, now.monotonic_ns
    )
    os.write(master, rmc("123519.00"))
    fix = receiver.fix()
    assert fix is not None
    assert fix.monotonic_ns is not None
    if told_ms is None:
        assert fix.time_uncertainty_us >= MESSAGE_DELAY_US  # type: ignore[operator]
    else:
        assert fix.monotonic_ns == now.ns - since_pulse_ms * 1_000_000
        assert fix.time_uncertainty_us == told_ms * 1000
    receiver.close()


@pytest.mark.parametrize("stamp", ["", "soon", "1.5#2", "9" * 500, "\xff"])
def test_a_stamp_that_is_none_is_no_pulse(stamp: str, tmp_path: Path) -> None:
    path = tmp_path / "assert"
    path.write_text(stamp, encoding="latin-1")
    assert Pulse(path).last_ns() is None
    path.unlink()
    assert Pulse(path).last_ns() is None


def test_a_pulse_that_the_kernel_has_not_is_said(wire: tuple[int, str], tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="pps-gpio"):
        open_gnss("nmea", {"port": wire[1], "pps": str(tmp_path / "none")})


def test_the_kernel_tells_of_its_clock() -> None:
    told = kernel_time()
    assert told is not None
    assert told.max_error_us >= 0
