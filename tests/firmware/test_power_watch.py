# SPDX-License-Identifier: Apache-2.0
"""Sensors to ladder to what is given up, in a closed loop with the simulated board: giving up load helps it."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from drivers.registry import open_power
from drivers.sim.lines import lamp_line
from drivers.sim.power import SimPower
from firmware.health import Condition
from firmware.ladder import Ladder, Rung
from firmware.power_watch import LOOK_S, PowerWatch, request_poweroff

HOUR_S = 3600.0
WORLD = "power-watch-test"


class Pole:
    """A unit whose load follows its ladder, if it has a hold on it."""

    def __init__(self, *, hold: bool = True, **options: object) -> None:
        self.now_s = 0.0
        self.hold = hold
        lamp_line(WORLD).power = 0.0
        power = open_power("sim", {**options, "world": WORLD, "now_s": lambda: self.now_s})
        assert isinstance(power, SimPower)
        self.power = power
        self.watch = PowerWatch(power, Ladder(), monotonic_s=lambda: self.now_s)
        self.hottest_c = self.cutoffs = 0.0

    def run(self, seconds: float, *, night: bool = False, until_empty: bool = False) -> None:
        end = self.now_s + seconds
        while self.now_s < end and not (until_empty and self.watch.empty):
            self.now_s += LOOK_S
            self.watch.poll()
            budget = self.watch.budget
            if self.hold:
                self.power.load = budget.frame_share * (1.0 if budget.scenes else 0.8)
            lamp_line(WORLD).power = float(night and (budget.ir or not self.hold))
            assert self.watch.reading is not None
            self.hottest_c = max(self.hottest_c, self.watch.reading.temperature_c or 0.0)


def test_a_hot_noon_costs_pictures_and_frames_and_keeps_the_board_from_throttling() -> None:
    options = {"ambient_c": 45.0, "sun_heat_w": 5.0, "swing_c": 8.0, "start_hour": 6.0}
    left, held = Pole(hold=False, **options), Pole(**options)
    left.run(12 * HOUR_S)
    held.run(12 * HOUR_S)
    assert left.hottest_c > 85.0
    assert held.hottest_c < 82.0
    assert {"given up: scene pictures", "given up: half of the frames"} <= set(held.watch.given_up())
    held.run(8 * HOUR_S)  # in the evening all of it is back
    assert held.watch.rung is Rung.FULL
    assert held.watch.findings()[0].condition is Condition.OK


def test_a_battery_lasts_longer_with_a_ladder() -> None:
    options = {"battery_v": 12.6, "battery_wh": 300.0, "lamp_w": 8.0, "start_hour": 18.0}
    left, held = Pole(hold=False, **options), Pole(**options)
    for pole in (left, held):
        pole.run(72 * HOUR_S, night=True, until_empty=True)
        assert pole.watch.empty
        assert pole.power.charge > 0.1  # the end is orderly: something is left for it
    assert held.now_s > 1.15 * left.now_s


def test_a_lamp_that_pulls_the_supply_down_is_given_up_and_tried_again_late() -> None:
    pole = Pole(lamp_w=12.0, cable_ohm=0.15)
    pole.run(3 * HOUR_S, night=True)
    assert pole.watch.given_up()["given up: infrared light"] <= 3 * HOUR_S / 900.0
    assert pole.watch.findings()[0].code == "undervoltage"


def test_a_fresh_watch_has_not_looked_yet() -> None:
    pole = Pole()
    assert pole.watch.reading is None
    assert pole.watch.rung is Rung.FULL
    assert pole.watch.status()["given_up"] == "nothing given up"


def test_it_looks_at_its_own_pace() -> None:
    power = open_power("sim", {})
    assert isinstance(power, SimPower)
    now = [0.0]
    watch = PowerWatch(power, Ladder(), monotonic_s=lambda: now[0])
    for _ in range(10):
        watch.poll()
        now[0] += LOOK_S / 4
    assert power._count == 3


def test_sensors_that_cannot_be_read_are_told() -> None:
    now = [0.0]
    power = open_power("sim", {"faults": "x" * 30})
    watch = PowerWatch(power, Ladder(), monotonic_s=lambda: now[0])
    for _ in range(20):
        watch.poll()
        now[0] += LOOK_S
    assert watch.findings()[0].code == "unreadable"
    assert watch.status()["temperature_c"] is None


def test_a_change_of_rung_is_logged_with_its_reason() -> None:
    now = [0.0]
    power = open_power("sim", {"faults": "h" * 10})
    watch = PowerWatch(power, Ladder(), monotonic_s=lambda: now[0])
    with capture_logs() as logs:
        for _ in range(10):
            watch.poll()
            now[0] += LOOK_S
    (change,) = [line for line in logs if line["event"] == "power_rung"]
    assert (change["rung"], change["temperature_c"]) == ("given up: infrared light", 88.0)
    assert watch.given_up() == {
        "given up: scene pictures": 1,
        "given up: half of the frames": 1,
        "given up: infrared light": 1,
    }


def test_the_status_is_numbers_and_words() -> None:
    pole = Pole(battery_v=12.6)
    pole.run(10.0)
    status = pole.watch.status()
    assert status["given_up"] == "nothing given up"
    assert status["battery_v"] == pytest.approx(12.6, abs=0.01)
    assert status["unreadable"] == []
    assert status["undervoltage_since_boot"] is False


def test_the_request_to_switch_off_is_a_file_for_the_system(tmp_path: Path) -> None:
    with capture_logs() as logs:
        request_poweroff(tmp_path)
    assert (tmp_path / "poweroff-request").read_text() == "the battery is empty\n"
    assert [line["event"] for line in logs] == ["poweroff_requested"]


def test_the_units_look_for_the_file_that_is_written() -> None:
    units = Path(__file__).parents[2] / "firmware/systemd"
    assert "PathExists=/var/lib/wayside/run/poweroff-request" in (units / "wayside-poweroff.path").read_text()
    service = (units / "wayside-poweroff.service").read_text()
    assert "ExecStartPre=/bin/rm -f /var/lib/wayside/run/poweroff-request" in service
    assert "ExecStart=/bin/systemctl poweroff" in service
