# SPDX-License-Identifier: Apache-2.0
"""What a replay plays: the pictures of a folder or the frames of a video, each with its time in the recording."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from structlog import get_logger

from drivers.errors import BadOption
from drivers.types import Pixels

PICTURES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MAX_PICTURE_BYTES: Final = 64 * 1024 * 1024  # bytes of one file; larger ones are skipped and counted
MAX_PICTURE_PIXELS: Final = 50_000_000  # decoded pixels; cameras on a pole have at most 12 million
FOLDER_FPS: Final = 10.0  # pictures of a folder carry no times
VIDEO_FPS: Final = (1.0, 240.0)  # a file that claims another rate is not believed
VIDEO_FPS_UNKNOWN: Final = 25.0
DAMAGED_RUN: Final = 64  # frames in a row that cannot be decoded: the rest of the file is given up
EARLY_SHARE: Final = 0.02  # of the frames that a file promises, may be missing at its end without a word

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture (H, W, 3) BGR, the file it is from, and when it is due after the file's beginning."""

    pixels: Pixels
    name: str
    offset_s: float


class Skipped:
    """Which files could not be played whole, by name."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def add(self, path: Path, reason: str) -> None:
        """Counts one picture and says so in the log."""
        self.files.append(path.name)
        log.warning("picture_skipped", file=path.name, reason=reason)

    def damaged(self, path: Path, played: int, promised: int) -> None:
        """Counts a video of which frames are missing, and says so in the log."""
        self.files.append(path.name)
        log.warning("video_damaged", file=path.name, played=played, promised=promised)


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder by name; raises BadOption when it holds none."""
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES and p.is_file())
    if not files:
        raise BadOption(f"camera replay: {folder} holds no pictures ({', '.join(sorted(PICTURES))})")
    return files


def _decode(path: Path, skipped: Skipped) -> Pixels | None:
    """The picture, or None when it cannot be played."""
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


def play_folder(files: list[Path], hold: int, fps: float, skipped: Skipped) -> Generator[Shot]:
    """Each picture `hold` times, evenly spaced."""
    played = 0
    for path in files:
        pixels = _decode(path, skipped)
        if pixels is None:
            continue
        for _ in range(hold):
            yield Shot(pixels.copy(), path.name, played / fps)  # a caller may draw on its frame
            played += 1


def video_fps(path: Path) -> float:
    """The rate that a video claims; raises BadOption when it cannot be opened."""
    video = cv2.VideoCapture(str(path))
    try:
        if not video.isOpened():
            raise BadOption(f"camera replay: {path.name} is not a video that OpenCV can open")
        fps = float(video.get(cv2.CAP_PROP_FPS))
    finally:
        video.release()
    return fps if VIDEO_FPS[0] <= fps <= VIDEO_FPS[1] else VIDEO_FPS_UNKNOWN


def play_video(path: Path, fps: float | None, skipped: Skipped) -> Generator[Shot]:
    """The frames at the file's own times, or evenly at `fps`; what cannot be decoded is passed over and told."""
    claimed = fps or video_fps(path)
    video = cv2.VideoCapture(str(path))
    played = lost = 0
    begun_s: float | None = None
    offset_s = -1.0 / claimed
    try:
        promised = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        for lost_before, pixels in _decoded(video):
            told_s = float(video.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0
            begun_s = told_s if begun_s is None else begun_s
            even_s = offset_s + (1 + lost_before) / claimed
            told = fps is None and told_s - begun_s > offset_s  # times that stand still are no times
            offset_s = told_s - begun_s if told else even_s
            yield Shot(pixels, path.name, offset_s)
            played, lost = played + 1, lost + lost_before
        if lost or promised - played > promised * EARLY_SHARE:
            skipped.damaged(path, played, promised)
    finally:
        video.release()


def _decoded(video: cv2.VideoCapture) -> Iterator[tuple[int, Pixels]]:
    """How many frames failed before it, and a frame; the file's end looks like DAMAGED_RUN frames that fail."""
    lost = 0
    while lost < DAMAGED_RUN:
        good, pixels = video.read()
        if good:
            yield lost, np.asarray(pixels, dtype=np.uint8)
        lost = 0 if good else lost + 1
