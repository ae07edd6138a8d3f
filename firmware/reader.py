# SPDX-License-Identifier: Apache-2.0
"""Frames in, sealed reads and hits out: pure of threads, so that a test can drive it frame by frame."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, replace

import structlog

from drivers.types import Frame
from firmware.clock import DeviceClock
from firmware.config import EyeConfig
from firmware.ledger import Ledger
from firmware.logs import WITHHELD
from firmware.matching import Watch
from firmware.records import Origin, Pictures, Sight, image_records, pictures_of, read_record
from firmware.sealing import Vault
from firmware.tap import Tap
from inference.pipeline import Pipeline
from inference.plates import fold
from inference.tracker import Track, Tracker
from inference.types import FrameResult, VotedRead
from inference.vote import vote
from storage.errors import StorageError
from sync.schema import HitRecord, ImageKind, ReadRecord, RecordRef

EARLY_FRAMES = 3  # frames that must agree before a hit is raised while the vehicle is still in sight
EARLY_CONFIDENCE = 0.9
NS_PER_US = 1_000
US_PER_S = 1_000_000
REMEMBERED_READS = 256
MAX_OWED = 1_000  # hits kept in RAM while the disk refuses them

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Pass:
    """One vehicle pass while it is in sight."""

    read_id: str
    sight: Sight
    early_text: str = ""


class Reader:
    """Frames in, sealed reads and hits out; pure of threads, so that a test can drive it frame by frame."""

    def __init__(  # noqa: PLR0913 -- the composition root names each part
        self,
        pipeline: Pipeline,
        tracker: Tracker,
        vault: Vault,
        watch: Watch,
        *,
        clock: DeviceClock,
        ledger: Ledger,
        tap: Tap,
        origin: Origin,
        settings: EyeConfig,
    ) -> None:
        self._pipeline = pipeline
        self._tracker = tracker
        self._vault = vault
        self._watch = watch
        self._clock = clock
        self._ledger = ledger
        self._tap = tap
        self._origin = origin
        self._settings = settings
        self._passes: dict[int, Pass] = {}
        self._owed: OrderedDict[str, HitRecord] = OrderedDict()
        self._last_read_us: OrderedDict[tuple[str, str], int] = OrderedDict()
        self.tracks = 0
        self.reads = 0
        self.hits = 0

    def take(self, frame: Frame) -> FrameResult:
        """One frame through the nets, the tracker and, for vehicles that have passed, the seal."""
        result = self._pipeline.process(frame.pixels)
        at_us = self._clock.to_wall_us(frame.monotonic_ns)
        self._ledger.count(self._origin.camera, at_us, "frames")
        for rejected in result.rejected:
            self._ledger.count(self._origin.camera, at_us, f"rejected: {rejected.reason}")
        ended = self._tracker.update(
            result, t_us=frame.monotonic_ns // NS_PER_US, sequence=frame.sequence, source=frame.source
        )
        for track in ended:
            self._finish(track)
        for track in self._tracker.improved:
            self._look_closer(track, frame, at_us)
        for track in self._tracker.live:
            self._alert_early(track)
        return result

    def flush(self) -> None:
        """Ends what is still in sight (the camera has finished, or the eye is being stopped)."""
        for track in self._tracker.flush():
            self._finish(track)

    def _look_closer(self, track: Track, frame: Frame, at_us: int) -> None:
        sight = Sight(frame.pixels, frame.sequence, at_us, frame.ir, frame.source)
        known = self._passes.get(track.track_id)
        if known is None:
            self._passes[track.track_id] = Pass(secrets.token_hex(16), sight)
        else:
            known.sight = sight

    def _alert_early(self, track: Track) -> None:
        """Raises a hit within a few frames of certainty; the read itself is sealed when the vehicle has passed."""
        here = self._passes.get(track.track_id)
        if here is None or len(track.observations) < EARLY_FRAMES:
            return
        voted = _with_best(vote(track), track)
        sure = voted.reason_if_unread is None and voted.confidence >= EARLY_CONFIDENCE
        if not sure or voted.frames_agreed < EARLY_FRAMES or voted.text == here.early_text:
            return
        here.early_text = voted.text
        WITHHELD.add(voted.text)
        if self._repeats(voted.text, here.sight):
            return
        if self._watch.listed(voted.text, voted.state, self._clock.now_us()):
            pictures = pictures_of(here.sight, voted, self._settings)
            self._alert(self._record(voted, here, {}), pictures)

    def _finish(self, track: Track) -> None:
        here = self._passes.pop(track.track_id)
        self.tracks += 1
        voted = _with_best(vote(track), track)
        if voted.reason_if_unread is not None:
            self._ledger.count(
                self._origin.camera, here.sight.captured_us, f"unread: {voted.reason_if_unread}"
            )
            return
        WITHHELD.add(voted.text)
        repeated = self._repeats(voted.text, here.sight)
        self._note_read(voted.text, here.sight)
        if repeated:
            self._ledger.count(self._origin.camera, here.sight.captured_us, "repeated: same pass")
            return
        pictures = pictures_of(here.sight, voted, self._settings)
        self._alert(self._record(voted, here, {}), pictures)
        read = self._seal(voted, here, pictures)
        if read is None:
            return
        self._watch.remember(read)
        self.reads += 1
        self._ledger.count(self._origin.camera, here.sight.captured_us, "reads")
        self._tell_read(read, here.sight)

    def _repeats(self, text: str, sight: Sight) -> bool:
        """Whether the same text was read moments ago: a track that was cut in two is one vehicle pass."""
        before = self._last_read_us.get((sight.source, fold(text)))
        return before is not None and abs(sight.captured_us - before) <= self._settings.repeat_s * US_PER_S

    def _note_read(self, text: str, sight: Sight) -> None:
        key = (sight.source, fold(text))
        self._last_read_us[key] = sight.captured_us
        self._last_read_us.move_to_end(key)
        while len(self._last_read_us) > REMEMBERED_READS:
            self._last_read_us.popitem(last=False)

    def _record(self, voted: VotedRead, here: Pass, refs: dict[ImageKind, RecordRef]) -> ReadRecord:
        return read_record(
            voted,
            here.sight,
            read_id=here.read_id,
            origin=self._origin,
            evidence=self._clock.evidence(),
            refs=refs,
        )

    def _alert(self, read: ReadRecord, pictures: Pictures) -> None:
        for hit in self._watch.hits_of(read, pictures.crop, self._clock.now_us()):
            self.raise_hit(hit)

    def raise_hit(self, hit: HitRecord) -> None:
        """Puts one hit into the spool and tells the tap; the same hit is told once.

        A hit that can't be stored now (a full or failing disk) is owed: kept in RAM and tried again.
        """
        try:
            fresh = self._vault.raise_hit(hit)
        except StorageError as error:
            self._owe(hit, str(error))
            return
        if not fresh:
            return
        self.hits += 1
        self._ledger.count(self._origin.camera, hit.read.captured_us, "hits")
        log.info("hit_raised", hit_id=hit.hit_id, kind=hit.match.kind.value, list_id=hit.match.list_id)
        self._tap.send(
            "hit",
            hit_id=hit.hit_id,
            captured_us=hit.read.captured_us,
            text=hit.read.text,
            listed=hit.entry.plate,
            category=hit.entry.category,
            kind=hit.match.kind.value,
            explanation=hit.match.explanation,
        )

    def _owe(self, hit: HitRecord, reason: str) -> None:
        self._owed[hit.hit_id] = hit
        log.error("hit_not_stored", hit_id=hit.hit_id, owed=len(self._owed), reason=reason)
        while len(self._owed) > MAX_OWED:
            _, lost = self._owed.popitem(last=False)
            self._ledger.count(self._origin.camera, lost.read.captured_us, "lost: hits owed beyond the bound")

    def retry_owed(self) -> None:
        """Tries again to store the hits that are owed; called between frames."""
        owed, self._owed = self._owed, OrderedDict()
        for hit in owed.values():
            self.raise_hit(hit)

    @property
    def owed(self) -> int:
        """Hits that wait in RAM because the disk refuses them."""
        return len(self._owed)

    def _seal(self, voted: VotedRead, here: Pass, pictures: Pictures) -> ReadRecord | None:
        """Pictures and read into the store; None, with a count in the ledger, when the disk refuses them."""
        try:
            refs = self._vault.keep_images(image_records(here.read_id, pictures), here.sight.captured_us)
            read = self._record(voted, here, refs)
            self._vault.keep_read(read)
        except StorageError as error:
            log.error("read_not_sealed", reason=str(error))
            self._ledger.count(self._origin.camera, here.sight.captured_us, "lost: reads the disk refused")
            return None
        return read

    def _tell_read(self, read: ReadRecord, sight: Sight) -> None:
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
            source=sight.source,
        )


def _with_best(voted: VotedRead, track: Track) -> VotedRead:
    """The vote with the box of the picture that was kept."""
    return replace(voted, best=track.best.read, best_frame_sequence=track.best.sequence)
