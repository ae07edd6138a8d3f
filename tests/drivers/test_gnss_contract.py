# SPDX-License-Identifier: Apache-2.0
"""One contract for every receiver: simulated, NMEA on a pseudo-terminal, gpsd's protocol on a socket."""

from __future__ import annotations

import json
import os
import socket
import time
import tty
from collections.abc import Iterator
from typing import Protocol

import pytest

from drivers.errors import GnssLost
from drivers.nmea import sentence
from drivers.ports import Gnss
from drivers.registry import open_gnss
from drivers.sim.clock import SimClock

LAT, LON = 41.8837, -87.6289
RMC = sentence("GPRMC,123519.00,A,4153.0220,N,08737.7340,W,022.4,084.4,221126,003.1,W,A")
VOID = sentence("GPRMC,123520.00,V,,,,,,,221126,,,N")
TPV = {"class": "TPV", "mode": 3, "lat": LAT, "lon": LON, "speed": 1.0, "time": "2026-11-22T12:35:19.000Z"}
ARRIVES_S = 2.0


class Sky(Protocol):
    """What is at the other end of the receiver's cable."""

    receiver: Gnss

    def fix(self) -> None: ...

    def void(self) -> None: ...

    def noise(self) -> None: ...

    def unplug(self) -> None: ...

    def end(self) -> None: ...


class Simulated:
    """Its script has one letter a second: silence, a fix, nothing new, a void, noise, a pulled cable."""

    def __init__(self) -> None:
        self.clock = SimClock(1_800_000_000_000_000, running=False)
        clocks = {"now_us": self.clock.now_us, "monotonic_ns": self.clock.monotonic_ns}
        options = {"lat": LAT, "lon": LON, "faults": "s.vguu"}
        self.receiver = open_gnss("sim", {**options, **clocks})

    def _go(self, second: int) -> None:
        self.clock.advance(second - (self.clock.now_us() - 1_800_000_000_000_000) / 1e6)

    def fix(self) -> None:
        self._go(1)

    def void(self) -> None:
        self._go(2)

    def noise(self) -> None:
        self._go(3)

    def unplug(self) -> None:
        self._go(4)

    def end(self) -> None:
        self.receiver.close()


class Serial:
    def __init__(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.receiver = open_gnss("nmea", {"port": os.ttyname(self._slave)})

    def fix(self) -> None:
        os.write(self._master, RMC)

    def void(self) -> None:
        os.write(self._master, VOID)

    def noise(self) -> None:
        os.write(self._master, bytes(range(256)) + b"\n")

    def unplug(self) -> None:
        for descriptor in (self._master, self._slave):
            if descriptor >= 0:
                os.close(descriptor)
        self._master = self._slave = -1

    def end(self) -> None:
        self.receiver.close()
        self.unplug()


class Gpsd:
    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.receiver = open_gnss("gpsd", {"gpsd_port": listener.getsockname()[1]})
            self._client, _ = listener.accept()

    def _say(self, message: object) -> None:
        self._client.sendall(json.dumps(message).encode() + b"\n")

    def fix(self) -> None:
        self._say(TPV)

    def void(self) -> None:
        self._say({"class": "TPV", "mode": 1})

    def noise(self) -> None:
        self._client.sendall(bytes(range(256)) + b"\n")

    def unplug(self) -> None:
        self._client.close()

    def end(self) -> None:
        self.receiver.close()
        self.unplug()


@pytest.fixture(params=[Simulated, Serial, Gpsd])
def sky(request: pytest.FixtureRequest) -> Iterator[Sky]:
    it: Sky = request.param()
    yield it
    it.end()


def _sees(receiver: Gnss, wanted: bool) -> bool:
    end = time.monotonic() + ARRIVES_S
    while (receiver.fix() is not None) is not wanted:
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def test_no_fix_before_the_first_one_and_asking_never_waits(sky: Sky) -> None:
    assert isinstance(sky.receiver, Gnss)
    begun = time.monotonic()
    assert all(sky.receiver.fix() is None for _ in range(10))
    assert time.monotonic() - begun < 0.05


def test_a_fix_has_its_place_its_time_and_its_moment(sky: Sky) -> None:
    sky.fix()
    assert _sees(sky.receiver, True)
    fix = sky.receiver.fix()
    assert fix is not None
    assert (fix.lat, fix.lon) == pytest.approx((LAT, LON), abs=1e-3)
    assert fix.accuracy_m > 0
    assert fix.time_us is not None
    assert fix.monotonic_ns is not None
    assert fix.time_uncertainty_us is not None
    assert fix.time_uncertainty_us > 0
    assert sky.receiver.counters.used >= 1


def test_a_void_takes_the_fix_away_at_once_and_is_counted(sky: Sky) -> None:
    sky.fix()
    assert _sees(sky.receiver, True)
    sky.void()
    assert _sees(sky.receiver, False)
    assert sky.receiver.counters.void >= 1


def test_noise_is_counted(sky: Sky) -> None:
    sky.noise()
    end = time.monotonic() + ARRIVES_S
    while sky.receiver.counters.damaged == 0 and time.monotonic() < end:
        sky.receiver.fix()
    assert sky.receiver.counters.damaged >= 1


def test_a_pulled_cable_is_a_lost_receiver(sky: Sky) -> None:
    sky.unplug()
    with pytest.raises(GnssLost):
        [time.sleep(0.01) or sky.receiver.fix() for _ in range(200)]


def test_it_may_be_closed_twice(sky: Sky) -> None:
    sky.receiver.close()
    sky.receiver.close()
