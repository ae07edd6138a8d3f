# SPDX-License-Identifier: Apache-2.0
"""What a camera's check has learnt of a good picture, as a small file that survives a restart.

The file: `HEAD` (little endian: magic, height, width in cells, sharpness by day and by night or NaN), a place by day
and one by night (height x width x 2 signed bytes each: cosine and sine of the doubled angle of an edge, times 127; all
zero: not learnt), CRC-32 of all before it.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from firmware.camera_scene import Field

MAGIC: Final = b"WSCAMRF1"
HEAD: Final = struct.Struct("<8sHHdd")
CHECKSUM: Final = struct.Struct("<I")
MAX_REFERENCE_BYTES: Final = 262_144  # bytes; ours have some 60,000
STEPS: Final = 127.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """By day and by night, None before it is learnt: the mean edges of the background, and the sharpness."""

    place: tuple[Field | None, Field | None] = (None, None)
    sharp: tuple[float | None, float | None] = (None, None)

    @property
    def known(self) -> tuple[bool, ...]:
        """Which of it is learnt."""
        return tuple(what is not None for what in (*self.place, *self.sharp))


def encode(reference: Reference) -> bytes:
    """The file's bytes."""
    shape = next((place.shape for place in reference.place if place is not None), (0, 0, 2))
    places = [np.zeros(shape, np.float32) if place is None else place for place in reference.place]
    cells = np.round(np.clip(np.stack(places), -1.0, 1.0) * STEPS).astype(np.int8)
    levels = (math.nan if level is None else level for level in reference.sharp)
    body = HEAD.pack(MAGIC, *shape[:2], *levels) + cells.tobytes()
    return body + CHECKSUM.pack(zlib.crc32(body))


def decode(raw: bytes) -> Reference:
    """Raises ValueError on anything that `encode` does not write."""
    if not HEAD.size + CHECKSUM.size <= len(raw) <= MAX_REFERENCE_BYTES:
        raise ValueError("too short or too long")
    body = raw[: -CHECKSUM.size]
    magic, height, width, *sharp = HEAD.unpack_from(body)
    if magic != MAGIC:
        raise ValueError("not a camera reference of this version")
    if CHECKSUM.unpack(raw[-CHECKSUM.size :]) != (zlib.crc32(body),):
        raise ValueError("its checksum is wrong")
    cells = np.frombuffer(body, np.int8, offset=HEAD.size)
    if cells.size != 2 * height * width * 2:
        raise ValueError("its size does not fit its content")
    day, night = (
        place.astype(np.float32) / np.float32(STEPS) if place.any() else None
        for place in cells.reshape(2, height, width, 2)
    )
    levels = [level if math.isfinite(level) else None for level in sharp]
    return Reference((day, night), (levels[0], levels[1]))


def load(path: Path) -> Reference:
    """What the file says; an empty one, told in the log, when it is damaged, and silently when there is none."""
    try:
        with path.open("rb") as file:
            return decode(file.read(MAX_REFERENCE_BYTES + 1))
    except FileNotFoundError:
        return Reference()
    except (OSError, ValueError) as error:
        log.warning("camera_reference_refused", file=path.name, reason=str(error))
        return Reference()
