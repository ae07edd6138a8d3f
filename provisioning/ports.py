# SPDX-License-Identifier: Apache-2.0
"""Byte ports that the link runs over: a serial port, a pseudo-terminal made here, or an open descriptor.

Every operating-system and pyserial error becomes a LinkError. pyserial on a pseudo-terminal cannot set RTS
(errno 25) or parity (errno 22): pyserial tolerates the first when it opens, the second is never asked for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import termios
import time
import tty
from pathlib import Path
from typing import Protocol

import serial

from provisioning.errors import LinkLost, LinkTimeout, PortUnavailable

BAUD = 115_200  # bits/s; means nothing over USB, but a real UART needs one
WRITE_TIMEOUT_S = 5.0  # seconds for one write
READ_BYTES = 4096  # bytes, at most, from one read
PTY_PREFIX = "pty:"


class Port(Protocol):
    """Bytes to and from the other end."""

    def read(self, timeout_s: float) -> bytes:
        """Some bytes, or none after `timeout_s`; raises LinkLost."""

    def write(self, data: bytes) -> None:
        """Writes all; raises LinkLost or LinkTimeout."""

    def close(self) -> None:
        """Gives the port back; twice is fine."""


def open_port(spec: str | Path | int) -> Port:
    """Opens a path, `pty:LINK` (makes a pseudo-terminal, LINK points at it) or a descriptor.

    Raises PortUnavailable.
    """
    if isinstance(spec, int):
        return FdPort(spec)
    if str(spec).startswith(PTY_PREFIX):
        return PtyPort(Path(str(spec).removeprefix(PTY_PREFIX)))
    return SerialPort(str(spec))


class SerialPort:
    """A serial device by its path, for this process alone."""

    def __init__(self, path: str) -> None:
        try:
            self._serial = serial.Serial(path, BAUD, timeout=0, write_timeout=WRITE_TIMEOUT_S, exclusive=True)
        except (OSError, ValueError, termios.error) as error:  # SerialException is an OSError
            raise PortUnavailable(f"{path}: {_reason(error)}") from error

    def read(self, timeout_s: float) -> bytes:
        """See Port."""
        try:
            if self._serial.timeout != timeout_s:  # setting it reconfigures the port
                self._serial.timeout = timeout_s
            first = self._serial.read(1)
            rest = self._serial.read(min(self._serial.in_waiting, READ_BYTES)) if first else b""
        except (OSError, TypeError, termios.error) as error:  # TypeError: pyserial, closed under its hands
            raise LinkLost("the serial port is gone (unplugged?)") from error
        return bytes(first + rest)

    def write(self, data: bytes) -> None:
        """See Port."""
        try:
            self._serial.write(data)
        except serial.SerialTimeoutException as error:
            raise LinkTimeout("the other end does not take bytes") from error
        except (OSError, TypeError, termios.error) as error:
            raise LinkLost("the serial port is gone (unplugged?)") from error

    def close(self) -> None:
        """See Port."""
        with contextlib.suppress(OSError, termios.error):
            self._serial.close()


class FdPort:
    """An open descriptor of a terminal; closing it is left to its owner."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(fd, False)

    def read(self, timeout_s: float) -> bytes:
        """See Port."""
        try:
            if not select.select([self._fd], [], [], timeout_s)[0]:
                return b""
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return b""
        except (OSError, ValueError) as error:
            raise LinkLost("the other end of the terminal is closed") from error
        if not data:
            raise LinkLost("the other end of the terminal is closed")
        return data

    def write(self, data: bytes) -> None:
        """See Port."""
        ends = time.monotonic() + WRITE_TIMEOUT_S
        view = memoryview(data)
        while view:
            try:
                if select.select([], [self._fd], [], max(0.0, ends - time.monotonic()))[1]:
                    view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                pass
            except (OSError, ValueError) as error:
                raise LinkLost("the other end of the terminal is closed") from error
            if view and time.monotonic() > ends:
                raise LinkTimeout("the other end does not take bytes")

    def close(self) -> None:
        """See Port."""


class PtyPort(FdPort):
    """A pseudo-terminal made here; a symbolic link tells the laptop's tool where the other end is."""

    def __init__(self, link: Path) -> None:
        master, self._slave = os.openpty()
        tty.setraw(self._slave)  # no echo before the first client; held open, so that clients may come and go
        self._link, self._closed = link, False
        super().__init__(master)
        try:
            _point(link, os.ttyname(self._slave))
        except OSError as error:
            self.close()
            raise PortUnavailable(f"{link}: {_reason(error)}") from error

    def close(self) -> None:
        """Closes both ends and removes the link."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            if self._link.is_symlink() and str(self._link.readlink()) == os.ttyname(self._slave):
                self._link.unlink()
        os.close(self._slave)
        os.close(self._fd)


def _point(link: Path, target: str) -> None:
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return "no such port; is the cable in?"
    if number in {errno.EACCES, errno.EPERM}:
        return "not allowed; join the group `dialout`"
    if number in {errno.EAGAIN, errno.EBUSY}:
        return "in use by another program"
    return os.strerror(number) if number else "cannot be opened as a serial port"
