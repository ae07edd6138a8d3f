# SPDX-License-Identifier: Apache-2.0
"""The detector's data: manifests, and a flat uint8 cache of every training picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.labels import held_out

Gray = NDArray[np.uint8]
Boxes = NDArray[np.float32]

LONG_SIDE = 832  # px, larger pictures are shrunk when cached
HELD_OUT = "held-out.json"
PLANES = ("grey", "red")  # red stands in for a near-infrared view of the scene


@dataclass(frozen=True, slots=True)
class Labels:
    """One picture's plates as (N, 4) x1,y1,x2,y2 in px; `ignore` regions are neither plate nor background."""

    image: str
    width: int
    height: int
    source: str
    plates: Boxes
    ignore: Boxes


def as_boxes(rows: list[list[float]]) -> Boxes:
    """A list of x1,y1,x2,y2 as a (N, 4) array, also when it is empty."""
    return np.asarray(rows, np.float32).reshape(-1, 4)


def parse_labels(row: dict[str, Any]) -> Labels:
    """One manifest line; a ``notplate`` is background, a box turned inside out raises ValueError."""
    rows = [list(map(float, p["box"])) for p in row["plates"] if p.get("quality") != "notplate"]
    boxes = as_boxes(rows)
    if bool((boxes[:, 2:] <= boxes[:, :2]).any()):
        raise ValueError(f"{row['image']}: a box without area; correct the manifest")
    return Labels(
        row["image"], int(row["width"]), int(row["height"]), str(row.get("source", "")), boxes, as_boxes([])
    )


def read_manifest(path: Path) -> list[Labels]:
    """All labels of a JSON-lines manifest."""
    with path.open(encoding="utf-8") as lines:
        return [parse_labels(json.loads(line)) for line in lines if line.strip()]


def read_colour(path: Path) -> Gray:
    """A picture as BGR (H, W, 3); FileNotFoundError when it is missing or unreadable."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise FileNotFoundError(f"{path}: not a readable picture")
    return np.asarray(image, np.uint8)


def read_grey(path: Path) -> Gray:
    """A picture as grey (H, W), by the same conversion as on the device."""
    return np.asarray(cv2.cvtColor(read_colour(path), cv2.COLOR_BGR2GRAY), np.uint8)


def _shrink(image: Gray) -> Gray:
    scale = LONG_SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _planes(image: Gray) -> Iterator[Gray]:
    yield np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    yield np.ascontiguousarray(image[:, :, 2])


def held_out_pictures(manifest: Path) -> frozenset[str]:
    """Pictures with a plate whose text is held out: they fit thresholds and confidences, no net sees them."""
    with manifest.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    return frozenset(
        r["image"] for r in rows if any(p.get("text") and held_out(p["text"]) for p in r["plates"])
    )


def prepare(data: Path, work: Path, manifest: str = "train.jsonl") -> Path:
    """Write ``work/cache-*`` (grey and red planes back to back, and an index); done once, returns the index."""
    index = work / "cache.json"
    work.mkdir(parents=True, exist_ok=True)
    names = sorted(held_out_pictures(data / manifest))
    (work / HELD_OUT).write_text(json.dumps(names), encoding="utf-8")
    if index.exists():
        return index
    rows, offset = [], 0
    with (work / "cache.bin.part").open("wb") as out:
        for labels in read_manifest(data / manifest):
            image = _shrink(read_colour(data / labels.image))
            height, width = image.shape[:2]
            for plane in _planes(image):
                out.write(plane.tobytes())
            ratio = np.asarray([width / labels.width, height / labels.height] * 2, np.float32)
            boxes = (labels.plates * ratio).tolist()
            rows.append([labels.image, width, height, labels.source, boxes, offset])
            offset += len(PLANES) * width * height
    (work / "cache.bin.part").replace(work / "cache.bin")
    index.write_text(json.dumps(rows), encoding="utf-8")
    return index


class Cache:
    """Random access to the prepared pictures and their labels."""

    def __init__(self, work: Path, ignore: Path | None = None) -> None:
        rows = json.loads((work / "cache.json").read_text(encoding="utf-8"))
        found: dict[str, list[list[float]]] = {}
        if ignore is not None and ignore.exists():
            found = json.loads(ignore.read_text(encoding="utf-8"))
        self.labels = [
            Labels(name, width, height, source, as_boxes(boxes), as_boxes(found.get(name, [])))
            for name, width, height, source, boxes, _ in rows
        ]
        self._offsets = [int(row[-1]) for row in rows]
        self._bytes = np.memmap(work / "cache.bin", np.uint8, mode="r")

    def __len__(self) -> int:
        return len(self.labels)

    def keep(self, names: frozenset[str], *, without: bool = False) -> None:
        """Go on with these pictures only, or with all but these."""
        kept = [i for i, labels in enumerate(self.labels) if (labels.image in names) != without]
        self.labels = [self.labels[i] for i in kept]
        self._offsets = [self._offsets[i] for i in kept]

    def image(self, index: int, plane: int = 0) -> Gray:
        """The picture (H, W) of one plane: 0 grey, 1 red."""
        labels = self.labels[index]
        size = labels.width * labels.height
        start = self._offsets[index] + plane * size
        return np.asarray(self._bytes[start : start + size]).reshape(labels.height, labels.width)
