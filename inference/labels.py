# SPDX-License-Identifier: Apache-2.0
"""Manifests of labelled pictures: JSON lines, one picture each, with its plates."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.errors import BadManifestError
from inference.plates import clean
from inference.types import Box

MAX_LINE_BYTES: Final = 1024 * 1024
MAX_PLATES: Final = 1000  # in one picture
LABEL_ERRORS: Final = Path(__file__).with_name("label_errors.json")
HELD_OUT_SHARE: Final = 16  # one text in so many
NO_FULL_TEXT: Final = frozenset({"nonlatin", "unreadable", "notplate"})  # qualities


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a manifest."""

    image: str
    plates: list[dict[str, Any]] | None  # None: nothing is known of this picture
    size: tuple[int, int] | None  # width, height px as annotated


def read_manifest(path: Path) -> Iterator[Entry]:
    """The entries of a JSON lines file; raises BadManifestError that names the line."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE_BYTES + 1), b""), 1):
                if line.strip():
                    yield _entry(line, f"{path}:{number}")
    except OSError as error:
        raise BadManifestError(f"{path} can't be read: give a JSON lines manifest") from error


def _entry(line: bytes, where: str) -> Entry:
    if len(line) > MAX_LINE_BYTES:
        raise BadManifestError(f"{where}: longer than {MAX_LINE_BYTES} bytes")
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadManifestError(f"{where}: not JSON") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("image"), str):
        raise BadManifestError(f"{where}: wants an object with an `image`")
    plates = raw.get("plates", [raw] if "box" in raw else None)  # a crop's line is its one plate's
    if plates is not None and not _is_plates(plates):
        raise BadManifestError(f"{where}: `plates` is a list of objects whose `box` is [x1, y1, x2, y2]")
    width, height = raw.get("width"), raw.get("height")
    size = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    return Entry(raw["image"], plates, size)


def _is_plates(value: object) -> bool:
    if not isinstance(value, list) or len(value) > MAX_PLATES:
        return False
    return all(isinstance(plate, dict) and _is_box(plate.get("box")) for plate in value)


def _is_box(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and len(value) == 4 and all(isinstance(v, int | float) for v in value)


def load_picture(root: Path, entry: Entry) -> NDArray[np.uint8]:
    """(H, W, 3) BGR; raises BadManifestError for a picture outside `root` or not decodable."""
    path = (root / entry.image).resolve()
    if not path.is_relative_to(root.resolve()):
        raise BadManifestError(f"{entry.image} lies outside {root}")
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is not None and entry.size == (picture.shape[0], picture.shape[1]) != picture.shape[1::-1]:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        raise BadManifestError(f"{path} is no picture that can be decoded: check --root")
    return np.asarray(picture, dtype=np.uint8)


def as_box(raw: Sequence[float] | None) -> Box | None:
    """[x1, y1, x2, y2] -> (x, y, w, h)."""
    if raw is None:
        return None
    x1, y1, x2, y2 = (float(v) for v in raw)
    return x1, y1, x2 - x1, y2 - y1


def truth_text(plate: Mapping[str, Any]) -> str | None:
    """The cleaned text of a plate, None where it is not known in full."""
    text = plate.get("text")
    if not isinstance(text, str) or "?" in text or str(plate.get("quality")) in NO_FULL_TEXT:
        return None
    return clean(text) or None


def label_errors(path: Path = LABEL_ERRORS) -> dict[tuple[str, str], str]:
    """(image, label) -> what the picture shows instead: labels that are demonstrably wrong, each with its reason there.

    The data stay as they are and every figure is told as they have it; figures with these labels mended stand beside.
    """
    return {
        (one["image"], one["label"]): one["shows"] for one in json.loads(path.read_text(encoding="utf-8"))
    }


def mended(image: str, text: str | None, errors: Mapping[tuple[str, str], str]) -> str | None:
    """A label's text, or what the picture shows where the label is wrong."""
    return text if text is None else errors.get((image, text), text)


def held_out(text: str) -> bool:
    """Whether plates with this text are kept out of training, so that confidence can be fitted on them."""
    return zlib.crc32(text.encode()) % HELD_OUT_SHARE == 0
