# SPDX-License-Identifier: Apache-2.0
"""Heat, supply, clocks, pins, and the options that every driver reads."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from gpiozero.pins.mock import MockFactory

from drivers.errors import (
    BadOption,
    DriverError,
    LibraryMissing,
    PinBusy,
)
from drivers.options import Options
from drivers.ports import Clock, Gpio
from drivers.registry import DRIVERS, open_clock, open_gpio, open_illuminator
from drivers.sim.clock import SimClock
from drivers.sim.faults import MAX_STEPS, FaultScript


def test_clocks() -> None:
    system = open_clock("system", {})
    assert isinstance(system, Clock)
    assert abs(system.now_us() - time.time() * 1e6) < 1e6
    clock = open_clock("sim", {"start_us": 1_000, "running": False})
    assert isinstance(clock, SimClock)
    before = clock.monotonic_ns()
    clock.advance(2.5)
    clock.jump(-1.0)
    assert clock.now_us() == 1_000 + 1_500_000
    assert clock.monotonic_ns() - before == 2_500_000_000
    with pytest.raises(ValueError, match="forwards"):
        clock.advance(-1.0)


def test_pins() -> None:
    factory = MockFactory()
    gpio = open_gpio("gpiozero", {"pin_factory": factory})
    assert isinstance(gpio, Gpio)
    gpio.write(17, True)
    assert factory.pin(17).state == 1
    assert gpio.read(17) is True
    assert gpio.read(27) is True  # pulled up
    factory.pin(27).drive_low()
    assert gpio.read(27) is False
    with pytest.raises(PinBusy):
        gpio.write(27, True)
    gpio.close()
    gpio.close()
    assert factory.pin(17).function == "input"  # released
    factory.reset()


def test_every_registered_name_has_its_opener() -> None:
    for port, names in DRIVERS.items():
        for name, module in names.items():
            source = Path(__file__).parents[2] / (module.replace(".", "/") + ".py")
            assert f"def open_{name}(options: Mapping[str, object])" in source.read_text(), (port, name)


def test_a_missing_library_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "drivers.illuminator_gpiozero", None)
    with pytest.raises(LibraryMissing):
        open_illuminator("gpiozero", {"pin": "GPIO18"})


def test_every_error_says_whether_a_retry_can_help() -> None:
    def all_of(base: type[DriverError]) -> list[type[DriverError]]:
        return [base, *(leaf for child in base.__subclasses__() for leaf in all_of(child))]

    for error in all_of(DriverError):
        assert isinstance(error.permanent, bool)
        assert error.__doc__


def test_options_name_the_unknown_and_the_known() -> None:
    options = Options("thing", {"colour": 1})
    options.number("size", 1.0, 0.0, 2.0)
    with pytest.raises(BadOption, match=r"unknown option 'colour'; it has: size"):
        options.finish()


@pytest.mark.parametrize("value", [True, "1", None, [1], float("inf"), -1, 3])
def test_numbers_are_numbers(value: object) -> None:
    options = Options("thing", {"size": value})
    if value is None:
        assert options.number("size", 1.5, 0.0, 2.0) == 1.5
        return
    with pytest.raises(BadOption, match=r"'size' must be a number from 0.0 to 2.0"):
        options.number("size", 1.0, 0.0, 2.0)


def test_a_fault_script_has_known_letters_and_a_limit() -> None:
    script = FaultScript("thing", ".x", {"x": "gone"})
    assert [script.at(step) for step in (-1, 0, 1, 2, 10**9)] == [".", ".", "x", ".", "."]
    with pytest.raises(BadOption, match="x = gone"):
        FaultScript("thing", "y", {"x": "gone"})
    with pytest.raises(BadOption):
        FaultScript("thing", "." * (MAX_STEPS + 1), {"x": "gone"})
