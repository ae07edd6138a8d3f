# SPDX-License-Identifier: Apache-2.0
"""The threads of the eye: what a camera that fails, goes away or finishes does to them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from drivers.errors import CameraLost
from drivers.types import Exposure, Frame
from firmware.config import EyeConfig
from firmware.eye import Eye
from firmware.tap import Tap
from inference.types import FrameResult
from storage.errors import DiskFullError

SETTINGS = EyeConfig(commit_interval_ms=50)


class FakeCamera:
    """Gives what its script says: a frame, an error to raise, or None at the end."""

    def __init__(self, script: list[object]) -> None:
        self.script = script
        self.closed = 0

    def capture(self, timeout_s: float) -> Frame | None:
        step = self.script.pop(0) if self.script else None
        if isinstance(step, BaseException):
            raise step
        return step if isinstance(step, Frame) else None

    def configure(self, exposure: Exposure) -> None:
        """Nothing to configure."""

    def close(self) -> None:
        self.closed += 1


class CountingReader:
    """Counts frames; the last word of a run is its flush."""

    def __init__(self, fail: BaseException | None = None) -> None:
        self.frames = self.flushed = self.tracks = self.reads = 0
        self.fail = fail

    def take(self, frame: Frame) -> FrameResult:
        self.frames += 1
        if self.fail is not None:
            raise self.fail
        return FrameResult([], [], {"total": 1.0})

    def flush(self) -> None:
        self.flushed += 1


class QuietVault:
    """A vault without anything to commit; `full` makes its commits fail."""

    sealed = lost = closed = images_given_up = 0
    full = False

    def commit(self) -> list[Any]:
        if self.full:
            raise DiskFullError("full")
        return []

    def close(self) -> list[Any]:
        self.closed += 1
        return []


def _frame(sequence: int) -> Frame:
    return Frame(
        np.full((64, 64), sequence % 251, np.uint8), 0, sequence, sequence, Exposure(1000, 1.0), ir=False
    )


def _eye(
    camera: FakeCamera,
    reader: CountingReader,
    vault: QuietVault,
    tend: Callable[[], None] = lambda: None,
    feed: Callable[[], None] = lambda: None,
    lossless: bool = True,
) -> Eye:
    r: Any = reader
    v: Any = vault
    return Eye(
        lambda: camera, r, v, tap=Tap(None), settings=SETTINGS, lossless=lossless, tend=tend, feed=feed
    )


@pytest.mark.timeout(30)
def test_every_frame_is_taken_and_the_end_is_orderly() -> None:
    camera, reader, vault = FakeCamera([_frame(n) for n in range(20)]), CountingReader(), QuietVault()
    eye = _eye(camera, reader, vault)
    eye.run(threading.Event())
    assert (reader.frames, reader.flushed, vault.closed, camera.closed) == (20, 1, 1, 1)
    assert eye.camera_state == "finished"


@pytest.mark.timeout(30)
def test_a_lost_camera_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware.eye.CAMERA_RETRY_S", 0.01)
    camera = FakeCamera([_frame(1), CameraLost("cable"), _frame(2)])
    reader = CountingReader()
    _eye(camera, reader, QuietVault()).run(threading.Event())
    assert reader.frames == 2


@pytest.mark.timeout(30)
def test_an_unknown_camera_error_ends_the_eye_loudly() -> None:
    vault, reader = QuietVault(), CountingReader()
    eye = _eye(FakeCamera([_frame(1), ValueError("adapter bug")]), reader, vault)
    with pytest.raises(ValueError, match="adapter bug"):
        eye.run(threading.Event())
    assert vault.closed == 1
    assert reader.flushed == 1  # what was in sight is sealed first
    assert eye.camera_state == "failed"


@pytest.mark.timeout(30)
def test_an_error_in_inference_ends_the_eye_and_keeps_what_was_sealed() -> None:
    vault = QuietVault()
    eye = _eye(FakeCamera([_frame(n) for n in range(50)]), CountingReader(RuntimeError("net")), vault)
    with pytest.raises(RuntimeError, match="net"):
        eye.run(threading.Event())
    assert vault.closed == 1


@pytest.mark.timeout(30)
def test_a_full_disk_starves_the_watchdog_but_not_the_reading() -> None:
    vault, reader = QuietVault(), CountingReader()
    vault.full = True
    fed: list[int] = []

    def slow_frames() -> list[object]:
        return [_frame(n) for n in range(2000)]

    def tend() -> None:
        raise OSError(28, "No space left on device")

    stop = threading.Event()
    threading.Timer(0.4, stop.set).start()
    eye = _eye(FakeCamera(slow_frames()), reader, vault, tend=tend, feed=lambda: fed.append(1))
    eye.run(stop)
    assert reader.frames > 0
    assert reader.flushed == 1


@pytest.mark.timeout(30)
def test_a_frozen_picture_is_noticed_and_gaps_are_counted() -> None:
    frozen = [
        Frame(np.zeros((64, 64), np.uint8), 0, n, n, Exposure(1000, 1.0), ir=False) for n in range(10, 60)
    ]
    camera = FakeCamera([_frame(1), _frame(5), *frozen, CameraLost("end of the script")])
    eye = _eye(camera, CountingReader(), QuietVault(), lossless=False)
    stop = threading.Event()
    states: list[str] = []
    original = camera.close

    def closed() -> None:
        states.append(eye.camera_state)
        stop.set()
        original()

    camera.close = closed  # type: ignore[method-assign]
    eye.run(stop)
    assert states[0] == "frozen"
    assert eye.dropped()["frames dropped: by the camera"] == 3 + 4
