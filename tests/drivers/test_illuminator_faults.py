# SPDX-License-Identifier: Apache-2.0
"""A lamp whose sensor hangs, whose pin fails behind everybody's back, whose program starts again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from drivers.errors import DriverError, PinBusy
from drivers.illuminator import Interlock, LimitedLamp
from drivers.lamp_limits import (
    BLIND_CAP,
    CUT_C,
    PWM_LIMIT,
    SWITCH_LIMIT,
    DutyLimit,
    HeatBudget,
    StrobeLine,
    TemperatureLimit,
)
from drivers.thermometer import EVERY_S, FIRST_S, STALE_S, SlowThermometer

QUICK = DutyLimit(0.5, 0.1)


def wait_until(condition: Callable[[], bool], limit_s: float = 5.0) -> bool:
    deadline = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


class Pin:
    """What was driven; `fails` makes it refuse."""

    def __init__(self) -> None:
        self.driven: list[float] = []
        self.fails = False

    def drive(self, power: float) -> None:
        if self.fails:
            raise PinBusy("the pin was lost")
        self.driven.append(power)


def refuses(lamp: LimitedLamp) -> bool:
    try:
        lamp.state()
    except PinBusy:
        return True
    return False


def test_edges_and_questions_come_from_two_threads() -> None:
    line, errors, ends = StrobeLine(), list[BaseException](), time.monotonic() + 0.5

    def guarded(work: Callable[[], object]) -> None:
        try:
            while time.monotonic() < ends:
                work()
        except RuntimeError as error:
            errors.append(error)

    def edges() -> None:
        for high in (True, False):
            line.edge(high, time.monotonic())

    threads = [
        threading.Thread(target=guarded, args=(work,))
        for work in (edges, lambda: line.duty(time.monotonic()), lambda: line.duty(time.monotonic()))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_what_fails_in_the_timer_is_told_and_tried_again() -> None:
    pin = Pin()
    lamp = LimitedLamp(pin.drive, lambda: None, Interlock(QUICK))
    time.sleep(0.2)  # cold
    lamp.set_power(1.0)
    assert pin.driven[-1] == 1.0
    pin.fails = True
    assert wait_until(lambda: refuses(lamp))  # it does not say 0.5 of a pin that is at 1.0
    with pytest.raises(PinBusy):
        lamp.set_power(1.0)
    pin.fails = False
    assert wait_until(lambda: pin.driven[-1] == 0.5)
    assert lamp.state().power == 0.5
    lamp.close()


def test_a_lamp_that_failed_can_be_closed() -> None:
    pin, released = Pin(), list[bool]()
    lamp = LimitedLamp(pin.drive, lambda: released.append(True), Interlock(PWM_LIMIT))
    pin.fails = True
    for act in (lambda: lamp.set_power(0.5), lamp.state, lamp.close):
        with pytest.raises(PinBusy):
            act()
    assert released == [True]
    lamp.close()
    assert lamp.state().power == 0.0


def test_without_a_thread_for_the_interlock_the_lamp_is_dark(monkeypatch: pytest.MonkeyPatch) -> None:
    now, pin = [0.0], Pin()
    lamp = LimitedLamp(pin.drive, lambda: None, Interlock(PWM_LIMIT), monotonic_s=lambda: now[0])
    now[0] = 3600.0

    def start(_timer: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Timer, "start", start)
        with pytest.raises(DriverError, match="thread"):
            lamp.set_power(1.0)
        assert max(pin.driven) == 0.0
    lamp.set_power(1.0)
    assert pin.driven[-1] == 1.0
    with monkeypatch.context() as patch:
        patch.setattr(threading.Timer, "start", start)
        before = len(pin.driven)
        now[0] += 1.0
        lamp.check()  # the timer's own thread
        assert pin.driven[before:][-1] == 0.0
        with pytest.raises(DriverError, match="thread"):
            lamp.state()
    lamp.close()


def test_a_lower_power_is_driven_before_the_timer_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    now, pin, seen = [0.0], Pin(), list[float]()
    interlock = Interlock(PWM_LIMIT, thermometer=lambda: 45.0)  # looked at each second: the timer is set anew
    lamp = LimitedLamp(pin.drive, lambda: None, interlock, monotonic_s=lambda: now[0])
    now[0] = 3600.0
    start = threading.Timer.start
    monkeypatch.setattr(
        threading.Timer, "start", lambda timer: (seen.append(pin.driven[-1]), start(timer))[1]
    )
    for power in (1.0, 0.7, 0.9):
        lamp.set_power(power)
        now[0] += 1.5
    assert seen == [0.0, 0.7, 0.7]
    assert pin.driven[-1] == 0.9
    lamp.close()


@pytest.mark.parametrize("runs_s", [1.0, 5.0, 14.0, 40.0])
def test_starting_again_and_again_gives_no_more_than_the_lamp_stands(runs_s: float) -> None:
    now, given = 0.0, 0.0
    while now < 600.0:  # each loop is a start: nothing is known of before
        budget, end_s = HeatBudget(PWM_LIMIT, switched=False), now + runs_s
        while now < end_s - 1e-6:
            power, again_s = budget.grant(1.0, now)
            step = min(end_s - now, again_s or runs_s)
            given += power * step
            now += step
    assert given / now <= PWM_LIMIT.sustained + 1e-6


def test_a_switched_lamp_starts_bright_but_warm() -> None:
    power, again_s = HeatBudget(SWITCH_LIMIT, switched=True).grant(1.0, 0.0)
    assert (power, again_s) == (1.0, pytest.approx(SWITCH_LIMIT.burst_s / 2))


@pytest.mark.parametrize("celsius", [-60.1, -127.0, -1e9])
def test_colder_than_any_night_is_a_broken_sensor(celsius: float) -> None:
    limit = TemperatureLimit()
    assert limit.cap(celsius) == BLIND_CAP
    assert limit.cap(0.0) == 1.0  # a sink in winter
    assert limit.cap(-40.0) == 1.0
    limit.cap(CUT_C)
    assert limit.cap(celsius) == 0.0


class Sensor:
    """A thermometer that takes its time, or hangs until it is let go."""

    def __init__(self, celsius: float = 45.0, slow_s: float = 0.0) -> None:
        self.celsius, self.slow_s, self.reads = celsius, slow_s, 0
        self.free = threading.Event()
        self.free.set()

    def read(self) -> float:
        self.reads += 1
        time.sleep(self.slow_s)
        self.free.wait()
        return self.celsius


def test_a_slow_sensor_holds_nobody_up() -> None:
    sensor = Sensor(slow_s=0.3)
    lamp = LimitedLamp(
        lambda _: None, lambda: None, Interlock(PWM_LIMIT, thermometer=SlowThermometer(sensor.read))
    )
    slowest, ends = 0.0, time.monotonic() + EVERY_S + 0.5
    while time.monotonic() < ends:
        begun = time.monotonic()
        lamp.set_power(0.6)
        lamp.set_strobe(1000, 15.0)
        assert lamp.state().temperature_c == 45.0
        slowest = max(slowest, time.monotonic() - begun)
        time.sleep(0.02)
    assert slowest < 0.2
    assert sensor.reads == 2
    lamp.close()


def test_a_sensor_that_hangs_has_no_value_after_a_while_and_is_back_when_it_is() -> None:
    now, sensor = [100.0], Sensor()
    thermometer = SlowThermometer(sensor.read, lambda: now[0])
    assert thermometer() == 45.0
    sensor.free.clear()
    for _ in range(20):
        now[0] += EVERY_S
        value = thermometer()
        assert (value is None) == (now[0] - 100.0 > STALE_S)
    assert sensor.reads == 2  # no second thread waits beside the first
    sensor.free.set()
    sensor.celsius = 50.0
    assert wait_until(lambda: thermometer() == 50.0)  # of a new reading: what took so long is old
    assert sensor.reads == 3


def test_a_sensor_that_hangs_from_the_first_leaves_little_light() -> None:
    sensor = Sensor()
    sensor.free.clear()
    begun = time.monotonic()
    lamp = LimitedLamp(
        lambda _: None, lambda: None, Interlock(PWM_LIMIT, thermometer=SlowThermometer(sensor.read))
    )
    lamp.set_power(0.6)
    assert time.monotonic() - begun < FIRST_S + 0.5
    assert lamp.state().power == BLIND_CAP
    sensor.free.set()
    assert wait_until(lambda: lamp.state().power == 0.6)
    lamp.close()
