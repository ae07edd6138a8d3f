# SPDX-License-Identifier: Apache-2.0
"""The eye: camera to sealed read and hit. Three threads and a bounded queue; every stage says that it advances."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from drivers.ports import Camera
from drivers.types import Frame
from firmware.camera_check import CameraCheck
from firmware.capture import CAMERA_RETRY_S, CAPTURE_TIMEOUT_S, QUEUE_TIMEOUT_S, Capture
from firmware.config import EyeConfig
from firmware.disk_watch import DiskWatch
from firmware.health import Condition, Finding, well
from firmware.latest import LatestQueue
from firmware.light import Light
from firmware.patience import Patience
from firmware.reader import Reader
from firmware.sealing import Acknowledged, Vault, describe
from firmware.tap import Tap
from firmware.timings import Timings
from inference.types import FrameResult
from storage.errors import StorageError

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

    def camera_advanced(self) -> None:
        """The camera gave a living frame, or is being opened again."""
        self.camera = time.monotonic()


def stalled_finding(stalled: list[str]) -> Finding:
    """What stands still, for the technician."""
    if not stalled:
        return well("eye")
    what = " and ".join(stalled)
    return Finding("eye", Condition.FAILED, "stalled", f"{what} stands still: the unit restarts by itself")


def look(frame: Frame, reader: Reader, light: Light) -> FrameResult:
    """One frame: its plates read, the next exposure found; a long exposure only shows the road."""
    if light.is_long(frame):
        reader.show(frame)
        light.saw(frame, ())
        return FrameResult([], [])
    result = reader.take(frame)
    light.saw(frame, [read.corners for read in result.reads])
    return result


class Eye:
    """The threads around a Reader. `run` returns when the camera has finished or `stop` is set."""

    def __init__(  # noqa: PLR0913 -- the composition root names each part
        self,
        camera: Callable[[], Camera],
        reader: Reader,
        vault: Vault,
        check: CameraCheck,
        light: Light,
        *,
        tap: Tap,
        settings: EyeConfig,
        lossless: bool,
        tend: Callable[[], None],
        feed: Callable[[Sequence[str]], Finding],
        last_word: Callable[[], None] = lambda: None,
        report: Callable[[Finding], None] = lambda _finding: None,
        disk: DiskWatch | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._reader = reader
        self._vault = vault
        self._tap = tap
        self._settings = settings
        self._tend = tend
        self._feed = feed
        self._last_word = last_word
        self._report = report
        self._disk = disk
        self._light = light
        self._queue: LatestQueue[Frame] = LatestQueue(settings.queue_frames)
        self._stages = Stages()
        self.capture = Capture(
            camera,
            self._queue,
            check,
            light,
            lossless=lossless,
            advanced=self._stages.camera_advanced,
            patience=patience,
        )
        self._timings = Timings()
        self._frames = 0
        self._started_s = time.monotonic()
        self._failure: BaseException | None = None
        self._refused = ""
        self._stalled: list[str] = []

    def run(self, stop: threading.Event) -> None:
        """Runs all threads; raises what ended the inference thread, if anything did."""
        inference_done = threading.Event()
        threads = [
            threading.Thread(target=self.capture.run, args=(stop,), name="camera", daemon=True),
            threading.Thread(target=self._infer, args=(inference_done,), name="inference", daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            while not inference_done.wait(self._settings.commit_interval_ms / 1000):
                self._keep_up()
        finally:  # a fault of the main thread too must leave no camera thread with a lamp behind
            stop.set()
            for thread in threads:
                thread.join(CAPTURE_TIMEOUT_S + CAMERA_RETRY_S)
        self._end()

    def _end(self) -> None:
        """Seals what is in sight, unless it was the nets that failed, and closes the store."""
        if self._failure is None:
            self._reader.flush()
            self._last_word()
        self._tell_acked(self._vault.close())
        self._tell_rates()
        failure = self._failure or self.capture.failure
        if failure is not None:
            raise failure
        self._tap.send("end")

    def _keep_up(self) -> None:
        """Commits, tends the keys, feeds the watchdog: what the main thread does between frames."""
        refused = self._commit()
        self._tell_rates()
        stalled = self._stages.stalled(self._settings.stall_limit_s)
        if stalled and stalled != self._stalled:
            log.error("stage_stalled", stages=stalled)
        self._stalled = stalled
        self._report(self.capture.finding())
        self._report(stalled_finding(stalled))
        for finding in self._light.findings():
            self._report(finding)
        if self._disk is not None:
            self._report(self._disk.finding(lost=self._vault.lost, refused=bool(refused)))
        self._report(self._feed(stalled))

    def _commit(self) -> str:
        """One group commit and what else is due; what the disk says when it refuses, told once."""
        try:
            self._tell_acked(self._vault.commit())
            self._tend()
            self._stages.commit = time.monotonic()
            self._refused = ""
        except (StorageError, OSError) as error:
            if str(error) != self._refused:
                self._refused = str(error)
                log.error(
                    "commit_failed", reason=self._refused
                )  # a disk that stays broken starves the watchdog
        return self._refused

    def _infer(self, done: threading.Event) -> None:
        try:
            while not self._queue.finished:
                frame = self._queue.get(QUEUE_TIMEOUT_S)
                self._stages.inference = time.monotonic()
                if frame is not None:
                    self._take(frame)
        except BaseException as error:  # noqa: BLE001 -- carried to the service's edge, which ends with it
            self._failure = error
        finally:
            done.set()

    def _take(self, frame: Frame) -> None:
        begun_ns = time.monotonic_ns()
        self._frames += 1
        result = look(frame, self._reader, self._light)
        if result.timings:
            self._timings.take(result.timings, begun_ns, time.monotonic_ns(), frame.monotonic_ns)

    def _tell_acked(self, records: list[Acknowledged]) -> None:
        if records:
            self._tap.send("acked", records=[describe(record) for record in records])

    def _tell_rates(self) -> None:
        self._tap.send("rates", **self.rates())

    def dropped(self) -> dict[str, int]:
        """What had to be given up, for the ledger."""
        return {
            "frames dropped: by the camera": self.capture.dropped,
            "frames dropped: queue full": self._queue.dropped,
            "given up: frames": self.capture.spared,
        }

    def rates(self) -> dict[str, object]:
        """Counters of this start, for the status socket and the terminal."""
        elapsed = max(1e-3, time.monotonic() - self._started_s)
        return {
            "camera": self.capture.state,
            "frames": self._frames,
            "fps": round(self._frames / elapsed, 1),
            **self._timings.figures(),
            "queue": len(self._queue),
            "queue_frames": self._settings.queue_frames,
            "dropped": self._queue.dropped,
            "camera_dropped": self.capture.dropped,
            "tracks": self._reader.tracks,
            "reads": self._reader.reads,
            "sealed": self._vault.sealed,
            "records_lost": self._vault.lost,
            "pictures_given_up": self._vault.images_given_up,
        }
