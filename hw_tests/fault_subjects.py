# SPDX-License-Identifier: Apache-2.0
"""The subjects of the fault table: each builds real watchers over a device that fails as its script says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from gpiozero.pins.mock import MockFactory, MockPWMPin

from drivers.ports import Camera
from drivers.registry import (
    open_alert,
    open_camera,
    open_illuminator,
    open_power,
    open_watchdog,
)
from drivers.types import Exposure, Frame, PowerReading
from firmware.annunciator import Annunciator
from firmware.camera_check import CameraCheck
from firmware.capture import Capture
from firmware.clock import TimeOffer
from firmware.clock_check import ClockCheck
from firmware.disk_watch import DiskNews, DiskWatch
from firmware.exposure_settings import ExposureSettings
from firmware.health import Finding
from firmware.ladder import Ladder
from firmware.latest import LatestQueue
from firmware.light import Light, LightParts
from firmware.power_watch import LOOK_S, PowerWatch
from firmware.reopening import Reopening
from firmware.watchdog_feed import Feeder

from .fault_bench import Bench, Step, device_clock

PLACE = (40.3084, -88.1559)
SMALL = {"width": 320, "height": 240, "fps": 15}
BUSY_S = 5
MOMENT_S = 0.02  # of real time, between two looks at a thread
ARRIVES_S = 0.2  # bytes through a pseudo-terminal; nobody reads one whose name was just given anew


def camera(script: str, *, pace: str = "max") -> Callable[[Bench], Step]:
    """The camera thread on the simulated road; `script` has a letter a second, and a camera opened again is sound."""

    def make(bench: Bench) -> Step:
        scripts = iter([script])

        def opened() -> Camera:
            return open_camera("sim", {**SMALL, "pace": pace, "faults": next(scripts, "")})

        queue: LatestQueue[Frame] = LatestQueue(1)
        check = CameraCheck(None, fps=15.0)
        light = Light(ExposureSettings(), LightParts())
        capture = Capture(opened, queue, check, light, lossless=False, advanced=lambda: None)
        stop = threading.Event()
        thread = threading.Thread(target=capture.run, args=(stop,), name="camera under test")
        thread.start()
        bench.closing.callback(thread.join)
        bench.closing.callback(stop.set)

        def step() -> Sequence[Finding]:
            time.sleep(MOMENT_S)
            return [capture.finding()]

        return step

    return make


def lamp(script: str) -> Callable[[Bench], Step]:
    """The lamp over a dark road, seen by the camera: a letter a second of the frames' own time."""

    def make(bench: Bench) -> Step:
        world = f"faults {script}"
        eye = open_camera("sim", {**SMALL, "pace": "max", "day_seconds": 0, "world": world})
        bench.closing.callback(eye.close)
        at_ns = [time.monotonic_ns()]
        options = {"world": world, "faults": script, "monotonic_s": lambda: at_ns[0] / 1e9}
        parts = LightParts(_reopening(bench, lambda: open_illuminator("sim", options)))
        light = Light(ExposureSettings(probe_s=10.0, dwell_s=1.0), parts, lambda: at_ns[0])
        bench.closing.callback(light.close)

        def step() -> Sequence[Finding]:
            for _ in range(SMALL["fps"]):
                light.between(eye)
                frame = eye.capture(1.0)
                assert frame is not None
                at_ns[0] = frame.monotonic_ns
                light.saw(light.seen(frame), ())
            return [light.finding()]

        return step

    return make


def _reopening(bench: Bench, opens: Callable[[], Any]) -> Reopening[Any]:
    return Reopening(opens, lambda device: device.close(), monotonic_s=bench.monotonic_s)


class StillCamera:
    """Gives one picture again and again; only the lamp's pin matters here."""

    def __init__(self) -> None:
        self._camera = open_camera("sim", {**SMALL, "pace": "max"})
        frame = self._camera.capture(1.0)
        assert frame is not None
        self.frame = frame

    def capabilities(self) -> Any:
        return self._camera.capabilities()

    def capture(self, timeout_s: float) -> Frame:
        return self.frame

    def configure(self, exposure: Exposure) -> None:
        """It stays as it is."""

    def close(self) -> None:
        self._camera.close()


def lamp_pin_busy(bench: Bench) -> Step:
    """The real driver on a mock chip, whose pin another program holds for the first seconds."""
    factory: Any = MockFactory(pin_class=MockPWMPin)
    options = {"pin": "GPIO18", "pin_factory": factory}
    other = open_illuminator("gpiozero", options)
    bench.closing.callback(other.close)
    light = Light(
        ExposureSettings(), LightParts(_reopening(bench, lambda: open_illuminator("gpiozero", options)))
    )
    bench.closing.callback(light.close)
    still = StillCamera()
    bench.closing.callback(still.close)
    seconds = [0]

    def step() -> Sequence[Finding]:
        seconds[0] += 1
        if seconds[0] == BUSY_S:
            other.close()
        light.between(still)
        light.saw(still.frame, ())
        return [light.finding()]

    return step


def alert_pins_busy(bench: Bench) -> Step:
    """Buzzer and lamp of a mobile unit: the same, by the annunciator's own thread in real time."""
    factory: Any = MockFactory(pin_class=MockPWMPin)
    options = {"buzzer_pin": "GPIO23", "lamp_pin": "GPIO24", "pin_factory": factory}
    other = open_alert("gpiozero", options)
    bench.closing.callback(other.close)
    announcer = Annunciator(lambda: open_alert("gpiozero", options))
    bench.closing.callback(announcer.close)
    told = [0]

    def step() -> Sequence[Finding]:
        time.sleep(MOMENT_S)
        finding = announcer.finding()
        told[0] += bool(finding.code)
        if told[0] == 10:
            other.close()
        return [finding]

    return step


def clock_jumps(bench: Bench) -> Step:
    """The system clock is set a day ahead while the office tells the right time."""
    device = device_clock(bench)
    check = ClockCheck(device, bench.monotonic_s)
    ahead_s = 86_400.0
    count = [0]

    def step() -> Sequence[Finding]:
        count[0] += 1
        if count[0] == 100:
            bench.clock.jump(ahead_s)
        if count[0] == 300:
            bench.clock.jump(-ahead_s)
        true_us = bench.clock.now_us() - (round(ahead_s * 1e6) if 100 <= count[0] < 300 else 0)
        if count[0] % 10 == 1:
            device.offer(TimeOffer("office", true_us, bench.clock.monotonic_ns(), 50_000))
        return check.poll()

    return step


def power(*stretches: tuple[str, int]) -> Callable[[Bench], Step]:
    """Supply, heat and battery: each stretch a letter and how many seconds it lasts."""

    def make(bench: Bench) -> Step:
        script = "".join(letter * round(seconds / LOOK_S) for letter, seconds in stretches)
        sensors = open_power("sim", {"battery_v": 13.1, "faults": script, "now_s": bench.monotonic_s})
        watch = PowerWatch(sensors, Ladder(), monotonic_s=bench.monotonic_s)
        bench.closing.callback(watch.close)
        return watch.poll

    return make


class Charged:
    """A battery whose volts are those of the stretch that lasts."""

    def __init__(self, bench: Bench, stretches: Sequence[tuple[float, int]]) -> None:
        self._now_s = bench.monotonic_s
        self._begun_s = bench.monotonic_s()
        self._stretches = [(open_power("sim", {"battery_v": volts}), seconds) for volts, seconds in stretches]

    def reading(self) -> PowerReading:
        left_s = self._now_s() - self._begun_s
        for sensors, seconds in self._stretches[:-1]:
            if left_s < seconds:
                return sensors.reading()
            left_s -= seconds
        return self._stretches[-1][0].reading()

    def close(self) -> None:
        """Nothing is held."""


def battery(*stretches: tuple[float, int]) -> Callable[[Bench], Step]:
    """Each stretch the battery's volts and how many seconds they last; the last one stays."""

    def make(bench: Bench) -> Step:
        return PowerWatch(Charged(bench, stretches), Ladder(), monotonic_s=bench.monotonic_s).poll

    return make


def watchdog_refuses(bench: Bench) -> Step:
    """The board's watchdog takes no feed for a while."""
    options = {"timeout_s": 60.0, "faults": "....x", "monotonic_s": bench.monotonic_s}
    feeder = Feeder({"board": lambda: open_watchdog("sim", options)}, monotonic_s=bench.monotonic_s)
    bench.closing.callback(feeder.close)
    return lambda: [feeder.feed()]


def stage_stands_still(bench: Bench) -> Step:
    """A stage stands still for ten seconds: the watchdog is not fed."""
    dog = open_watchdog("sim", {"timeout_s": 5.0, "monotonic_s": bench.monotonic_s})
    feeder = Feeder({"board": lambda: dog}, monotonic_s=bench.monotonic_s)
    count = [0]

    def step() -> Sequence[Finding]:
        count[0] += 1
        return [feeder.feed(["inference"] if 10 < count[0] <= 20 else [])]

    return step


def disk(*free_bytes: int) -> Callable[[Bench], Step]:
    """So many bytes are free, second by second; the last number stays."""

    def make(bench: Bench) -> Step:
        left = list(free_bytes)
        watch = DiskWatch(bench.folder, free_bytes=lambda _folder: left.pop(0) if len(left) > 1 else left[0])
        return lambda: [watch.finding(DiskNews())]

    return make
