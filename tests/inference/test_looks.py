# SPDX-License-Identifier: Apache-2.0
"""Second and closer looks with the shipped nets on our own plates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_models import SERIALS, street

from inference.detector import iou
from inference.models import Models, load_models
from inference.pipeline import Pipeline, PipelineSettings
from inference.plates import fold
from inference.types import Box

SMALL_PX = 44  # in the frame; half of it at the detector's input
BLURRED_PX = 52


@pytest.fixture(scope="module")
def shipped() -> Models:
    return load_models()


def settings(models: Models, **changed: float) -> PipelineSettings:
    return replace(PipelineSettings().tuned(models.thresholds), **changed)


def place(width: int) -> Box:
    return 660.0 - width // 2, 440.0, float(width), float(width // 2)


def pictures(width: int) -> list[np.ndarray]:
    return [street(serial, seed, width) for seed, serial in enumerate(SERIALS)]


def test_the_closer_look_finds_small_plates_where_they_are(shipped: Models) -> None:
    closer = Pipeline(shipped, settings(shipped, closer_looks=2, closer_score=0.1))
    found = 0
    for picture in pictures(SMALL_PX):
        reads = closer.look_closer(picture).reads
        assert all(read.zoomed for read in reads)
        found += any(iou(read.box, place(SMALL_PX)) > 0.4 for read in reads)
    assert found >= len(SERIALS) - 2


def test_closer_looks_lose_nothing_that_the_usual_one_finds(shipped: Models) -> None:
    usual, closer = Pipeline(shipped), Pipeline(shipped, settings(shipped, closer_looks=2))
    for picture in pictures(SMALL_PX):
        before, after = usual.process(picture), closer.process(picture)
        assert len(after.reads) >= len(before.reads)
        if before.reads:
            assert "closer look" not in after.timings


def test_a_second_look_reads_no_worse_and_says_how_many_agreed(shipped: Models) -> None:
    right = {}
    for doubt in (0.0, 1.1):
        pipeline = Pipeline(shipped, settings(shipped, doubt=doubt))
        reads = [pipeline.read_at(p, place(BLURRED_PX)) for p in pictures(BLURRED_PX)]
        right[doubt] = sum(fold(r.text) == fold(s) for r, s in zip(reads, SERIALS, strict=True))
        assert all((read.looks > 1) == (doubt > 1) for read in reads)
        assert all(1 <= read.agreed <= read.looks for read in reads if read.text)
    assert right[1.1] >= max(1, right[0.0] - 1)


def test_confidence_is_higher_on_a_clear_plate_than_on_a_small_one(shipped: Models) -> None:
    pipeline = Pipeline(shipped)
    clear, small = (
        np.mean([pipeline.read_at(p, place(width)).confidence for p in pictures(width)])
        for width in (130, 30)
    )
    assert clear > small + 0.1
