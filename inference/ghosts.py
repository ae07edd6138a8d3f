# SPDX-License-Identifier: Apache-2.0
"""Ghosts: what is read in pictures that show no plate. Collected in one way and counted in one way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from inference.labels import Entry, load_picture
from inference.pipeline import Pipeline
from inference.types import PlateRead

BELIEVED: Final = 0.5  # confidence from which a vote takes a read


def collect(pipeline: Pipeline, root: Path, images: Iterable[str]) -> dict[str, list[PlateRead]]:
    """Every picture (named below `root`) -> what is read in it."""
    return {image: pipeline.process(load_picture(root, Entry(image, [], None))).reads for image in images}


def count(pictures: Iterable[Sequence[PlateRead]]) -> dict[str, Any]:
    """What was read in each picture -> figures; `per_100` pictures is None where there are none."""
    found = list(pictures)
    reads = [read for of_picture in found for read in of_picture]
    return {
        "pictures": len(found),
        "ghosts": len(reads),
        "believed": sum(read.confidence >= BELIEVED for read in reads),
        "pictures_with_ghosts": sum(bool(of_picture) for of_picture in found),
        "per_100": round(100 * len(reads) / len(found), 3) if found else None,
    }
