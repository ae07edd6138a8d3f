# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np
import pytest

from drivers.sim.designs import DESIGNS
from drivers.sim.plates import draw_plate
from inference.decode import ALPHABET
from inference.models import MANIFEST, MODELS_DIR, NAMES, OPTIONAL, Models, load_models
from inference.pipeline import Pipeline
from inference.plates import fold
from inference.preprocess import CORNERS_SIZE, DETECTOR_SIZE, READER_SIZE
from inference.runtime import TfliteNet
from inference.tracker import Tracker
from inference.vote import vote

MODEL_BUDGET_BYTES = 4 * 1024 * 1024
SERIALS = ("7ABX", "KT34829", "BD82734", "GHX4417", "RJK2058", "35XVN", "FWA917", "82PLM63")


@pytest.fixture(scope="module")
def shipped() -> Models:
    return load_models()


def net(models: Models, name: str) -> TfliteNet:
    found = getattr(models, name)
    assert isinstance(found, TfliteNet)
    return found


def street(serial: str, seed: int, width: int = 130, dx: int = 0) -> np.ndarray:
    """(720, 1280, 3): a dark car's rear on a grey road, with one of our own plates."""
    rng = np.random.default_rng(seed)
    picture = np.full((720, 1280, 3), (128, 126, 124), dtype=np.uint8)
    cv2.rectangle(picture, (0, 0), (1280, 260), (214, 205, 196), -1)
    cv2.rectangle(picture, (420 + dx, 190), (900 + dx, 560), (70, 52, 40), -1)
    cv2.rectangle(picture, (470 + dx, 210), (850 + dx, 320), (60, 66, 70), -1)
    plate = draw_plate(DESIGNS[seed % len(DESIGNS)], serial, rng).day[0]
    plate = cv2.resize(plate, (width, width // 2), interpolation=cv2.INTER_AREA)
    x, y = 660 + dx - width // 2, 440
    picture[y : y + width // 2, x : x + width] = plate
    noisy = picture.astype(float) + rng.normal(0, 3, picture.shape)
    blurred = cv2.GaussianBlur(noisy.clip(0, 255).astype(np.uint8), (0, 0), 0.8)
    return np.asarray(blurred, dtype=np.uint8)


def test_the_files_are_those_of_the_manifest_and_small() -> None:
    manifest = json.loads((MODELS_DIR / MANIFEST).read_text())
    assert set(NAMES) <= manifest["models"].keys() <= {*NAMES, *OPTIONAL}
    total = 0
    for entry in manifest["models"].values():
        content = (MODELS_DIR / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert len(content) == entry["bytes"]
        total += len(content)
    assert total <= MODEL_BUDGET_BYTES


def test_the_shapes_are_those_of_the_contract(shipped: Models) -> None:
    for name, (width, height) in (
        ("detector", DETECTOR_SIZE),
        ("corners", CORNERS_SIZE),
        ("reader", READER_SIZE),
    ):
        assert net(shipped, name).input_shape == (1, height, width, 1)
    detector = sorted(net(shipped, "detector").output_shapes().values())
    assert detector == sorted((1, 384 // s, 640 // s, c) for s in (8, 16, 32) for c in (1, 4))
    assert sorted(net(shipped, "corners").output_shapes().values()) == [(1, 2), (1, 8)]
    assert list(net(shipped, "reader").output_shapes().values()) == [(1, 36, len(ALPHABET) + 1)]


def test_our_own_plates_are_found_and_read(shipped: Models) -> None:
    pipeline = Pipeline(shipped)
    right = 0
    for seed, serial in enumerate(SERIALS):
        reads = pipeline.process(street(serial, seed)).reads
        right += any(fold(read.text) == fold(serial) for read in reads)
    assert right >= len(SERIALS) - 2


def test_corners_lie_on_the_plate(shipped: Models) -> None:
    reads = Pipeline(shipped).process(street("KT34829", 1)).reads
    expected = np.array([[595, 440], [725, 440], [725, 505], [595, 505]])
    best = max(reads, key=lambda read: read.score)
    assert np.abs(best.corners - expected).max() < 9


def test_a_street_without_a_plate_gives_no_read(shipped: Models) -> None:
    empty = street("KT34829", 1)
    empty[430:520, 580:740] = (70, 52, 40)
    assert Pipeline(shipped).process(empty).reads == []


def test_a_pass_becomes_one_read(shipped: Models) -> None:
    pipeline, tracker = Pipeline(shipped), Tracker()
    for i in range(5):
        picture = street("GHX4417", 3, width=110 + 6 * i, dx=25 * i)
        assert tracker.update(pipeline.process(picture), t_us=i * 100_000, sequence=i) == []
    (track,) = tracker.flush()
    result = vote(track)
    assert fold(result.text) == fold("GHX4417")
    assert result.frames_seen == 5
    assert result.reason_if_unread is None
