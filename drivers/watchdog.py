# SPDX-License-Identifier: Apache-2.0
"""systemd's watchdog (by its notify socket), and none."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

from drivers.errors import WatchdogUnavailable
from drivers.options import Options
from drivers.types import WatchdogInfo

US_PER_S: Final = 1_000_000


class SystemdWatchdog:
    """Tells systemd READY=1 on opening, WATCHDOG=1 on each feed and STOPPING=1 on close (sd_notify(3))."""

    def __init__(self, address: str, timeout_s: float | None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._info = None if timeout_s is None else WatchdogInfo("systemd", timeout_s, nowayout=False)
        self._socket: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._send(b"READY=1")
        except WatchdogUnavailable:
            self._socket.close()
            raise

    def _send(self, message: bytes) -> None:
        if self._socket is None:
            raise WatchdogUnavailable("the watchdog was closed")
        try:
            self._socket.sendto(message, self._address)
        except OSError as error:
            raise WatchdogUnavailable(f"systemd took no message: {error.strerror}") from error

    def feed(self) -> None:
        """WATCHDOG=1."""
        self._send(b"WATCHDOG=1")

    def info(self) -> WatchdogInfo | None:
        """WatchdogSec of the unit; None where the unit has none."""
        return self._info

    def close(self) -> None:
        """STOPPING=1."""
        if self._socket is None:
            return
        with contextlib.suppress(WatchdogUnavailable):  # nobody is left to tell
            self._send(b"STOPPING=1")
        self._socket.close()
        self._socket = None


class NoWatchdog:
    """Nobody watches: a developer's machine."""

    def feed(self) -> None:
        """Nothing to feed."""

    def info(self) -> None:
        """Nobody."""

    def close(self) -> None:
        """Nothing to stop."""


def _watchdog_s() -> float | None:
    """The time that systemd gives this service, from $WATCHDOG_USEC."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / US_PER_S if microseconds.isascii() and microseconds.isdigit() else None


def open_systemd(options: Mapping[str, object]) -> SystemdWatchdog:
    """Options: socket (default $NOTIFY_SOCKET, which systemd sets for Type=notify)."""
    read = Options("watchdog systemd", options)
    address = read.text("socket", os.environ.get("NOTIFY_SOCKET", ""))
    read.finish()
    if not address.startswith(("/", "@")):
        raise WatchdogUnavailable(
            "systemd gave no NOTIFY_SOCKET: run as a Type=notify service, or use 'none'"
        )
    return SystemdWatchdog(address, _watchdog_s())


def open_none(options: Mapping[str, object]) -> NoWatchdog:
    """No watchdog; it has no options."""
    Options("watchdog none", options).finish()
    return NoWatchdog()
