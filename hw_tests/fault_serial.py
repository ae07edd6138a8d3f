# SPDX-License-Identifier: Apache-2.0
"""Subjects of the fault table that hang on a serial line: the real drivers on pseudo-terminals, simulated time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from drivers.registry import open_gnss, open_modem
from drivers.sim.faults import FaultScript
from drivers.sim.modem import FAULTS as MODEM_FAULTS
from drivers.sim.modem import ModemModel, PtyModem
from firmware.health import Finding
from firmware.link_check import ASK_EVERY_S, LinkCheck
from firmware.place import PlaceWatch

from .fault_bench import Bench, Step, device_clock
from .serial_receiver import PLACE, SerialReceiver

ARRIVES_S = 0.2  # bytes through a pseudo-terminal; nobody reads one whose name was just given anew


def gnss(script: str) -> Callable[[Bench], Step]:
    """The real NMEA driver on a serial line, its watcher on simulated time: a letter a second."""

    def make(bench: Bench) -> Step:
        receiver = SerialReceiver(bench.folder / "receiver", script, bench.clock.now_us)
        receiver.plug()
        bench.closing.callback(receiver.unplug)
        clock = device_clock(bench)
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
