# SPDX-License-Identifier: Apache-2.0
"""The threads of the eye: what a camera that fails, goes away or finishes does to them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.errors import CameraLost, CameraTimeout
from drivers.types import CameraCaps, Exposure, Frame
from firmware.camera_check import CameraCheck
from firmware.config import EyeConfig
from firmware.disk_watch import DiskWatch
from firmware.exposure_settings import ExposureSettings
from firmware.eye import Eye
from firmware.health import Change, Condition, Finding, Health, well
from firmware.light import Light, LightParts
from firmware.patience import Patience
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

    def capabilities(self) -> CameraCaps:
        return CameraCaps((0, 0), (1.0, 1.0), 10.0, (64, 64))

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

    sealed = lost = closed = images_given_up = images_gave_way = 0
    ack_s = waiting_s = 0.0
    full = False

    def counts(self) -> dict[str, int]:
        return {}

    def refusals(self) -> dict[str, bool]:
        return {"commit": False} if self.full else {}

    def commit(self) -> list[Any]:
        if self.full:
            raise DiskFullError("full")
        return []

    def close(self) -> list[Any]:
        self.closed += 1
        return []


def _frame(sequence: int, picture: int | None = None) -> Frame:
    """A noisy picture; `picture`: the same one for the same number."""
    noise = np.random.default_rng(sequence if picture is None else picture)
    pixels = noise.integers(40, 200, (64, 64), dtype=np.uint8)
    return Frame(pixels, 0, time.monotonic_ns(), sequence, Exposure(1000, 1.0), ir=False)


def _eye(
    camera: FakeCamera,
    reader: CountingReader,
    vault: QuietVault,
    tend: Callable[[], None] = lambda: None,
    feed: Callable[[Sequence[str]], Finding] = lambda _stalled: well("watchdog"),
    lossless: bool = True,
    **others: Any,
) -> Eye:
    r: Any = reader
    v: Any = vault
    return Eye(
        lambda: camera,
        r,
        v,
        CameraCheck(None, fps=10.0, live=not lossless),
        Light(ExposureSettings(), LightParts()),
        tap=Tap(None),
        lossless=lossless,
        tend=tend,
        feed=feed,
        **{"settings": SETTINGS, **others},
    )


def _told(camera: FakeCamera, vault: QuietVault, seconds: float, **others: Any) -> list[Change]:
    """The health changes of an eye that runs for so long."""
    told: list[Change] = []
    health = Health(told.append)
    stop = threading.Event()
    threading.Timer(seconds, stop.set).start()
    _eye(camera, CountingReader(), vault, report=lambda finding: health.report(finding, 1), **others).run(
        stop
    )
    return told


def _fed(feeds: list[float], stalled: Sequence[str]) -> Finding:
    """A watchdog that notes when it was fed."""
    if not stalled:
        feeds.append(time.monotonic())
    return well("watchdog")


class PacedCamera(FakeCamera):
    """Waits a little before each step; after its script it goes on with living frames."""

    def __init__(self, script: list[object]) -> None:
        super().__init__(script)
        self.taken = 0

    def capture(self, timeout_s: float) -> Frame | None:
        time.sleep(0.01)
        self.taken += 1
        return super().capture(timeout_s) if self.script else _frame(self.taken)


@pytest.mark.timeout(30)
def test_every_frame_is_taken_and_the_end_is_orderly() -> None:
    camera, reader, vault = FakeCamera([_frame(n) for n in range(20)]), CountingReader(), QuietVault()
    eye = _eye(camera, reader, vault)
    eye.run(threading.Event())
    assert (reader.frames, reader.flushed, vault.closed, camera.closed) == (20, 1, 1, 1)
    assert eye.capture.state == "finished"


@pytest.mark.timeout(30)
def test_a_lost_camera_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware.capture.CAMERA_RETRY_S", 0.01)
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
    assert eye.capture.state == "failed"


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
    fed: list[float] = []

    def slow_frames() -> list[object]:
        return [_frame(n) for n in range(200)]

    def tend() -> None:
        raise OSError(28, "No space left on device")

    stop = threading.Event()
    threading.Timer(0.4, stop.set).start()
    eye = _eye(FakeCamera(slow_frames()), reader, vault, tend=tend, feed=lambda stalled: _fed(fed, stalled))
    eye.run(stop)
    assert reader.frames > 0
    assert reader.flushed == 1


@pytest.mark.timeout(30)
def test_a_frozen_picture_is_noticed_and_gaps_are_counted() -> None:
    frozen = [_frame(n, picture=7) for n in range(10, 60)]
    camera = FakeCamera([_frame(1), _frame(5), *frozen, CameraLost("end of the script")])
    eye = _eye(camera, CountingReader(), QuietVault(), lossless=False)
    stop = threading.Event()
    states: list[str] = []
    original = camera.close

    def closed() -> None:
        states.append(eye.capture.state)
        stop.set()
        original()

    camera.close = closed  # type: ignore[method-assign]
    eye.run(stop)
    assert states[0] == "frozen"
    assert eye.dropped()["frames dropped: by the camera"] == 3 + 4


@pytest.mark.timeout(30)
def test_a_lost_camera_is_told_once_and_is_well_after_steady_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware.capture.CAMERA_RETRY_S", 0.05)
    monkeypatch.setattr("firmware.capture.STEADY_S", 0.3)
    script: list[object] = [_frame(1), *[CameraLost("cable")] * 5, _frame(2), CameraLost("cable again")]
    told = _told(PacedCamera(script), QuietVault(), 1.5, lossless=False)
    assert [(change.finding.code, change.recovered) for change in told] == [("lost", False), ("", True)]
    assert "cable" in told[0].finding.advice


@pytest.mark.timeout(30)
def test_silence_and_a_frozen_picture_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware.camera_check.SILENT_NS", 100_000_000)
    timeouts: list[object] = [CameraTimeout("none")] * 20
    frozen: list[object] = [_frame(n, picture=7) for n in range(3, 63)]
    told = _told(PacedCamera([_frame(1), *timeouts, _frame(2), *frozen]), QuietVault(), 2.5, lossless=False)
    codes = [change.finding.code for change in told]
    assert codes[0] == "slow"
    assert "frozen" in codes
    assert told[-1].recovered


@pytest.mark.timeout(30)
def test_a_disk_that_refuses_is_told_and_comes_back(tmp_path: Path) -> None:
    vault = QuietVault()
    vault.full = True
    threading.Timer(0.5, lambda: setattr(vault, "full", False)).start()
    disk = DiskWatch(tmp_path, free_bytes=lambda _root: 1 << 40)
    told = _told(PacedCamera([]), vault, 1.2, lossless=False, disk=disk)
    assert [(c.finding.part, c.finding.code) for c in told] == [("disk", "refused"), ("disk", "")]


@pytest.mark.timeout(30)
def test_a_stage_that_stands_still_is_told_and_starves_the_watchdog() -> None:
    told: list[Finding] = []
    settings = SETTINGS.model_copy(update={"stall_limit_s": 0.3})
    release = threading.Event()

    class Hanging(CountingReader):
        def take(self, frame: Frame) -> FrameResult:
            if self.frames == 10:
                release.wait(5.0)
            return super().take(frame)

    feeds: list[float] = []
    reader: Any = Hanging()
    vault: Any = QuietVault()
    eye = Eye(
        lambda: PacedCamera([]),
        reader,
        vault,
        CameraCheck(None, fps=10.0),
        Light(ExposureSettings(), LightParts()),
        tap=Tap(None),
        settings=settings,
        lossless=False,
        tend=lambda: None,
        feed=lambda stalled: _fed(feeds, stalled),
        report=told.append,
    )
    stop = threading.Event()
    threading.Timer(1.2, release.set).start()
    threading.Timer(2.0, stop.set).start()
    eye.run(stop)
    stalled = [finding for finding in told if finding.code == "stalled"]
    assert stalled
    assert stalled[0].condition is Condition.FAILED
    assert "inference" in stalled[0].advice
    assert told[-1].condition is Condition.OK
    assert max(after - before for before, after in pairwise(feeds)) > 0.5


@pytest.mark.timeout(30)
def test_a_fault_of_the_main_thread_leaves_no_camera_running() -> None:
    camera = PacedCamera([])

    def tend() -> None:
        raise ValueError("a watcher's bug")

    with pytest.raises(ValueError, match="bug"):
        _eye(camera, CountingReader(), QuietVault(), tend=tend, lossless=False).run(threading.Event())
    assert camera.closed == 1
    assert not [thread for thread in threading.enumerate() if thread.name in {"camera", "inference"}]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("last", [None, ValueError("adapter bug")])
def test_the_light_goes_when_the_camera_thread_ends(
    last: BaseException | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: list[int] = []
    monkeypatch.setattr(Light, "gone", lambda _self: gone.append(1))
    eye = _eye(FakeCamera([_frame(1), last]), CountingReader(), QuietVault())
    with contextlib.suppress(ValueError):
        eye.run(threading.Event())
    assert gone == [1]


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("restarts", "starved"), [("0", True), ("1", False)])
def test_a_frozen_camera_restarts_the_service_at_once_but_not_again_at_once(
    restarts: str, starved: bool, tmp_path: Path
) -> None:
    memory = tmp_path / "restarts"
    memory.write_text(restarts)
    frozen: list[object] = [_frame(n, picture=7) for n in range(1000)]
    told = _told(
        PacedCamera(frozen),
        QuietVault(),
        2.5,
        lossless=False,
        settings=SETTINGS.model_copy(update={"stall_limit_s": 0.5}),
        patience=Patience(memory),
    )
    assert ("camera", "frozen") in [(change.finding.part, change.finding.code) for change in told]
    assert (("eye", "stalled") in [(change.finding.part, change.finding.code) for change in told]) is starved
