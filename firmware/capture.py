# SPDX-License-Identifier: Apache-2.0
"""The camera thread: opens the camera, takes its frames, opens it again; never ends because a camera does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from drivers.errors import CameraLost, CameraTimeout
from drivers.ports import Camera
from drivers.types import Frame
from firmware.camera_check import CameraCheck
from firmware.camera_findings import FINDINGS, PART
from firmware.health import Condition, Finding, well
from firmware.latest import LatestQueue
from firmware.light import Light
from firmware.patience import Patience

CAPTURE_TIMEOUT_S = 5.0
CAMERA_RETRY_S = 1.0
QUEUE_TIMEOUT_S = 0.5
LOST_S = 600.0  # after so long a new process is tried, and then ever more rarely
STEADY_S = 2.0  # of frames, before a camera that was lost counts as well: a loose plug does not flap

FAILED = Finding(
    PART,
    Condition.FAILED,
    "failed",
    "The camera's driver has a fault: send the log to those who maintain it.",
)

log = structlog.get_logger(__name__)


class Capture:
    """`run` is the thread; `state` is opening, up, finished, failed, or what `check` found ("lost", "frozen", ...).

    `advanced` is called for each living frame; `light` tells the camera between two frames how to expose. `share` of
    the frames are handed on, the rest is counted as `spared`: a weak supply gives up frames before it gives up reads.
    """

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        queue: LatestQueue[Frame],
        check: CameraCheck,
        light: Light,
        *,
        lossless: bool,
        advanced: Callable[[], None],
        patience: Patience | None = None,
    ) -> None:
        self._open_camera = open_camera
        self._queue = queue
        self._check = check
        self._light = light
        self._lossless = lossless
        self._advanced = advanced
        self._patience = patience or Patience(None)
        self._last_sequence: int | None = None
        self._found = well(PART)
        self._lost_s: float | None = None
        self._told = ""
        self._credit = 0.0
        self.share = 1.0
        self.spared = 0
        self.dropped = 0  # by the camera itself
        self.state = "opening"
        self.failure: BaseException | None = None

    def run(self, stop: threading.Event) -> None:
        """Whatever ends it also ends the queue, so that nothing waits for frames in vain."""
        try:
            while not stop.is_set():
                try:
                    self._watch(stop)
                    break
                except CameraLost as error:
                    self._lost(error)
                    stop.wait(CAMERA_RETRY_S)
        except BaseException as error:  # noqa: BLE001 -- carried to the service's edge, which ends with it
            self.state, self._found = "failed", FAILED
            self.failure = error
        finally:
            try:
                self._light.gone()
            finally:
                self._queue.close()

    def finding(self) -> Finding:
        """How the camera is; one that was lost is well again only after STEADY_S of frames."""
        lost_s = self._lost_s
        if lost_s is not None and (self.state == "lost" or time.monotonic() - lost_s < STEADY_S):
            return FINDINGS["lost"]
        return self._found

    def _watch(self, stop: threading.Event) -> None:
        """Frames until the camera has finished or the eye is stopped; raises CameraLost."""
        camera = self._open_camera()
        try:
            self._check.expect(camera.capabilities().fps)
            self._last_sequence = None  # a camera that was opened again counts anew
            while not stop.is_set():
                try:
                    self._light.between(camera)
                    frame = camera.capture(CAPTURE_TIMEOUT_S)
                except CameraTimeout:
                    self._see(self._check.missed())
                    if self._patience.bears():
                        self._advanced()
                    continue
                if frame is None:
                    self.state = "finished"
                    return
                self._take(self._light.seen(frame), stop)
        finally:
            camera.close()

    def _take(self, frame: Frame, stop: threading.Event) -> None:
        if self._last_sequence is not None:
            self.dropped += max(0, frame.sequence - self._last_sequence - 1)
        self._last_sequence, self._told = frame.sequence, ""
        night = self._light.night
        self._see(self._check.look(frame, night=frame.ir if night is None else night))
        if self._found.code != "frozen":  # a dark or a turned camera is no hang: no restart helps it
            self._patience.sound()
            self._advanced()
        elif self._patience.bears():
            self._advanced()
        if self._wanted():
            self._enqueue(frame, stop)

    def _see(self, found: Finding) -> None:
        self._found, self.state = found, found.code or "up"

    def _lost(self, error: CameraLost) -> None:
        self._see(self._check.lost())
        self._lost_s = time.monotonic()
        self._light.gone()
        if self._patience.bears(LOST_S):  # trying again is work; but a driver may need a new process
            self._advanced()
        if str(error) != self._told:  # once, not every second of a night
            self._told = str(error)
            log.error("camera_lost", reason=self._told)

    def _wanted(self) -> bool:
        """Whether this frame is among the share that is handed on."""
        self._credit += self.share
        if self._credit < 1.0:
            self.spared += 1
            return False
        self._credit -= 1.0
        return True

    def _enqueue(self, frame: Frame, stop: threading.Event) -> None:
        if not self._lossless:
            self._queue.put(frame)
            return
        while not stop.is_set() and not self._queue.put_blocking(frame, QUEUE_TIMEOUT_S):
            continue
