# SPDX-License-Identifier: Apache-2.0
"""The infrared lamp: its interlock in real time, dark on close and at every kind of end of its process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from drivers.lamp_limits import PWM_LIMIT
from drivers.ports import Illuminator
from drivers.registry import open_gpio, open_illuminator
from drivers.sim.lines import DEFAULT_WORLD, lamp_line
from drivers.types import Exposure

from .conftest import OpenCamera, part
from .rig import IlluminatorPart, Rig
from .wait import wait_for
from .wire import READY, WIRINGS

REST_S = 11.0  # dark: long enough for full power again
END_S = 20.0  # a process starts and ends within
DARK_WITHIN_S = 1.0
NIGHT_EXPOSURE = Exposure(8000, 4.0)
CHILD = """
import json, sys, threading
from drivers.registry import open_illuminator
lamp = open_illuminator(sys.argv[1], json.loads(sys.argv[2]))
lamp.set_power(1.0)
print("ready", flush=True)
threading.Event().wait()
"""


def test_lit_and_dark(lamp: Illuminator) -> None:
    lamp.set_power(1.0)
    assert lamp.state().power > 0.0
    lamp.off()
    assert lamp.state().power == 0.0


def test_the_interlock_cuts_back_by_itself(rig: Rig, lamp: Illuminator) -> None:
    """In real time: warm at its start, full after a rest, and cut back without a call."""
    chosen = part(rig.illuminator, "illuminator")
    if chosen.options.get("kind") == "switch":
        pytest.skip("a switched lamp's burst lasts minutes: too long for this suite")
    lamp.set_power(1.0)
    assert lamp.state().power <= PWM_LIMIT.sustained  # what was before its start is not known
    lamp.off()
    time.sleep(REST_S)
    lamp.set_power(1.0)
    assert lamp.state().power == 1.0
    assert wait_for(lambda: lamp.state().limited, PWM_LIMIT.burst_s, poll_s=0.1)
    assert lamp.state().requested == 1.0
    assert lamp.state().power <= PWM_LIMIT.sustained
    if chosen.simulated:
        world = str(chosen.options.get("world", DEFAULT_WORLD))
        assert lamp_line(world).power == lamp.state().power  # the wire, not the book-keeping
    lamp.off()
    lamp.set_power(1.0)
    assert lamp.state().power <= PWM_LIMIT.sustained  # switching it off and on buys no second burst


def test_close_is_dark_and_final(rig: Rig) -> None:
    chosen = part(rig.illuminator, "illuminator")
    lamp = open_illuminator(chosen.name, chosen.options)
    lamp.set_power(1.0)
    lamp.close()
    lamp.set_power(1.0)
    assert lamp.state().power == 0.0


def test_the_camera_sees_the_lamp(
    rig: Rig, lamp: Illuminator, open_camera: OpenCamera, person: Callable[[str], None]
) -> None:
    night: dict[str, Any] = {"day_seconds": 0} if part(rig.camera, "camera").simulated else {}
    if not night:
        person("darken the scene before the camera (a box over both), within 20 s")
        time.sleep(20.0)
    camera = open_camera("", **night)
    camera.configure(camera.capabilities().bounded(NIGHT_EXPOSURE))
    light = []
    for power in (0.0, 1.0):
        lamp.set_power(power)
        frames = [camera.capture(5.0) for _ in range(6)]
        assert frames[-1] is not None
        light.append(float(frames[-1].pixels.mean()))
        if night:
            assert frames[-1].ir == (power > 0.0)
    assert light[1] > light[0] + 3.0


def _levels(how: str, wiring: str, ending: int | None = None) -> tuple[list[float], int]:
    """The levels on the wire of a process that lit the lamp and ended so; its exit code."""
    command = [sys.executable, "-m", "hw_tests.wire", how, wiring]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    with child:
        lines: list[bytes] = []
        for line in child.stdout:  # ends when the last holder of the wire lets go
            lines.append(line)
            if line == READY and ending is not None:
                child.send_signal(ending)
        code = child.wait(END_S)
    return [float(line) for line in lines if line != READY], code


@pytest.mark.parametrize("wiring", ["gpiozero", "gpiod-strobe"])
@pytest.mark.parametrize("how", ["return", "exit", "raise"])
def test_dark_when_the_process_ends_by_itself(how: str, wiring: str) -> None:
    levels, _ = _levels(how, wiring)
    assert max(levels) > 0.0
    assert levels[-1] == 0.0


@pytest.mark.parametrize("wiring", WIRINGS)
def test_dark_when_a_service_is_asked_to_end(wiring: str) -> None:
    levels, code = _levels("sigterm", wiring, signal.SIGTERM)
    assert max(levels) > 0.0
    assert levels[-1] == 0.0
    assert code == 0


@pytest.mark.parametrize("wiring", WIRINGS)
def test_a_killed_process_lets_go_of_the_pin_without_a_last_word(wiring: str) -> None:
    """kill -9: nothing can drive the pin low, so the pull-down must; nothing of ours keeps it high either."""
    levels, code = _levels("wait", wiring, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert levels[-1] > 0.0


@contextmanager
def _lit(chosen: IlluminatorPart) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", CHILD, chosen.name, json.dumps(chosen.options)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    with child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == READY
            yield child
        finally:
            child.kill()


def test_a_killed_process_leaves_the_real_pin_low(rig: Rig) -> None:
    chosen = part(rig.illuminator, "illuminator")
    if chosen.sense_pin is None:
        pytest.skip("needs a `sense_pin`: only iron can show what a pin does that nobody drives")
    pin, lit = chosen.sense_pin, chosen.options.get("active_high", True)
    gpio = open_gpio("gpiozero", {"pull_up": False})
    try:
        with _lit(chosen) as child:
            assert wait_for(lambda: gpio.read(pin) == lit, DARK_WITHIN_S)
            child.kill()
            child.wait(END_S)
            assert wait_for(lambda: gpio.read(pin) != lit, DARK_WITHIN_S)
    finally:
        gpio.close()
