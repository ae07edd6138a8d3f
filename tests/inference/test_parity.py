# SPDX-License-Identifier: Apache-2.0
"""Both TFLite runtimes read the same: ai-edge-litert here, tflite-runtime in an environment of its own.

Their int8 kernels round differently (the reference kernels of both give the same bytes, but nobody runs those): a
detector's output differs by 2 steps of 256 on average, by 22 at most. So what is doubtful may tip over; what is read
with confidence must not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.report.reads import reads_of

ROOT = Path(__file__).parents[2]
FLOORS = Path(__file__).parent / "floors"
OLD_RUNTIME = ("tflite-runtime==2.14.0", "numpy==1.26.4", "opencv-python-headless==4.11.0.86")
NEWEST_PYTHON = (3, 11)  # that tflite-runtime has wheels for
SURE = 0.7  # a text read with this confidence by one runtime must be the other's too
AGREED = 0.85  # of all reads, doubtful ones and reads of nothing among them
CONFIDENCE = 0.03  # mean difference of the confidences in equal texts
CORNERS = 0.02  # median difference of the corners, of the plate's width

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def here() -> list[dict[str, Any]]:
    return list(reads_of(FLOORS))


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The same pictures, read with tflite-runtime and nothing else installed."""
    if sys.version_info[:2] > NEWEST_PYTHON:
        pytest.skip("tflite-runtime has no wheels for this Python")
    folder = tmp_path_factory.mktemp("runtime") / "venv"
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *OLD_RUNTIME]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the environment can't be made: {done.stderr.strip().splitlines()[-1:]}")
    command = [python, "-m", "inference.report.reads", str(FLOORS)]
    told = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return [json.loads(line) for line in told.stdout.splitlines()]


def test_it_is_another_runtime(here: list[dict[str, Any]], there: list[dict[str, Any]]) -> None:
    assert {line["runtime"] for line in here} == {"ai_edge_litert"}
    assert {line["runtime"] for line in there} == {"tflite_runtime"}
    assert [line["image"] for line in here] == [line["image"] for line in there]
    assert sum(len(line["plates"]) for line in here) >= 60


def test_what_is_sure_is_the_same(here: list[dict[str, Any]], there: list[dict[str, Any]]) -> None:
    pairs = paired(here, there)
    sure = [(a, b) for a, b in pairs if max(sureness(a), sureness(b)) >= SURE]
    assert len(sure) >= 30
    assert [(text(a), text(b)) for a, b in sure if text(a) != text(b)] == []


def test_most_of_the_rest_is_the_same(here: list[dict[str, Any]], there: list[dict[str, Any]]) -> None:
    pairs = paired(here, there)
    assert sum(text(a) == text(b) for a, b in pairs) >= AGREED * len(pairs)


def test_confidences_and_corners_are_nearly_the_same(
    here: list[dict[str, Any]], there: list[dict[str, Any]]
) -> None:
    equal = [(a, b) for a, b in paired(here, there) if a and b and text(a) == text(b)]
    apart = [abs(a["confidence"] - b["confidence"]) for a, b in equal]
    assert float(np.mean(apart)) <= CONFIDENCE
    moved = [np.abs(np.subtract(a["corners"], b["corners"])).max() / width(a) for a, b in equal]
    assert float(np.median(moved)) <= CORNERS


Plate = dict[str, Any]
Pair = tuple[Plate | None, Plate | None]


def paired(here: list[dict[str, Any]], there: list[dict[str, Any]]) -> list[Pair]:
    """The reads of both at the same places; None where one has none."""
    pairs: list[Pair] = []
    for one, other in zip(here, there, strict=True):
        left = list(other["plates"])
        for plate in one["plates"]:
            twin = next((p for p in left if distance(plate, p) < width(plate) / 2), None)
            pairs.append((plate, twin))
            left = [p for p in left if p is not twin]
        pairs += [(None, plate) for plate in left]
    return pairs


def distance(a: Plate, b: Plate) -> float:
    return float(np.linalg.norm(np.mean(a["corners"], axis=0) - np.mean(b["corners"], axis=0)))


def width(plate: Plate) -> float:
    return float(np.linalg.norm(np.subtract(plate["corners"][1], plate["corners"][0])))


def text(plate: Plate | None) -> str | None:
    return plate["text"] if plate else None


def sureness(plate: Plate | None) -> float:
    return float(plate["confidence"]) if plate else 0.0
