# SPDX-License-Identifier: Apache-2.0
"""`wayside bench night` and `ghosts`: sets of pictures that are made by command, and the figures on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cv2

from drivers.sim.distractors import plate_free_scenes
from drivers.sim.stills import Still, stills
from drivers.sim.world import SeenPlate
from inference import evaluate, plate_free
from inference.ghosts import collect, count
from inference.models import load_models
from inference.pipeline import Pipeline
from inference.types import PlateRead

MIN_PX: Final = 12.0  # a narrower plate is not told
MIN_INSIDE: Final = 0.3  # share of a plate in the picture from which it is told
JPEG_QUALITY: Final = 95
MANIFEST: Final = "manifest.jsonl"
FIGURES: Final = (
    "plates_with_text",
    "exact",
    "exact_folded",
    "detection_recall_30",
    "false_plates_per_image",
)


def bench_night(out: Path, seed: int, count: int, models: Path | None = None) -> dict[str, Any]:
    """Writes `count` stills by night and as many by day; their figures. Rendered, not real."""
    lines = {light: write_stills(out, seed, count, night=light == "night") for light in ("night", "day")}
    for light, of_light in (*lines.items(), ("", [*lines["night"], *lines["day"]])):
        plate_free.write_manifest(out / (f"{light}.jsonl" if light else MANIFEST), of_light)
    figures = {light: _measured(out / f"{light}.jsonl", out, models) for light in lines}
    return {"rendered": True, "seed": seed, "pictures_a_light": count, **figures}


def _measured(manifest: Path, root: Path, models: Path | None) -> dict[str, Any]:
    """Plates that are whole, in sight and at least 40 px wide; what is read on the others is not false."""
    found = evaluate.run(evaluate.AccuracyArgs(manifest, root, quality="clear", models=models))
    return {name: found[name] for name in FIGURES}


def write_stills(out: Path, seed: int, count: int, *, night: bool) -> list[dict[str, Any]]:
    """The pictures as JPEG files, and their lines for a manifest in the format of the real ones."""
    folder = "night" if night else "day"
    (out / folder).mkdir(parents=True, exist_ok=True)
    lines = []
    for number, still in enumerate(stills(seed, count, night=night)):
        image = f"{folder}/{number:04d}.jpg"
        cv2.imwrite(str(out / image), still.pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        lines.append(_line(image, still))
    return lines


def _line(image: str, still: Still) -> dict[str, Any]:
    height, width = still.pixels.shape[:2]
    return {
        "image": image,
        "width": width,
        "height": height,
        "source": "rendered-night" if still.night else "rendered-day",
        "severity": still.severity,
        "exposure_us": still.exposure.exposure_us,
        "gain": round(still.exposure.gain, 2),
        "lamp": round(still.lamp, 2),
        "plates": list(_plates(still.plates, width, height)),
    }


def _plates(plates: list[SeenPlate], width: int, height: int) -> Iterator[dict[str, Any]]:
    for plate in plates:
        (x0, y0), (x1, y1) = plate.corners.min(axis=0), plate.corners.max(axis=0)
        cut = (max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1))
        inside = max(0.0, cut[2] - cut[0]) * max(0.0, cut[3] - cut[1]) / ((x1 - x0) * (y1 - y0))
        if plate.hidden or x1 - x0 < MIN_PX or inside < MIN_INSIDE:
            continue
        yield {
            "box": [round(float(v), 1) for v in cut],
            "corners": [[round(float(v), 1) for v in corner] for corner in plate.corners],
            "text": plate.vehicle.plate if plate.visible else None,
            "country": "US",
            "state": plate.vehicle.design.state,
            "quality": "clear" if plate.visible else "unreadable",
        }


def bench_ghosts(
    out: Path, manifest: Path, root: Path, rendered: int, seed: int, models: Path | None = None
) -> dict[str, Any]:
    """Writes pictures without plates, made of labelled ones and rendered (a manifest each), and counts ghosts."""
    lines = [*plate_free.build(manifest, root, out), *write_scenes(out, seed, rendered)]
    found = collect(Pipeline(load_models(models)), out, [line["image"] for line in lines])
    kinds = {
        kind: count(reads for image, reads in found.items() if image.startswith(kind))
        for kind in ("real", "rendered")
    }
    return {**kinds, "ghosts": [_ghost_line(image, read) for image, reads in found.items() for read in reads]}


def write_scenes(out: Path, seed: int, count: int) -> list[dict[str, Any]]:
    """Rendered pictures of what is taken for plates, and their lines for a manifest."""
    (out / "rendered").mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (pixels, night) in enumerate(plate_free_scenes(seed, count)):
        image = f"rendered/{number:04d}.jpg"
        cv2.imwrite(str(out / image), pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        lines.append(plate_free.as_line(image, pixels, "rendered-night" if night else "rendered-day"))
    plate_free.write_manifest(out / "rendered.jsonl", lines)
    return lines


def _ghost_line(image: str, read: PlateRead) -> dict[str, Any]:
    return {
        "image": image,
        "text": read.text,
        "box": [round(v, 1) for v in read.box],
        "confidence": round(read.confidence, 3),
        "score": round(read.score, 3),
        "plate_score": round(read.plate_score, 3),
    }
