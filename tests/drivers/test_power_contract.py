# SPDX-License-Identifier: Apache-2.0
"""One contract for every board and battery: simulated, the files of a Pi and of a Jetson, a charger on a pty."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from drivers.errors import BadOption, PowerUnreadable
from drivers.ports import Power
from drivers.power_vedirect import RETRY_S
from drivers.registry import open_power
from drivers.sim.charger import PtyCharger
from drivers.types import PowerReading

THROTTLED = "devices/platform/soc/soc:firmware/get_throttled"
PI = {
    "class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "class/thermal/thermal_zone0/temp": "51500\n",
    THROTTLED: "0\n",
    "class/hwmon/hwmon2/name": "rpi_volt\n",
    "class/hwmon/hwmon2/in0_lcrit_alarm": "0\n",
}
JETSON = {
    "class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "class/thermal/thermal_zone0/temp": "48250\n",
    "class/thermal/thermal_zone1/type": "tj-thermal\n",
    "class/thermal/thermal_zone1/temp": "49937\n",
    "class/thermal/thermal_zone2/type": "PMIC-Die\n",
    "class/thermal/thermal_zone2/temp": "100000\n",
    "class/hwmon/hwmon1/name": "ina3221\n",
    "class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "class/hwmon/hwmon1/in1_input": "4984\n",
    "class/hwmon/hwmon1/curr1_input": "1856\n",
    "class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "class/hwmon/hwmon1/in2_input": "4976\n",
    "class/hwmon/hwmon3/name": "soctherm_oc\n",
    "class/hwmon/hwmon3/oc1_event_cnt": "0\n",
    "class/hwmon/hwmon3/oc2_event_cnt": "0\n",
    "class/hwmon/hwmon3/oc3_event_cnt": "27390\n",
}
INA226 = {
    "class/hwmon/hwmon4/name": "ina226\n",
    "class/hwmon/hwmon4/in0_input": "3\n",
    "class/hwmon/hwmon4/in1_input": "12650\n",
    "class/hwmon/hwmon4/curr1_input": "-910\n",
}
ADC = {
    "bus/iio/devices/iio:device0/name": "ads1115\n",
    "bus/iio/devices/iio:device0/in_voltage0_raw": "11500\n",
    "bus/iio/devices/iio:device0/in_voltage0_scale": "0.187500000\n",
}

NO_SCALE = ADC | {"bus/iio/devices/iio:device0/in_voltage0_scale": "nan"}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def charger() -> Iterator[PtyCharger]:
    made = PtyCharger()
    yield made
    made.unplug()


@dataclass
class Given:
    power: Power
    know: set[str]  # the fields that this board has


def _known(reading: PowerReading) -> set[str]:
    fields = ("temperature_c", "undervoltage", "throttled", "battery_v", "battery_a", "supply_v", "supply_w")
    return {name for name in fields if getattr(reading, name) is not None}


BOARD = {"temperature_c", "undervoltage", "throttled"}
MAKES: dict[str, tuple[dict[str, str], dict[str, object], set[str]]] = {
    "pi": (PI, {}, BOARD),
    "pi with ina226": (PI | INA226, {"battery": "ina226"}, BOARD | {"battery_v", "battery_a"}),
    "pi with adc": (
        PI | ADC,
        {"battery": "ads1115", "battery_input": "in_voltage0", "battery_scale": 6.0},
        BOARD | {"battery_v"},
    ),
    "jetson": (JETSON, {}, BOARD | {"supply_v", "supply_w"}),
}


@pytest.fixture(params=["sim", "vedirect", *MAKES])
def given(request: pytest.FixtureRequest, tmp_path: Path, charger: PtyCharger) -> Iterator[Given]:
    if request.param == "sim":
        made = Given(
            open_power("sim", {"battery_v": 12.6}), BOARD | {"battery_v", "battery_a", "supply_v", "supply_w"}
        )
    elif request.param == "vedirect":
        power = open_power("vedirect", {"port": charger.path, "root": write(tmp_path, PI)})
        assert power.reading().unreadable  # opens the port; nothing has come yet
        charger.send(12.61, -0.85)
        made = Given(power, BOARD | {"battery_v", "battery_a"})
    else:
        files, options, know = MAKES[request.param]
        made = Given(open_power("sysfs", {"root": write(tmp_path, files), **options}), know)
    yield made
    made.power.close()


def test_it_tells_what_the_board_has_and_nothing_else(given: Given) -> None:
    assert isinstance(given.power, Power)
    reading = given.power.reading()
    assert _known(reading) == given.know
    assert reading.unreadable == ()


def test_its_values_are_those_of_a_board_that_is_well(given: Given) -> None:
    reading = given.power.reading()
    assert reading.temperature_c is not None
    assert 20.0 < reading.temperature_c < 75.0
    assert reading.undervoltage is False
    assert reading.throttled is False
    assert reading.battery_v is None or 12.0 < reading.battery_v < 13.0
    assert reading.supply_v is None or 4.7 < reading.supply_v < 5.3


def test_closing_may_be_repeated(given: Given) -> None:
    given.power.reading()
    given.power.close()
    given.power.close()


# --- a Raspberry Pi --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "alarm", "expected"),
    [
        ("0", "0", (False, False, False, False)),
        ("1", "0", (True, False, True, False)),
        ("0", "1", (True, False, True, False)),
        ("50005", "0", (True, True, True, True)),
        ("50000", "0", (False, False, True, True)),
        ("e0008", "0", (False, True, False, True)),
        ("80000", "0", (False, False, False, True)),
    ],
)
def test_the_flags_of_a_pi(tmp_path: Path, word: str, alarm: str, expected: tuple[bool, ...]) -> None:
    root = write(tmp_path, PI | {THROTTLED: word, "class/hwmon/hwmon2/in0_lcrit_alarm": alarm})
    got = open_power("sysfs", {"root": root}).reading()
    assert (
        got.undervoltage,
        got.throttled,
        got.undervoltage_since_boot,
        got.throttled_since_boot,
    ) == expected


def test_a_pi_five_keeps_its_flags_elsewhere(tmp_path: Path) -> None:
    files = {name: text for name, text in PI.items() if name != THROTTLED}
    files["bus/platform/drivers/raspberrypi-firmware/soc@107c000000:firmware/get_throttled"] = "5\n"
    got = open_power("sysfs", {"root": write(tmp_path, files)}).reading()
    assert (got.undervoltage, got.throttled) == (True, True)


def test_what_was_seen_since_the_start_is_not_forgotten(tmp_path: Path) -> None:
    """The kernel's own driver asks the firmware to clear its bits every two seconds."""
    power = open_power("sysfs", {"root": write(tmp_path, PI | {THROTTLED: "50005"})})
    assert power.reading().undervoltage
    write(tmp_path, {THROTTLED: "0"})
    later = power.reading()
    assert (later.undervoltage, later.undervoltage_since_boot, later.throttled_since_boot) == (
        False,
        True,
        True,
    )


def test_an_alarm_of_another_chip_is_not_the_boards(tmp_path: Path) -> None:
    root = write(
        tmp_path, PI | {"class/hwmon/hwmon0/name": "ltc2978", "class/hwmon/hwmon0/in0_lcrit_alarm": "1"}
    )
    assert open_power("sysfs", {"root": root}).reading().undervoltage is False


# --- a Jetson --------------------------------------------------------------------------------------


def test_a_jetson_tells_its_supply_and_its_hottest_real_zone(tmp_path: Path) -> None:
    got = open_power("sysfs", {"root": write(tmp_path, JETSON)}).reading()
    assert got.temperature_c == 49.937  # not the PMIC's constant 100
    assert got.supply_v == 4.984
    assert got.supply_w == pytest.approx(4.984 * 1.856)


def test_events_are_now_only_while_they_come(tmp_path: Path) -> None:
    power = open_power("sysfs", {"root": write(tmp_path, JETSON | {"class/hwmon/hwmon3/oc2_event_cnt": "4"})})
    first = power.reading()
    assert (first.throttled, first.throttled_since_boot) == (False, True)
    write(tmp_path, {"class/hwmon/hwmon3/oc1_event_cnt": "1", "class/hwmon/hwmon3/oc2_event_cnt": "6"})
    then = power.reading()
    assert (then.undervoltage, then.throttled) == (True, True)
    later = power.reading()
    assert (later.undervoltage, later.throttled) == (False, False)
    assert (later.undervoltage_since_boot, later.throttled_since_boot) == (True, True)


@pytest.mark.parametrize(("least", "under"), [(0.0, False), (4.9, False), (5.0, True)])
def test_a_supply_below_its_least_voltage(tmp_path: Path, least: float, *, under: bool) -> None:
    power = open_power("sysfs", {"root": write(tmp_path, JETSON), "supply_min_v": least})
    assert power.reading().undervoltage is under


def test_a_zone_that_is_switched_off_is_no_fault(tmp_path: Path) -> None:
    root = write(tmp_path, JETSON | {"class/thermal/thermal_zone3/temp": ""})  # as EAGAIN reads
    got = open_power("sysfs", {"root": root}).reading()
    assert (got.temperature_c, got.unreadable) == (49.937, ())


# --- the battery -----------------------------------------------------------------------------------


def test_a_shunt_shows_what_flows(tmp_path: Path) -> None:
    got = open_power("sysfs", {"root": write(tmp_path, PI | INA226), "battery": "ina226"}).reading()
    assert (got.battery_v, got.battery_a) == (12.65, -0.91)


def test_an_adc_behind_a_divider(tmp_path: Path) -> None:
    options = {"battery": "ads1115", "battery_input": "in_voltage0", "battery_scale": 6.0}
    got = open_power("sysfs", {"root": write(tmp_path, PI | ADC), **options}).reading()
    assert got.battery_v == pytest.approx(11500 * 0.1875 * 6.0 / 1000)


def test_two_chips_of_one_name_are_told_apart_by_their_place(tmp_path: Path) -> None:
    other = {name.replace("hwmon4", "hwmon5"): text.replace("12650", "5011") for name, text in INA226.items()}
    root = write(tmp_path, PI | INA226 | other)
    for chip, place in (("hwmon4", "1-0040"), ("hwmon5", "1-0041")):
        (root / "devices" / place).mkdir(parents=True)
        (root / "class/hwmon" / chip / "device").symlink_to(root / "devices" / place)
    ambiguous = open_power("sysfs", {"root": root, "battery": "ina226"}).reading()
    assert (ambiguous.battery_v, ambiguous.unreadable) == (None, ("battery (2 chips are called ina226)",))
    assert open_power("sysfs", {"root": root, "battery": "1-0040"}).reading().battery_v == 12.65


@pytest.mark.parametrize(
    ("kind", "scope", "volts"),
    [("Battery", "System", 12.65), ("Battery", "Device", None), ("USB", "System", None)],
)
def test_a_fuel_gauge_but_no_mouse_and_no_mains(
    tmp_path: Path, kind: str, scope: str, volts: float | None
) -> None:
    folder = "class/power_supply/x/"
    files = {folder + "type": kind, folder + "scope": scope, folder + "voltage_now": "12650000\n"}
    got = open_power("sysfs", {"root": write(tmp_path, PI | files)}).reading()
    assert (got.battery_v, got.unreadable) == (volts, ())
    assert open_power("sysfs", {"root": tmp_path, "battery": "none"}).reading().battery_v is None


@pytest.mark.parametrize("channel", ["../../x", "in", "temp1", "in1234"])
def test_a_channel_is_a_channel(channel: str) -> None:
    with pytest.raises(BadOption, match="channel of the chip"):
        open_power("sysfs", {"battery": "ina226", "battery_input": channel})


# --- unreadable is told ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "options", "named"),
    [
        ({"class/thermal/thermal_zone0/temp": "hot"}, {}, "temperature"),
        ({THROTTLED: "what"}, {}, "throttle flags"),
        ({"class/hwmon/hwmon2/in0_lcrit_alarm": ""}, {}, "low-voltage alarm"),
        ({}, {"battery": "ina226"}, "battery (0 chips are called ina226)"),
        (INA226 | {"class/hwmon/hwmon4/in1_input": "?"}, {"battery": "ina226"}, "battery"),
        (NO_SCALE, {"battery": "ads1115", "battery_input": "in_voltage0"}, "battery"),
    ],
)
def test_a_sensor_that_gives_no_value_is_named(
    tmp_path: Path, files: dict[str, str], options: dict[str, object], named: str
) -> None:
    got = open_power("sysfs", {"root": write(tmp_path, PI | files), **options}).reading()
    assert got.unreadable == (named,)


def test_no_sensor_and_no_value_are_different_faults(tmp_path: Path) -> None:
    with pytest.raises(PowerUnreadable, match="driver 'none'"):
        open_power("sysfs", {"root": tmp_path}).reading()
    with pytest.raises(PowerUnreadable, match="no value of: temperature"):
        open_power("sysfs", {"root": write(tmp_path, {"class/thermal/thermal_zone0/temp": "x"})}).reading()
    assert open_power("none", {}).reading() == PowerReading(None, None, None)


# --- a charge controller on its cable --------------------------------------------------------------


class Trailer:
    """A VE.Direct driver on a clock of ours; its cable is named by a link, as udev does."""

    def __init__(self, folder: Path, faults: str = "", board: dict[str, str] | None = None) -> None:
        self.now_s = 100.0
        self._link = folder / "cable"
        self.charger = self.plug(faults)
        options = {
            "port": str(self._link),
            "root": write(folder, board or {}),
            "monotonic_s": lambda: self.now_s,
        }
        self.power = open_power("vedirect", options)

    def plug(self, faults: str = "") -> PtyCharger:
        self.charger = PtyCharger(faults)
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(self.charger.path)
        return self.charger

    def hear(self, volts: float, amperes: float = 0.0) -> PowerReading:
        self.power.reading()
        self.charger.send(volts, amperes)
        return self.power.reading()

    def end(self) -> None:
        self.power.close()
        self.charger.unplug()


@pytest.fixture
def trailer(tmp_path: Path) -> Iterator[Trailer]:
    made = Trailer(tmp_path, board=PI)
    yield made
    made.end()


def test_the_newest_frame_counts(trailer: Trailer) -> None:
    assert trailer.power.reading().unreadable == ("battery (VE.Direct)",)
    trailer.charger.send(12.1, 0.0)
    got = trailer.hear(11.99, -1.2)
    assert (got.battery_v, got.battery_a, got.unreadable) == (11.99, -1.2, ())


def test_a_controller_that_falls_silent_is_told(trailer: Trailer) -> None:
    assert trailer.hear(12.1).battery_v == 12.1
    trailer.now_s += 10
    assert trailer.power.reading().battery_v == 12.1
    trailer.now_s += 0.1
    got = trailer.power.reading()
    assert (got.battery_v, got.unreadable) == (None, ("battery (VE.Direct)",))
    assert trailer.hear(12.2).battery_v == 12.2


@pytest.mark.parametrize("fault", "mcgn")
def test_a_frame_that_is_not_sound_is_no_value(tmp_path: Path, fault: str) -> None:
    trailer = Trailer(tmp_path, fault, PI)
    got = trailer.hear(12.1)
    assert (got.battery_v, got.battery_a, got.unreadable) == (None, None, ("battery (VE.Direct)",))
    trailer.charger.send(12.2, 0.5)  # garbage may cost the frame behind it
    assert trailer.hear(12.2, 0.5).battery_v == 12.2
    trailer.end()


def test_a_hexadecimal_message_in_a_frame_is_passed_over(tmp_path: Path) -> None:
    trailer = Trailer(tmp_path, "h", PI)
    assert trailer.hear(12.1).battery_v == 12.1
    trailer.end()


def test_a_cable_that_was_pulled_is_found_again(trailer: Trailer) -> None:
    trailer.hear(12.1)
    trailer.charger.unplug()
    trailer.now_s += 20
    got = trailer.power.reading()
    assert (got.battery_v, got.unreadable) == (None, ("battery (VE.Direct)",))
    assert got.temperature_c == 51.5  # the board is told all the same
    trailer.plug()
    trailer.now_s += RETRY_S
    assert trailer.hear(12.9).battery_v == 12.9


def test_neither_board_nor_cable(tmp_path: Path) -> None:
    power = open_power("vedirect", {"port": str(tmp_path / "none"), "root": tmp_path})
    with pytest.raises(PowerUnreadable, match=r"VE\.Direct cable"):
        power.reading()


def test_a_battery_alone_is_enough(tmp_path: Path) -> None:
    trailer = Trailer(tmp_path)
    with pytest.raises(PowerUnreadable):
        trailer.power.reading()
    trailer.charger.send(12.9, 0.0)
    assert trailer.power.reading() == PowerReading(None, None, None, battery_v=12.9, battery_a=0.0)
    trailer.end()
