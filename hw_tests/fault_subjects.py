# SPDX-License-Identifier: Apache-2.0
"""The subjects of the fault table: each builds real watchers over a device that fails as its script says."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import threading
import time
import tty
from collections.abc import Callable, Sequence
from typing import Any

from gpiozero.pins.mock import MockFactory, MockPWMPin

from drivers.ports import Camera
from drivers.registry import (
    open_alert,
    open_camera,
    open_gnss,
    open_illuminator,
    open_modem,
    open_power,
    open_watchdog,
)
from drivers.sim.faults import FaultScript
from drivers.sim.gnss import FAULTS as GNSS_FAULTS
from drivers.sim.gnss import SimGnss
from drivers.sim.modem import FAULTS as MODEM_FAULTS
from drivers.sim.modem import ModemModel, PtyModem
from drivers.types import Exposure, Fix, Frame, PowerReading
from firmware.annunciator import Annunciator
from firmware.camera_check import CameraCheck
from firmware.capture import Capture
from firmware.clock import DeviceClock, TimeOffer
from firmware.clock_check import ClockCheck
from firmware.disk_watch import DiskWatch
from firmware.exposure_settings import ExposureSettings
from firmware.health import Finding
from firmware.ladder import Ladder
from firmware.latest import LatestQueue
from firmware.light import Light, LightParts
from firmware.link_check import ASK_EVERY_S, LinkCheck
from firmware.place import PlaceWatch
from firmware.power_watch import LOOK_S, PowerWatch
from firmware.reopening import Reopening
from firmware.watchdog_feed import Feeder

from .fault_bench import Bench, Step

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


class SerialReceiver:
    """A receiver's cable: a pseudo-terminal behind a name that stays; unplugged, the name leads nowhere."""

    def __init__(self, bench: Bench, script: str) -> None:
        self.port = bench.folder / "receiver"
        self._bench = bench
        faults = FaultScript("receiver", script, GNSS_FAULTS)
        self._faults = faults
        self._receiver = SimGnss(Fix(*PLACE, 0.0, None, 0.0, "start"), 1, faults, bench.clock.now_us)
        self._master = self._slave = -1
        self._epoch = 0

    def say(self) -> None:
        """One second of the script."""
        if self._faults.at(self._epoch) == "u":
            self.unplug()
        else:
            self.plug()
            os.write(self._master, self._receiver.nmea(self._epoch, self._bench.clock.now_us()))
        self._epoch += 1

    def plug(self) -> None:
        if self._master < 0:
            self._master, self._slave = os.openpty()
            tty.setraw(self._slave)
            self.port.unlink(missing_ok=True)
            self.port.symlink_to(os.ttyname(self._slave))

    def unplug(self) -> None:
        if self._master >= 0:
            self.port.unlink()
            os.close(self._master)
            os.close(self._slave)
            self._master = self._slave = -1

    def drained(self) -> bool:
        """Whether the driver has read everything."""
        if self._slave < 0:
            return True
        waiting = fcntl.ioctl(self._slave, termios.FIONREAD, b"\0" * 4)
        return bool(struct.unpack("i", waiting)[0] == 0)


def gnss(script: str) -> Callable[[Bench], Step]:
    """The real NMEA driver on a serial line, its watcher on simulated time: a letter a second."""

    def make(bench: Bench) -> Step:
        receiver = SerialReceiver(bench, script)
        receiver.plug()
        bench.closing.callback(receiver.unplug)
        clock = _device_clock(bench)
        watch = PlaceWatch(
            lambda: open_gnss("nmea", {"port": str(receiver.port), "max_age_s": 600.0}),
            PLACE,
            clock,
            "fixed",
            monotonic_ns=bench.clock.monotonic_ns,
        )
        bench.closing.callback(watch.close)

        def step() -> Sequence[Finding]:
            receiver.say()
            deadline = time.monotonic() + ARRIVES_S
            watch.step()
            while not receiver.drained() and time.monotonic() < deadline:
                watch.step()
            time.sleep(0.002)
            watch.step()
            return watch.poll()

        return step

    return make


def _device_clock(bench: Bench) -> DeviceClock:
    return DeviceClock(
        bench.folder / "clock.json", system_us=bench.clock.now_us, monotonic_ns=bench.clock.monotonic_ns
    )


def clock_jumps(bench: Bench) -> Step:
    """The system clock is set a day ahead while the office tells the right time."""
    device = _device_clock(bench)
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


def modem(script: str) -> Callable[[Bench], Step]:
    """The real AT driver on a simulated modem's serial line, its watcher on simulated time: a letter a second.

    The modem is asked each 30 s; the driver waits for answers in real time, a mute one for seconds.
    """

    def make(bench: Bench) -> Step:
        line = PtyModem(ModemModel(FaultScript("modem", script, MODEM_FAULTS), bench.monotonic_s))
        bench.closing.callback(line.close)
        watch = LinkCheck(
            lambda: open_modem("at", {"port": line.path, "timeout_s": 0.5}), monotonic_s=bench.monotonic_s
        )
        bench.closing.callback(watch.close)
        seconds = [0]

        def step() -> Sequence[Finding]:
            if seconds[0] % ASK_EVERY_S == 0:
                watch.step()
            seconds[0] += 1
            return watch.poll()

        return step

    return make


def disk(*free_bytes: int) -> Callable[[Bench], Step]:
    """So many bytes are free, second by second; the last number stays."""

    def make(bench: Bench) -> Step:
        left = list(free_bytes)
        watch = DiskWatch(bench.folder, free_bytes=lambda _folder: left.pop(0) if len(left) > 1 else left[0])
        return lambda: [watch.finding(lost=0, refused=False)]

    return make
