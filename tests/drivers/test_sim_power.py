# SPDX-License-Identifier: Apache-2.0
"""The simulated board heats, cools, drains and charges as its formulas say, on a clock of the test."""

from __future__ import annotations

import math

import pytest

from drivers.errors import BadOption, PowerUnreadable
from drivers.registry import open_power
from drivers.sim.lines import lamp_line
from drivers.sim.power import SimPower

HOUR_S = 3600.0


class Bench:
    def __init__(self, **options: object) -> None:
        self.now_s = 500.0
        power = open_power("sim", {**options, "now_s": lambda: self.now_s})
        assert isinstance(power, SimPower)
        self.power = power

    def after(self, seconds: float) -> SimPower:
        self.now_s += seconds
        self.power.reading()
        return self.power

    def celsius(self, seconds: float = 0.0) -> float:
        self.now_s += seconds
        value = self.power.reading().temperature_c
        assert value is not None
        return value

    def volts(self, seconds: float = 0.0) -> float:
        self.now_s += seconds
        value = self.power.reading().battery_v
        assert value is not None
        return value


# --- heat ------------------------------------------------------------------------------------------


def test_it_starts_where_its_load_would_settle() -> None:
    bench = Bench(ambient_c=25.0, idle_w=4.0, work_w=6.0, cooling_c_per_w=2.6)
    assert bench.celsius() == 51.0
    assert bench.celsius(HOUR_S) == 51.0


def test_it_comes_to_its_end_as_an_exponential() -> None:
    bench = Bench(
        ambient_c=20.0, idle_w=5.0, work_w=5.0, cooling_c_per_w=3.0, cooling_s=300.0, temperature_c=20.0
    )
    end = 20.0 + 3.0 * 10.0
    for minutes in range(1, 30):
        expected = end + (20.0 - end) * math.exp(-60.0 * minutes / 300.0)
        assert bench.celsius(60.0) == pytest.approx(expected, abs=0.02)


def test_less_load_is_cooler_and_a_day_has_its_heat() -> None:
    bench = Bench(ambient_c=20.0, swing_c=10.0, sun_heat_w=8.0, start_hour=0.0, cooling_s=60.0)
    by_hour = [bench.celsius(HOUR_S) for _ in range(24)]
    assert by_hour.index(max(by_hour)) + 1 in {12, 13, 14}
    assert by_hour.index(min(by_hour)) + 1 in {3, 4, 5}
    bench.power.load = 0.0
    assert [bench.celsius(HOUR_S) for _ in range(24)] == pytest.approx(
        [was - 6.0 * 2.6 for was in by_hour], abs=0.05
    )


def test_a_hot_board_slows_itself_down() -> None:
    bench = Bench(ambient_c=60.0, temperature_c=60.0, throttle_c=85.0)
    celsius = [bench.celsius(60.0) for _ in range(120)]
    assert 84.9 < max(celsius) < 85.5  # 86 if it went on with all of its work
    assert min(celsius[60:]) > 82.0
    assert bench.power.reading().throttled_since_boot


# --- battery ---------------------------------------------------------------------------------------


def test_a_battery_drains_by_what_is_drawn() -> None:
    bench = Bench(battery_v=12.6, battery_wh=480.0, idle_w=4.0, work_w=6.0)
    before = bench.power.charge
    bench.after(10 * HOUR_S)
    assert before - bench.power.charge == pytest.approx(10.0 * 10.0 / 480.0, rel=0.01)
    volts = [bench.volts(HOUR_S) for _ in range(40)]
    assert volts == sorted(volts, reverse=True)
    assert volts[-1] < 11.6
    assert bench.power.charge == 0.0


def test_what_it_starts_with_is_what_a_meter_shows() -> None:
    for volts in (11.8, 12.2, 12.6):
        assert Bench(battery_v=volts).volts() == pytest.approx(volts, abs=0.002)


def test_a_panel_charges_by_day_and_not_by_night() -> None:
    bench = Bench(battery_v=12.2, battery_wh=960.0, panel_w=100.0, start_hour=6.0)
    morning = bench.power.charge
    assert bench.after(12 * HOUR_S).charge > morning + 0.2
    evening = bench.power.charge
    assert bench.after(12 * HOUR_S).charge == pytest.approx(evening - 12 * 10.0 / 960.0, rel=0.02)


def test_current_flows_in_by_day_and_out_by_night() -> None:
    bench = Bench(battery_v=12.2, panel_w=100.0, start_hour=12.0)
    noon = bench.power.reading().battery_a
    night = bench.after(12 * HOUR_S).reading().battery_a
    assert noon is not None
    assert night is not None
    assert noon > 1.0
    assert night == pytest.approx(-10.0 / 12.3, abs=0.05)


def test_a_full_battery_takes_no_more() -> None:
    bench = Bench(battery_v=12.8, panel_w=500.0, start_hour=12.0)
    bench.after(5 * HOUR_S)
    assert bench.power.charge == 1.0


# --- supply ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ohm", "under"), [(0.05, False), (0.2, False), (0.3, True)])
def test_a_long_cable_drops_the_supply(ohm: float, *, under: bool) -> None:
    reading = Bench(cable_ohm=ohm).power.reading()
    assert reading.supply_v == pytest.approx(5.1 - ohm * 10.0 / 5.1, abs=0.01)
    assert reading.undervoltage is under


def test_the_lamp_of_its_world_draws_too() -> None:
    bench = Bench(world="power-test", lamp_w=10.0, cable_ohm=0.15)
    lamp_line("power-test").power = 0.0
    assert bench.power.reading().undervoltage is False
    lamp_line("power-test").power = 1.0
    assert bench.power.reading().undervoltage is True
    lamp_line("power-test").power = None
    after = bench.power.reading()
    assert (after.undervoltage, after.undervoltage_since_boot) == (False, True)


def test_a_lamp_that_flashes_draws_its_mean() -> None:
    bench = Bench(world="flash-test", lamp_w=10.0)
    line = lamp_line("flash-test")
    line.power, line.pulse_us, line.rate_hz = 1.0, 1000.0, 100.0
    bench.power.reading()
    assert bench.power.reading().supply_w == pytest.approx(11.0)
    line.rate_hz = 10_000.0
    assert bench.power.reading().supply_w == pytest.approx(20.0)


def test_an_empty_battery_ends_the_supply() -> None:
    bench = Bench(battery_v=11.7, battery_wh=20.0)
    assert bench.after(20 * HOUR_S).reading().undervoltage is True


# --- faults, clock, options ------------------------------------------------------------------------


def test_scripted_faults() -> None:
    power = open_power("sim", {"faults": ".hultx", "battery_v": 12.6})
    well, hot, under, low, slow = [power.reading() for _ in range(5)]
    assert (well.temperature_c, well.undervoltage, well.throttled) == (51.0, False, False)
    assert well.battery_v == pytest.approx(12.6, abs=0.002)
    assert (hot.temperature_c, hot.throttled) == (88.0, True)
    assert under.undervoltage
    assert low.battery_v == 10.9
    assert (slow.throttled, slow.temperature_c) == (True, 51.0)
    with pytest.raises(PowerUnreadable):
        power.reading()
    after = power.reading()
    assert (after.throttled, after.throttled_since_boot, after.undervoltage_since_boot) == (False, True, True)


def test_the_same_clock_gives_the_same_days() -> None:
    def days(step_s: float) -> list[tuple[float | None, float | None]]:
        bench = Bench(battery_v=12.4, panel_w=60.0, swing_c=8.0, sun_heat_w=5.0)
        out = []
        for _ in range(int(48 * HOUR_S / step_s)):
            bench.now_s += step_s
            reading = bench.power.reading()
            out.append((reading.temperature_c, reading.battery_v))
        return out

    assert days(600.0) == days(600.0)
    # asked more often, the model says nearly the same
    often, seldom = days(60.0)[-1], days(600.0)[-1]
    assert often == pytest.approx(seldom, abs=0.1)


def test_a_faster_clock() -> None:
    slow, fast = Bench(temperature_c=20.0), Bench(temperature_c=20.0, speed=60.0)
    assert fast.celsius(10.0) == slow.celsius(600.0)


def test_no_battery_no_volts() -> None:
    reading = Bench().power.reading()
    assert (reading.battery_v, reading.battery_a) == (None, None)


def test_time_that_stands_still_or_goes_back_changes_nothing() -> None:
    bench = Bench(temperature_c=30.0)
    before = bench.celsius(60.0)
    assert bench.celsius(-30.0) == before


@pytest.mark.parametrize(
    "options", [{"load": 1.5}, {"cooling_s": 0.0}, {"battery_wh": 0.0}, {"faults": "q"}, {"x": 1}]
)
def test_options_have_bounds(options: dict[str, object]) -> None:
    with pytest.raises(BadOption):
        open_power("sim", options)
