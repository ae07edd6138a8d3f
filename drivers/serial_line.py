# SPDX-License-Identifier: Apache-2.0
"""A serial port whose every trouble is the same error of ours: the port is gone, open it again."""

from __future__ import annotations

from typing import Final

import serial

from drivers.errors import DriverError

MAX_READ_BYTES: Final = 4096  # taken at once
GONE: Final = (serial.SerialException, OSError, TypeError)  # TypeError: pyserial after close


class SerialLine:
    """`what` is at its other end ("the receiver"); `lost` is raised when the port can't be opened or is gone."""

    def __init__(self, name: str, baud: int, what: str, lost: type[DriverError], wait_s: float = 0.0) -> None:
        self._what, self._lost = what, lost
        try:
            self._port = serial.Serial(name, baud, timeout=wait_s, write_timeout=1.0)
        except (serial.SerialException, OSError) as error:
            raise lost(f"{what}'s port {name} cannot be opened") from error

    def read(self) -> bytes:
        """What has arrived, after waiting for the first byte for at most `wait_s`."""
        try:
            first = bytes(self._port.read(1))
            return (
                first + bytes(self._port.read(min(self._port.in_waiting, MAX_READ_BYTES))) if first else b""
            )
        except GONE as error:
            raise self._gone() from error

    def write(self, data: bytes) -> None:
        """Sends all of it."""
        try:
            self._port.write(data)
        except GONE as error:
            raise self._gone() from error

    def _gone(self) -> DriverError:
        return self._lost(f"{self._what}'s port is gone; check its cable, then open it again")

    def close(self) -> None:
        """Releases the port; may be called twice."""
        self._port.close()
