# SPDX-License-Identifier: Apache-2.0
"""Floors of accuracy on rendered pictures: a wrong model, or a wrong step before or after it, falls through them.

`floors/generate.py` rendered the pictures. The floors lie a few plates under what the shipped models reach, so they
say nothing about the road; they catch what is broken: every fault below is made in earnest and must be caught.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inference import corners, decode, detector, ocr, preprocess, rectify, runtime
from inference.labels import as_box
from inference.models import Models, load_models
from inference.pipeline import Pipeline
from inference.plates import fold
from inference.scoring import Predicted, match

FOLDER = Path(__file__).parent / "floors"
RIGHT = {  # plates of a kind whose text must be right at least (O as 0, I as 1)
    "us": 13,  # of 18
    "us by night": 6,  # of 9
    "world": 6,  # of 9
    "two rows": 7,  # of 9
    "colour": 6,  # of 9: ink and ground that are one grey when red and blue are swapped
    "dim": 6,  # of 9: 36 grey levels between black and white
    "all": 50,  # of 63
    "stacked": 0,  # of 6: no floor yet
}
FOUND, FALSE = 64, 6  # of 69 plates; reads of nothing in 23 pictures
MAX_BIAS = 0.06  # mean offset of the detector's boxes, of the plate's width and height
MAX_CORNER_ERROR = 0.035  # median, of the plate's width
DETECTOR_SCORE = 0.3


@dataclass
class Figures:
    """What was measured on the pictures."""

    right: Counter[str] = field(default_factory=Counter)
    plates: Counter[str] = field(default_factory=Counter)
    found: int = 0
    false: int = 0
    offsets: list[tuple[float, float]] = field(default_factory=list)
    corner_errors: list[float] = field(default_factory=list)

    def broken(self) -> list[str]:
        """The floors that these figures fall through."""
        names = [name for name, least in RIGHT.items() if self.right[name] < least]
        names += ["found"] if self.found < FOUND else []
        names += ["false"] if self.false > FALSE else []
        bias = np.abs(np.mean(self.offsets, axis=0)).max() if self.offsets else 1.0
        names += ["bias"] if bias > MAX_BIAS else []
        error = float(np.median(self.corner_errors)) if self.corner_errors else 1.0
        return names + (["corners"] if error > MAX_CORNER_ERROR else [])


@dataclass
class Picture:
    kind: str
    pixels: Any
    plates: list[dict[str, Any]]


def kind_of(line: dict[str, Any]) -> str:
    kinds = {"eu": "world", "uk": "world", "two_row": "two rows"}
    kind = kinds.get(line["kind"], line["kind"])
    return "us by night" if kind == "us" and line["light"] == "night" else kind


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    lines = [json.loads(line) for line in (FOLDER / "truth.jsonl").read_text().splitlines()]
    return [Picture(kind_of(x), cv2.imread(str(FOLDER / x["image"])), x["plates"]) for x in lines]


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield load_models()
    cv2.setNumThreads(threads)


def measure(models: Models, pictures: list[Picture]) -> Figures:
    figures, pipeline = Figures(), Pipeline(models)
    for picture in pictures:
        boxes = [as_box(plate["box"]) for plate in picture.plates]
        reads = pipeline.process(picture.pixels).reads
        pairs = match(boxes, [Predicted(read.box, read.text, read.score) for read in reads])
        figures.false += len(reads) - len(pairs)
        figures.found += len(pairs)
        for i, plate in enumerate(picture.plates):
            read = reads[pairs[i]] if i in pairs else None
            right = read is not None and fold(read.text) == fold(plate["text"])
            for kind in {picture.kind, "all"} - ({"all"} if picture.kind == "stacked" else set()):
                figures.plates[kind] += 1
                figures.right[kind] += right
            if read is not None:
                wanted = np.array(plate["corners"])
                width = np.linalg.norm(wanted[1] - wanted[0])
                figures.corner_errors.append(float(np.abs(read.corners - wanted).mean() / width))
        figures.offsets += offsets(models, picture, boxes)
    return figures


def offsets(models: Models, picture: Picture, boxes: list[Any]) -> list[tuple[float, float]]:
    """How far the detector's boxes lie beside the plates, in parts of the plates."""
    grey = preprocess.to_grey(picture.pixels)
    found = detector.detect(models.detector, grey, DETECTOR_SCORE)
    pairs = match(boxes, [Predicted(c.box, "", c.score) for c in found])
    lie = []
    for i, j in pairs.items():
        (x, y, w, h), (u, v, a, b) = boxes[i], found[j].box
        lie.append(((u + a / 2 - x - w / 2) / w, (v + b / 2 - y - h / 2) / h))
    return lie


def test_the_models_stand_on_the_floors(models: Models, pictures: list[Picture]) -> None:
    figures = measure(models, pictures)
    assert figures.broken() == [], f"{dict(figures.right)} of {dict(figures.plates)}"
    assert (figures.plates["all"], figures.plates["stacked"]) == (63, 6)


Fault = Callable[[pytest.MonkeyPatch], None]
FAULTS: dict[str, tuple[Fault, str]] = {}  # name -> how to make it, the floor that must break
MEASURED_ON = {"bias": "us", "corners": "us"}  # floor -> kind of pictures, where it is not the floor's own


def fault(floor: str) -> Callable[[Fault], Fault]:
    def add(make: Fault) -> Fault:
        FAULTS[make.__name__] = (make, floor)
        return make

    return add


def replace(patch: pytest.MonkeyPatch, original: Any, new: Any) -> None:
    """Puts `new` in the place of a function wherever the library has imported it."""
    modules = [m for name, m in list(sys.modules.items()) if name.split(".")[0] == "inference"]
    places = [(m, n) for m in modules for n, value in list(vars(m).items()) if value is original]
    assert places
    for module, name in places:
        patch.setattr(module, name, new)


@fault("dim")
def normalisation_left_out(patch: pytest.MonkeyPatch) -> None:
    replace(patch, preprocess.normalise, lambda crop: crop)


@fault("dim")
def normalisation_in_the_wrong_order(patch: pytest.MonkeyPatch) -> None:
    def scaled_then_shifted(crop: Any) -> Any:
        x = crop.astype(np.float32) / max(float(crop.std()), 8.0) * 56.0
        return np.clip(x - x.mean(), 0, 255).astype(np.uint8)

    replace(patch, preprocess.normalise, scaled_then_shifted)


@fault("colour")
def red_and_blue_swapped(patch: pytest.MonkeyPatch) -> None:
    def from_rgb(pixels: Any) -> Any:
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)

    replace(patch, preprocess.to_grey, from_rgb)


@fault("us")
def picture_stretched_to_the_input(patch: pytest.MonkeyPatch) -> None:
    def stretched(grey: Any, shrink: float = 1.0) -> Any:
        scale = min(640 / grey.shape[1], 384 / grey.shape[0], 1.0) * shrink
        return cv2.resize(grey, (640, 384), interpolation=cv2.INTER_AREA), scale

    replace(patch, preprocess.letterbox, stretched)


@fault("us")
def picture_centred_in_the_input(patch: pytest.MonkeyPatch) -> None:
    original = preprocess.letterbox

    def centred(grey: Any, shrink: float = 1.0) -> Any:
        out, scale = original(grey, shrink)
        down, right = 384 - round(grey.shape[0] * scale), 640 - round(grey.shape[1] * scale)
        return np.roll(out, (down // 2, right // 2), (0, 1)), scale

    replace(patch, original, centred)


@fault("us")
def scale_of_the_width_alone(patch: pytest.MonkeyPatch) -> None:
    original = preprocess.letterbox

    def by_width(grey: Any, shrink: float = 1.0) -> Any:
        return original(grey, shrink)[0], 640 / grey.shape[1] * shrink

    replace(patch, original, by_width)


def shifted_boxes(patch: pytest.MonkeyPatch, cells: float) -> None:
    original = detector._decode_stride

    def decoded(outputs: Any, stride: int, *rest: Any) -> Any:
        boxes, scores = original(outputs, stride, *rest)
        return boxes + np.float32(cells * stride), scores

    replace(patch, original, decoded)


@fault("bias")
def boxes_off_by_half_a_stride(patch: pytest.MonkeyPatch) -> None:
    shifted_boxes(patch, -0.5)


@fault("bias")
def boxes_off_by_a_stride(patch: pytest.MonkeyPatch) -> None:
    shifted_boxes(patch, 1.0)


@fault("us")
def corners_in_another_order(patch: pytest.MonkeyPatch) -> None:
    original = corners.decode

    def rolled(*given: Any) -> Any:
        found, *flags = original(*given)
        return np.roll(found, 1, axis=0), *flags

    replace(patch, original, rolled)


@fault("corners")
def corner_crop_without_its_margin(patch: pytest.MonkeyPatch) -> None:
    """The picture of the box alone, with the region of the box and its margin."""
    original = preprocess.corner_crop

    def tight(grey: Any, box: Any) -> Any:
        x, y, w, h = (int(v) for v in box)
        part = preprocess.cut(grey, (x, y, max(2, w), max(2, h)))
        return cv2.resize(part, (128, 64), interpolation=cv2.INTER_AREA), original(grey, box)[1]

    replace(patch, original, tight)


@fault("us")
def pixels_not_moved_to_int8(patch: pytest.MonkeyPatch) -> None:
    replace(patch, runtime.to_int8, lambda picture: np.ascontiguousarray(picture).view(np.int8))


@fault("two rows")
def lower_row_read_first(patch: pytest.MonkeyPatch) -> None:
    original = rectify.rows_of
    replace(patch, original, lambda quad: original(quad)[::-1])


@fault("two rows")
def rows_never_split(patch: pytest.MonkeyPatch) -> None:
    original = rectify.rows_of
    replace(patch, original, lambda quad: (quad, original(quad)[1]))


@fault("us")
def plate_upside_down(patch: pytest.MonkeyPatch) -> None:
    original = preprocess.rectify
    replace(patch, original, lambda grey, quad: np.ascontiguousarray(original(grey, quad)[::-1, ::-1]))


@fault("us")
def alphabet_of_letters_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decode, "ALPHABET", decode.ALPHABET[10:] + decode.ALPHABET[:10])


@fault("us")
def reader_of_another_model(patch: pytest.MonkeyPatch) -> None:
    """A net with the right shapes and other weights: the outputs' classes in another order."""
    original = ocr.probabilities

    def others(*given: Any) -> Any:
        found = original(*given)
        order = np.random.default_rng(0).permutation(found.shape[1] - 1)
        return np.concatenate([found[:, order], found[:, -1:]], axis=1)

    replace(patch, original, others)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_falls_through(
    name: str, models: Models, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, floor = FAULTS[name]
    make(monkeypatch)
    kind = MEASURED_ON.get(floor, floor)
    assert floor in measure(models, [picture for picture in pictures if picture.kind == kind]).broken()


def test_the_pictures_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) <= 1_500_000


@pytest.mark.slow
def test_the_command_renders_the_same_plates_again() -> None:
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    truth = (FOLDER / "truth.jsonl").read_text().splitlines()
    for number in (3, 8):
        name, light, _, kind, _ = module.FRAMES[number]
        picture, placed = module.compose(number, module.kit())
        assert module.line_of(f"{name}.webp", light, kind, picture, placed) == truth[number]
        stored = cv2.imread(str(FOLDER / f"{name}.webp"))
        assert float(np.abs(stored.astype(int) - picture.astype(int)).mean()) < 6.0
