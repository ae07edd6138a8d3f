# SPDX-License-Identifier: Apache-2.0
"""The photodiode, the infrared-cut filter and pins: real ones on stand-ins, and simulated ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gpiozero.pins.mock import MockFactory

from drivers.daylight import FRESH_S, IioDaylight
from drivers.errors import BadOption, DaylightUnreadable, PinBusy
from drivers.ir_filter import PulsedFilter
from drivers.ports import Daylight, Gpio, IrFilter
from drivers.registry import open_daylight, open_gpio, open_ir_filter
from drivers.sim.gpio import SimGpio
from drivers.sim.gpiochip import SimGpioChip
from drivers.sim.lines import filter_line, photo_line


def test_a_converter_under_sysfs(tmp_path: Path) -> None:
    file = tmp_path / "in_voltage0_raw"
    file.write_text("612\n")
    device = open_daylight("iio", {"path": str(file), "lux_per_unit": 2.5, "dark": 12})
    assert isinstance(device, Daylight)
    assert device.lux() == 1500.0
    device.close()


def test_it_is_asked_once_a_second_and_never_below_dark(tmp_path: Path) -> None:
    file, now = tmp_path / "lux", [0.0]
    file.write_text("3")
    device = IioDaylight(file, 1.0, 5.0, monotonic_s=lambda: now[0])
    assert device.lux() == 0.0
    file.write_text("105")
    assert device.lux() == 0.0
    now[0] = FRESH_S
    assert device.lux() == 100.0


@pytest.mark.parametrize("text", ["", "nan", "inf", "lots", "9" * 400])
def test_a_converter_without_a_number_is_unreadable(tmp_path: Path, text: str) -> None:
    file = tmp_path / "lux"
    file.write_text(text)
    if text.startswith("9"):  # cut after MAX_VALUE_BYTES: a number, however odd
        assert open_daylight("iio", {"path": str(file)}).lux() == pytest.approx(1e64)
        return
    with pytest.raises(DaylightUnreadable):
        open_daylight("iio", {"path": str(file)})


def test_no_converter_at_all(tmp_path: Path) -> None:
    with pytest.raises(DaylightUnreadable, match="lux"):
        open_daylight("iio", {"path": str(tmp_path / "lux")})
    assert open_daylight("none", {}).lux() is None


def test_the_simulated_photodiode_sees_what_the_world_says() -> None:
    device = open_daylight("sim", {"world": "photo-test", "faults": "...xd"})
    assert isinstance(device, Daylight)
    assert device.lux() is None
    photo_line("photo-test").lux = 321.0
    assert [device.lux(), device.lux()] == [321.0, 321.0]
    with pytest.raises(DaylightUnreadable):
        device.lux()
    assert device.lux() == 0.0
    assert device.lux() == 321.0


class Recorder:
    """Levels of two pins, and whether both were ever high."""

    def __init__(self) -> None:
        self.levels: dict[int, bool] = {}
        self.both = False
        self.log: list[tuple[int, bool]] = []
        self.closed = False

    def write(self, pin: int, value: bool) -> None:
        self.levels[pin] = value
        self.log.append((pin, value))
        self.both |= sum(self.levels.values()) > 1

    def read(self, pin: int) -> bool:
        return self.levels[pin]

    def close(self) -> None:
        self.closed = True


def test_the_filter_gets_one_pulse_on_one_pin_and_then_nothing() -> None:
    pins, slept = Recorder(), list[tuple[float, dict[int, bool]]]()
    device = PulsedFilter(pins, (5, 6), 0.1, lambda seconds: slept.append((seconds, dict(pins.levels))))
    assert pins.levels == {5: False, 6: False}
    device.place(inside=True)
    device.place(inside=False)
    assert slept == [(0.1, {5: True, 6: False}), (0.1, {5: False, 6: True})]
    assert pins.levels == {5: False, 6: False}
    assert not pins.both
    device.close()
    device.close()
    assert pins.closed
    with pytest.raises(PinBusy):
        device.place(inside=True)


def test_a_pulse_that_is_cut_short_still_ends() -> None:
    pins = Recorder()

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    device = PulsedFilter(pins, (5, 6), 0.1, interrupted)
    with pytest.raises(KeyboardInterrupt):
        device.place(inside=True)
    assert pins.levels == {5: False, 6: False}


@pytest.mark.parametrize("name", ["gpiozero", "gpiod"])
def test_the_filter_on_real_drivers(name: str) -> None:
    factory, chip = MockFactory(), SimGpioChip()
    given = {"pin_factory": factory} if name == "gpiozero" else {"library": chip}
    device = open_ir_filter(name, {"in_pin": 5, "out_pin": 6, "pulse_ms": 10, **given})
    assert isinstance(device, IrFilter)
    device.place(inside=True)
    device.place(inside=False)
    if name == "gpiozero":
        assert [state.state for state in factory.pin(5).states].count(True) == 1
    else:
        assert not chip.level(5)
        assert not chip.level(6)
    device.close()
    factory.reset()


@pytest.mark.parametrize(
    "pins", [{}, {"in_pin": 5}, {"in_pin": 5, "out_pin": 5}, {"in_pin": -1, "out_pin": 5}]
)
def test_two_different_pins_or_none(pins: dict[str, object]) -> None:
    with pytest.raises(BadOption):
        open_ir_filter("gpiod", {**pins, "library": SimGpioChip()})


def test_a_pulse_cannot_be_made_long() -> None:
    with pytest.raises(BadOption, match="pulse_ms"):
        open_ir_filter("gpiod", {"in_pin": 1, "out_pin": 2, "pulse_ms": 501, "library": SimGpioChip()})


def test_a_filter_whose_pin_is_held_is_busy_and_lets_go_of_the_other() -> None:
    chip = SimGpioChip()
    other = open_gpio("gpiod", {"library": chip})
    other.write(6, True)
    with pytest.raises(PinBusy):
        open_ir_filter("gpiod", {"in_pin": 5, "out_pin": 6, "library": chip})
    assert chip.pins[5].held is None
    other.close()


def test_the_simulated_filter_moves_jams_and_is_busy() -> None:
    device, line = (
        open_ir_filter("sim", {"world": "filter-test", "faults": "..jb"}),
        filter_line("filter-test"),
    )
    assert isinstance(device, IrFilter)
    assert line.filter_in is None
    device.place(inside=True)
    assert line.filter_in is True
    device.place(inside=False)
    device.place(inside=True)  # jammed
    assert line.filter_in is False
    with pytest.raises(PinBusy):
        device.place(inside=True)
    device.place(inside=True)
    assert line.filter_in is True
    device.close()
    open_ir_filter("none", {}).place(inside=True)


Pins = tuple[Gpio, Callable[[int], bool], Callable[[int, bool], None]]


@pytest.fixture(params=["gpiozero", "gpiod", "sim"])
def pins(request: pytest.FixtureRequest) -> Iterator[Pins]:
    """Pins, what a meter shows at one, and a switch at one."""
    if request.param == "gpiozero":
        factory = MockFactory()
        device = open_gpio("gpiozero", {"pin_factory": factory})
        press = lambda pin, high: factory.pin(pin).drive_high() if high else factory.pin(pin).drive_low()  # noqa: E731
        yield device, lambda pin: bool(factory.pin(pin).state), press
        device.close()
        factory.reset()
        return
    chip = SimGpioChip()
    device = open_gpio("gpiod", {"library": chip}) if request.param == "gpiod" else open_gpio("sim", {})
    if isinstance(device, SimGpio):
        chip = device.chip
    yield device, chip.level, chip.drive
    device.close()


def test_one_contract_for_all_pins(pins: Pins) -> None:
    device, level, press = pins
    assert isinstance(device, Gpio)
    device.write(17, True)
    assert level(17)
    assert device.read(17) is True
    assert device.read(27) is True  # pulled up
    press(27, False)
    assert device.read(27) is False
    with pytest.raises(PinBusy):
        device.write(27, True)
    device.close()
    device.close()
    assert not level(17)


def test_a_simulated_pin_is_busy_by_script() -> None:
    device = open_gpio("sim", {"faults": ".b"})
    device.write(4, True)
    with pytest.raises(PinBusy):
        device.write(4, False)
    device.write(4, False)
    device.close()
