# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures or a video file, played as if it were a camera."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from structlog import get_logger

from drivers.errors import BadOption, CameraClosed, CameraTimeout
from drivers.options import Options
from drivers.pacing import Pacer
from drivers.types import Exposure, Frame, Pixels

PICTURES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MAX_PICTURE_BYTES: Final = 64 * 1024 * 1024  # bytes of one file; larger ones are skipped and counted
MAX_PICTURE_PIXELS: Final = 50_000_000  # decoded pixels; cameras on a pole have at most 12 million
UNKNOWN_EXPOSURE: Final = Exposure(exposure_us=0, gain=1.0)  # a file does not say how it was exposed

log = get_logger(__name__)


class Skipped:
    """How many files could not be played, by name."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def add(self, path: Path, reason: str) -> None:
        """Counts one file and says so in the log."""
        self.files.append(path.name)
        log.warning("picture_skipped", file=path.name, reason=reason)


def _decode(path: Path, skipped: Skipped) -> Pixels | None:
    """The picture as (H, W, 3) BGR, or None when it cannot be played."""
    if path.stat().st_size > MAX_PICTURE_BYTES:
        skipped.add(path, "larger than MAX_PICTURE_BYTES")
        return None
    try:
        pixels = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        pixels = None
    if pixels is None:
        skipped.add(path, "not a picture that OpenCV can decode")
        return None
    if pixels.shape[0] * pixels.shape[1] > MAX_PICTURE_PIXELS:
        skipped.add(path, "more than MAX_PICTURE_PIXELS")
        return None
    return np.asarray(pixels, dtype=np.uint8)


def _folder(files: list[Path], hold: int, skipped: Skipped) -> Iterator[tuple[Pixels, str]]:
    for path in files:
        pixels = _decode(path, skipped)
        if pixels is None:
            continue
        for _ in range(hold):
            yield pixels.copy(), path.name  # a caller may draw on its frame


def _video(path: Path) -> Iterator[tuple[Pixels, str]]:
    video = cv2.VideoCapture(str(path))
    try:
        while True:
            good, pixels = video.read()
            if not good:
                return
            yield np.asarray(pixels, dtype=np.uint8), path.name
    finally:
        video.release()


def _video_fps(path: Path) -> float:
    video = cv2.VideoCapture(str(path))
    try:
        if not video.isOpened():
            raise BadOption(f"camera replay: {path.name} is not a video that OpenCV can open")
        fps = float(video.get(cv2.CAP_PROP_FPS))
    finally:
        video.release()
    return fps if 1.0 <= fps <= 240.0 else 25.0


class ReplayCamera:
    """Frames of a folder (by name, each shown `hold` times) or of a video, at a pace or as fast as asked."""

    def __init__(self, path: Path, *, fps: float | None, loop: bool, max_pace: bool, hold: int) -> None:
        self._path, self._loop, self._hold = path, loop, hold
        self._files: list[Path] = []
        if path.is_dir():
            self._files = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES and p.is_file())
            if not self._files:
                raise BadOption(f"camera replay: {path} holds no pictures ({', '.join(sorted(PICTURES))})")
        elif not path.is_file():
            raise BadOption(f"camera replay: {path} is neither a folder nor a file")
        native = fps or (10.0 if self._files else _video_fps(path))
        self._pacer = Pacer(native, real_time=not max_pace, start_us=None)
        self.skipped = Skipped()
        self._frames = self._open()
        self._sequence = 0
        self._round = 0  # frames since the last rewind
        self._closed = False

    def _open(self) -> Iterator[tuple[Pixels, str]]:
        return _folder(self._files, self._hold, self.skipped) if self._files else _video(self._path)

    def _next(self) -> tuple[Pixels, str] | None:
        item = next(self._frames, None)
        if item is None and self._loop and self._round:
            self._frames, self._round = self._open(), 0
            item = next(self._frames, None)
        self._round += item is not None
        return item

    def capture(self, timeout_s: float) -> Frame | None:
        """The next picture when it is due; None at the end. Never drops a picture."""
        if self._closed:
            raise CameraClosed("the replay was closed")
        wait_s = self._pacer.due_in_s(self._sequence)
        if wait_s > timeout_s:
            time.sleep(max(0.0, timeout_s))
            raise CameraTimeout("the next picture is not due yet")
        time.sleep(wait_s)
        item = self._next()
        if item is None:
            return None
        at_us, at_ns = self._pacer.stamp(self._sequence)
        frame = Frame(item[0], at_us, at_ns, self._sequence, UNKNOWN_EXPOSURE, ir=False, source=item[1])
        self._sequence += 1
        return frame

    def configure(self, exposure: Exposure) -> None:
        """Pictures are as they were taken; nothing changes."""

    def close(self) -> None:
        """Stops playing."""
        self._closed = True
        self._frames = iter(())


def open_replay(options: Mapping[str, object]) -> ReplayCamera:
    """Options: path, fps (default: the video's own, 10 for folders), loop, max_pace, hold."""
    read = Options("camera replay", options)
    path, fps = read.path("path"), read.optional("fps", 0.1, 240.0)
    loop, max_pace = read.flag("loop", default=False), read.flag("max_pace", default=False)
    hold = read.integer("hold", 3, 1, 1000)
    read.finish()
    return ReplayCamera(path, fps=fps, loop=loop, max_pace=max_pace, hold=hold)
