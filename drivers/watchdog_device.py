# SPDX-License-Identifier: Apache-2.0
"""The kernel's watchdog: /dev/watchdog, as Documentation/watchdog/watchdog-api.rst and linux/watchdog.h describe it."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

from drivers.errors import WatchdogUnavailable
from drivers.options import Options
from drivers.types import WatchdogInfo

MAGIC_CLOSE: Final = b"V"  # tells the kernel that closing is meant, so that it stops watching
INFO: Final = struct.Struct("@II32s")  # struct watchdog_info: options, firmware version, identity
INT: Final = struct.Struct("@i")
GETSUPPORT: Final = 0x80285700  # the WDIOC_ requests as every architecture of ours has them
GETBOOTSTATUS: Final = 0x80045702
SETTIMEOUT: Final = 0xC0045706
GETTIMEOUT: Final = 0x80045707
SETPRETIMEOUT: Final = 0xC0045708
GETPRETIMEOUT: Final = 0x80045709
CARD_RESET: Final = 0x20  # WDIOF_CARDRESET: the last start was its doing, or it would say so
MAGIC_CLOSES: Final = 0x100  # WDIOF_MAGICCLOSE
MAX_FLAG_BYTES: Final = 16  # bytes read of sysfs's nowayout

Ioctl = Callable[[int, int, bytearray], Any]


class DeviceWatchdog:
    """Opening starts it, only an orderly close stops it, and not where the kernel was built with NOWAYOUT."""

    def __init__(self, path: Path, timeout_s: int, pretimeout_s: int, root: Path, ioctl: Ioctl) -> None:
        self._ioctl = ioctl
        try:
            self._fd: int | None = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            busy = "; systemd's own RuntimeWatchdogSec holds it?" if error.errno == errno.EBUSY else ""
            raise WatchdogUnavailable(f"{path} cannot be opened: {error.strerror}{busy}") from error
        try:
            self._info = self._set_up(timeout_s, pretimeout_s, _nowayout(root, path))
        except OSError as error:
            self.close()
            raise WatchdogUnavailable(f"{path} is no watchdog: {error.strerror}") from error

    def _set_up(self, timeout_s: int, pretimeout_s: int, nowayout: bool | None) -> WatchdogInfo:  # noqa: FBT001 -- read from sysfs
        """Asks for the times, and notes those that the device really took."""
        raw = bytearray(INFO.size)
        self._ioctl(self._open_fd(), GETSUPPORT, raw)
        flags, _, identity = INFO.unpack(raw)
        self._number(SETTIMEOUT, timeout_s)
        if pretimeout_s:
            self._number(SETPRETIMEOUT, pretimeout_s)
        boot = self._number(GETBOOTSTATUS) if flags & CARD_RESET else None
        return WatchdogInfo(
            identity.split(b"\0")[0].decode("ascii", "replace"),
            float(self._number(GETTIMEOUT) or 0),
            float(self._number(GETPRETIMEOUT) or 0),
            True if not flags & MAGIC_CLOSES else nowayout,
            None if boot is None else bool(boot & CARD_RESET),
        )

    def _number(self, request: int, value: int = 0) -> int | None:
        """One ioctl about a number; None where the device does not have it or does not take the value."""
        raw = bytearray(INT.pack(value))
        try:
            self._ioctl(self._open_fd(), request, raw)
        except OSError as error:
            if error.errno in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY}:
                return None
            raise
        return int(INT.unpack(raw)[0])

    def _open_fd(self) -> int:
        if self._fd is None:
            raise WatchdogUnavailable("the watchdog was closed")
        return self._fd

    def feed(self) -> None:
        """One byte keeps the board alive."""
        try:
            os.write(self._open_fd(), b"\0")
        except OSError as error:
            raise WatchdogUnavailable(f"the watchdog took no feed: {error.strerror}") from error

    def info(self) -> WatchdogInfo:
        """What it said of itself when it was opened."""
        return self._info

    def close(self) -> None:
        """Stops watching where it can be stopped."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        try:
            os.write(fd, MAGIC_CLOSE)
        except OSError:
            pass  # it takes nothing any more: there is nothing to stop
        finally:
            os.close(fd)


def _nowayout(root: Path, path: Path) -> bool | None:
    """Whether it can't be stopped, from sysfs; None where that does not say. /dev/watchdog is watchdog0."""
    name = path.name if path.name[-1:].isdigit() else "watchdog0"
    try:
        with (root / "class/watchdog" / name / "nowayout").open("rb") as file:
            return file.read(MAX_FLAG_BYTES).strip() == b"1"
    except OSError:
        return None


def open_device(options: Mapping[str, object]) -> DeviceWatchdog:
    """Options: path, timeout_s, pretimeout_s, root, ioctl (in process only). The kernel starts to watch at once."""
    read = Options("watchdog device", options)
    path = read.path("path", Path("/dev/watchdog"))
    timeout_s = read.integer("timeout_s", 120, 5, 3600)
    pretimeout_s = read.integer("pretimeout_s", 0, 0, 3599)
    root, ioctl = read.path("root", Path("/sys")), read.thing("ioctl")
    read.finish()
    chosen = cast("Ioctl", ioctl) if callable(ioctl) else fcntl.ioctl
    return DeviceWatchdog(path, timeout_s, pretimeout_s, root, chosen)
