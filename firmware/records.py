# SPDX-License-Identifier: Apache-2.0
"""Maps what inference read to what wire and store hold. Pictures are encoded here, once, from the best frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from firmware.config import EyeConfig
from inference.types import VotedRead
from storage.believed_time import TimeEvidence
from sync.schema import CharReading, ImageKind, ImageRecord, Position, ReadImages, ReadRecord, RecordRef

CROP_MARGIN = 0.35  # of the plate's size, each side: enough of the vehicle to see that it is one
MIN_PROBABILITY = 1e-6
MAX_ALTERNATIVES = 4
JPEG = "image/jpeg"

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sight:
    """What is kept of the best frame of a track until its read is sealed.

    `scene`: a longer exposure of the same moments, where the best frame is too dark to show the road.
    """

    pixels: Pixels
    sequence: int
    captured_us: int
    ir: bool
    source: str
    scene: Pixels | None = None


@dataclass(frozen=True, slots=True)
class Pictures:
    """JPEG bytes; `scene` is empty when scenes are switched off."""

    crop: bytes
    scene: bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """Who reads."""

    device_id: str
    camera: str


def jpeg(pixels: Pixels, quality: int) -> bytes:
    """(H, W) or (H, W, 3) uint8 -> JPEG bytes."""
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError("OpenCV could not encode the picture as JPEG")
    return bytes(data)


def crop_of(pixels: Pixels, box: tuple[float, float, float, float]) -> Pixels:
    """The plate and a margin of the vehicle around it; box is (x, y, w, h) px."""
    x, y, w, h = box
    height, width = pixels.shape[:2]
    x0, x1 = int(max(0, x - CROP_MARGIN * w)), int(min(width, x + (1 + CROP_MARGIN) * w))
    y0, y1 = int(max(0, y - CROP_MARGIN * h)), int(min(height, y + (1 + CROP_MARGIN) * h))
    return pixels[y0 : max(y1, y0 + 2), x0 : max(x1, x0 + 2)]


def pictures_of(sight: Sight, voted: VotedRead, settings: EyeConfig, *, scenes: bool = True) -> Pictures:
    """Crop of the best frame, and the scene, made smaller to `scene_width_px` (0: no scene)."""
    crop = jpeg(crop_of(sight.pixels, voted.best.box), settings.crop_quality)
    if settings.scene_width_px == 0 or not scenes:
        return Pictures(crop, b"")
    scene = sight.pixels if sight.scene is None else sight.scene
    height, width = scene.shape[:2]
    scale = min(1.0, settings.scene_width_px / width)
    size = (round(width * scale), round(height * scale))
    if scale < 1.0:
        scene = np.asarray(cv2.resize(scene, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return Pictures(crop, jpeg(scene, settings.scene_quality))


def image_records(read_id: str, pictures: Pictures) -> list[ImageRecord]:
    """One record a picture."""
    kinds = ((ImageKind.CROP, pictures.crop), (ImageKind.SCENE, pictures.scene))
    return [
        ImageRecord(read_id=read_id, kind=kind, media_type=JPEG, data=data) for kind, data in kinds if data
    ]


def read_record(
    voted: VotedRead,
    sight: Sight,
    *,
    read_id: str,
    origin: Origin,
    position: Position | None,
    evidence: TimeEvidence,
) -> ReadRecord:
    """The read as it is sealed, still without its pictures; its time is that of the best frame."""
    return ReadRecord(
        read_id=read_id,
        device_id=origin.device_id,
        camera=origin.camera,
        captured_us=sight.captured_us,
        time_uncertainty_us=evidence.uncertainty_us,
        time_sources=evidence.sources,
        position=position,
        text=voted.text,
        confidence=_unit(voted.confidence),
        chars=tuple(
            CharReading(
                c=char.char,
                p=_unit(char.probability),
                alt=tuple(
                    (other, _unit(p))
                    for other, p in char.alternatives[:MAX_ALTERNATIVES]
                    if p >= MIN_PROBABILITY
                ),
            )
            for char in voted.chars
        ),
        state=voted.state,
        state_confidence=None if voted.state is None else _unit(voted.state_confidence),
        state_note=voted.state_note,
        frames_seen=voted.frames_seen,
        frames_agreed=voted.frames_agreed,
        box=_rounded(voted.best.box),
        corners=tuple((round(float(x), 1), round(float(y), 1)) for x, y in voted.best.corners),
        width_px=round(float(voted.best.width_px), 1),
        ir=sight.ir,
        images=ReadImages(),
    )


def with_pictures(read: ReadRecord, refs: dict[ImageKind, RecordRef]) -> ReadRecord:
    """The read with where its pictures lie."""
    images = ReadImages(crop_ref=refs.get(ImageKind.CROP), scene_ref=refs.get(ImageKind.SCENE))
    return read.model_copy(update={"images": images})


def _rounded(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x, y, w, h = (round(float(v), 1) for v in box)
    return x, y, w, h


def _unit(value: float) -> float:
    """A probability with as many digits as it deserves."""
    return round(min(1.0, max(0.0, float(value))), 4)
