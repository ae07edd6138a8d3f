# SPDX-License-Identifier: Apache-2.0
"""One contract for every lamp: simulated, on gpiozero's mock pins (dimmed and switched), on libgpiod's interface."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.errors import BadOption, PinBusy
from drivers.illuminator import Interlock, LimitedLamp
from drivers.lamp_limits import PWM_LIMIT, SWITCH_LIMIT, DutyLimit, HeatBudget, lowered
from drivers.ports import Illuminator
from drivers.registry import open_illuminator
from drivers.sim.gpiochip import SimGpioChip
from drivers.sim.lines import lamp_line

Given = tuple[Illuminator, Callable[[], float]]


@pytest.fixture(params=["sim", "gpiozero-pwm", "gpiozero-switch", "gpiod"])
def lamp(request: pytest.FixtureRequest) -> Iterator[Given]:
    """A lamp, and what comes out of it electrically (0..1)."""
    if request.param == "sim":
        device = open_illuminator("sim", {"world": "lamp-test"})
        yield device, lambda: float(lamp_line("lamp-test").power or 0.0)
        device.close()
        return
    if request.param == "gpiod":
        chip = SimGpioChip()
        device = open_illuminator("gpiod", {"pin": "12", "library": chip})
        yield device, lambda: float(chip.level(12))
        device.close()
        return
    factory = MockFactory(pin_class=MockPWMPin)
    kind = request.param.removeprefix("gpiozero-")
    device = open_illuminator("gpiozero", {"pin": "GPIO18", "kind": kind, "pin_factory": factory})
    yield device, lambda: float(factory.pin(18).state)
    device.close()
    factory.reset()


def test_it_is_dark_after_opening(lamp: Given) -> None:
    device, output = lamp
    assert isinstance(device, Illuminator)
    assert output() == 0.0
    assert device.state().power == 0.0


def test_what_it_stands_for_ever_and_off(lamp: Given) -> None:
    device, output = lamp
    state = device.state()
    device.set_power(state.sustained)
    lit = state.sustained if state.dimmable else 1.0
    assert output() == lit
    assert device.state().power == lit
    assert not device.state().limited
    device.off()
    assert output() == 0.0


@pytest.mark.parametrize("power", [-5.0, 0.0, 7.0, math.inf, -math.inf])
def test_power_is_clamped(lamp: Given, power: float) -> None:
    device, output = lamp
    device.set_power(power)
    state = device.state()
    assert state.requested == (1.0 if power > 1.0 else 0.0)
    assert (
        output()
        == state.power
        == (min(power, state.sustained if state.dimmable else 1.0) if power > 1.0 else 0.0)
    )


def test_nan_is_refused_and_changes_nothing(lamp: Given) -> None:
    device, output = lamp
    device.set_power(0.5)
    before = output()
    with pytest.raises(BadOption):
        device.set_power(math.nan)
    assert output() == before > 0.0


def test_closing_is_dark_final_and_may_be_repeated(lamp: Given) -> None:
    device, output = lamp
    device.set_power(1.0)
    device.close()
    device.close()
    device.set_power(1.0)
    assert device.state().power == 0.0
    assert output() == 0.0


def test_a_pin_in_use_is_busy() -> None:
    factory = MockFactory(pin_class=MockPWMPin)
    first = open_illuminator("gpiozero", {"pin": "GPIO18", "pin_factory": factory})
    with pytest.raises(PinBusy):
        open_illuminator("gpiozero", {"pin": "GPIO18", "pin_factory": factory})
    first.close()
    factory.reset()


def test_active_low_wiring_is_dark_when_high() -> None:
    factory = MockFactory(pin_class=MockPWMPin)
    options = {"pin": "GPIO18", "kind": "switch", "active_high": False, "pin_factory": factory}
    device = open_illuminator("gpiozero", options)
    assert factory.pin(18).state == 1
    device.set_power(1.0)
    assert factory.pin(18).state == 0
    device.close()
    factory.reset()


def test_the_lamp_goes_dark_when_the_process_ends() -> None:
    script = """
import atexit
from gpiozero.pins.mock import MockFactory, MockPWMPin
from drivers.registry import open_illuminator
factory = MockFactory(pin_class=MockPWMPin)
pin = factory.pin(18)
atexit.register(lambda: print([state.state for state in pin.states][-2:]))
open_illuminator("gpiozero", {"pin": "GPIO18", "pin_factory": factory}).set_power(1.0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("0]") or done.stdout.strip().endswith("0.0]")


@pytest.mark.parametrize(
    ("name", "limit"), [("gpiozero", PWM_LIMIT), ("sim", PWM_LIMIT), ("gpiod", SWITCH_LIMIT)]
)
def test_configuration_can_lower_the_interlock_but_not_raise_it(name: str, limit: DutyLimit) -> None:
    options: dict[str, object] = {"sustained": limit.sustained + 0.01}
    if name == "gpiozero":
        options |= {"pin": "GPIO18", "pin_factory": MockFactory(pin_class=MockPWMPin)}
    if name == "gpiod":
        options |= {"pin": "12", "library": SimGpioChip()}
    with pytest.raises(BadOption, match="only lower"):
        open_illuminator(name, options)
    assert lowered(limit, 0.2) == DutyLimit(0.2, limit.burst_s)


def test_full_power_is_cut_back_after_the_burst_without_anybody_calling() -> None:
    now, driven = [0.0], list[float]()
    lamp = LimitedLamp(driven.append, lambda: None, Interlock(PWM_LIMIT), monotonic_s=lambda: now[0])
    now[0] = 3600.0  # cold
    lamp.set_power(1.0)
    assert lamp.state().power == 1.0
    now[0] += PWM_LIMIT.burst_s
    lamp.check()  # what the timer does
    assert lamp.state().power == PWM_LIMIT.sustained
    assert lamp.state().limited
    now[0] += 1e6
    lamp.check()
    assert lamp.state().power == PWM_LIMIT.sustained  # still asked for 1.0: no rest, no second burst
    lamp.off()
    now[0] += 3600.0
    lamp.set_power(1.0)
    assert lamp.state().power == 1.0
    lamp.close()


def test_the_timer_really_cuts_back() -> None:
    lamp = LimitedLamp(lambda _: None, lambda: None, Interlock(DutyLimit(0.5, 0.1)))
    time.sleep(0.2)  # cold
    lamp.set_power(1.0)
    assert lamp.state().power == 1.0
    deadline = time.monotonic() + 5.0
    while lamp.state().power == 1.0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lamp.state().power == 0.5
    lamp.close()


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.floats(0, 1), st.floats(0.01, 400), st.floats(0, 1)), min_size=1, max_size=40
    ),
    switched=st.booleans(),
)
def test_no_sequence_of_requests_exceeds_the_budget(
    steps: list[tuple[float, float, float]], *, switched: bool
) -> None:
    limit = SWITCH_LIMIT if switched else PWM_LIMIT
    budget = HeatBudget(limit, switched=switched)
    now, heat = 0.0, 0.0
    for requested, hold_s, duty in steps:
        end = now + hold_s
        while now < end:
            power, again_s = budget.grant(requested, now, duty)
            assert 0.0 <= power <= 1.0
            step = min(end - now, again_s if again_s is not None else end - now)
            heat = max(0.0, heat + (power * duty - limit.sustained) * step)
            assert heat <= limit.cap + 1e-3
            now += max(step, 1e-6)
