# SPDX-License-Identifier: Apache-2.0
"""One read per vehicle pass: knows a track that was cut in two, and a vehicle that stands in one place."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final

from inference.detector import iou
from inference.plates import fold
from inference.tracker import Track
from inference.types import Box

US_PER_S: Final = 1_000_000
STANDING_US: Final = 3_600 * US_PER_S  # a vehicle that stays is read again this often
STANDING_IOU: Final = 0.5  # of its last box and the next track's first: a pole that sways moves it less
REMEMBERED: Final = 256  # texts; the one seen longest ago is forgotten first

CUT_IN_TWO: Final = "same pass"
STANDING: Final = "standing vehicle"


@dataclass(frozen=True, slots=True)
class _Seen:
    kept_us: int  # when its read was kept
    last_us: int  # when it was last in sight ...
    box: Box  # ... and where


class Repeats:
    """What was read lately; times are the tracks' own (monotonic µs), so that no set clock hides a vehicle."""

    def __init__(self, gap_s: float) -> None:
        self._gap_us = gap_s * US_PER_S
        self._seen: OrderedDict[tuple[str, str], _Seen] = OrderedDict()

    def why(self, text: str, track: Track) -> str | None:
        """Why a track is no new read of this text: CUT_IN_TWO, STANDING; None: it is one."""
        before = self._seen.get((track.source, fold(text)))
        if before is None or track.last_us - before.kept_us > STANDING_US:
            return None
        if track.first_us - before.last_us <= self._gap_us:
            return CUT_IN_TWO
        stands = iou(before.box, track.observations[0].read.box) >= STANDING_IOU
        return STANDING if stands else None

    def kept(self, text: str, track: Track) -> None:
        """A read of the track was kept."""
        self._note(text, track, _Seen(track.last_us, track.last_us, track.observations[-1].read.box))

    def again(self, text: str, track: Track) -> None:
        """It was in sight again, and no read was made of it."""
        before = self._seen.get((track.source, fold(text)))
        if before is None:  # another track of the same vehicle was sure of the text first
            self.kept(text, track)
        else:
            box = track.observations[-1].read.box
            self._note(text, track, replace(before, last_us=track.last_us, box=box))

    def _note(self, text: str, track: Track, seen: _Seen) -> None:
        key = (track.source, fold(text))
        self._seen[key] = seen
        self._seen.move_to_end(key)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
