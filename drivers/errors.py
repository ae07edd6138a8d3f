# SPDX-License-Identifier: Apache-2.0
"""Everything a driver may raise. `permanent` decides whether trying again can help."""

from __future__ import annotations


class DriverError(Exception):
    """Base of all driver errors."""

    permanent: bool = False


class UnknownDriver(DriverError):
    """The configuration names a driver that the registry does not have."""

    permanent = True


class BadOption(DriverError, ValueError):
    """An option is missing, unknown, of the wrong type or out of its range."""

    permanent = True


class LibraryMissing(DriverError):
    """The driver needs a library that is not installed on this machine."""

    permanent = True


class CameraError(DriverError):
    """Base of camera errors."""


class CameraTimeout(CameraError, TimeoutError):
    """No frame arrived in time; the camera may still be there."""


class CameraLost(CameraError):
    """The camera is gone (unplugged, driver closed); open it again."""


class CameraClosed(CameraError):
    """The camera was used after `close()`."""

    permanent = True


class PinBusy(DriverError):
    """Another process or driver holds the pin."""


class DaylightUnreadable(DriverError):
    """The photodiode's converter gives no value."""


class GnssLost(DriverError):
    """The receiver's port is gone; open it again."""


class ModemLost(DriverError):
    """The modem's port is gone; open it again."""


class ModemMute(DriverError):
    """The modem does not answer; it may still be there."""


class PowerUnreadable(DriverError):
    """No temperature or supply sensor could be read."""


class WatchdogUnavailable(DriverError):
    """The watchdog cannot be opened or has refused a feed."""
