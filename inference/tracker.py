# SPDX-License-Identifier: Apache-2.0
"""Joins the reads of successive frames into one track per vehicle pass, at 5 to 30 frames a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from inference.detector import iou
from inference.plates import similarity
from inference.types import Box, FrameResult, Observation, PlateRead

SECOND_US: Final = 1_000_000
MAX_TRACKS: Final = 64  # live at once; the one seen longest ago ends first
MAX_OBSERVATIONS: Final = 256  # per track; of a longer pass every second older frame goes
MAX_STEP_S: Final = 0.5  # velocity is carried forward no further
SPEED_SPAN_US: Final = 150_000  # one frame's jitter would make a poor speed at 30 frames a second
SPEED_FRAMES: Final = 6
SPEED_WIDTHS: Final = 0.3  # ... unless it has moved by this much: a fast plate's speed changes by the frame
SLOWER: Final = 0.3  # in perspective a plate that drives away moves this little of the predicted way ...
FASTER: Final = (
    2.2  # ... and one that comes nearer this much: 4 m before the camera at 80 mph, 30 frames a second
)


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """When two reads are of one vehicle."""

    max_gap_us: int = 700_000  # unseen for longer: the vehicle has passed
    max_track_us: int = 60 * SECOND_US  # a vehicle that stands is reported this often
    min_iou: float = 0.2  # of the predicted box, for a match by place
    on_way_widths: float = 0.5  # ... or this close to the predicted way
    reach_widths: float = 1.5  # plate widths from the predicted place that a match may lie away ...
    reach_widths_per_s: float = 25.0  # ... and more for every second since, while no speed is known
    min_similarity: float = 0.55  # of the texts, for a match away from the predicted place
    next_similarity: float = 0.35  # ... and in the frame after the first, when no speed is known
    next_us: int = 100_000  # a later frame is not the next one
    unsure: float = 0.5  # a text with less confidence can't tell whose it is ...
    unsure_widths: float = 1.2  # ... so in the next frame nearness is enough: no other plate is within 40 cm
    unlike: float = 0.35  # sure texts less alike than this are two vehicles even in one place
    sure: float = 0.8  # confidence from which a text can tell two vehicles apart
    max_growth: float = 2.5  # ratio of plate widths between two frames


@dataclass(slots=True)
class Track:
    """One vehicle pass so far; `best` is the observation whose picture is worth keeping."""

    track_id: int
    source: str
    observations: list[Observation] = field(default_factory=list)
    best: Observation = field(init=False)
    velocity: tuple[float, float] = (0.0, 0.0)  # px per second
    frames: int = 0  # that it was seen in; of a long pass more than there are observations

    @property
    def first_us(self) -> int:
        """Time of the first frame, Unix µs."""
        return self.observations[0].t_us

    @property
    def last_us(self) -> int:
        """Time of the last frame, Unix µs."""
        return self.observations[-1].t_us

    def predicted(self, t_us: int) -> Box:
        """Where the plate would be at a time, px."""
        x, y, w, h = self.observations[-1].read.box
        dt = min((t_us - self.last_us) / SECOND_US, MAX_STEP_S)
        return x + self.velocity[0] * dt, y + self.velocity[1] * dt, w, h

    def add(self, observation: Observation) -> bool:
        """Appends an observation; whether it is the best so far."""
        if self.observations:
            self.velocity = self._speed(observation)
        better = not self.observations or quality(observation.read) > quality(self.best.read)
        self.observations.append(observation)
        self.frames += 1
        if len(self.observations) > MAX_OBSERVATIONS:
            self._thin()
        if better:
            self.best = observation
        return better

    def _thin(self) -> None:
        half = len(self.observations) // 2
        kept = [o for i, o in enumerate(self.observations[:half]) if i % 2 == 0 or o is self.best]
        self.observations = kept + self.observations[half:]

    def _speed(self, now: Observation) -> tuple[float, float]:
        """Px per second since the last frame that was SPEED_WIDTHS away, or the first within SPEED_SPAN_US."""
        recent = [o for o in self.observations[-SPEED_FRAMES:] if now.t_us - o.t_us <= SPEED_SPAN_US]
        moved = (o for o in reversed(recent) if _widths_away(o.read.box, now.read.box) >= SPEED_WIDTHS)
        return _velocity(next(moved, recent[0] if recent else self.observations[-1]), now)


class Tracker:
    """Feeds on frame results in order of time, gives finished tracks; keeps no pixels."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self.settings = settings or TrackerSettings()
        self.live: list[Track] = []
        self.improved: list[Track] = []  # tracks whose best observation is of the last frame given
        self._source = ""
        self._next_id = 1

    def update(self, result: FrameResult, *, t_us: int, sequence: int, source: str = "") -> list[Track]:
        """One frame's reads -> the tracks that ended; another `source` ends all that were live."""
        ended = self.flush() if source != self._source else []
        self._source = source
        ended += self._expire(t_us)
        self.improved = []
        fresh = [Observation(sequence, t_us, read) for read in result.reads]
        for observation, track in self._assign(fresh, t_us):
            chosen = track or self._start(source)
            if chosen.add(observation):
                self.improved.append(chosen)
        return ended + self._overflow()

    def flush(self) -> list[Track]:
        """Ends all live tracks and gives them."""
        ended, self.live, self.improved = self.live, [], []
        return ended

    def _expire(self, t_us: int) -> list[Track]:
        s = self.settings
        ended = [
            t for t in self.live if t_us - t.last_us > s.max_gap_us or t_us - t.first_us > s.max_track_us
        ]
        return self._end(ended)

    def _overflow(self) -> list[Track]:
        oldest_first = sorted(self.live, key=lambda t: t.last_us)
        return self._end(oldest_first[: max(0, len(self.live) - MAX_TRACKS)])

    def _end(self, ended: list[Track]) -> list[Track]:
        gone = {t.track_id for t in ended}
        self.live = [t for t in self.live if t.track_id not in gone]
        return ended

    def _start(self, source: str) -> Track:
        track = Track(self._next_id, source)
        self._next_id += 1
        self.live.append(track)
        return track

    def _assign(self, fresh: list[Observation], t_us: int) -> list[tuple[Observation, Track | None]]:
        """Pairs, best affinity first; what fits no live track starts its own."""
        pairs = [
            (affinity(track, o.read, t_us, self.settings), i, track)
            for i, o in enumerate(fresh)
            for track in self.live
        ]
        chosen: dict[int, Track] = {}
        taken: set[int] = set()
        for score, i, track in sorted(pairs, key=lambda p: -p[0]):
            if score > 0 and i not in chosen and track.track_id not in taken:
                chosen[i] = track
                taken.add(track.track_id)
        return [(o, chosen.get(i)) for i, o in enumerate(fresh)]


def affinity(track: Track, read: PlateRead, t_us: int, settings: TrackerSettings) -> float:
    """How well a read continues a track; 0 or less when it can't."""
    last = track.observations[-1].read
    ratio = read.box[2] / max(last.box[2], 1.0)
    if not 1 / settings.max_growth <= ratio <= settings.max_growth:
        return 0.0
    alike = max(similarity(last.text, read.text), similarity(track.best.read.text, read.text))
    both_sure = min(track.best.read.confidence, read.confidence) >= settings.sure
    if both_sure and alike < settings.unlike:
        return 0.0
    place = track.predicted(t_us)
    overlap = iou(place, read.box)
    away = _widths_off_way(last.box, place, read.box)
    by_place = overlap >= settings.min_iou or (_moves(track) and away <= settings.on_way_widths)
    next_to = _first(track, t_us, settings) and away <= settings.unsure_widths
    unsure = min(last.confidence, read.confidence) < settings.unsure
    by_text = away <= _reach(track, t_us, settings) and alike >= _least_alike(track, t_us, settings)
    return overlap + alike + 1.0 / (1.0 + away) if by_place or by_text or (next_to and unsure) else 0.0


def quality(read: PlateRead) -> float:
    """How much a picture of a plate is worth: confidence first, then size and sharpness."""
    size = min(read.width_px, 200.0) / 200.0
    return read.confidence * (0.5 + 0.35 * size + 0.15 * min(read.sharpness / 4000.0, 1.0))


def _moves(track: Track) -> bool:
    return len(track.observations) > 1 and track.velocity != (0.0, 0.0)


def _least_alike(track: Track, t_us: int, settings: TrackerSettings) -> float:
    return settings.next_similarity if _first(track, t_us, settings) else settings.min_similarity


def _first(track: Track, t_us: int, settings: TrackerSettings) -> bool:
    """Whether the track has one frame so far, the one before this."""
    return len(track.observations) == 1 and t_us - track.last_us <= settings.next_us


def _reach(track: Track, t_us: int, settings: TrackerSettings) -> float:
    if len(track.observations) > 1:
        return settings.reach_widths
    return settings.reach_widths + settings.reach_widths_per_s * (t_us - track.last_us) / SECOND_US


def _widths_off_way(last: Box, predicted: Box, box: Box) -> float:
    """Plate widths between a box and the nearest place on the way from SLOWER to FASTER than predicted."""
    (lx, ly), (px, py), (x, y) = _centre(last), _centre(predicted), _centre(box)
    way, moved = (px - lx, py - ly), (x - lx, y - ly)
    square = way[0] ** 2 + way[1] ** 2
    share = (moved[0] * way[0] + moved[1] * way[1]) / square if square > 0 else 1.0
    share = min(max(share, SLOWER), FASTER)
    dx, dy = moved[0] - share * way[0], moved[1] - share * way[1]
    return float((dx * dx + dy * dy) ** 0.5) / max(last[2], box[2], 1.0)


def _centre(box: Box) -> tuple[float, float]:
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def _widths_away(a: Box, b: Box) -> float:
    (ax, ay), (bx, by) = _centre(a), _centre(b)
    return float(((ax - bx) ** 2 + (ay - by) ** 2) ** 0.5) / max(a[2], b[2], 1.0)


def _velocity(before: Observation, after: Observation) -> tuple[float, float]:
    dt = (after.t_us - before.t_us) / SECOND_US
    if dt <= 0:
        return 0.0, 0.0
    (ax, ay), (bx, by) = _centre(before.read.box), _centre(after.read.box)
    return (bx - ax) / dt, (by - ay) / dt
