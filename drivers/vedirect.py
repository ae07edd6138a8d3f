# SPDX-License-Identifier: Apache-2.0
"""VE.Direct text frames of Victron's charge controllers and battery monitors, without a port.

A frame is a run of fields, each CR LF, label, TAB, value; the last has the label "Checksum" and one byte that makes the
sum of all bytes of the frame 0 modulo 256. Messages of the hexadecimal protocol, from a colon to LF, may stand between
any two bytes and belong to no frame. Source: Victron Energy, "VE.Direct Protocol", version 3.30, and its framehandler.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MAX_FIELDS: Final = 22  # of a frame, by the protocol
MAX_LABEL_BYTES: Final = 8  # bytes, by the protocol
MAX_VALUE_BYTES: Final = 32
CHECKSUM: Final = "Checksum"
BETWEEN, LABEL, VALUE, SUM = range(4)
NEWLINE, RETURN, TAB, COLON = b"\n\r\t:"

Frame = Mapping[str, str]


class VeDirectReader:
    """`feed` bytes as they come; gives the frames that are whole and sound. `damaged` counts the others."""

    def __init__(self) -> None:
        self.damaged = 0
        self._state, self._in_hex = BETWEEN, False
        self._begin()

    def _begin(self) -> None:
        self._sum, self._fields, self._label, self._value = 0, dict[str, str](), bytearray(), bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete, oldest first."""
        return [frame for byte in data if (frame := self._take(byte)) is not None]

    def _take(self, byte: int) -> Frame | None:
        if self._in_hex:
            self._in_hex = byte != NEWLINE
            return None
        if byte == COLON and self._state != SUM:
            self._in_hex = True
            return None
        self._sum = (self._sum + byte) % 256
        if self._state == SUM:
            return self._end()
        self._text(byte)
        return None

    def _text(self, byte: int) -> None:
        """One byte of a label or value."""
        if byte == NEWLINE:
            self._keep()
            self._state = LABEL
        elif byte == TAB and self._state == LABEL:
            self._state = SUM if self._label.decode("ascii", "replace") == CHECKSUM else VALUE
        elif byte != RETURN and self._state != BETWEEN:
            part, limit = (
                (self._label, MAX_LABEL_BYTES) if self._state == LABEL else (self._value, MAX_VALUE_BYTES)
            )
            if len(part) < limit:
                part.append(byte)
            else:
                self._too_long = True

    def _keep(self) -> None:
        """A field has ended."""
        if self._state == VALUE:
            if len(self._fields) >= MAX_FIELDS:
                self._too_long = True
            else:
                self._fields[self._label.decode("ascii", "replace")] = self._value.decode("ascii", "replace")
        self._label, self._value = bytearray(), bytearray()

    def _end(self) -> Frame | None:
        """The frame's checksum is in: 0 when no byte was lost or changed."""
        frame, sound = self._fields, self._sum == 0 and not self._too_long
        self._state = BETWEEN
        self._begin()
        if not sound:
            self.damaged += 1
        return frame if sound else None


def encode(fields: Frame) -> bytes:
    """A frame as a device sends it: what the simulated charger and the tests speak."""
    body = b"".join(f"\r\n{label}\t{value}".encode("ascii") for label, value in fields.items())
    body += f"\r\n{CHECKSUM}\t".encode("ascii")
    return body + bytes([-sum(body) % 256])
