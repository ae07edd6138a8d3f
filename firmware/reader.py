# SPDX-License-Identifier: Apache-2.0
"""Frames in, sealed reads and hits out: pure of threads, so that a test can drive it frame by frame."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from drivers.types import Frame, Pixels
from firmware.alerts import Alerts
from firmware.clock import DeviceClock
from firmware.config import EyeConfig
from firmware.keeper import Later, NotNow, Rank, at_once
from firmware.ledger import Ledger
from firmware.logs import WITHHELD
from firmware.matching import Watch
from firmware.records import Origin, Sight, image_records, pictures_of, read_record, with_pictures
from firmware.repeats import CUT_IN_TWO, REMEMBERED, Repeats
from firmware.sealing import Vault
from firmware.tap import Tap
from inference.errors import InferenceError
from inference.pipeline import Pipeline
from inference.plates import fold
from inference.tracker import Track, Tracker
from inference.types import FrameResult, VotedRead
from inference.vote import vote
from storage.errors import KeyringBusyError, RootOfTrustBusyError, StorageError, WriteFailedError
from sync.limits import MAX_PLATE_CHARS
from sync.schema import HitRecord, ImageRecord, Position, ReadRecord

EARLY_FRAMES = 3  # frames that must agree before a hit is raised while the vehicle is still in sight
EARLY_CONFIDENCE = 0.9
NS_PER_US = 1_000
SCENE_AGE_NS = 1_500_000_000  # a long exposure older than this shows another vehicle
READ_BYTES = 2_000  # of RAM that a read takes while it waits for the disk, its pictures apart
EVERY_FRAME = 12  # of a pass may bring an early hit; later ones bring little news ...
EVERY_NTH = 8  # ... so that only each 8th is asked

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Pass:
    """One vehicle pass while it is in sight."""

    read_id: str
    sight: Sight
    early_text: str = ""
    early: list[HitRecord] = field(default_factory=list)


class Reader:
    """Frames in, sealed reads and hits out; pure of threads, so that a test can drive it frame by frame."""

    def __init__(  # noqa: PLR0913 -- the composition root names each part
        self,
        pipeline: Pipeline,
        tracker: Tracker,
        vault: Vault,
        watch: Watch,
        alerts: Alerts,
        *,
        clock: DeviceClock,
        ledger: Ledger,
        tap: Tap,
        origin: Origin,
        settings: EyeConfig,
        place: Callable[[int], Position | None] = lambda _at_us: None,
        later: Later = at_once,
    ) -> None:
        """`later` does what needs the disk; its result is not waited for."""
        self._pipeline = pipeline
        self._tracker = tracker
        self._vault = vault
        self._watch = watch
        self._alerts = alerts
        self._clock = clock
        self._ledger = ledger
        self._tap = tap
        self._origin = origin
        self._settings = settings
        self._place = place
        self._later = later
        self._scene: Frame | None = None  # the newest one with a long exposure
        self.scenes = (
            True  # whether pictures of the scene are kept: the first thing that a weak supply gives up
        )
        self._passes: dict[int, Pass] = {}
        self._repeats = Repeats(settings.repeat_s)
        self._unsealed: deque[tuple[str, str]] = deque(maxlen=REMEMBERED)  # of those, what was lost after all
        self._waits = False  # whether reads are put off, for want of a share
        self.tracks = 0
        self.reads = 0

    def take(self, frame: Frame) -> FrameResult:
        """One frame through the nets, the tracker and, for vehicles that have passed, the seal."""
        at_us = self._clock.to_wall_us(frame.monotonic_ns)
        self._count("frames", at_us)
        self._repeats.forget_old(frame.monotonic_ns // NS_PER_US)
        while self._unsealed:
            self._repeats.forget(*self._unsealed.popleft())
        WITHHELD.forget_old()
        try:
            result = self._pipeline.process(frame.pixels)
        except InferenceError as error:
            log.warning("frame_not_read", reason=str(error))
            self._count("rejected: bad picture", at_us)
            result = FrameResult([], [])
        for rejected in result.rejected:
            self._count(f"rejected: {rejected.reason}", at_us)
        ended = self._tracker.update(
            result, t_us=frame.monotonic_ns // NS_PER_US, sequence=frame.sequence, source=frame.source
        )
        for track in self._tracker.improved:
            self._look_closer(track, frame, at_us)
        for track in ended:
            self._finish(track)
        for track in self._tracker.live:
            if track.observations[-1].sequence == frame.sequence:  # else its vote is that of the last frame
                self._alert_early(track)
        return result

    def _count(self, what: str, at_us: int, number: int = 1) -> None:
        self._ledger.count(self._origin.camera, at_us, what, number)

    def flush(self) -> None:
        """Ends what is still in sight (the camera has finished, or the eye is being stopped)."""
        for track in self._tracker.flush():
            self._finish(track)

    def show(self, frame: Frame) -> None:
        """A frame with a long exposure: it shows the road to the passes in sight, and no plate is read in it."""
        self._count("frames", self._clock.to_wall_us(frame.monotonic_ns))
        self._scene = frame
        for here in self._passes.values():
            if here.sight.source == frame.source:
                here.sight = replace(here.sight, scene=frame.pixels)

    def _scene_of(self, frame: Frame) -> Pixels | None:
        """The newest long exposure, if it is of about the same moment."""
        shown = self._scene
        if shown is None or frame.monotonic_ns - shown.monotonic_ns > SCENE_AGE_NS:
            return None
        return shown.pixels

    def _look_closer(self, track: Track, frame: Frame, at_us: int) -> None:
        scene = self._scene_of(frame)
        sight = Sight(frame.pixels, frame.sequence, at_us, frame.ir, frame.source, scene)
        known = self._passes.get(track.track_id)
        if known is None:
            self._passes[track.track_id] = Pass(secrets.token_hex(16), sight)
        else:
            known.sight = sight

    def _alert_early(self, track: Track) -> None:
        """Raises a hit within a few frames of certainty; the read itself is sealed when the vehicle has passed."""
        here = self._passes.get(track.track_id)
        if here is None or here.early or not _worth_a_vote(track.frames):
            return
        voted = _with_best(vote(track), track)
        sure = _why_unread(voted) is None and voted.confidence >= EARLY_CONFIDENCE
        if not sure or voted.frames_agreed < EARLY_FRAMES or voted.text == here.early_text:
            return
        if self._repeated(voted, track, here):
            return
        here.early_text = voted.text
        WITHHELD.add(voted.text)
        now_us = self._clock.now_us()
        if not self._watch.listed(voted.text, voted.state, now_us):
            return
        crop = pictures_of(here.sight, voted, self._settings, scenes=False).crop
        hits = self._watch.hits_of(self._record(voted, here), crop, now_us)
        early = [hit.model_copy(update={"preliminary": True}) for hit in hits]
        here.early = self._alerts.raise_all(early, here.sight.source)

    def _finish(self, track: Track) -> None:
        here = self._passes.pop(track.track_id)
        self.tracks += 1
        voted = _with_best(vote(track), track)
        reason = _why_unread(voted)
        if reason is not None:
            self._count(f"unread: {reason}", here.sight.captured_us)
            self._alerts.withdraw(here.early, None, ())
            return
        WITHHELD.add(voted.text)
        repeated = self._repeated(voted, track, here)
        if repeated is not None:
            self._repeats.again(voted.text, track)
            self._count(f"repeated: {repeated}", here.sight.captured_us)
            self._check_early(voted, here)
        elif self._keep(voted, here):
            self._repeats.kept(voted.text, track, self._place(here.sight.captured_us))

    def _keep(self, voted: VotedRead, here: Pass) -> bool:
        """One vehicle pass: its hits first, then pictures and read into the store; whether it was taken for that."""
        pictures = pictures_of(here.sight, voted, self._settings, scenes=self.scenes)
        if not self.scenes:
            self._count("given up: scene pictures", here.sight.captured_us)
        draft = self._record(voted, here)
        self._watch.remember(draft)  # before it is matched: a list that arrives now meets it in the ring
        hits = self._watch.hits_of(draft, pictures.crop, self._clock.now_us())
        self._alerts.raise_all(hits, here.sight.source)
        self._alerts.withdraw(here.early, draft, hits)
        return self._put_away(draft, image_records(here.read_id, pictures), here.sight.source)

    def _check_early(self, voted: VotedRead, here: Pass) -> None:
        """A pass that is no new read: were its early hits right?"""
        if here.early:
            draft = self._record(voted, here)
            self._alerts.withdraw(here.early, draft, self._watch.hits_of(draft, b"", self._clock.now_us()))

    def _repeated(self, voted: VotedRead, track: Track, here: Pass) -> str | None:
        """Why this is no new read: it was read moments ago, it stands there still, another track is sure of it."""
        listed = self._watch.listed(voted.text, voted.state, self._clock.now_us())
        why = self._repeats.why(voted.text, track, self._place(here.sight.captured_us), listed=listed)
        return why or (CUT_IN_TWO if self._told_elsewhere(voted.text, here) else None)

    def _told_elsewhere(self, text: str, here: Pass) -> bool:
        """Whether another track in sight is sure of the same text: two boxes on one plate are one vehicle."""
        others = (p for p in self._passes.values() if p is not here and p.sight.source == here.sight.source)
        return any(fold(p.early_text) == fold(text) for p in others)

    def _record(self, voted: VotedRead, here: Pass) -> ReadRecord:
        return read_record(
            voted,
            here.sight,
            read_id=here.read_id,
            origin=self._origin,
            position=self._place(here.sight.captured_us),
            evidence=self._clock.evidence(),
        )

    def _put_away(self, read: ReadRecord, images: list[ImageRecord], source: str) -> bool:
        """Hands pictures and read over to be sealed; where the disk is too slow the pictures are given up first."""
        size = READ_BYTES + sum(len(image.data) for image in images)
        if self._later(lambda: self._seal(read, images, source), Rank.PICTURES, size):
            return True
        if self._later(lambda: self._seal(read, [], source), Rank.READ, READ_BYTES):
            self._count("given up: pictures, the disk is too slow", read.captured_us, len(images))
            return True
        self._count("lost: reads, the disk is too slow", read.captured_us)
        return False

    def _seal(self, read: ReadRecord, images: list[ImageRecord], source: str) -> None:
        """Pictures and read into the store, or counted as lost. Raises NotNow while its hour has no share."""
        try:
            refs = self._vault.keep_images(images, read.captured_us)
            sealed = with_pictures(read, refs)
            self._vault.keep_read(sealed)
        except (KeyringBusyError, RootOfTrustBusyError) as error:
            raise self._not_now(read, source, error) from error
        except (OSError, StorageError) as error:
            self._lost(read, source, error)
            return
        except BaseException as error:
            self._lost(read, source, error)
            raise
        self._waits = False
        self.reads += 1
        self._count("reads", read.captured_us)
        self._tell_read(sealed, source)

    def _not_now(self, read: ReadRecord, source: str, error: StorageError) -> NotNow:
        if not self._waits:
            log.warning("reads_wait", reason=str(error))
        self._waits = True
        return NotNow(lambda: self._lost(read, source, error))

    def _lost(self, read: ReadRecord, source: str, error: BaseException) -> None:
        """Counted, and to be read again if it still stands there."""
        log.error("read_not_sealed", kind=type(error).__name__, reason=_reason(error))
        refused = isinstance(error, (OSError, WriteFailedError))
        why = "lost: reads the disk refused" if refused else "lost: reads that could not be sealed"
        self._count(why, read.captured_us)
        self._unsealed.append((source, read.text))

    def _tell_read(self, read: ReadRecord, source: str) -> None:
        self._tap.send(
            "read",
            read_id=read.read_id,
            captured_us=read.captured_us,
            text=read.text,
            confidence=read.confidence,
            frames_seen=read.frames_seen,
            frames_agreed=read.frames_agreed,
            width_px=read.width_px,
            ir=read.ir,
            source=source,
        )


def _reason(error: BaseException) -> str:
    """What it says; a fault of our own may name anything, so that only its kind is told."""
    return str(error) if isinstance(error, (OSError, StorageError)) else ""


def _worth_a_vote(frames: int) -> bool:
    """Whether a pass with so many frames is voted on while it is in sight: a vote costs as much as it has frames."""
    return frames >= EARLY_FRAMES and (frames <= EVERY_FRAME or frames % EVERY_NTH == 0)


def _why_unread(voted: VotedRead) -> str | None:
    """Why this must not count as a read: the vote's reason, or a text that no plate carries (a sign)."""
    if voted.reason_if_unread is None and len(voted.text) > MAX_PLATE_CHARS:
        return "too long for a plate"
    return voted.reason_if_unread


def _with_best(voted: VotedRead, track: Track) -> VotedRead:
    """The vote with the box of the picture that was kept."""
    return replace(voted, best=track.best.read, best_frame_sequence=track.best.sequence)
