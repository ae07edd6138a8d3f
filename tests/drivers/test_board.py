# SPDX-License-Identifier: Apache-2.0
"""Heat, supply, watchdogs, clocks, pins, and the options that every driver reads."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from gpiozero.pins.mock import MockFactory

from drivers.errors import (
    BadOption,
    DriverError,
    LibraryMissing,
    PinBusy,
    PowerUnreadable,
    WatchdogUnavailable,
)
from drivers.options import Options
from drivers.ports import Clock, Gpio, Power, Watchdog
from drivers.registry import DRIVERS, open_clock, open_gpio, open_illuminator, open_power, open_watchdog
from drivers.sim.clock import SimClock
from drivers.sim.faults import MAX_STEPS, FaultScript
from drivers.sim.watchdog import SimWatchdog
from drivers.types import PowerReading


def _sysfs(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_pi_with_everything(tmp_path: Path) -> None:
    root = _sysfs(
        tmp_path,
        {
            "class/thermal/thermal_zone0/temp": "51500\n",
            "class/thermal/thermal_zone1/temp": "63250\n",
            "devices/platform/soc/soc:firmware/get_throttled": "50005\n",
            "class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
            "class/power_supply/battery/voltage_now": "12650000\n",
        },
    )
    assert open_power("sysfs", {"root": root}).reading() == PowerReading(63.25, True, True, 12.65)


def test_only_what_the_board_has(tmp_path: Path) -> None:
    root = _sysfs(
        tmp_path, {"class/hwmon/hwmon0/in0_lcrit_alarm": "1", "class/thermal/thermal_zone0/temp": "x"}
    )
    assert open_power("sysfs", {"root": root}).reading() == PowerReading(None, True, None, None)


def test_no_sensor_at_all(tmp_path: Path) -> None:
    with pytest.raises(PowerUnreadable, match="driver 'none'"):
        open_power("sysfs", {"root": tmp_path}).reading()
    assert open_power("none", {}).reading() == PowerReading(None, None, None, None)


def test_scripted_power() -> None:
    power = open_power("sim", {"faults": ".hulx", "battery_v": 12.6})
    assert isinstance(power, Power)
    readings = [power.reading() for _ in range(4)]
    assert readings[0] == PowerReading(51.0, False, False, 12.6)
    assert readings[1].throttled
    assert readings[2].undervoltage
    assert readings[3].battery_v == 10.9
    with pytest.raises(PowerUnreadable):
        power.reading()
    assert power.reading() == readings[0]


def test_the_device_watchdog_feeds_and_closes_in_an_orderly_way(tmp_path: Path) -> None:
    path = tmp_path / "watchdog"
    path.touch()
    dog = open_watchdog("device", {"path": path})
    assert isinstance(dog, Watchdog)
    dog.feed()
    dog.feed()
    dog.close()
    dog.close()
    assert path.read_bytes() == b"\0\0V"
    with pytest.raises(WatchdogUnavailable):
        dog.feed()
    with pytest.raises(WatchdogUnavailable, match="No such file"):
        open_watchdog("device", {"path": tmp_path / "none"})


def test_the_systemd_watchdog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        dog = open_watchdog("systemd", {})
        dog.feed()
        dog.close()
        dog.close()
        assert [server.recv(64) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]
    with pytest.raises(WatchdogUnavailable):
        open_watchdog("systemd", {})  # nobody listens any more
    monkeypatch.delenv("NOTIFY_SOCKET")
    with pytest.raises(WatchdogUnavailable, match="Type=notify"):
        open_watchdog("systemd", {})


def test_the_simulated_watchdog_starves() -> None:
    now = [0.0]
    dog = open_watchdog("sim", {"timeout_s": 10.0, "faults": "..x", "monotonic_s": lambda: now[0]})
    assert isinstance(dog, SimWatchdog)
    for _ in range(2):
        now[0] += 9.0
        dog.feed()
    fed = dog.starved
    assert fed is False
    with pytest.raises(WatchdogUnavailable):
        dog.feed()
    now[0] += 10.5
    assert dog.starved
    open_watchdog("none", {}).feed()


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
