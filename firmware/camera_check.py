# SPDX-License-Identifier: Apache-2.0
"""Whether the camera does its work, judged from its frames: one finding for the technician, with hysteresis.

Every frame is looked at on a small grid; two a second are measured and judged against what this camera was like when
it was well (`camera_judge`), which a small file keeps over a restart.
"""

from __future__ import annotations

import time
import zlib
from collections import deque
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from drivers.types import Frame
from firmware.camera_findings import FINDINGS, PART
from firmware.camera_judge import LEARN_JUDGEMENTS, Latch, SceneJudge
from firmware.camera_reference import Reference, encode, load
from firmware.camera_scene import Grey, grid
from firmware.health import Finding, well
from storage.atomic import write_atomic

FROZEN_FRAMES: Final = 20  # identical frames in a row: a living sensor's noise never repeats
DARK_FRAMES: Final = 30  # frames in a row by day, or of a picture without even noise
DARK_NIGHT_FRAMES: Final = (
    9_000  # frames in a row by night (10 minutes at 15 a second): an unlit road is dark
)
BLINDED_FRAMES: Final = 30  # frames in a row
SLOW_FRAMES: Final = 30  # frames over which the pace is measured, or
SLOW_S: Final = 5.0  # seconds, where so many frames take longer
WELL_FRAMES: Final = 15  # frames in a row after which any of these is over
DARK_LEVEL: Final = 12  # grey levels that an exposed picture exceeds somewhere
DARK_SHARE: Final = 0.005  # of the picture
BLIND_LEVEL: Final = 250  # grey levels that are as good as overdriven
BLIND_SHARE: Final = 0.40  # of the picture
BLIND_OVER_SHARE: Final = 0.30  # of the picture, below which it is over
UNIFORM_LEVELS: Final = 2  # grey levels between darkest and brightest: no sensor is so quiet
SLOW_SHARE: Final = 0.6  # of the frames that should come in a second
SILENT_NS: Final = 2_000_000_000  # ns without a frame that make a camera slow
SAMPLE_NS: Final = 490_000_000  # ns between the frames that are measured: two a second
SAVE_NS: Final = 6 * 3_600_000_000_000  # ns (6 hours) between two writings of the reference

FOUND_WITHIN_S: Final = {  # seconds from the fault, at 15 frames a second by day, to its finding
    "frozen": 2.0,
    "dark": 3.0,
    "blinded": 3.0,
    "slow": 10.0,
    "defocused": 150.0,
    "turned": 300.0,
}


class Pace:
    """Frames a second by their own times, over the last SLOW_FRAMES or SLOW_S."""

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self._times: deque[int] = deque(maxlen=SLOW_FRAMES)

    def slow(self, at_ns: int) -> bool:
        """Takes a frame's time; whether they come too slowly."""
        self._times.append(at_ns)
        span_s, steps = (self._times[-1] - self._times[0]) / 1e9, len(self._times) - 1
        known = steps == SLOW_FRAMES - 1 or span_s >= SLOW_S
        return known and SLOW_SHARE * self.fps * span_s > steps

    def begin(self) -> None:
        """Forgets the frames before a pause."""
        self._times.clear()


class CameraCheck:
    """`look` from the camera's thread for each frame; `persist` from any.

    `fps` is what the camera should give. `live` False (a replay): everything is well. `fixed` False (a vehicle): the
    place is not judged. `reference` None: nothing is kept.
    """

    def __init__(
        self,
        reference: Path | None,
        *,
        fps: float,
        live: bool = True,
        fixed: bool = True,
        learn_judgements: int = LEARN_JUDGEMENTS,
    ) -> None:
        self._path, self._live, self._fixed, self._learn = reference, live, fixed, learn_judgements
        self._begin(Reference() if reference is None else load(reference))
        self._pace = Pace(fps)
        self._seen_ns = time.monotonic_ns()
        self._sampled_ns: int | None = None
        self._look = 0
        self._alike = 0
        self._latches = {
            "frozen": Latch(1, WELL_FRAMES),
            "dark": Latch(DARK_FRAMES, WELL_FRAMES),
            "dark by night": Latch(DARK_NIGHT_FRAMES, WELL_FRAMES),
            "blinded": Latch(BLINDED_FRAMES, WELL_FRAMES),
            "slow": Latch(1, WELL_FRAMES),
        }

    def _begin(self, kept: Reference) -> None:
        self._known, self._saved_ns = kept.known, time.monotonic_ns()
        self._judge = SceneJudge(kept, fixed=self._fixed, learn_judgements=self._learn)

    def look(self, frame: Frame, *, night: bool) -> Finding:
        """What the camera is like after this frame; `night`: it was exposed for the night, under the lamp."""
        if not self._live:
            return well(PART)
        self._seen_ns = time.monotonic_ns()
        self._latches["slow"].take(bad=self._pace.slow(frame.monotonic_ns))
        if self._glance(grid(frame.pixels), night=night) and self._due(frame.monotonic_ns):
            self._judge.sample(frame.pixels, night=night)
        return self._worst()

    def _glance(self, small: Grey, *, night: bool) -> bool:
        """The looks that need no memory but a counter; whether there is a picture to be measured."""
        look = zlib.crc32(small.tobytes())
        self._alike = self._alike + 1 if look == self._look else 0
        self._look = look
        lit = np.count_nonzero(small > DARK_LEVEL) > DARK_SHARE * small.size
        darkest, brightest, _, _ = cv2.minMaxLoc(small)
        uniform = brightest - darkest <= UNIFORM_LEVELS
        blinded = self._latches["blinded"]
        limit = BLIND_OVER_SHARE if blinded.stands else BLIND_SHARE
        overdriven = np.count_nonzero(small >= BLIND_LEVEL) > limit * small.size
        blinded.take(bad=overdriven)
        self._latches["dark"].take(bad=not lit and (uniform or not night))
        self._latches["dark by night"].take(bad=not lit)
        self._latches["frozen"].take(bad=self._alike >= FROZEN_FRAMES and lit and not overdriven)
        return lit and not overdriven and self._alike == 0

    def _due(self, at_ns: int) -> bool:
        """Whether this frame is one of the two a second."""
        if self._sampled_ns is not None and 0 <= at_ns - self._sampled_ns < SAMPLE_NS:
            return False
        self._sampled_ns = at_ns
        return True

    def _worst(self) -> Finding:
        standing = {name.split()[0] for name, latch in self._latches.items() if latch.stands}
        if self._judge.defocused:
            standing.add("defocused")
        if self._judge.turned:
            standing.add("turned")
        return next((found for code, found in FINDINGS.items() if code in standing), well(PART))

    def missed(self) -> Finding:
        """After a wait that brought no frame."""
        if self._live and time.monotonic_ns() - self._seen_ns > SILENT_NS:
            self._latches["slow"].take(bad=True)
            self._pace.begin()
        return self._worst()

    def lost(self) -> Finding:
        """After the camera was lost; the frames of the one that is opened next are a new beginning."""
        self._pace.begin()
        for latch in self._latches.values():
            latch.stands, latch.run = False, 0
        return FINDINGS["lost"]

    def expect(self, fps: float) -> None:
        """From now on `look` gets so many frames a second (some are left out on purpose)."""
        if fps != self._pace.fps:
            self._pace.fps = fps
            self._pace.begin()

    @property
    def learnt(self) -> bool:
        """Whether sharpness and place are judged yet, in the present light."""
        return self._judge.learnt

    def forget(self) -> None:
        """Learns anew: the camera was moved or focused on purpose. Raises OSError."""
        self._begin(Reference())
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def persist(self) -> None:
        """Writes what was learnt: when something was, and every SAVE_NS; raises OSError."""
        reference, now_ns = self._judge.reference(), time.monotonic_ns()
        news = reference.known != self._known
        if self._path is None or not (news or (any(self._known) and now_ns - self._saved_ns >= SAVE_NS)):
            return
        self._saved_ns = now_ns
        write_atomic(self._path, encode(reference))
        self._known = reference.known
