# SPDX-License-Identifier: Apache-2.0
"""gpsd's messages, the driver on a socket that follows the protocol, and on the real gpsd where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import tty
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.errors import GnssLost
from drivers.gpsd_json import MAX_LINE_BYTES, WATCH, GpsdReader
from drivers.nmea import sentence
from drivers.ports import Gnss
from drivers.registry import open_gnss
from drivers.types import GnssCounters

GPSD = shutil.which("gpsd") or shutil.which("gpsd", path="/usr/sbin")
AT_US = 1_795_350_919_250_000  # 2026-11-22 12:35:19.25 UTC
TPV = {
    "class": "TPV",
    "device": "/dev/ttyACM0",
    "mode": 3,
    "time": "2026-11-22T12:35:19.250Z",
    "lat": 41.8837,
    "lon": -87.6289,
    "track": 84.4,
    "speed": 11.524,
    "eph": 17.1,
}
VERSION = {"class": "VERSION", "release": "3.22", "proto_major": 3, "proto_minor": 14}
DEVICES = {"class": "DEVICES", "devices": [{"class": "DEVICE", "path": "/dev/ttyACM0"}]}
SKY = {"class": "SKY", "hdop": 0.9, "uSat": 11}
GST = {"class": "GST", "lat": 3.0, "lon": 4.0}


def line(message: object) -> bytes:
    return json.dumps(message).encode() + b"\r\n"


def reader_of(*messages: object) -> GpsdReader:
    reader = GpsdReader("test")
    reader.feed(b"".join(map(line, messages)))
    return reader


def test_a_fix_has_all_that_gpsd_tells() -> None:
    fix = reader_of(VERSION, DEVICES, SKY, TPV).latest
    assert fix is not None
    assert (fix.lat, fix.lon, fix.course_deg, fix.speed_mps) == (41.8837, -87.6289, 84.4, 11.524)
    assert (fix.time_us, fix.satellites, fix.quality, fix.source) == (AT_US, 11, 1, "test")
    assert fix.accuracy_m == 17.1


@pytest.mark.parametrize(
    ("before", "changes", "accuracy_m"),
    [
        ([GST], {}, 10.0),
        ([], {"eph": None}, 500.0),
        ([SKY], {"eph": None}, 4.5),
        ([], {"eph": 9e5}, 500.0),
    ],
)
def test_accuracy_comes_from_the_best_that_is_told(
    before: list[object], changes: dict[str, object], accuracy_m: float
) -> None:
    fix = reader_of(*before, TPV | changes).latest
    assert fix is not None
    assert fix.accuracy_m == pytest.approx(accuracy_m)


@pytest.mark.parametrize("changes", [{"mode": 1}, {"mode": 0}, {"lat": None}, {"status": 8}])
def test_no_fix_takes_the_last_one_away(changes: dict[str, object]) -> None:
    reader = reader_of(TPV, TPV | changes)
    assert reader.latest is None
    assert reader.counters.void == 1


def test_a_fix_without_a_time_is_a_place_only() -> None:
    fix = reader_of({key: value for key, value in TPV.items() if key != "time"}).latest
    assert fix is not None
    assert fix.time_us is None
    assert fix.rollovers == 0


def test_an_old_week_is_repaired_and_told() -> None:
    reader = reader_of(TPV | {"time": "2007-04-08T12:35:19.250Z"})
    assert reader.latest is not None
    assert (reader.latest.time_us, reader.latest.rollovers) == (AT_US, 1)
    assert reader.counters.old_week == 1


@pytest.mark.parametrize(
    "damaged",
    [
        b"{",
        b"[]",
        b'{"class":"TPV"}',
        b'{"class":"TPV","mode":"3"}',
        b'{"class":"TPV","mode":3,"lat":NaN,"lon":1}',
        b'{"class":"TPV","mode":3,"lat":91,"lon":1}',
        b'{"class":"TPV","mode":3,"lat":true,"lon":1}',
        b'{"class":"TPV","mode":3,"lat":1,"lon":1,"time":"soon"}',
        b'{"class":"TPV","mode":3,"lat":1,"lon":1,"time":"2026-13-01T00:00:00Z"}',
        b'{"class":"DEVICES","devices":7}',
        b"[" * 10_000,
        b"\xff\xfe",
    ],
)
def test_damage_is_counted_and_gives_no_fix(damaged: bytes) -> None:
    reader = GpsdReader("test")
    assert not reader.feed(damaged + b"\n")
    assert reader.latest is None
    assert reader.counters == GnssCounters(damaged=1)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"class": "DEVICES", "devices": []}, "no receiver"),
        ({"class": "DEVICE", "path": "/dev/ttyACM0", "activated": 0}, "lost its receiver"),
        ({"class": "VERSION", "proto_major": 4}, "protocol"),
    ],
)
def test_what_gpsd_says_of_its_receiver(message: object, told: str) -> None:
    with pytest.raises(GnssLost, match=told):
        reader_of(message)


@pytest.mark.parametrize(
    "message", [{"class": "ERROR", "message": "x"}, {"class": ["TPV"]}, {}, {"class": "ATT"}]
)
def test_other_messages_are_passed_over(message: object) -> None:
    assert reader_of(message).counters == GnssCounters()


def test_an_endless_line_is_dropped() -> None:
    reader = GpsdReader("test")
    for _ in range(100):
        reader.feed(b"{" * MAX_LINE_BYTES)
        assert len(reader._lines._pending) <= MAX_LINE_BYTES
    assert reader.feed(b"\n" + line(TPV))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from([*TPV, "status", "hdop", "uSat", "devices"]), JSON),
    st.binary(max_size=60),
)
def test_any_message_is_survived_and_the_next_fix_is_read(changes: dict[str, object], noise: bytes) -> None:
    reader = GpsdReader("test")
    try:
        reader.feed(noise + b"\n" + line(TPV | changes))
    except GnssLost:
        return
    assert reader.latest is None or -90 <= reader.latest.lat <= 90
    assert reader.feed(line(TPV))


class Server:
    """Follows gpsd's protocol for one client: VERSION at once, DEVICES and WATCH after ?WATCH, then what it is told."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._client: socket.socket | None = None

    def greet(self) -> None:
        self._client, _ = self._listener.accept()
        self._client.sendall(line(VERSION))
        assert self._client.recv(1000) == WATCH
        self.say(DEVICES, {"class": "WATCH", "enable": True, "json": True})

    def say(self, *messages: object) -> None:
        assert self._client is not None
        self._client.sendall(b"".join(map(line, messages)))

    def hang_up(self) -> None:
        for one in (self._client, self._listener):
            if one is not None:
                one.close()


@pytest.fixture
def server() -> Iterator[Server]:
    it = Server()
    yield it
    it.hang_up()


def until(condition: Callable[[], bool], limit_s: float = 5.0) -> bool:
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def lost(receiver: Gnss) -> bool:
    try:
        receiver.fix()
    except GnssLost:
        return True
    return False


def test_the_driver_on_a_socket(server: Server) -> None:
    receiver = open_gnss("gpsd", {"gpsd_port": server.port})
    assert isinstance(receiver, Gnss)
    server.greet()
    assert receiver.fix() is None
    server.say(SKY, TPV)
    assert until(lambda: receiver.fix() is not None)
    fix = receiver.fix()
    assert fix is not None
    assert fix.monotonic_ns is not None
    assert abs(fix.monotonic_ns - time.monotonic_ns()) < 5_000_000_000
    server.hang_up()
    assert until(lambda: lost(receiver))
    receiver.close()
    receiver.close()
    with pytest.raises(GnssLost):
        receiver.fix()


def test_no_gpsd_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(GnssLost, match="gpsd"):
        open_gnss("gpsd", {"gpsd_port": port})


@pytest.mark.skipif(GPSD is None, reason="gpsd is not installed")
def test_the_real_gpsd_and_our_own_reader_agree() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(GPSD), "-N", "-n", "-b", "-S", str(port), os.ttyname(slave)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        receiver = _connected(port)
        now = time.time()
        for second in range(12):
            stamp = time.gmtime(now + second)
            clock, date = time.strftime("%H%M%S", stamp), time.strftime("%d%m%y", stamp)
            where = "4153.0220,N,08737.7340,W"
            os.write(master, sentence(f"GPGGA,{clock}.00,{where},1,08,0.9,181.4,M,-33.9,M,,"))
            os.write(master, sentence(f"GPGST,{clock}.00,3.2,6.6,4.7,47.3,3.0,4.0,22.0"))
            os.write(master, sentence(f"GPRMC,{clock}.00,A,{where},022.4,084.4,{date},,,A"))
            if until(lambda: _timed(receiver), 0.7):
                break
        fix = receiver.fix()
        assert fix is not None
        assert (fix.lat, fix.lon) == pytest.approx((41.8837, -87.6289), abs=1e-6)
        assert (fix.speed_mps, fix.course_deg) == pytest.approx((11.5236, 84.4), abs=1e-2)
        assert fix.time_us is not None
        assert abs(fix.time_us / 1e6 - now) < 20.0
        assert 0 < fix.accuracy_m < 50
        assert receiver.counters.damaged == 0
        process.terminate()
        process.wait(10)
        assert until(lambda: lost(receiver))
        receiver.close()
    finally:
        process.kill()
        process.wait(10)
        os.close(master)
        os.close(slave)


def _timed(receiver: Gnss) -> bool:
    fix = receiver.fix()
    return fix is not None and fix.time_us is not None and fix.course_deg is not None


def _connected(port: int) -> Gnss:
    end = time.monotonic() + 10.0
    while True:
        try:
            return open_gnss("gpsd", {"gpsd_port": port})
        except GnssLost:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
