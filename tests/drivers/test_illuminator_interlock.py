# SPDX-License-Identifier: Apache-2.0
"""Temperature and strobe: what no configuration and no wrong word can exceed, on every driver that has them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gpiozero.pins.mock import MockFactory, MockPWMPin
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.errors import BadOption, LibraryMissing, PinBusy
from drivers.illuminator import Interlock, LimitedLamp
from drivers.lamp_limits import (
    BACK_C,
    BLIND_CAP,
    CUT_C,
    DERATE_C,
    PWM_LIMIT,
    SWITCH_LIMIT,
    DutyLimit,
    StrobeLine,
    TemperatureLimit,
    lowered,
)
from drivers.registry import open_illuminator
from drivers.sim.gpiochip import SimGpioChip
from drivers.sim.lines import lamp_line

COLD = CUT_C - DERATE_C


class Bench:
    """A lamp whose clock, thermometer and strobe line are in the test's hand."""

    def __init__(self, limit: DutyLimit = PWM_LIMIT, *, heated: bool = False, **interlock: object) -> None:
        self.now, self.celsius = 100.0, COLD
        self.driven: list[float] = []
        if heated:
            interlock["thermometer"] = lambda: self.celsius
        self.lamp = LimitedLamp(
            self.driven.append,
            lambda: None,
            Interlock(limit, **interlock),  # type: ignore[arg-type]
            monotonic_s=lambda: self.now,
        )
        self.now += 3600.0  # cold

    @property
    def power(self) -> float:
        return self.lamp.state().power


def hot_bench() -> Bench:
    return Bench(heated=True)


def wait_until(condition: Callable[[], bool], limit_s: float = 5.0) -> bool:
    deadline = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_power_falls_with_the_heat_sinks_temperature_and_is_cut_until_it_has_cooled() -> None:
    bench = hot_bench()
    bench.lamp.set_power(1.0)
    seen = []
    for celsius in (20.0, COLD, CUT_C - DERATE_C / 2, CUT_C - 1.0, CUT_C, CUT_C - BACK_C + 0.1, COLD):
        bench.celsius = celsius
        bench.now += 0.1
        bench.lamp.check()
        seen.append(round(bench.power, 3))
    assert seen == [1.0, 1.0, 0.5, round(1 / DERATE_C, 3), 0.0, 0.0, 1.0]
    bench.celsius = CUT_C + 3.0
    bench.lamp.check()
    state = bench.lamp.state()
    assert (state.hot, state.limited, state.temperature_c) == (True, True, CUT_C + 3.0)
    assert bench.driven[-1] == 0.0
    bench.lamp.close()


@given(
    st.floats(0, 1),
    st.lists(st.one_of(st.none(), st.floats(allow_nan=True)), min_size=1),
    st.floats(20, CUT_C),
)
def test_no_temperature_and_no_setting_shines_above_the_line(
    power: float, readings: list[float | None], cut_c: float
) -> None:
    limit = TemperatureLimit(cut_c)
    for celsius in readings:
        cap = limit.cap(celsius)
        assert 0.0 <= cap <= 1.0
        if celsius is None or not math.isfinite(celsius):
            assert cap <= BLIND_CAP
        elif celsius >= CUT_C:
            assert cap == 0.0


def test_the_cut_can_only_be_lowered() -> None:
    with pytest.raises(BadOption, match="only lower"):
        TemperatureLimit(CUT_C + 1.0)
    for name, options in (
        ("gpiozero", {"pin": "GPIO18", "pin_factory": MockFactory(pin_class=MockPWMPin)}),
        ("gpiod", {"pin": "12", "library": SimGpioChip()}),
    ):
        with pytest.raises(BadOption, match="hot_c"):
            open_illuminator(name, options | {"hot_c": CUT_C + 1.0})


def test_a_thermometer_without_a_value_leaves_little(tmp_path: Path) -> None:
    file = tmp_path / "temp1_input"
    file.write_text("45000\n")
    factory = MockFactory(pin_class=MockPWMPin)
    lamp = open_illuminator(
        "gpiozero", {"pin": "GPIO18", "temperature_path": str(file), "pin_factory": factory}
    )
    lamp.set_power(0.6)
    assert (lamp.state().power, lamp.state().temperature_c) == (0.6, 45.0)
    file.write_text("no number")
    assert wait_until(lambda: lamp.state().power == BLIND_CAP)
    file.write_text("46000\n")
    assert wait_until(lambda: lamp.state().power == 0.6)
    file.unlink()
    assert wait_until(lambda: lamp.state().power == BLIND_CAP)
    lamp.close()
    factory.reset()


def test_heat_is_noticed_without_anybody_calling() -> None:
    celsius = [40.0]
    lamp = LimitedLamp(lambda _: None, lambda: None, Interlock(PWM_LIMIT, thermometer=lambda: celsius[0]))
    lamp.set_power(1.0)
    celsius[0] = CUT_C
    assert wait_until(lambda: lamp.state().power == 0.0)
    lamp.close()


def pulses(line: StrobeLine, since_s: float, seconds: float, fps: float, width_s: float) -> float:
    """Edges of a strobe -> the time after them."""
    for index in range(round(seconds * fps)):
        line.edge(True, since_s + index / fps)
        line.edge(False, since_s + index / fps + width_s)
    return since_s + seconds


def test_a_strobe_lets_full_power_through_for_ever() -> None:
    line = StrobeLine()
    bench = Bench(strobe=line)
    bench.lamp.set_power(1.0)
    bench.lamp.set_strobe(1000, 30.0)
    for _ in range(120):
        bench.now = pulses(line, bench.now, 1.0, 30.0, 0.001)
        bench.lamp.check()
    state = bench.lamp.state()
    assert (state.power, state.limited) == (1.0, False)
    assert state.duty == pytest.approx(0.03, abs=0.002)
    bench.lamp.close()


@pytest.mark.parametrize("said_us", [1, 10, 1000])
def test_a_line_that_rests_or_flashes_longer_than_was_said_counts_as_it_is(said_us: int) -> None:
    line = StrobeLine()
    bench = Bench(strobe=line)
    bench.lamp.set_power(1.0)
    bench.lamp.set_strobe(said_us, 30.0)
    assert bench.lamp.state().duty == 1.0  # nothing has moved yet
    for _ in range(120):  # 25 ms of 33: the camera exposes longer than it was told
        bench.now = pulses(line, bench.now, 1.0, 30.0, 0.025)
        bench.lamp.check()
    assert bench.lamp.state().duty == pytest.approx(0.75, abs=0.02)
    assert bench.power == pytest.approx(PWM_LIMIT.sustained / 0.75, abs=0.02)
    bench.now += 5.0  # the line is torn off
    bench.lamp.check()
    assert bench.lamp.state().duty == 1.0
    assert bench.power == PWM_LIMIT.sustained
    bench.lamp.close()


@pytest.mark.parametrize(
    ("said_us", "fps"), [(0, 30.0), (-5, 30.0), (1000, math.nan), (1000, 0.0), (1000, math.inf)]
)
def test_what_makes_no_sense_counts_as_always_on(said_us: int, fps: float) -> None:
    line = StrobeLine()
    bench = Bench(strobe=line)
    bench.now = pulses(line, bench.now, 1.0, 30.0, 0.001)
    bench.lamp.set_strobe(said_us, fps)
    assert bench.lamp.state().duty == 1.0
    bench.lamp.close()


def test_a_line_that_stays_high_is_always_on() -> None:
    line = StrobeLine()
    now = pulses(line, 0.0, 1.0, 30.0, 0.001)
    line.edge(True, now)
    assert line.duty(now + 0.5) > 0.5
    assert line.duty(now + 2.0) == 1.0


def test_without_a_strobe_line_what_is_said_of_it_does_not_count() -> None:
    bench = Bench()
    bench.lamp.set_power(1.0)
    bench.lamp.set_strobe(10, 1.0)
    bench.now += PWM_LIMIT.burst_s
    bench.lamp.check()
    assert bench.power == PWM_LIMIT.sustained
    bench.lamp.close()


def test_the_edges_of_a_real_pin_are_counted_gpiozero() -> None:
    factory = MockFactory(pin_class=MockPWMPin)
    options = {"pin": "GPIO18", "strobe_pin": "GPIO25", "pin_factory": factory}
    lamp = open_illuminator("gpiozero", options)
    lamp.set_power(0.5)
    lamp.set_strobe(100, 30.0)
    assert lamp.state().duty == 1.0
    for _ in range(5):
        factory.pin(25).drive_high()
        time.sleep(0.005)
        factory.pin(25).drive_low()
    lamp.set_power(0.5)
    assert 0.02 < lamp.state().duty < 0.5
    lamp.close()
    factory.reset()


def test_the_edges_of_a_real_pin_are_counted_gpiod() -> None:
    chip = SimGpioChip(names={"LAMP": 7})
    lamp = open_illuminator("gpiod", {"pin": "LAMP", "strobe_pin": "9", "library": chip})
    lamp.set_power(1.0)
    lamp.set_strobe(100, 30.0)
    assert chip.level(7)
    for _ in range(5):
        chip.drive(9, True)
        time.sleep(0.005)
        chip.drive(9, False)

    def counted() -> bool:
        lamp.set_power(1.0)
        return lamp.state().duty < 0.5

    assert wait_until(counted, 0.8)
    lamp.close()
    assert not chip.level(7)
    assert chip.pins[7].held is None
    assert chip.pins[9].held is None


def test_gpiod_lines_are_busy_unknown_or_active_low() -> None:
    chip = SimGpioChip()
    first = open_illuminator("gpiod", {"pin": "12", "active_high": False, "library": chip})
    assert chip.level(12)  # dark
    first.set_power(1.0)
    assert not chip.level(12)
    with pytest.raises(PinBusy, match="busy"):
        open_illuminator("gpiod", {"pin": "12", "library": chip})
    with pytest.raises(PinBusy):
        open_illuminator("gpiod", {"pin": "nothing", "library": chip})
    with pytest.raises(PinBusy):
        open_illuminator("gpiod", {"pin": "13", "strobe_pin": "12", "library": chip})
    assert chip.pins[13].held is None  # what was had is given back
    with pytest.raises(PinBusy, match="No such file"):
        open_illuminator("gpiod", {"pin": "1", "chip": "/dev/gpiochip9", "library": chip})
    first.close()


def test_gpiod_that_is_not_installed_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gpiod", None)
    with pytest.raises(LibraryMissing, match="pip install"):
        open_illuminator("gpiod", {"pin": "12"})


def test_the_chip_in_memory_has_the_names_of_the_real_library() -> None:
    gpiod = pytest.importorskip(
        "gpiod", reason="the library is optional; its interface is compared where it is"
    )
    chip = SimGpioChip()
    for kind in ("Direction", "Value", "Bias", "Edge"):
        ours, theirs = getattr(chip.line, kind), getattr(gpiod.line, kind)
        assert {member.name for member in ours} <= {member.name for member in theirs}
    assert {event.name for event in chip.EdgeEvent.Type} == {event.name for event in gpiod.EdgeEvent.Type}
    settings = gpiod.LineSettings(
        direction=gpiod.line.Direction.OUTPUT, active_low=True, output_value=gpiod.line.Value.INACTIVE
    )
    assert {*vars(chip.LineSettings())} <= {*vars(settings)}
    for name in ("set_value", "get_value", "wait_edge_events", "read_edge_events", "release"):
        assert callable(getattr(gpiod.LineRequest, name))
    assert gpiod.line.Value(1) is gpiod.line.Value.ACTIVE
    with pytest.raises(PinBusy):
        open_illuminator("gpiod", {"pin": "1", "chip": "/dev/null"})


@pytest.mark.parametrize(("fault", "light"), [(".", 0.6), ("x", 0.0), ("d", 0.06), ("s", 1.0), ("h", 0.0)])
def test_the_simulated_lamp_fails_by_script(fault: str, light: float) -> None:
    name, now = f"lamp-faults-{fault}", [0.0]
    options = {"world": name, "faults": f".{fault}.", "monotonic_s": lambda: now[0]}
    lamp = open_illuminator("sim", options)
    seen = []
    for now[0] in (0.5, 1.5, 2.5):
        lamp.set_power(0.6)
        seen.append(lamp_line(name).power)
    assert seen == [0.6, pytest.approx(light), 0.6]
    lamp.close()
    assert lamp_line(name).power is None


def test_a_busy_simulated_pin_is_free_again_after_a_while() -> None:
    now = [0.0]
    options = {"world": "lamp-busy", "faults": "b", "monotonic_s": lambda: now[0]}
    with pytest.raises(PinBusy):
        open_illuminator("sim", options)
    now[0] = 1.0
    open_illuminator("sim", options).close()


def test_the_simulated_strobe_flashes_with_the_exposure() -> None:
    lamp = open_illuminator("sim", {"world": "lamp-strobe", "strobe": True, "kind": "switch"})
    lamp.set_power(1.0)
    lamp.set_strobe(1000, 30.0)
    assert lamp_line("lamp-strobe").pulse_us == 1000.0
    assert lamp.state().duty == pytest.approx(0.03)
    assert not lamp.state().dimmable
    lamp.close()
    assert lamp_line("lamp-strobe").pulse_us is None


def test_a_switched_lamp_is_never_dimmed() -> None:
    bench = Bench(SWITCH_LIMIT, switched=True, heated=True)
    bench.lamp.set_power(0.7)
    for celsius in (COLD, CUT_C - DERATE_C * 0.7, CUT_C - DERATE_C * 0.4):
        bench.celsius = celsius
        bench.lamp.check()
    assert set(bench.driven) == {0.0, 1.0}
    assert bench.driven[-1] == 0.0
    bench.lamp.close()


@settings(max_examples=60, deadline=None)
@given(
    sustained=st.one_of(st.none(), st.floats(0.05, 0.6)),
    cut_c=st.floats(30.0, CUT_C),
    strobed=st.booleans(),
    steps=st.lists(
        st.tuples(
            st.floats(0.0, 1.0),  # asked for
            st.integers(0, 60_000),  # microseconds of exposure that the eye says, true or not
            st.sampled_from([0.01, 0.1, 0.5, 0.9]),  # what the line really does
            st.sampled_from([20.0, 60.0, 80.0, 90.0, None]),
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_no_setting_no_word_and_no_line_overheats_the_lamp(
    sustained: float | None,
    cut_c: float,
    strobed: bool,
    steps: list[tuple[float, int, float, float | None]],
) -> None:
    line = StrobeLine() if strobed else None
    limit = lowered(PWM_LIMIT, sustained)
    bench = Bench(limit, heated=True, cut_c=cut_c, strobe=line)
    heat = 0.0
    for asked, said_us, really, celsius in steps:
        bench.celsius = celsius  # type: ignore[assignment]
        for _ in range(30):  # a minute each, looked at every other second, as the timer does each second
            bench.lamp.set_strobe(said_us, 15.0)
            bench.lamp.set_power(asked)
            if celsius is not None and celsius >= CUT_C:
                assert bench.power == 0.0
            duty = really if line is not None else 1.0
            heat = max(0.0, heat + (bench.power * duty - PWM_LIMIT.sustained) * 2.0)
            assert heat <= PWM_LIMIT.cap + 2.5  # two seconds of not knowing better
            if line is not None:
                pulses(line, bench.now, 2.0, 15.0, really / 15.0)
            bench.now += 2.0
    bench.lamp.close()
