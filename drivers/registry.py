# SPDX-License-Identifier: Apache-2.0
"""Names to drivers. A module is imported only when its name is opened, so its libraries stay optional."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final, cast

from drivers.errors import LibraryMissing, UnknownDriver
from drivers.ports import (
    AlertOutput,
    Camera,
    Clock,
    Daylight,
    Gnss,
    Gpio,
    Illuminator,
    IrFilter,
    Modem,
    Power,
    Watchdog,
)

DRIVERS: Final[Mapping[str, Mapping[str, str]]] = {
    "camera": {
        "sim": "drivers.sim.camera",
        "replay": "drivers.camera_replay",
        "v4l2": "drivers.camera_v4l2",
        "picamera2": "drivers.camera_picamera2",
        "jetson": "drivers.camera_jetson",
    },
    "illuminator": {
        "none": "drivers.illuminator",
        "sim": "drivers.sim.illuminator",
        "gpiozero": "drivers.illuminator_gpiozero",
        "gpiod": "drivers.illuminator_gpiod",
    },
    "daylight": {"none": "drivers.daylight", "sim": "drivers.sim.daylight", "iio": "drivers.daylight"},
    "ir_filter": {
        "none": "drivers.ir_filter",
        "sim": "drivers.sim.ir_filter",
        "gpiozero": "drivers.ir_filter",
        "gpiod": "drivers.ir_filter",
    },
    "gpio": {
        "sim": "drivers.sim.gpio",
        "gpiozero": "drivers.gpio_gpiozero",
        "gpiod": "drivers.gpio_gpiod",
    },
    "gnss": {
        "none": "drivers.gnss",
        "fixed": "drivers.gnss",
        "sim": "drivers.sim.gnss",
        "nmea": "drivers.gnss_nmea",
        "gpsd": "drivers.gnss_gpsd",
    },
    "modem": {"none": "drivers.modem", "sim": "drivers.sim.modem", "at": "drivers.modem_at"},
    "power": {
        "none": "drivers.power",
        "sim": "drivers.sim.power",
        "sysfs": "drivers.power_sysfs",
        "vedirect": "drivers.power_vedirect",
    },
    "watchdog": {
        "none": "drivers.watchdog",
        "sim": "drivers.sim.watchdog",
        "device": "drivers.watchdog_device",
        "systemd": "drivers.watchdog",
    },
    "alert": {
        "none": "drivers.alert",
        "sim": "drivers.sim.alert",
        "gpiozero": "drivers.alert_gpiozero",
        "gpiod": "drivers.alert_gpiod",
    },
    "clock": {"system": "drivers.clock", "sim": "drivers.sim.clock"},
}


def _open(port: str, name: str, options: Mapping[str, object]) -> object:
    module = DRIVERS[port].get(name)
    if module is None:
        raise UnknownDriver(f"no {port} driver is called {name!r}; there are: {', '.join(DRIVERS[port])}")
    try:
        factory = import_module(module)
    except ImportError as error:
        raise LibraryMissing(
            f"the {port} driver {name!r} needs {error.name}, which is not installed"
        ) from error
    return cast("object", getattr(factory, f"open_{name}")(options))


def open_camera(name: str, options: Mapping[str, object]) -> Camera:
    """A camera by name; raises UnknownDriver, BadOption, LibraryMissing, CameraLost."""
    return cast("Camera", _open("camera", name, options))


def open_illuminator(name: str, options: Mapping[str, object]) -> Illuminator:
    """An infrared lamp by name; it starts dark. Raises UnknownDriver, BadOption, LibraryMissing, PinBusy."""
    return cast("Illuminator", _open("illuminator", name, options))


def open_daylight(name: str, options: Mapping[str, object]) -> Daylight:
    """A photodiode by name; raises DaylightUnreadable when its converter is not there."""
    return cast("Daylight", _open("daylight", name, options))


def open_ir_filter(name: str, options: Mapping[str, object]) -> IrFilter:
    """The infrared-cut filter by name; it stays where it is. Raises PinBusy."""
    return cast("IrFilter", _open("ir_filter", name, options))


def open_gpio(name: str, options: Mapping[str, object]) -> Gpio:
    """Digital pins by name."""
    return cast("Gpio", _open("gpio", name, options))


def open_gnss(name: str, options: Mapping[str, object]) -> Gnss:
    """A positioning receiver by name; raises GnssLost when its port is not there."""
    return cast("Gnss", _open("gnss", name, options))


def open_modem(name: str, options: Mapping[str, object]) -> Modem:
    """A cellular modem by name; raises ModemLost when its port is not there."""
    return cast("Modem", _open("modem", name, options))


def open_power(name: str, options: Mapping[str, object]) -> Power:
    """Supply and heat sensors by name."""
    return cast("Power", _open("power", name, options))


def open_watchdog(name: str, options: Mapping[str, object]) -> Watchdog:
    """A watchdog by name; `device` starts watching when it is opened."""
    return cast("Watchdog", _open("watchdog", name, options))


def open_alert(name: str, options: Mapping[str, object]) -> AlertOutput:
    """Buzzer and lamp by name; they start off. Raises UnknownDriver, BadOption, LibraryMissing, PinBusy."""
    return cast("AlertOutput", _open("alert", name, options))


def open_clock(name: str, options: Mapping[str, object]) -> Clock:
    """A clock by name."""
    return cast("Clock", _open("clock", name, options))
