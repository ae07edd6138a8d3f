# SPDX-License-Identifier: Apache-2.0
"""Names to drivers. A module is imported only when its name is opened, so its libraries stay optional."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final, cast

from drivers.errors import LibraryMissing, UnknownDriver
from drivers.ports import Camera, Clock, Gnss, Gpio, Illuminator, Power, Watchdog

DRIVERS: Final[Mapping[str, Mapping[str, str]]] = {
    "camera": {
        "sim": "drivers.sim.camera",
        "replay": "drivers.camera_replay",
        "v4l2": "drivers.camera_v4l2",
        "picamera2": "drivers.camera_picamera2",
    },
    "illuminator": {
        "none": "drivers.illuminator",
        "sim": "drivers.sim.illuminator",
        "gpiozero": "drivers.illuminator_gpiozero",
    },
    "gpio": {"gpiozero": "drivers.gpio_gpiozero"},
    "gnss": {
        "none": "drivers.gnss",
        "fixed": "drivers.gnss",
        "sim": "drivers.sim.gnss",
        "nmea": "drivers.gnss_nmea",
    },
    "power": {"none": "drivers.thermal", "sim": "drivers.sim.power", "sysfs": "drivers.thermal"},
    "watchdog": {
        "none": "drivers.watchdog",
        "sim": "drivers.sim.watchdog",
        "device": "drivers.watchdog",
        "systemd": "drivers.watchdog",
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


def open_gpio(name: str, options: Mapping[str, object]) -> Gpio:
    """Digital pins by name."""
    return cast("Gpio", _open("gpio", name, options))


def open_gnss(name: str, options: Mapping[str, object]) -> Gnss:
    """A positioning receiver by name; raises GnssLost when its port is not there."""
    return cast("Gnss", _open("gnss", name, options))


def open_power(name: str, options: Mapping[str, object]) -> Power:
    """Supply and heat sensors by name."""
    return cast("Power", _open("power", name, options))


def open_watchdog(name: str, options: Mapping[str, object]) -> Watchdog:
    """A watchdog by name; `device` starts watching when it is opened."""
    return cast("Watchdog", _open("watchdog", name, options))


def open_clock(name: str, options: Mapping[str, object]) -> Clock:
    """A clock by name."""
    return cast("Clock", _open("clock", name, options))
