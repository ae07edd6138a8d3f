# SPDX-License-Identifier: Apache-2.0
"""Judges twice a minute whether the picture is as sharp as it was and shows the place that it showed.

What a good picture is like is learnt from this camera's own first hour of good frames, sharpness by day and by night
apart. The reference then follows the seasons slowly, and only by pictures that match it.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from firmware.camera_reference import Reference
from firmware.camera_scene import Background, Field, Grey, Landmarks, reduced, sharpness

SAMPLES: Final = 60  # for one judgement; two a second: half a minute
SETTLE_JUDGEMENTS: Final = 2  # until the background has lost what passed in its first picture
LEARN_JUDGEMENTS: Final = 120  # an hour
FOLLOW_JUDGEMENTS: Final = 2_000  # how slowly the reference follows (17 hours)
FAULTY_JUDGEMENTS: Final = 3  # in a row
WELL_JUDGEMENTS: Final = 2  # in a row
BLANK_JUDGEMENTS: Final = 2_880  # in a row (a day) without structure: no fog, but a wall or the sky

SHARP_CAP: Final = (
    0.12  # a learnt sharpness counts at most so much: rain in the first hour must not set the mark
)
SHARP_LEAST: Final = 0.01  # a learnt sharpness below it is none that could be lost
SHARP_SHARE: Final = 0.35  # of the learnt sharpness; below it the picture is blurred
TURNED_PEAK: Final = (
    14.0  # standard deviations: a match that stands out less is none (another place has 4 to 9)
)
KNOWN_PEAK: Final = 25.0  # standard deviations of a match that may teach (the same place has 30 to 90)
STRUCTURE_SHARE: Final = 0.4  # of the certainty that the place's edges have; with less nothing is judged

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Latch:
    """Stands after `on` bad looks in a row and falls after `off` good ones."""

    on: int
    off: int
    stands: bool = False
    run: int = 0  # looks in a row that contradict it

    def take(self, *, bad: bool) -> None:
        """One look."""
        self.run = self.run + 1 if bad != self.stands else 0
        if self.run >= (self.off if self.stands else self.on):
            self.stands, self.run = bad, 0


def _latch() -> Latch:
    return Latch(FAULTY_JUDGEMENTS, WELL_JUDGEMENTS)


class SharpJudge:
    """One light's (day's or night's) sharpness against its learnt level."""

    def __init__(self, learnt: float | None, learn_judgements: int) -> None:
        self.learnt = learnt
        self.blurred = _latch()
        self._wanted, self._seen, self._sum = learn_judgements, 0, 0.0

    def judge(self, level: float) -> None:
        """Takes the median sharpness of half a minute."""
        if self.learnt is None:
            self._seen, self._sum = self._seen + 1, self._sum + min(level, SHARP_CAP)
            if self._seen >= self._wanted:
                self.learnt = self._sum / self._seen
            return
        if self.learnt < SHARP_LEAST:
            return
        bad = level < SHARP_SHARE * self.learnt
        self.blurred.take(bad=bad)
        if not bad:
            self.learnt += (min(level, SHARP_CAP) - self.learnt) / FOLLOW_JUDGEMENTS


class PlaceLearner:
    """The mean of the background's edges in one light, once enough of them agree with it."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._begin(None)

    def _begin(self, first: Field | None) -> None:
        self._mean, self._seen, self._agreed = first, int(first is not None), 0
        self._other = _latch()

    def learn(self, seen: Field) -> Landmarks | None:
        """Takes one more; the place when it is known. A camera that is aimed meanwhile begins again."""
        if self._mean is None or self._mean.shape != seen.shape:
            self._begin(seen)
            return None
        peak = Landmarks(self._mean).peak(seen)
        self._other.take(bad=peak < TURNED_PEAK)
        if self._other.stands:
            self._begin(seen)
            return None
        self._seen, self._agreed = self._seen + 1, self._agreed + (peak >= KNOWN_PEAK)
        self._mean = np.asarray(self._mean + (seen - self._mean) / np.float32(self._seen))
        return Landmarks(self._mean) if self._agreed >= self._wanted else None


class PlaceJudge:
    """The background's edges against the learnt ones, by day and by night; one of them must match."""

    def __init__(self, learnt: tuple[Field | None, Field | None], wanted: int) -> None:
        self._learnt = [None if field is None else Landmarks(field) for field in learnt]
        self._learners = [PlaceLearner(wanted) for _ in learnt]
        self._turned, self._blank = _latch(), Latch(BLANK_JUDGEMENTS, 1)

    def learnt(self, night: bool) -> Field | None:  # noqa: FBT001 -- which of the two lights
        """What to keep."""
        place = self._learnt[night]
        return None if place is None else place.field

    @property
    def turned(self) -> bool:
        """Whether it shows another place, or for a day none."""
        return self._turned.stands or self._blank.stands

    def judge(self, seen: Field, *, night: bool) -> None:
        """Takes the edges of the background at the end of half a minute."""
        if any(place is not None and place.field.shape != seen.shape for place in self._learnt):
            log.warning("camera_reference_refused", reason="the picture has another size now")
            self._learnt = [None, None]
        place = self._learnt[night]
        if place is None:
            self._learnt[night] = self._learners[night].learn(seen)
            return
        clear = place.structure(seen) >= STRUCTURE_SHARE
        self._blank.take(bad=not clear)
        if not clear:
            return
        own = place.peak(seen)
        best = max(
            own,
            *(other.peak(seen) for other in self._learnt if other is not None and other is not place),
            0.0,
        )
        self._turned.take(bad=best < TURNED_PEAK)
        if own >= KNOWN_PEAK:
            step = (seen - place.field) / np.float32(FOLLOW_JUDGEMENTS)
            self._learnt[night] = Landmarks(place.field + step)


class SceneJudge:
    """Samples in, verdicts out. `fixed` False (a vehicle): only sharpness is judged."""

    def __init__(
        self, reference: Reference, *, fixed: bool, learn_judgements: int = LEARN_JUDGEMENTS
    ) -> None:
        self._fixed = fixed
        self._sharp = [SharpJudge(level, learn_judgements) for level in reference.sharp]
        self._place = PlaceJudge(reference.place, learn_judgements)
        self._begin(night=False)

    def _begin(self, *, night: bool) -> None:
        self._night = night
        self._background = Background()
        self._levels: list[float] = []
        self._samples = self._judgements = 0

    def sample(self, pixels: Grey, *, night: bool) -> None:
        """One picture (H, W, 3) or (H, W) of the two a second."""
        if night != self._night:
            self._begin(night=night)
        level = sharpness(pixels)
        if level is not None:
            self._levels.append(level)
        if self._fixed:
            self._background.take(reduced(pixels))
        self._samples += 1
        if self._samples == SAMPLES // 2 and len(self._levels) >= SAMPLES // 4:
            self._sharp[night].judge(statistics.median(self._levels))
            self._levels = []
        if self._samples == SAMPLES:
            self._samples, self._judgements = 0, self._judgements + 1
            if self._fixed and self._judgements > SETTLE_JUDGEMENTS:
                self._place.judge(self._background.edges(), night=night)

    @property
    def defocused(self) -> bool:
        """In the present light."""
        return self._sharp[self._night].blurred.stands

    @property
    def turned(self) -> bool:
        """Away from its place."""
        return self._fixed and self._place.turned

    @property
    def learnt(self) -> bool:
        """Whether there is something to judge by, in the present light."""
        known = self._place.learnt(self._night) is not None or not self._fixed
        return known and self._sharp[self._night].learnt is not None

    def reference(self) -> Reference:
        """What to keep of it."""
        day, night = self._sharp
        return Reference(
            (self._place.learnt(night=False), self._place.learnt(night=True)), (day.learnt, night.learnt)
        )
