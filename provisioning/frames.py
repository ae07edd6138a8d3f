# SPDX-License-Identifier: Apache-2.0
r"""Frames on a serial line: found again after garbage, checked by CRC-32, bounded. Sans-IO.

    magic "\xa7W" | kind u8 | session u32 | sequence u32 | length u16 | header CRC-16 | payload | CRC-32

Integers are big-endian. The header has its own CRC, so that a damaged length is never waited for; the CRC-32
covers everything before it. Integrity against people is the TLS session's work, not the frame's.
"""

from __future__ import annotations

import binascii
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

MAGIC = b"\xa7W"
MAX_PAYLOAD_BYTES = 2048  # bytes of payload in one frame
_HEADER = struct.Struct(">2sBIIH")
_CRC16 = struct.Struct(">H")
_CRC32 = struct.Struct(">I")
HEADER_BYTES = _HEADER.size + _CRC16.size
OVERHEAD_BYTES = HEADER_BYTES + _CRC32.size
MAX_BUFFER_BYTES = 4 * (MAX_PAYLOAD_BYTES + OVERHEAD_BYTES)  # bytes kept while looking for a frame


class Kind(IntEnum):
    """What a frame is for. The two directions differ, so that an echoing line cannot talk to itself."""

    OPEN = 0x01  # laptop: forget everything, a new session starts
    TO_DEVICE = 0x02
    CLOSE = 0x03  # laptop: done
    TO_LAPTOP = 0x82
    ABORT = 0x83  # device: this session cannot go on, open another


FROM_LAPTOP = frozenset({Kind.OPEN, Kind.TO_DEVICE, Kind.CLOSE})
FROM_DEVICE = frozenset({Kind.TO_LAPTOP, Kind.ABORT})


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: `session` names the conversation, `sequence` counts from 0 in each direction."""

    kind: Kind
    session: int  # 0 .. 2**32-1, drawn by the laptop
    sequence: int
    payload: bytes = b""


def encode(frame: Frame) -> bytes:
    """The frame's bytes; raises ValueError when the payload is over MAX_PAYLOAD_BYTES."""
    if len(frame.payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"payload is over {MAX_PAYLOAD_BYTES} bytes")
    header = _HEADER.pack(MAGIC, frame.kind, frame.session, frame.sequence, len(frame.payload))
    body = header + _CRC16.pack(binascii.crc_hqx(header, 0xFFFF)) + frame.payload
    return body + _CRC32.pack(zlib.crc32(body))


class FrameDecoder:
    """Turns bytes, however cut and dirtied, into frames of the accepted kinds.

    After a silence call `idle`: it gives up a frame whose end never came.
    """

    def __init__(self, accepted: frozenset[Kind]) -> None:
        self._accepted = accepted
        self._buffer = bytearray()
        self.skipped_bytes = 0  # bytes thrown away so far while looking for a frame

    def feed(self, data: bytes) -> list[Frame]:
        """Every whole frame that these bytes complete."""
        frames: list[Frame] = []
        for at in range(0, len(data), MAX_BUFFER_BYTES // 2):
            self._buffer += data[at : at + MAX_BUFFER_BYTES // 2]
            frames += self._drain()
        return frames

    def idle(self) -> list[Frame]:
        """Gives up the half frame at the front of the buffer; frames behind it are returned."""
        if len(self._buffer) < len(MAGIC):
            return []
        self._skip(1)
        return self._drain()

    def reset(self) -> None:
        """Forgets what is buffered, as after a re-plug."""
        self._skip(len(self._buffer))

    def _drain(self) -> list[Frame]:
        frames: list[Frame] = []
        while self._seek():
            length = self._frame_length()
            if length is None:
                self._skip(1)
            elif len(self._buffer) < length:
                break
            elif (frame := self._take(length)) is not None:
                frames.append(frame)
        return frames

    def _seek(self) -> bool:
        """Moves the next magic to the front; whether a whole header is there."""
        at = self._buffer.find(MAGIC)
        if at < 0:
            at = len(self._buffer) - (1 if self._buffer.endswith(MAGIC[:1]) else 0)
        self._skip(at)
        return len(self._buffer) >= HEADER_BYTES

    def _frame_length(self) -> int | None:
        header = bytes(self._buffer[: _HEADER.size])
        (crc,) = _CRC16.unpack_from(self._buffer, _HEADER.size)
        if crc != binascii.crc_hqx(header, 0xFFFF):
            return None
        length = int(_HEADER.unpack(header)[4])
        return length + OVERHEAD_BYTES if length <= MAX_PAYLOAD_BYTES else None

    def _take(self, length: int) -> Frame | None:
        raw = bytes(self._buffer[:length])
        (crc,) = _CRC32.unpack(raw[-_CRC32.size :])
        if crc != zlib.crc32(raw[: -_CRC32.size]):
            self._skip(1)
            return None
        del self._buffer[:length]
        _, kind, session, sequence, _ = _HEADER.unpack(raw[: _HEADER.size])
        if kind not in self._accepted:
            self.skipped_bytes += length
            return None
        return Frame(Kind(kind), session, sequence, raw[HEADER_BYTES : -_CRC32.size])

    def _skip(self, count: int) -> None:
        del self._buffer[:count]
        self.skipped_bytes += count
