# SPDX-License-Identifier: Apache-2.0
"""One read per vehicle pass: knows a track that was cut in two, and a vehicle that stands in one place."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final

from firmware.track import metres
from inference.detector import iou
from inference.plates import fold
from inference.tracker import Track
from inference.types import Box
from sync.schema import Position

US_PER_S: Final = 1_000_000
STANDING_US: Final = 3_600 * US_PER_S  # a vehicle that stays is read again this often
PARKED_M: Final = (
    50.0  # of a patrol's two looks: the parked vehicle, the receiver's error and the way between
)
MOVED_M: Final = 30.0  # of a unit that drives; one that waits seems to wander by less
STANDING_IOU: Final = 0.5  # of its last box and the next track's first: a pole that sways moves it less
REMEMBERED: Final = 256  # texts; the one seen longest ago is forgotten first

SURVEYED: Final = "surveyed"  # the source of a fixed unit's position
CUT_IN_TWO: Final = "same pass"
STANDING: Final = "standing vehicle"


@dataclass(frozen=True, slots=True)
class _Seen:
    kept_us: int  # when its read was kept
    last_us: int  # when it was last in sight ...
    box: Box  # ... and where in the picture
    position: Position | None  # of the unit that saw it


class Repeats:
    """What was read lately; times are the tracks' own (monotonic µs), so that no set clock hides a vehicle."""

    def __init__(self, gap_s: float) -> None:
        self._gap_us = gap_s * US_PER_S
        self._seen: OrderedDict[tuple[str, str], _Seen] = OrderedDict()
        self._place: Position | None = None  # of the unit, as it was at its last step of MOVED_M ...
        self._moved_us = 0  # ... and when that was

    def why(self, text: str, track: Track, position: Position | None, *, listed: bool) -> str | None:
        """Why a track is no new read of this text: CUT_IN_TWO, STANDING; None: it is one.

        A `listed` vehicle that a patrol meets again may have driven since: only the picture says that it stands.
        """
        self._follow(position, track.last_us)
        before = self._seen.get((track.source, fold(text)))
        if before is None or track.last_us - before.kept_us > STANDING_US:
            return None
        if track.first_us - before.last_us <= self._gap_us:
            return CUT_IN_TWO
        stands = iou(before.box, track.observations[0].read.box) >= STANDING_IOU
        parked = not listed and self._moved_us > before.kept_us and _near(before.position, position)
        return STANDING if stands or parked else None

    def _follow(self, position: Position | None, at_us: int) -> None:
        """Notes whether the unit moves: one that waits sees moving vehicles, one that passes by sees parked ones."""
        if position is None or position.source == SURVEYED:
            return
        if self._place is None:
            self._place = position
        elif _apart_m(self._place, position) > MOVED_M:
            self._place, self._moved_us = position, at_us

    def kept(self, text: str, track: Track, position: Position | None) -> None:
        """A read of the track was kept."""
        box = track.observations[-1].read.box
        self._note(text, track, _Seen(track.last_us, track.last_us, box, position))

    def forget(self, source: str, text: str) -> None:
        """Its read was lost after all: the next track of it is a new read."""
        self._seen.pop((source, fold(text)), None)

    def forget_old(self, now_us: int) -> None:
        """Drops what was last in sight so long ago that it would count as a new read in any case."""
        while self._seen and now_us - next(iter(self._seen.values())).last_us > STANDING_US:
            self._seen.popitem(last=False)

    def again(self, text: str, track: Track) -> None:
        """It was in sight again, and no read was made of it."""
        before = self._seen.get((track.source, fold(text)))
        if before is not None:  # else another track in sight is sure of the text: that one becomes the read
            box = track.observations[-1].read.box
            self._note(text, track, replace(before, last_us=track.last_us, box=box))

    def _note(self, text: str, track: Track, seen: _Seen) -> None:
        key = (track.source, fold(text))
        self._seen[key] = seen
        self._seen.move_to_end(key)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)


def _near(a: Position | None, b: Position | None) -> bool:
    """Whether a moving unit saw both from about one place; a fixed one, which sees everything from there, never did."""
    if a is None or b is None or SURVEYED in (a.source, b.source):
        return False
    return _apart_m(a, b) <= PARKED_M


def _apart_m(a: Position, b: Position) -> float:
    return metres((a.lat, a.lon), (b.lat, b.lon))
