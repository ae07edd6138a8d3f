# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures or a video file, played as if it were a camera."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from drivers.errors import BadOption, CameraClosed, CameraTimeout
from drivers.options import Options
from drivers.pacing import Pacer
from drivers.replay_files import FOLDER_FPS, Shot, Skipped, picture_files, play_folder, play_video, video_fps
from drivers.types import CameraCaps, Exposure, Frame

UNKNOWN_EXPOSURE: Final = Exposure(exposure_us=0, gain=1.0)  # a file does not say how it was exposed


class ReplayCamera:
    """Frames of a folder (by name, each shown `hold` times) or of a video, at its own pace or as fast as asked."""

    def __init__(self, path: Path, *, fps: float | None, loop: bool, max_pace: bool, hold: int) -> None:
        self._path, self._loop, self._hold, self._asked_fps = path, loop, hold, fps
        if not path.is_dir() and not path.is_file():
            raise BadOption(f"camera replay: {path} is neither a folder nor a file")
        self._files = picture_files(path) if path.is_dir() else []
        self._fps = fps or (FOLDER_FPS if self._files else video_fps(path))
        self._pacer = Pacer(self._fps, real_time=not max_pace, start_us=None)
        self.skipped = Skipped()
        self._shots = self._open()
        self._round_s = 0.0  # when the file began, this time round
        self._coming = next(self._shots, None)
        height, width = (0, 0) if self._coming is None else self._coming.pixels.shape[:2]
        self._size = (width, height)
        self._sequence = 0
        self._closed = False

    def _open(self) -> Generator[Shot]:
        if self._files:
            return play_folder(self._files, self._hold, self._fps, self.skipped)
        return play_video(self._path, self._asked_fps, self.skipped)

    def _advance(self, shown: Shot) -> None:
        """Fetches the shot after this one; a loop goes on one frame after its end."""
        self._coming = next(self._shots, None)
        if self._coming is None and self._loop:
            self._shots, self._round_s = self._open(), shown.offset_s + 1.0 / self._fps
            self._coming = next(self._shots, None)
        if self._coming is not None:
            self._coming = replace(self._coming, offset_s=self._round_s + self._coming.offset_s)

    def capture(self, timeout_s: float) -> Frame | None:
        """The next picture when it is due; None at the end. Never drops a picture."""
        if self._closed:
            raise CameraClosed("the replay was closed")
        shot = self._coming
        if shot is None:
            return None
        wait_s = self._pacer.wait_s(shot.offset_s)
        if wait_s > timeout_s:
            time.sleep(max(0.0, timeout_s))
            raise CameraTimeout("the next picture is not due yet")
        time.sleep(wait_s)
        at_us, at_ns = self._pacer.at(shot.offset_s)
        frame = Frame(shot.pixels, at_us, at_ns, self._sequence, UNKNOWN_EXPOSURE, ir=False, source=shot.name)
        self._sequence += 1
        self._advance(shot)
        return frame

    def capabilities(self) -> CameraCaps:
        """The size of its first picture and one exposure, the one that was: nothing can be commanded."""
        shutter, gain = UNKNOWN_EXPOSURE.exposure_us, UNKNOWN_EXPOSURE.gain
        return CameraCaps((shutter, shutter), (gain, gain), self._fps, self._size)

    def configure(self, exposure: Exposure) -> None:
        """Pictures are as they were taken; nothing changes."""

    def close(self) -> None:
        """Stops playing."""
        self._closed = True
        self._shots.close()
        self._coming = None


def open_replay(options: Mapping[str, object]) -> ReplayCamera:
    """Options: path, fps (default: the video's own times, 10 for folders), loop, max_pace, hold."""
    read = Options("camera replay", options)
    path, fps = read.path("path"), read.optional("fps", 0.1, 240.0)
    loop, max_pace = read.flag("loop", default=False), read.flag("max_pace", default=False)
    hold = read.integer("hold", 3, 1, 1000)
    read.finish()
    return ReplayCamera(path, fps=fps, loop=loop, max_pace=max_pace, hold=hold)
