# SPDX-License-Identifier: Apache-2.0
"""The eye: camera to sealed read and hit. Three threads and a bounded queue; every stage says that it advances."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from drivers.errors import CameraLost, CameraTimeout
from drivers.ports import Camera
from drivers.types import Frame
from firmware.clock import DeviceClock
from firmware.config import EyeConfig
from firmware.latest import LatestQueue
from firmware.ledger import Ledger
from firmware.logs import WITHHELD
from firmware.matching import Watch
from firmware.records import Origin, Pictures, Sight, image_records, pictures_of, read_record
from firmware.sealing import Vault, describe
from firmware.tap import Tap
from inference.pipeline import Pipeline
from inference.plates import fold
from inference.tracker import Track, Tracker
from inference.types import FrameResult, VotedRead
from inference.vote import vote
from sync.schema import HitRecord, ReadRecord

CAPTURE_TIMEOUT_S = 5.0
QUEUE_TIMEOUT_S = 0.5
CAMERA_RETRY_S = 1.0
EARLY_FRAMES = 3  # frames that must agree before a hit is raised while the vehicle is still in sight
EARLY_CONFIDENCE = 0.9
TIMINGS_KEPT = 256
NS_PER_US = 1_000
US_PER_S = 1_000_000
REMEMBERED_READS = 256

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Pass:
    """One vehicle pass while it is in sight."""

    read_id: str
    sight: Sight
    early_text: str = ""


@dataclass(slots=True)
class Stages:
    """When each stage last advanced (monotonic seconds); the watchdog is fed only while all do."""

    camera: float = field(default_factory=time.monotonic)
    inference: float = field(default_factory=time.monotonic)
    commit: float = field(default_factory=time.monotonic)

    def stalled(self, limit_s: float) -> list[str]:
        """The names of the stages that have not advanced for `limit_s`."""
        now = time.monotonic()
        stages = {"camera": self.camera, "inference": self.inference, "commit": self.commit}
        return [name for name, at in stages.items() if now - at > limit_s]


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
        if self._repeats(voted.text, here.sight):
            self._ledger.count(self._origin.camera, here.sight.captured_us, "repeated: same pass")
            return
        pictures = pictures_of(here.sight, voted, self._settings)
        self._alert(self._record(voted, here, {}), pictures)
        refs = self._vault.keep_images(image_records(here.read_id, pictures), here.sight.captured_us)
        read = self._record(voted, here, refs)
        self._vault.keep_read(read)
        self._watch.remember(read)
        self.reads += 1
        self._ledger.count(self._origin.camera, here.sight.captured_us, "reads")
        self._tell_read(read, here.sight)

    def _repeats(self, text: str, sight: Sight) -> bool:
        """Whether the same text was read moments ago: a track that was cut in two is one vehicle pass."""
        key = (sight.source, fold(text))
        before = self._last_read_us.get(key)
        self._last_read_us[key] = sight.captured_us
        self._last_read_us.move_to_end(key)
        while len(self._last_read_us) > REMEMBERED_READS:
            self._last_read_us.popitem(last=False)
        return before is not None and abs(sight.captured_us - before) <= self._settings.repeat_s * US_PER_S

    def _record(self, voted: VotedRead, here: Pass, refs: dict) -> ReadRecord:  # type: ignore[type-arg]
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
        """Puts one hit into the spool and tells the tap; the same hit is told once."""
        if not self._vault.raise_hit(hit):
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


class Eye:
    """The threads around a Reader. `run` returns when the camera has finished or `stop` is set."""

    def __init__(
        self,
        camera: Callable[[], Camera],
        reader: Reader,
        vault: Vault,
        *,
        tap: Tap,
        settings: EyeConfig,
        lossless: bool,
        tend: Callable[[], None],
        feed: Callable[[], None],
    ) -> None:
        self._open_camera = camera
        self._reader = reader
        self._vault = vault
        self._tap = tap
        self._settings = settings
        self._lossless = lossless
        self._tend = tend
        self._feed = feed
        self._queue: LatestQueue[Frame] = LatestQueue(settings.queue_frames)
        self._stages = Stages()
        self._timings: deque[float] = deque(maxlen=TIMINGS_KEPT)
        self._frames = 0
        self._started_s = time.monotonic()
        self._failure: BaseException | None = None
        self.camera_state = "opening"

    def run(self, stop: threading.Event) -> None:
        """Runs all threads; raises what ended the inference thread, if anything did."""
        inference_done = threading.Event()
        threads = [
            threading.Thread(target=self._capture, args=(stop,), name="camera", daemon=True),
            threading.Thread(target=self._infer, args=(inference_done,), name="inference", daemon=True),
        ]
        for thread in threads:
            thread.start()
        while not inference_done.wait(self._settings.commit_interval_ms / 1000):
            self._keep_up()
        stop.set()
        for thread in threads:
            thread.join(CAPTURE_TIMEOUT_S + CAMERA_RETRY_S)
        if self._failure is not None:
            raise self._failure
        self._reader.flush()
        self._tell_acked(self._vault.close())
        self._tell_rates()
        self._tap.send("end")

    def _keep_up(self) -> None:
        """Commits, tends the keys, feeds the watchdog: what the main thread does between frames."""
        self._tell_acked(self._vault.commit())
        self._stages.commit = time.monotonic()
        self._tend()
        self._tell_rates()
        stalled = self._stages.stalled(self._settings.stall_limit_s)
        if stalled:
            log.error("stage_stalled", stages=stalled)
        else:
            self._feed()

    def _capture(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                if self._watch_camera(stop):
                    break
            except CameraLost as error:
                self.camera_state = "lost"
                log.error("camera_lost", reason=str(error))
                stop.wait(CAMERA_RETRY_S)
        self._queue.close()

    def _watch_camera(self, stop: threading.Event) -> bool:
        """Frames until the camera has finished (True) or the eye is stopped; raises CameraLost."""
        camera = self._open_camera()
        try:
            self.camera_state = "up"
            while not stop.is_set():
                try:
                    frame = camera.capture(CAPTURE_TIMEOUT_S)
                except CameraTimeout:
                    log.warning("camera_slow", timeout_s=CAPTURE_TIMEOUT_S)
                    continue
                if frame is None:
                    self.camera_state = "finished"
                    return True
                self._stages.camera = time.monotonic()
                self._enqueue(frame, stop)
        finally:
            camera.close()
        return True

    def _enqueue(self, frame: Frame, stop: threading.Event) -> None:
        if not self._lossless:
            self._queue.put(frame)
            return
        while not stop.is_set() and not self._queue.put_blocking(frame, QUEUE_TIMEOUT_S):
            continue

    def _infer(self, done: threading.Event) -> None:
        try:
            while not self._queue.finished:
                frame = self._queue.get(QUEUE_TIMEOUT_S)
                self._stages.inference = time.monotonic()
                if frame is None:
                    continue
                result = self._reader.take(frame)
                self._frames += 1
                self._timings.append(result.timings.get("total", 0.0))
        except BaseException as error:  # noqa: BLE001 -- carried to the service's edge, which ends with it
            self._failure = error
        finally:
            done.set()

    def _tell_acked(self, records: list) -> None:  # type: ignore[type-arg]
        if records:
            self._tap.send("acked", records=[describe(record) for record in records])

    def _tell_rates(self) -> None:
        self._tap.send("rates", **self.rates())

    def rates(self) -> dict[str, object]:
        """Counters of this start, for the status socket and the terminal."""
        elapsed = max(1e-3, time.monotonic() - self._started_s)
        ordered = sorted(self._timings)
        return {
            "camera": self.camera_state,
            "frames": self._frames,
            "fps": round(self._frames / elapsed, 1),
            "ms_p50": round(ordered[len(ordered) // 2], 1) if ordered else 0.0,
            "ms_p95": round(ordered[int(len(ordered) * 0.95)], 1) if ordered else 0.0,
            "queue": len(self._queue),
            "dropped": self._queue.dropped,
            "tracks": self._reader.tracks,
            "reads": self._reader.reads,
            "hits": self._reader.hits,
            "sealed": self._vault.sealed,
        }
