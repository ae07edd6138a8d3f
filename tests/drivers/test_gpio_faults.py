# SPDX-License-Identifier: Apache-2.0
"""Pins that are held, lost or stuck: a typed error, and no other pin is left on because of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from gpiozero.pins.mock import MockFactory

from drivers.errors import PinBusy
from drivers.ir_filter import PulsedFilter
from drivers.registry import open_gpio, open_illuminator
from drivers.sim.gpiochip import LineRequest, SimGpioChip
from tests.drivers.lgpio_stand_in import HeldPin, LostPin, StuckPin, install


@pytest.fixture(autouse=True)
def _lgpio(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


@pytest.mark.parametrize("kind", ["pwm", "switch"])
def test_a_lamps_pin_that_another_process_holds_is_busy(kind: str) -> None:
    options = {"pin": "GPIO18", "kind": kind, "pin_factory": MockFactory(pin_class=HeldPin)}
    with pytest.raises(PinBusy, match="GPIO busy"):
        open_illuminator("gpiozero", options)


def test_a_lamps_pin_that_is_lost_in_use_is_busy() -> None:
    factory = MockFactory(pin_class=LostPin)
    lamp = open_illuminator("gpiozero", {"pin": "GPIO18", "kind": "switch", "pin_factory": factory})
    with pytest.raises(PinBusy, match="unknown handle"):
        lamp.set_power(1.0)
    lamp.close()


def test_a_held_or_lost_pin_is_busy() -> None:
    held = open_gpio("gpiozero", {"pin_factory": MockFactory(pin_class=HeldPin)})
    for use in (lambda: held.write(5, True), lambda: held.read(5)):
        with pytest.raises(PinBusy, match="GPIO busy"):
            use()
    lost = open_gpio("gpiozero", {"pin_factory": MockFactory(pin_class=LostPin)})
    with pytest.raises(PinBusy, match="unknown handle"):
        lost.write(5, True)
    lost.close()


def test_closing_releases_every_pin_whatever_one_does_gpiozero() -> None:
    factory = MockFactory(pin_class=StuckPin)
    device = open_gpio("gpiozero", {"pin_factory": factory})
    device.write(5, True)
    device.write(6, True)
    with pytest.raises(PinBusy):
        device.close()
    assert not factory.pin(6).state
    open_gpio("gpiozero", {"pin_factory": factory}).read(6)  # is free
    device.close()


class StuckChip(SimGpioChip):
    """Line 5 can be switched on but not off."""

    def put(self, offset: int, level: bool) -> None:
        if offset == 5 and self.pins[5].driven and not level:
            raise OSError("the line is lost")
        super().put(offset, level)


def test_closing_releases_every_line_whatever_one_does_gpiod() -> None:
    chip = StuckChip()
    device = open_gpio("gpiod", {"library": chip})
    device.write(5, True)
    device.write(6, True)
    device.read(7)
    with pytest.raises(PinBusy):
        device.close()
    assert [chip.pins[line].held for line in (5, 6, 7)] == [None] * 3
    device.close()


def test_a_line_that_cannot_be_let_go_keeps_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    chip, release = SimGpioChip(), LineRequest.release
    device = open_gpio("gpiod", {"library": chip})
    device.write(5, True)
    device.write(6, True)
    requests: list[LineRequest] = []

    def first_fails(line: LineRequest) -> None:
        requests.append(line)
        if len(requests) == 1:
            raise OSError("no such device")
        release(line)

    monkeypatch.setattr(LineRequest, "release", first_fails)
    with pytest.raises(PinBusy):
        device.close()
    assert len(requests) == 2
    assert not chip.level(5)
    assert not chip.level(6)


class Coils:
    """Two pins; a write that `refuses` names fails, after its level was set if it `acts`."""

    def __init__(self, refuses: Callable[[int, bool], bool], *, acts: bool = False) -> None:
        self.levels: dict[int, bool] = {5: True, 6: True}  # as a killed process left them
        self._refuses, self._acts = refuses, acts
        self.both = False

    def write(self, pin: int, value: bool) -> None:
        refused = self._refuses(pin, value)
        if not refused or self._acts:
            self.levels[pin] = value
            self.both |= value and all(self.levels.values())
        if refused:
            raise PinBusy("lost")

    def read(self, pin: int) -> bool:
        return self.levels[pin]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("stuck", [5, 6])
def test_a_coil_whose_pin_fails_leaves_the_other_off(stuck: int) -> None:
    pins = Coils(lambda pin, _value: pin == stuck)
    with pytest.raises(PinBusy):
        PulsedFilter(pins, (5, 6), 0.01)
    assert pins.levels == {5: stuck == 5, 6: stuck == 6}


@pytest.mark.parametrize("inside", [True, False])
def test_the_pulse_ends_on_both_pins_whatever_one_does(*, inside: bool) -> None:
    failing = [False]
    pins = Coils(lambda pin, value: failing[0] and (value or pin == 5), acts=True)
    device = PulsedFilter(pins, (5, 6), 0.01)
    failing[0] = True
    with pytest.raises(PinBusy):
        device.place(inside=inside)
    assert pins.levels == {5: False, 6: False}
    assert not pins.both


@pytest.mark.parametrize("stuck", [5, 6])
def test_never_both_coils_when_one_does_not_go_off(stuck: int) -> None:
    pins = Coils(lambda pin, value: pin == stuck and not value and pins.levels[stuck])
    pins.levels = {5: False, 6: False}
    device = PulsedFilter(pins, (5, 6), 0.01)
    for inside in (True, False, True):
        try:
            device.place(inside=inside)
        except PinBusy:
            continue
    assert pins.levels[stuck]
    assert not pins.both
