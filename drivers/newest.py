# SPDX-License-Identifier: Apache-2.0
"""A thread that reads a camera whose reads block, and keeps the newest frame for whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from drivers.errors import CameraClosed, CameraLost, CameraTimeout
from drivers.pacing import moment
from drivers.types import NO_METADATA, CameraCaps, Exposure, Frame, FrameMetadata, Pixels

JOIN_S: Final = 12.0  # seconds; OpenCV's own wait for a V4L2 frame ends after 10


@dataclass(frozen=True, slots=True)
class Grabbed:
    """What a read gave; `at_ns` is when on the monotonic clock, where the driver tells it."""

    pixels: Pixels
    exposure: Exposure
    at_ns: int | None = None
    metadata: FrameMetadata = NO_METADATA


class NewestFrame:
    """Newest wins: a frame that nobody took is replaced, and the sequence number shows the gap.

    `grab` runs in the thread: it gives None for a frame that cannot be used (which is a gap too) and raises CameraLost
    when there will be no more. `release` runs there last.
    """

    def __init__(self, grab: Callable[[], Grabbed | None], release: Callable[[], None], *, name: str) -> None:
        self._grab, self._release, self._name = grab, release, name
        self._fresh = threading.Condition()
        self._newest: Frame | None = None
        self._lost: CameraLost | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        sequence = 0
        try:
            while not self._stop.is_set():
                grabbed = self._grab()
                if grabbed is not None:
                    with self._fresh:
                        self._newest = _frame(grabbed, sequence)
                        self._fresh.notify_all()
                sequence += 1
        except CameraLost as error:
            self._lost = error
        finally:  # whatever ended it: nobody waits for its frames in vain
            with self._fresh:
                self._lost = self._lost or CameraLost(f"camera {self._name} is read no more")
                self._fresh.notify_all()
            self._release()

    def capture(self, timeout_s: float) -> Frame:
        """The newest frame not yet taken; raises CameraTimeout, CameraLost, CameraClosed."""
        with self._fresh:
            if self._stop.is_set():
                raise CameraClosed("the camera was closed")
            self._fresh.wait_for(lambda: self._newest is not None or self._lost is not None, timeout_s)
            frame, self._newest = self._newest, None
            if frame is None and self._lost is not None:
                raise CameraLost(str(self._lost)) from self._lost
        if frame is None:
            raise CameraTimeout(f"camera {self._name} gave no frame in {timeout_s:.1f} s")
        return frame

    def close(self) -> None:
        """Stops the thread, which releases the device; may be called twice."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_S)


class ThreadedCamera:
    """What cameras that a NewestFrame reads have in common."""

    _newest: NewestFrame
    _caps: CameraCaps

    def capture(self, timeout_s: float) -> Frame | None:
        """The newest frame not yet taken; raises CameraTimeout, CameraLost."""
        return self._newest.capture(timeout_s)

    def capabilities(self) -> CameraCaps:
        """What was found out when it was opened."""
        return self._caps

    def close(self) -> None:
        """Stops the thread, which releases the device."""
        self._newest.close()


def _frame(grabbed: Grabbed, sequence: int) -> Frame:
    at_us, at_ns = moment(grabbed.at_ns)
    return Frame(
        grabbed.pixels, at_us, at_ns, sequence, grabbed.exposure, ir=False, metadata=grabbed.metadata
    )
