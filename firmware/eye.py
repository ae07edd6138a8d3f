# SPDX-License-Identifier: Apache-2.0
"""The eye: camera to sealed read and hit. Every stage is a thread, and says that it advances.

    camera -> frames -> inference -> jobs -> sealing      two bounded queues
    disk        commits what was sealed, tends keys and room
    the caller  tells how everything is, and feeds the watchdog

Only the last two of the stages (sealing, disk) write: a disk that hangs stops neither reading nor matching nor the
alarms. A disk that refuses starves no watchdog, because a restart mends no disk; one that hangs does after minutes.
"""

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
from firmware.chores import Chores
from firmware.config import EyeConfig
from firmware.disk_watch import DiskNews, DiskWatch
from firmware.health import Condition, Finding, well
from firmware.keeper import Keeper
from firmware.latest import LatestQueue
from firmware.light import Light
from firmware.patience import Patience
from firmware.reader import Reader
from firmware.sealing import Acknowledged, Vault, describe
from firmware.tap import Tap
from firmware.timings import Timings
from inference.types import FrameResult

DISK_PATIENCE_S = 300.0  # a disk may hang so long before the unit is restarted for it
END_S = 20.0  # for the disk, when the eye ends

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Stages:
    """When each stage last advanced (monotonic seconds); the watchdog is fed only while all do."""

    camera: float = field(default_factory=time.monotonic)
    inference: float = field(default_factory=time.monotonic)
    sealing: float = field(default_factory=time.monotonic)
    commit: float = field(default_factory=time.monotonic)

    def stalled(self, limit_s: float) -> list[str]:
        """The names of the stages that have not advanced for `limit_s`; those that write are borne for longer."""
        now, disk_s = time.monotonic(), max(limit_s, DISK_PATIENCE_S)
        stages = {
            "camera": (self.camera, limit_s),
            "inference": (self.inference, limit_s),
            "sealing": (self.sealing, disk_s),
            "commit": (self.commit, disk_s),
        }
        return [name for name, (at, most_s) in stages.items() if now - at > most_s]

    def camera_advanced(self) -> None:
        """The camera gave a living frame, or is being opened again."""
        self.camera = time.monotonic()

    def sealing_advanced(self) -> None:
        """A job for the disk is done, or there is none."""
        self.sealing = time.monotonic()


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
        keeper: Keeper | None = None,
        look_around: Callable[[], None] = lambda: None,
        feed: Callable[[Sequence[str]], Finding],
        last_word: Callable[[], None] = lambda: None,
        report: Callable[[Finding], None] = lambda _finding: None,
        disk: DiskWatch | None = None,
        patience: Patience | None = None,
    ) -> None:
        """`tend` is the disk thread's work beside commits, `look_around` the caller's; `keeper` has sealing's jobs."""
        self._reader = reader
        self._vault = vault
        self._keeper = keeper or Keeper()
        self._look_around = look_around
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
        self._chores = Chores()
        self._nets_failed = False
        self._left = 0  # reads that waited still when the eye ended
        self._sealed = 0
        self._refused_s = -float("inf")
        self._stalled: list[str] = []

    def run(self, stop: threading.Event) -> None:
        """Runs all threads; raises what ended the inference thread, if anything did."""
        inference_done, ended = threading.Event(), threading.Event()
        seeing = [
            threading.Thread(target=self.capture.run, args=(stop,), name="camera", daemon=True),
            threading.Thread(target=self._infer, args=(inference_done,), name="inference", daemon=True),
        ]
        writing = [
            threading.Thread(target=self._seal, args=(stop,), name="sealing", daemon=True),
            threading.Thread(target=self._keep_disk, args=(ended, stop), name="disk", daemon=True),
        ]
        for thread in (*seeing, *writing):
            thread.start()
        self._noted(lambda: self._keep_up_until(inference_done))
        stop.set()  # a fault of the main thread too must leave no camera thread with a lamp behind
        for thread in seeing:
            thread.join(CAPTURE_TIMEOUT_S + CAMERA_RETRY_S)
        ended.set()
        self._end(writing)

    def _keep_up_until(self, done: threading.Event) -> None:
        while not done.wait(self._settings.commit_interval_ms / 1000):
            self._keep_up()

    def _end(self, writing: Sequence[threading.Thread]) -> None:
        """Seals what is in sight, unless the nets failed, and closes the store; raises what failed first."""
        if not self._nets_failed:
            self._noted(self._reader.flush)
        self._noted(self._last_word)
        self._keeper.close()
        until_s = time.monotonic() + END_S
        for thread in writing:
            thread.join(max(0.0, until_s - time.monotonic()))
        if any(thread.is_alive() for thread in writing):
            self._left = self._keeper.waiting_reads
            log.error("disk_hangs_at_end", waiting_bytes=self._keeper.waiting_bytes)
        else:
            self._noted(lambda: self._tell_acked(self._vault.close()))
        self._tell_rates()
        failure = self._failure or self.capture.failure
        if failure is not None:
            raise failure
        self._tap.send("end")

    def _noted(self, work: Callable[[], None]) -> bool:
        """Whether it came to its end; what nobody caught in it ends the eye: `run` raises the first of these."""
        try:
            work()
        except BaseException as error:  # noqa: BLE001 -- carried to the service's edge, which ends with it
            if self._failure is not None:
                log.error("failed_while_ending", kind=type(error).__name__)
            self._failure = self._failure or error
            return False
        return True

    def _seal(self, stop: threading.Event) -> None:
        """A job that fails as nobody thought ends the eye, and costs no other job."""
        while not self._noted(lambda: self._keeper.run(self._stages.sealing_advanced)):
            stop.set()

    def _keep_disk(self, ended: threading.Event, stop: threading.Event) -> None:
        while not ended.wait(self._settings.commit_interval_ms / 1000):
            if not self._noted(self._commit):
                stop.set()
                return

    def _keep_up(self) -> None:
        """Looks around, tells how everything is and feeds the watchdog: the caller's work, which never writes."""
        self._look_around()
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
            self._report(self._disk.finding(self._disk_news()))
        self._report(self._feed(stalled))

    def _disk_news(self) -> DiskNews:
        """How the disk does, from those who write to it."""
        waiting_s = max(self._vault.waiting_s, self._keeper.waiting_s)
        if self._vault.sealed != self._sealed:  # a commit came to its end since the last look
            self._sealed, waiting_s = self._vault.sealed, max(waiting_s, self._vault.ack_s)
        refusals, now_s = self._vault.refusals(), time.monotonic()
        if refusals:
            self._refused_s = now_s  # what it keeps waiting does not make the disk slow
        waiting_s = min(waiting_s, now_s - self._refused_s)
        return DiskNews(
            lost=self._vault.lost,
            refused=bool(refusals),
            full=bool(refusals) and all(refusals.values()),
            gave_way=self._vault.images_gave_way,
            slow_s=waiting_s - self._settings.commit_interval_ms / 1000,
        )

    def _commit(self) -> None:
        """One group commit and what else is due, which a refusal does not keep from its turn."""
        self._chores.do("commit", self._acknowledge)
        self._chores.do("tend", self._tend)
        self._stages.commit = time.monotonic()

    def _acknowledge(self) -> None:
        self._tell_acked(self._vault.commit())

    def _infer(self, done: threading.Event) -> None:
        self._nets_failed = not self._noted(self._take_all)
        done.set()

    def _take_all(self) -> None:
        while not self._queue.finished:
            frame = self._queue.get(QUEUE_TIMEOUT_S)
            self._stages.inference = time.monotonic()
            if frame is not None:
                self._take(frame)

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
            "lost: reads, the disk hung at the end": self._left,
            **self._vault.counts(),
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
            "pictures_gave_way": self._vault.images_gave_way,
            "ack_ms": round(1000 * self._vault.ack_s),
            "disk_wait_s": round(max(self._vault.waiting_s, self._keeper.waiting_s), 1),
            "disk_waiting_kb": self._keeper.waiting_bytes // 1000,
        }
