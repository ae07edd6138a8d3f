# SPDX-License-Identifier: Apache-2.0
"""One contract for every buzzer and lamp: simulated, and on gpiozero's mock pins."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin

from drivers.errors import BadOption, PinBusy
from drivers.ports import AlertOutput
from drivers.registry import open_alert
from drivers.sim.alert import SimAlertOutput
from drivers.sim.gpiochip import SimGpioChip

PINS = {"buzzer_pin": "GPIO23", "lamp_pin": "GPIO24", "button_pin": "GPIO25"}


@dataclass
class Bench:
    """An output with what a meter shows at it: buzzer and lamp; `press` holds its button."""

    output: AlertOutput
    shows: Callable[[], tuple[bool, bool]]
    press: Callable[[bool], None]


def _on_pins(factory: MockFactory, **options: object) -> Bench:
    output = open_alert("gpiozero", {**PINS, "pin_factory": factory, **options})
    driven = not options.get("active_high", True)

    def press(held: bool) -> None:
        factory.pin(25).drive_low() if held else factory.pin(25).drive_high()

    def shows() -> tuple[bool, bool]:
        def on(pin: int) -> bool:
            return factory.pin(pin).function == "output" and bool(factory.pin(pin).state) is not driven

        return on(23), on(24)

    return Bench(output, shows, press)


def _on_lines(chip: SimGpioChip, *, active_high: bool = True) -> Bench:
    pins = {name: pin.removeprefix("GPIO") for name, pin in PINS.items()}
    output = open_alert("gpiod", {**pins, "active_high": active_high, "library": chip})

    def shows() -> tuple[bool, bool]:
        def on(line: int) -> bool:
            held = chip.pins[line].held
            return held is not None and chip.level(line) is active_high

        return on(23), on(24)

    return Bench(output, shows, lambda held: chip.drive(25, not held))


@pytest.fixture
def factory() -> Iterator[MockFactory]:
    made = MockFactory(pin_class=MockPWMPin)
    yield made
    made.reset()


@pytest.fixture(params=["sim", "buzzer", "piezo", "active-low", "gpiod", "gpiod-active-low"])
def bench(request: pytest.FixtureRequest, factory: MockFactory) -> Iterator[Bench]:
    if request.param == "sim":
        sim = open_alert("sim", {})
        assert isinstance(sim, SimAlertOutput)
        made = Bench(sim, lambda: (sim.buzzer, sim.lamp), lambda held: setattr(sim, "button", held))
    elif request.param.startswith("gpiod"):
        made = _on_lines(SimGpioChip(), active_high=request.param == "gpiod")
    else:
        options = {"buzzer": {}, "piezo": {"tone_hz": 2700}, "active-low": {"active_high": False}}
        made = _on_pins(factory, **options[request.param])
    yield made
    made.output.close()


def test_it_is_silent_and_dark_after_opening(bench: Bench) -> None:
    assert isinstance(bench.output, AlertOutput)
    assert bench.shows() == (False, False)


@pytest.mark.parametrize("levels", [(True, True), (True, False), (False, True), (False, False)])
def test_each_is_switched_by_itself(bench: Bench, levels: tuple[bool, bool]) -> None:
    bench.output.drive(buzzer=not levels[0], lamp=not levels[1])
    bench.output.drive(buzzer=levels[0], lamp=levels[1])
    assert bench.shows() == levels


def test_the_button(bench: Bench) -> None:
    assert not bench.output.pressed()
    bench.press(True)
    assert bench.output.pressed()
    bench.press(False)
    assert not bench.output.pressed()


def test_closing_is_silent_dark_and_final(bench: Bench) -> None:
    bench.output.drive(buzzer=True, lamp=True)
    bench.output.close()
    bench.output.close()
    assert bench.shows() == (False, False)
    with pytest.raises(PinBusy):
        bench.output.drive(buzzer=True, lamp=True)
    with pytest.raises(PinBusy):
        bench.output.pressed()
    assert bench.shows() == (False, False)


def test_a_piezo_sounds_at_its_frequency(factory: MockFactory) -> None:
    bench = _on_pins(factory, tone_hz=2700)
    bench.output.drive(buzzer=True, lamp=False)
    assert factory.pin(23).frequency == 2700
    assert factory.pin(23).state == 0.5
    bench.output.close()


def test_a_pin_in_use_is_busy_and_no_other_pin_is_kept(factory: MockFactory) -> None:
    first = open_alert("gpiozero", {"buzzer_pin": "GPIO23", "pin_factory": factory})
    with pytest.raises(PinBusy, match="cannot be claimed"):
        open_alert("gpiozero", {**PINS, "pin_factory": factory})
    second = open_alert("gpiozero", {"lamp_pin": "GPIO24", "pin_factory": factory})
    for output in (first, second):
        output.close()


class LgpioError(Exception):
    """As lgpio's: an Exception, and nothing more particular."""


@pytest.fixture
def lgpio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lgpio", SimpleNamespace(error=LgpioError))  # type: ignore[arg-type]


def test_a_pin_that_another_process_holds_is_busy(lgpio: None) -> None:
    """On a board gpiozero lets lgpio's own error through."""

    class HeldPin(MockPWMPin):
        def __init__(self, factory: object, info: object) -> None:
            raise LgpioError("GPIO busy")

    with pytest.raises(PinBusy, match="GPIO busy"):
        open_alert("gpiozero", {"buzzer_pin": "GPIO23", "pin_factory": MockFactory(pin_class=HeldPin)})


def test_a_pin_that_is_lost_in_use_is_busy(lgpio: None, factory: MockFactory) -> None:
    class LostPin(MockPWMPin):
        def _set_state(self, value: float) -> None:
            if value:
                raise LgpioError("unknown handle")
            super()._set_state(value)

    output = open_alert("gpiozero", {"lamp_pin": "GPIO24", "pin_factory": MockFactory(pin_class=LostPin)})
    with pytest.raises(PinBusy, match="lost"):
        output.drive(buzzer=False, lamp=True)
    output.close()


def test_lost_pins_that_cannot_be_released_either_are_closed_all_the_same(
    lgpio: None, factory: MockFactory
) -> None:
    class LostPin(MockPWMPin):
        lost = True

        def close(self) -> None:
            if self.lost:
                LostPin.lost = False
                raise LgpioError("unknown handle")
            super().close()

    output = open_alert("gpiozero", {"lamp_pin": "GPIO24", "pin_factory": MockFactory(pin_class=LostPin)})
    output.close()
    with pytest.raises(PinBusy, match="closed"):
        output.drive(buzzer=False, lamp=True)


def test_a_lamp_alone_and_a_buzzer_alone(factory: MockFactory) -> None:
    for what, pin in (("lamp_pin", 24), ("buzzer_pin", 23)):
        output = open_alert("gpiozero", {what: f"GPIO{pin}", "pin_factory": factory})
        output.drive(buzzer=True, lamp=True)
        assert factory.pin(pin).state == 1
        assert not output.pressed()
        output.close()


def test_lines_in_use_are_busy_and_no_other_line_is_kept() -> None:
    chip = SimGpioChip(names={"HORN": 5})
    first = open_alert("gpiod", {"buzzer_pin": "HORN", "library": chip})
    with pytest.raises(PinBusy):
        open_alert("gpiod", {"lamp_pin": "6", "button_pin": "5", "library": chip})
    second = open_alert("gpiod", {"lamp_pin": "6", "library": chip})
    second.drive(buzzer=True, lamp=True)
    assert chip.level(6)
    assert not second.pressed()
    for output in (first, second):
        output.close()


@pytest.mark.parametrize("name", ["gpiozero", "gpiod"])
def test_no_pin_is_no_output(factory: MockFactory, name: str) -> None:
    given = {"pin_factory": factory} if name == "gpiozero" else {"library": SimGpioChip()}
    with pytest.raises(BadOption, match="'buzzer_pin' or 'lamp_pin'"):
        open_alert(name, given)


def test_a_unit_without_outputs() -> None:
    output = open_alert("none", {})
    output.drive(buzzer=True, lamp=True)
    assert not output.pressed()
    output.close()


def test_scripted_faults() -> None:
    output = open_alert("sim", {"faults": ".b."})
    output.drive(buzzer=True, lamp=True)
    with pytest.raises(PinBusy):
        output.drive(buzzer=False, lamp=False)
    output.drive(buzzer=False, lamp=False)


@pytest.mark.parametrize("ending", ["", "raise SystemError('a crash')", "import sys; sys.exit(3)"])
def test_it_is_off_when_the_process_ends(ending: str) -> None:
    script = f"""
import atexit
from gpiozero.pins.mock import MockFactory, MockPWMPin
from drivers.registry import open_alert
factory = MockFactory(pin_class=MockPWMPin)
pins = [factory.pin(23), factory.pin(24)]
atexit.register(lambda: print([[bool(s.state) for s in pin.states if s.state is not None][-1] for pin in pins]))
output = open_alert("gpiozero", {{"buzzer_pin": "GPIO23", "lamp_pin": "GPIO24", "pin_factory": factory}})
output.drive(buzzer=True, lamp=True)
print([bool(pin.state) for pin in pins])
{ending}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["[True, True]", "[False, False]"]
