# SPDX-License-Identifier: Apache-2.0
"""The lamp's failures, found in the picture of a closed loop: it goes dark for a moment now and then."""

from __future__ import annotations

import pytest

from drivers.types import IlluminatorState
from firmware.exposure_settings import ExposureSettings
from firmware.health import Condition
from firmware.lamp_check import ADVICE, LampCheck
from tests.firmware.light_loops import FlatLoop

DARK = 1e-8  # light of a night without a moon, per microsecond
STREET = 4e-6  # ... under street lamps
LAMP = 2e-5
SETTINGS = ExposureSettings(probe_s=10.0, scene_every=10)
PROBED_S = 4 * (10.0 + 2.0)  # four probes


def loop(ambient: float = DARK, lamp: float = LAMP, delay: int = 2) -> FlatLoop:
    return FlatLoop(ambient, lamp, delay=delay, settings=SETTINGS)


@pytest.mark.parametrize("delay", [0, 1, 3])
@pytest.mark.parametrize(
    ("ambient", "lamp"), [(DARK, 3e-7), (DARK, LAMP), (DARK, 5e-4), (STREET, LAMP), (STREET, 5e-4)]
)
def test_a_sound_lamp_is_sound_whatever_it_lights(ambient: float, lamp: float, delay: int) -> None:
    road = loop(ambient, lamp, delay)
    road.run(4 * PROBED_S)
    assert road.codes == [""]
    probed = [command for command in road.commands if command.probe]
    assert len(probed) >= 8
    assert len([c for c in road.commands if c.night and not c.lamp_power]) / len(road.commands) < 0.06


@pytest.mark.parametrize("ambient", [DARK, STREET])
def test_a_lamp_that_dies_is_dead_until_it_shines_again(ambient: float) -> None:
    road = loop(ambient)
    road.run(PROBED_S)
    road.shines = lambda _power: 0.0
    road.run(PROBED_S)
    assert road.codes == ["", "dead"]
    assert road.findings[-1].condition is Condition.FAILED
    road.shines = lambda power: power
    road.run(PROBED_S)
    assert road.codes == ["", "dead", ""]


def test_at_two_frames_a_second_it_is_still_found() -> None:
    road = FlatLoop(DARK, LAMP, settings=SETTINGS, fps=2.0)
    road.run(3 * PROBED_S)
    assert road.codes == [""]
    road.shines = lambda _power: 0.0
    road.run(3 * PROBED_S)
    assert road.codes == ["", "dead"]


def test_a_lamp_that_never_shone_is_dead_too() -> None:
    road = loop()
    road.shines = lambda _power: 0.0
    road.run(1.5 * PROBED_S)
    assert road.codes == ["", "dead"]


def test_a_lamp_that_lost_nine_tenths_of_its_light_is_dim() -> None:
    road = loop()
    road.run(PROBED_S)
    road.shines = lambda power: power * 0.1
    road.run(PROBED_S)
    assert road.codes == ["", "dim"]
    road.shines = lambda power: power
    road.run(PROBED_S)
    assert road.codes[-1] == ""


def test_half_of_its_light_may_be_a_wet_road() -> None:
    road = loop()
    road.run(PROBED_S)
    road.shines = lambda power: power * 0.45
    road.run(2 * PROBED_S)
    assert road.codes == [""]


def test_a_lamp_that_cannot_be_switched_off_is_stuck() -> None:
    road = loop()
    road.run(PROBED_S)
    road.shines = lambda _power: 0.6
    road.run(PROBED_S)
    assert road.codes == ["", "stuck_on"]


def test_by_day_nothing_is_said_of_the_lamp() -> None:
    road = FlatLoop(2e-4, LAMP, settings=SETTINGS)
    road.shines = lambda _power: 0.0
    road.run(2 * PROBED_S)
    assert road.codes == [""]


def test_the_interlocks_word_lasts_before_it_is_told() -> None:
    road = loop()
    road.run(20.0)
    road.state = lambda power: IlluminatorState(min(power, 0.05), power, limited=power > 0.05)
    road.run(20.0)
    assert road.codes == [""]
    check, command = LampCheck(), road.commands[-1]
    held = IlluminatorState(0.2, 0.6, limited=True)
    free = IlluminatorState(0.6, 0.6, limited=False)
    hot = IlluminatorState(0.0, 0.6, limited=True, hot=True)

    def see(state: IlluminatorState, at_s: float) -> str:
        return check.see(command, state, round(at_s * 1e9)).code

    assert [see(held, t) for t in (0, 20, 31)] == ["", "", "limited"]
    assert [see(free, t) for t in (40, 90, 101)] == ["limited", "limited", ""]
    assert [see(hot, t) for t in (110, 111, 113)] == ["", "", "hot"]
    assert see(free, 120) == "hot"
    assert see(free, 181) == ""


def test_a_busy_pin_and_a_pole_without_a_lamp() -> None:
    check, command = LampCheck(), loop().step()
    busy = check.see(command, None, 0, busy=True)
    assert (busy.part, busy.condition, busy.code) == ("lamp", Condition.FAILED, "busy")
    assert check.see(command, None, 0).condition is Condition.ABSENT


def test_every_advice_is_a_sentence() -> None:
    assert set(ADVICE) == {"busy", "hot", "dead", "dim", "stuck_on", "limited"}
    assert all(20 < len(advice) < 120 and advice[0].isupper() for advice in ADVICE.values())
