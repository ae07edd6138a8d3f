# SPDX-License-Identifier: Apache-2.0
"""Pictures without plates, made of labelled ones: windows beside the plates, and plates painted over.

What is read in them is a ghost. A plate that nobody labelled would be one too: pictures where one was seen by
eye are named in `plate_free.json` and left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.accept import Acceptance
from inference.detector import iou, overlap
from inference.labels import Entry, as_box, load_picture, read_manifest
from inference.models import load_models
from inference.pipeline import Pipeline, PipelineSettings
from inference.types import Box, PlateRead

EXCLUDED: Final = Path(__file__).with_suffix(".json")
MIN_WINDOW: Final = (320, 180)  # px of the stored picture
SHOWN_WIDTH: Final = 1280  # px: a window is enlarged to this, at most MAX_ENLARGED times
MAX_ENLARGED: Final = 2.0
ASPECT: Final = 16 / 9
WINDOW_SCALES: Final = (1.0, 0.8, 0.64, 0.5, 0.4)  # of the largest 16:9 window of the picture
WINDOW_STEPS: Final = 7  # places tried along each side
WINDOWS: Final = 2  # of one picture
SHARED: Final = 0.25  # IoU up to which two windows of a picture may overlap
MARGIN: Final = 0.5  # of a plate's sides: how far a window stays away
PAINTED_MARGIN: Final = 0.15  # of a plate's sides: painted over too
PAINTED_SHARE: Final = 0.12  # a picture with more of plate than this is not painted
HOLE_PX: Final = 40  # a hole is painted at this width, then enlarged
SAME: Final = 0.3  # IoU of two mistakes that are one
CANDIDATE_SCORE: Final = 0.3  # of the detector, when mistakes are collected

Pixels = NDArray[np.uint8]
Region = tuple[int, int, int, int]  # x0, y0, w, h px


@dataclass(frozen=True, slots=True)
class PlateFree:
    """A picture without plates: `origin` px = own px / scale + offset."""

    name: str
    pixels: Pixels
    origin: str
    offset: tuple[int, int] = (0, 0)
    scale: float = 1.0

    def at_origin(self, box: Box) -> Box:
        """A box (x, y, w, h) of this picture -> in px of the picture that it was made of."""
        x, y, w, h = (v / self.scale for v in box)
        return x + self.offset[0], y + self.offset[1], w, h


@dataclass(frozen=True, slots=True)
class Mistake:
    """What was read where no plate is labelled; `box` in px of the labelled picture."""

    image: str
    how: str  # "window" or "painted"
    box: Box
    read: PlateRead
    accepted: bool


def plate_boxes(entry: Entry) -> list[Box]:
    """The boxes (x, y, w, h) of the real plates; signs and blanks (quality "notplate") are none."""
    real = (plate for plate in entry.plates or [] if plate.get("quality") != "notplate")
    return [box for plate in real if (box := as_box(plate.get("box"))) is not None]


def plate_free(entry: Entry, picture: Pixels) -> Iterator[PlateFree]:
    """A labelled picture (H, W, 3) -> its windows, and itself with the plates painted over."""
    plates = plate_boxes(entry)
    stem = Path(entry.image).stem
    for i, (x, y, w, h) in enumerate(windows(picture.shape, plates)):
        scale = min(SHOWN_WIDTH / w, MAX_ENLARGED)
        shown = cv2.resize(
            picture[y : y + h, x : x + w],
            (round(w * scale), round(h * scale)),
            interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA,
        )
        yield PlateFree(
            f"{stem}-window{i}.jpg", np.asarray(shown, dtype=np.uint8), entry.image, (x, y), scale
        )
    covered = sum(w * h for _, _, w, h in plates) / (picture.shape[0] * picture.shape[1])
    if covered <= PAINTED_SHARE:
        yield PlateFree(f"{stem}-painted.jpg", painted(picture, plates), entry.image)


def windows(shape: Sequence[int], plates: Sequence[Box]) -> list[Region]:
    """Picture (H, W[, C]) and plates -> up to WINDOWS 16:9 regions away from all plates, largest first."""
    height, width = shape[0], shape[1]
    away = [_grown(box, MARGIN) for box in plates]
    found: list[Region] = []
    largest = min(width, height * ASPECT)
    for scale in WINDOW_SCALES:
        w, h = int(largest * scale), int(largest * scale / ASPECT)
        if w < MIN_WINDOW[0] or h < MIN_WINDOW[1]:
            break
        for region in _places(width, height, w, h):
            box = (float(region[0]), float(region[1]), float(w), float(h))
            clear = all(overlap(box, plate) <= 0 for plate in away)
            if clear and all(iou(box, _as_floats(other)) <= SHARED for other in found):
                found.append(region)
            if len(found) == WINDOWS:
                return found
    return found


def painted(picture: Pixels, plates: Sequence[Box]) -> Pixels:
    """The picture with every plate filled from its surroundings (inpainting after Telea, 2004), with grain."""
    out = picture.copy()
    rng = np.random.default_rng(len(plates))
    for plate in plates:
        _fill(out, plate, rng)
    return out


def _fill(picture: Pixels, plate: Box, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = _cut(_grown(plate, 0.6 + PAINTED_MARGIN), width, height)
    part = picture[y0:y1, x0:x1]
    hole = np.zeros(part.shape[:2], np.uint8)
    hx0, hy0, hx1, hy1 = _cut(_grown(plate, PAINTED_MARGIN), width, height)
    hole[hy0 - y0 : hy1 - y0, hx0 - x0 : hx1 - x0] = 255
    shrink = min(1.0, HOLE_PX / max(hx1 - hx0, 1))
    size = (max(8, round((x1 - x0) * shrink)), max(8, round((y1 - y0) * shrink)))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    small_hole = np.where(cv2.resize(hole, size, interpolation=cv2.INTER_AREA) > 0, 255, 0).astype(np.uint8)
    filled = cv2.resize(cv2.inpaint(small, small_hole, 3, cv2.INPAINT_TELEA), part.shape[1::-1])
    grainy = filled.astype(np.float32) + rng.normal(0.0, 4.0, part.shape[:2])[..., None]
    soft = cv2.GaussianBlur(cv2.dilate(hole, np.ones((3, 3), np.uint8)), (0, 0), 1.0)[..., None] / 255.0
    part[:] = np.clip(np.round(grainy * soft + part * (1.0 - soft)), 0, 255).astype(np.uint8)


def _places(width: int, height: int, w: int, h: int) -> Iterator[Region]:
    """Where a window fits, the corners of the picture first: plates are mostly in the middle."""
    xs = sorted(
        {round(t) for t in np.linspace(0, width - w, WINDOW_STEPS)}, key=lambda x: -abs(2 * x + w - width)
    )
    ys = sorted({round(t) for t in np.linspace(0, height - h, WINDOW_STEPS)})
    return ((x, y, w, h) for y in ys for x in xs)


def _grown(box: Box, by: float) -> Box:
    x, y, w, h = box
    return x - by * w, y - by * h, w * (1 + 2 * by), h * (1 + 2 * by)


def _cut(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 inside the picture."""
    x, y, w, h = box
    x0, y0 = max(0, int(x)), max(0, int(y))
    return x0, y0, min(width, int(np.ceil(x + w))), min(height, int(np.ceil(y + h)))


def _as_floats(region: Region) -> Box:
    x, y, w, h = region
    return float(x), float(y), float(w), float(h)


def excluded(path: Path = EXCLUDED) -> frozenset[str]:
    """Names of pictures with a plate that nobody labelled (or that painting did not hide)."""
    return frozenset(json.loads(path.read_text(encoding="utf-8")))


def build(manifest: Path, root: Path, out: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """Writes the plate-free pictures into a folder, with `manifest.jsonl`; the manifest's lines."""
    left_out = excluded()
    folder = out / "real"
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = []
    for entry in list(read_manifest(manifest))[:limit]:
        if entry.image in left_out:
            continue
        for one in plate_free(entry, load_picture(root, entry)):
            cv2.imwrite(str(folder / one.name), one.pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
            lines.append(as_line(f"real/{one.name}", one.pixels, one.origin))
    write_manifest(out / "manifest.jsonl", lines)
    return lines


def as_line(image: str, pixels: Pixels, source: str) -> dict[str, Any]:
    """A manifest's line of a picture without plates."""
    height, width = pixels.shape[:2]
    return {"image": image, "width": width, "height": height, "source": source, "plates": []}


def write_manifest(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """One JSON object a line."""
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def open_pipeline(models: Path | None = None) -> Pipeline:
    """A pipeline that rejects nothing of what the detector is at least CANDIDATE_SCORE sure of."""
    loaded = load_models(models)
    taking_all = Acceptance(0.0, 0.0, 0.0, 0.0, 0.0)
    return Pipeline(
        loaded,
        PipelineSettings(candidate_score=CANDIDATE_SCORE, plate_score=0.0, acceptance=taking_all, doubt=0.0),
    )


def mistakes(entry: Entry, picture: Pixels, pipeline: Pipeline, shipped: PipelineSettings) -> list[Mistake]:
    """What is read in a labelled picture beside its plates; the same place once, with its best score."""
    found: list[Mistake] = []
    for one in plate_free(entry, picture):
        how = "painted" if one.name.endswith("-painted.jpg") else "window"
        for read in pipeline.process(one.pixels).reads:
            takes = read.plate_score >= shipped.plate_score and read.score >= shipped.candidate_score
            acceptance = shipped.acceptance
            taken = takes and acceptance.takes(read.score, read.plate_score, read.text_score, read.text)
            found.append(Mistake(entry.image, how, one.at_origin(read.box), read, taken))
    kept: list[Mistake] = []
    for mistake in sorted(found, key=lambda m: (-m.accepted, -m.read.score)):
        if all(iou(mistake.box, other.box) < SAME for other in kept):
            kept.append(mistake)
    return kept


def negatives(manifest: Path, root: Path, models: Path | None, limit: int | None = None) -> Iterator[Mistake]:
    """The mistakes in all pictures of a manifest; those of the exclusion list are there too."""
    pipeline = open_pipeline(models)
    shipped = PipelineSettings().tuned(pipeline.models.thresholds)
    for entry in list(read_manifest(manifest))[:limit]:
        yield from mistakes(entry, load_picture(root, entry), pipeline, shipped)


def mistake_line(mistake: Mistake) -> dict[str, Any]:
    """A mistake as JSON: box [x1, y1, x2, y2] px of the labelled picture, and what each net said."""
    x, y, w, h = mistake.box
    return {
        "image": mistake.image,
        "how": mistake.how,
        "box": [round(v, 1) for v in (x, y, x + w, y + h)],
        "score": round(mistake.read.score, 4),
        "plate_score": round(mistake.read.plate_score, 4),
        "text_score": round(mistake.read.text_score, 4),
        "text": mistake.read.text,
        "accepted": mistake.accepted,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m inference.plate_free`: builds the set; `--negatives` writes mistakes instead."""
    parser = argparse.ArgumentParser(prog="python -m inference.plate_free", description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument(
        "--root", type=Path, required=True, help="folder that the manifest's paths start from"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the set, or file of the mistakes")
    parser.add_argument("--models", type=Path, help="for --negatives: the nets that make the mistakes")
    parser.add_argument("--limit", type=int, help="only the first K pictures")
    parser.add_argument(
        "--negatives", action="store_true", help="JSON lines of what is read beside the plates"
    )
    options = parser.parse_args(argv)
    if options.negatives:
        found = negatives(options.manifest, options.root, options.models, options.limit)
        write_manifest(options.out, [mistake_line(one) for one in found])
    else:
        sys.stdout.write(
            f"{len(build(options.manifest, options.root, options.out, options.limit))} pictures\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
