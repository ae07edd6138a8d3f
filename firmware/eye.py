# SPDX-License-Identifier: Apache-2.0
"""The eye: camera to sealed read and hit. Three threads and a bounded queue; every stage says that it advances."""

from __future__ import annotations

import threading
import time
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from drivers.errors import CameraLost, CameraTimeout
from drivers.ports import Camera
from drivers.types import Frame
from firmware.config import EyeConfig
from firmware.latest import LatestQueue
from firmware.reader import Reader
from firmware.sealing import Acknowledged, Vault, describe
from firmware.tap import Tap
from storage.errors import StorageError

CAPTURE_TIMEOUT_S = 5.0
QUEUE_TIMEOUT_S = 0.5
CAMERA_RETRY_S = 1.0
TIMINGS_KEPT = 256
LOOK_EVERY = 16  # px between the samples by which frames are compared
FROZEN_FRAMES = 20  # identical frames in a row: a living sensor's noise never repeats

log = structlog.get_logger(__name__)


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


class Eye:
    """The threads around a Reader. `run` returns when the camera has finished or `stop` is set."""

    def __init__(  # noqa: PLR0913 -- the composition root names each part
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
        last_word: Callable[[], None] = lambda: None,
    ) -> None:
        self._open_camera = camera
        self._reader = reader
        self._vault = vault
        self._tap = tap
        self._settings = settings
        self._lossless = lossless
        self._tend = tend
        self._feed = feed
        self._last_word = last_word
        self._queue: LatestQueue[Frame] = LatestQueue(settings.queue_frames)
        self._stages = Stages()
        self._timings: deque[float] = deque(maxlen=TIMINGS_KEPT)
        self._frames = 0
        self._started_s = time.monotonic()
        self._failure: BaseException | None = None
        self._last_sequence: int | None = None
        self._look = 0
        self._same_frames = 0
        self.camera_dropped = 0
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
        if self._failure is None or self.camera_state == "failed":
            self._reader.flush()
            self._last_word()
        self._tell_acked(self._vault.close())
        self._tell_rates()
        if self._failure is not None:
            raise self._failure
        self._tap.send("end")

    def _keep_up(self) -> None:
        """Commits, tends the keys, feeds the watchdog: what the main thread does between frames."""
        try:
            self._tell_acked(self._vault.commit())
            self._tend()
            self._stages.commit = time.monotonic()
        except (StorageError, OSError) as error:
            log.error("commit_failed", reason=str(error))  # a disk that stays broken starves the watchdog
        self._tell_rates()
        stalled = self._stages.stalled(self._settings.stall_limit_s)
        if stalled:
            log.error("stage_stalled", stages=stalled)
        else:
            self._feed()

    def _capture(self, stop: threading.Event) -> None:
        """The camera thread: whatever ends it also ends the queue, so that nothing waits for frames in vain."""
        try:
            while not stop.is_set():
                try:
                    self._watch_camera(stop)
                    break
                except CameraLost as error:
                    self.camera_state = "lost"
                    self._stages.camera = (
                        time.monotonic()
                    )  # trying again is work: a lost camera is no hung eye
                    log.error("camera_lost", reason=str(error))
                    stop.wait(CAMERA_RETRY_S)
        except BaseException as error:  # noqa: BLE001 -- carried to the service's edge, which ends with it
            self.camera_state = "failed"
            self._failure = error
        finally:
            self._queue.close()

    def _watch_camera(self, stop: threading.Event) -> None:
        """Frames until the camera has finished or the eye is stopped; raises CameraLost."""
        camera = self._open_camera()
        try:
            self._last_sequence = None  # a camera that was opened again counts anew
            while not stop.is_set():
                try:
                    frame = camera.capture(CAPTURE_TIMEOUT_S)
                except CameraTimeout:
                    log.warning("camera_slow", timeout_s=CAPTURE_TIMEOUT_S)
                    continue
                if frame is None:
                    self.camera_state = "finished"
                    return
                self._note(frame)
                self._enqueue(frame, stop)
        finally:
            camera.close()

    def _note(self, frame: Frame) -> None:
        """Counts gaps in the camera's own numbering, and notices a picture that never changes: a hung camera."""
        if self._last_sequence is not None:
            self.camera_dropped += max(0, frame.sequence - self._last_sequence - 1)
        self._last_sequence = frame.sequence
        look = zlib.crc32(frame.pixels[::LOOK_EVERY, ::LOOK_EVERY].tobytes())
        self._same_frames = self._same_frames + 1 if look == self._look and not self._lossless else 0
        self._look = look
        if self._same_frames < FROZEN_FRAMES:
            self.camera_state = "up"
            self._stages.camera = time.monotonic()
        elif self.camera_state != "frozen":
            self.camera_state = "frozen"
            log.error("camera_frozen", frames=self._same_frames)

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

    def _tell_acked(self, records: list[Acknowledged]) -> None:
        if records:
            self._tap.send("acked", records=[describe(record) for record in records])

    def _tell_rates(self) -> None:
        self._tap.send("rates", **self.rates())

    def dropped(self) -> dict[str, int]:
        """What had to be given up, for the ledger."""
        return {
            "frames dropped: by the camera": self.camera_dropped,
            "frames dropped: queue full": self._queue.dropped,
        }

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
            "camera_dropped": self.camera_dropped,
            "tracks": self._reader.tracks,
            "reads": self._reader.reads,
            "sealed": self._vault.sealed,
            "records_lost": self._vault.lost,
            "pictures_given_up": self._vault.images_given_up,
        }
