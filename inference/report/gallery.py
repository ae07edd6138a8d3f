# SPDX-License-Identifier: Apache-2.0
"""The failures as pictures, for whoever has the data: they go to a folder that is never published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.report.figures import failures, false_ranked
from inference.report.records import Shot, cases, false_reads
from inference.types import Box

TILE: Final = (240, 170)  # width and height px, the line of text under the plate included
TEXT_PX: Final = 40
COLUMNS: Final = 6
SHOWN: Final = 48  # of each kind
AROUND: Final = 0.35  # of the box, shown on every side
YELLOW, WHITE = (0, 220, 255), (240, 240, 240)

Picture = NDArray[np.uint8]


def write(folder: Path, root: Path, shots: Sequence[Shot]) -> list[Path]:
    """Sheets of wrong reads (the surest first), missed plates (the widest first) and reads of nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    wrong, missed = failures(cases(shots))
    kinds: dict[str, Iterator[tuple[str, Box, str, str]]] = {
        "wrong": (
            (c.image, c.truth.box, c.truth.text or "", f"{c.read.text} {c.read.confidence:.2f}")
            for c in wrong[:SHOWN]
            if c.read
        ),
        "missed": ((c.image, c.truth.box, c.truth.text or "", "not found") for c in missed[:SHOWN]),
        "nothing": (
            (shot.image, read.box, "", f"{read.text} {read.confidence:.2f}")
            for shot, read in false_ranked(false_reads(shots))[:SHOWN]
        ),
    }
    written = []
    for name, rows in kinds.items():
        tiles = [tile(root / image, box, truth, read) for image, box, truth, read in rows]
        if tiles:
            path = folder / f"{name}.png"
            cv2.imwrite(str(path), sheet(tiles))
            written.append(path)
    return written


def tile(path: Path, box: Box, truth: str, read: str) -> Picture:
    """A piece of a picture around a box, with the truth and the read under it."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    out = np.full((TILE[1], TILE[0], 3), 30, np.uint8)
    if picture is not None:
        x, y, w, h = box
        top, left = max(0, int(y - AROUND * h)), max(0, int(x - AROUND * w))
        piece = picture[top : int(y + (1 + AROUND) * h) + 1, left : int(x + (1 + AROUND) * w) + 1]
        scale = min(TILE[0] / piece.shape[1], (TILE[1] - TEXT_PX) / piece.shape[0])
        size = (max(1, int(piece.shape[1] * scale)), max(1, int(piece.shape[0] * scale)))
        small = cv2.resize(piece, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        out[: size[1], : size[0]] = small
    for text, line, colour in ((truth, TILE[1] - 23, WHITE), (read, TILE[1] - 6, YELLOW)):
        cv2.putText(out, text, (4, line), cv2.FONT_HERSHEY_SIMPLEX, 0.48, colour, 1, cv2.LINE_AA)
    return out


def sheet(tiles: Sequence[Picture]) -> Picture:
    """Tiles in rows of COLUMNS."""
    blank = np.zeros_like(tiles[0])
    filled = [*tiles, *[blank] * (-len(tiles) % COLUMNS)]
    rows = [np.hstack(filled[i : i + COLUMNS]) for i in range(0, len(filled), COLUMNS)]
    return np.asarray(np.vstack(rows), dtype=np.uint8)
