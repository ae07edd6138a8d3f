# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="call-overload"
"""Pasted into the detector's training pictures: other plates where plates are, and lettering that is none."""
# OpenCV's stubs ask for a sequence where a grey level is a plain number, hence the mypy line above.

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.training.detector_data import Boxes, Gray, read_grey
from inference.training.render_pool import load_shard, read_manifest
from inference.training.render_scene import SCENE_SHAPE

ART, RENDERED = 1200, 3000  # textures held in memory
TEXTURE = (128, 64)  # px of a rendered texture
LEAST_SWAPPED = 24.0  # px of a plate's width in the stored picture
INSET = 0.03  # of the box, each side: annotated boxes are a little wide
US_ASPECT = (1.5, 2.6)  # plates of this shape are swapped for US artwork
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_PLAIN,
)


@dataclass(frozen=True, slots=True)
class Textures:
    """Grey pictures of plates: official artwork, and rendered ones (64, 128)."""

    art: list[Gray]
    rendered: list[Gray]

    @classmethod
    def load(cls, data: Path, pool: Path | None, rng: np.random.Generator) -> Textures:
        """Artwork from the data folder; rendered plates where a pool of scenes exists."""
        rows = read_manifest(data / "designs.jsonl")
        chosen = rng.choice(len(rows), min(ART, len(rows)), replace=False)
        art = [read_grey(data / rows[int(i)]["image"]) for i in chosen]
        shards = sorted(pool.glob("shard_*.npz"))[3:] if pool is not None else []
        return cls(art, _rendered(shards, rng) if shards else [])


def _rendered(shards: list[Path], rng: np.random.Generator) -> list[Gray]:
    shard = load_shard(shards[int(rng.integers(len(shards)))])
    size = np.array(SCENE_SHAPE[::-1], np.float32)
    width, height = TEXTURE
    square = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    made = []
    for image, corners in list(zip(shard.images, shard.corners, strict=True))[:RENDERED]:
        turn = cv2.getPerspectiveTransform((corners * size).astype(np.float32), square)
        made.append(np.asarray(cv2.warpPerspective(image, turn, TEXTURE), np.uint8))
    return made


def swap(image: Gray, plates: Boxes, textures: Textures, rng: np.random.Generator, often: float) -> Gray:
    """The picture (H, W) with some of its plates (N, 4) exchanged for others, in the light of the old ones."""
    out = image
    for plate in plates:
        x1, y1, x2, y2 = plate
        if x2 - x1 < LEAST_SWAPPED or rng.random() > often:
            continue
        dx, dy = INSET * (x2 - x1), INSET * (y2 - y1)
        part = np.s_[max(0, round(y1 + dy)) : round(y2 - dy), max(0, round(x1 + dx)) : round(x2 - dx)]
        old = image[part]
        aspect = (x2 - x1) / max(y2 - y1, 1.0)
        american = US_ASPECT[0] <= aspect <= US_ASPECT[1] and rng.random() < 0.7
        stock = textures.art if american or not textures.rendered else textures.rendered
        if min(old.shape) < 6:
            continue
        out = out.copy() if out is image else out
        out[part] = _lit(stock[int(rng.integers(len(stock)))], old, rng)
    return out


def _lit(texture: Gray, old: Gray, rng: np.random.Generator) -> Gray:
    size = (old.shape[1], old.shape[0])
    new = cv2.resize(texture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    spread = float(old.std()) * float(rng.uniform(0.7, 1.3)) / max(float(new.std()), 8.0)
    new = (new - new.mean()) * spread + float(old.mean()) + float(rng.normal(0, 10))
    if rng.random() < 0.5:
        new = cv2.GaussianBlur(new, (0, 0), float(rng.uniform(0.3, 1.2)))
    return np.asarray(np.clip(new, 0, 255), np.uint8)


def _word(rng: np.random.Generator, least: int, most: int) -> str:
    pool = string.ascii_uppercase if rng.random() < 0.6 else string.ascii_lowercase
    if rng.random() < 0.2:
        pool = string.digits + "-."
    return "".join(rng.choice(list(pool), int(rng.integers(least, most))))


def lettering(image: Gray, taken: Boxes, rng: np.random.Generator) -> Gray:
    """The picture with a sign or a truck's lettering on it, away from `taken` boxes, or a recorder's time stamp."""
    if rng.random() < 0.3:
        return _stamp(image, rng)
    sign = _sign(rng)
    height, width = sign.shape
    room = (image.shape[1] - width, image.shape[0] - height)
    if min(room) <= 1:
        return image
    x, y = int(rng.integers(room[0])), int(rng.integers(room[1]))
    over = np.minimum(taken[:, 2:], [x + width, y + height]) - np.maximum(taken[:, :2], [x, y])
    if len(taken) and bool((over > -4).all(1).any()):
        return image
    return _placed(image, sign, (x, y), rng)


def _sign(rng: np.random.Generator) -> Gray:
    """Two or more lines, or one line longer than any plate's."""
    lines = [_word(rng, 3, 10) for _ in range(int(rng.integers(2, 5)))]
    if rng.random() < 0.4:
        lines = [" ".join(_word(rng, 3, 9) for _ in range(int(rng.integers(2, 4))))]
    font, scale = int(rng.choice(_FONTS)), float(np.exp(rng.uniform(np.log(0.3), np.log(1.3))))
    thick = int(rng.integers(1, 3 if scale < 0.6 else 5))
    sizes = [cv2.getTextSize(line, font, scale, thick)[0] for line in lines]
    step, edge = int(max(h for _, h in sizes) * rng.uniform(1.25, 1.8)), int(rng.integers(2, 12))
    paper, ink = int(rng.integers(256)), int(rng.integers(256))
    if abs(paper - ink) < 60:
        ink = (paper + 128) % 256
    sign: Gray = np.full((step * len(lines) + 2 * edge, max(w for w, _ in sizes) + 2 * edge), paper, np.uint8)
    for i, (line, (w, _)) in enumerate(zip(lines, sizes, strict=True)):
        x = edge if rng.random() < 0.5 else (sign.shape[1] - w) // 2
        cv2.putText(sign, line, (x, edge + int(step * (i + 0.8))), font, scale, ink, thick, cv2.LINE_AA)
    if rng.random() < 0.3:
        cv2.rectangle(sign, (1, 1), (sign.shape[1] - 2, sign.shape[0] - 2), ink, 1)
    return sign


def _placed(image: Gray, sign: Gray, at: tuple[int, int], rng: np.random.Generator) -> Gray:
    out = image.copy()
    height, width = sign.shape
    x, y = at
    ground = out[y : y + height, x : x + width]
    if rng.random() < 0.3:  # letters on whatever is there
        paper = float(np.median(sign))
        bare: NDArray[np.bool_] = np.abs(sign.astype(np.float32) - paper) < 24
        sign = np.where(bare, ground, sign)
    ground[:] = cv2.GaussianBlur(sign, (0, 0), float(rng.uniform(0.3, 0.9)))
    return out


def _stamp(image: Gray, rng: np.random.Generator) -> Gray:
    out = image.copy()
    day = f"20{rng.integers(10, 40)}-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}"
    text = f"{day} {rng.integers(24):02d}:{rng.integers(60):02d}:{rng.integers(60):02d}"
    if rng.random() < 0.3:
        text = f"CAM{rng.integers(1, 99):02d} {text}"
    scale = float(rng.uniform(0.35, 0.9))
    x = int(rng.integers(2, max(3, out.shape[1] // 2)))
    y = int(rng.integers(12, 30)) if rng.random() < 0.5 else out.shape[0] - int(rng.integers(4, 16))
    font = int(rng.choice(_FONTS[:2]))
    cv2.putText(out, text, (x, y), font, scale, 0, 3, cv2.LINE_AA)
    cv2.putText(out, text, (x, y), font, scale, 255, 1, cv2.LINE_AA)
    return out
