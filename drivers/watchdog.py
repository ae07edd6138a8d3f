# SPDX-License-Identifier: Apache-2.0
"""Watchdogs: the kernel's device, systemd's (by its notify socket), none."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from drivers.errors import WatchdogUnavailable
from drivers.options import Options

MAGIC_CLOSE: Final = b"V"  # tells the kernel that closing is meant, so that it stops watching


class DeviceWatchdog:
    """/dev/watchdog: opening starts it, only an orderly close stops it."""

    def __init__(self, path: Path) -> None:
        try:
            self._fd: int | None = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            raise WatchdogUnavailable(f"{path} cannot be opened: {error.strerror}") from error

    def _write(self, data: bytes) -> None:
        if self._fd is None:
            raise WatchdogUnavailable("the watchdog was closed")
        try:
            os.write(self._fd, data)
        except OSError as error:
            raise WatchdogUnavailable(f"the watchdog took no feed: {error.strerror}") from error

    def feed(self) -> None:
        """One byte keeps the board alive."""
        self._write(b"\0")

    def close(self) -> None:
        """Stops watching (kernels built with NOWAYOUT keep watching)."""
        if self._fd is None:
            return
        try:
            self._write(MAGIC_CLOSE)
        finally:
            os.close(self._fd)
            self._fd = None


class SystemdWatchdog:
    """Tells systemd READY=1 on opening, WATCHDOG=1 on each feed and STOPPING=1 on close."""

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
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

    def close(self) -> None:
        """STOPPING=1."""
        if self._socket is None:
            return
        try:
            self._send(b"STOPPING=1")
        finally:
            self._socket.close()
            self._socket = None


class NoWatchdog:
    """Nobody watches: a developer's machine."""

    def feed(self) -> None:
        """Nothing to feed."""

    def close(self) -> None:
        """Nothing to stop."""


def open_device(options: Mapping[str, object]) -> DeviceWatchdog:
    """Options: path (default /dev/watchdog). The kernel starts to watch at once."""
    read = Options("watchdog device", options)
    path = read.path("path", Path("/dev/watchdog"))
    read.finish()
    return DeviceWatchdog(path)


def open_systemd(options: Mapping[str, object]) -> SystemdWatchdog:
    """Options: socket (default $NOTIFY_SOCKET, which systemd sets for Type=notify)."""
    read = Options("watchdog systemd", options)
    address = read.text("socket", os.environ.get("NOTIFY_SOCKET", ""))
    read.finish()
    if not address.startswith(("/", "@")):
        raise WatchdogUnavailable(
            "systemd gave no NOTIFY_SOCKET: run as a Type=notify service, or use 'none'"
        )
    return SystemdWatchdog(address)


def open_none(options: Mapping[str, object]) -> NoWatchdog:
    """No watchdog; it has no options."""
    Options("watchdog none", options).finish()
    return NoWatchdog()
