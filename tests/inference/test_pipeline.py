# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hand_nets import HandNet, corner_outputs, detector_outputs, reader_outputs

from inference.accept import Acceptance
from inference.corners import Located, from_box
from inference.errors import BadPictureError, InferenceError
from inference.models import Models
from inference.pipeline import MAX_SIDE, MIN_SIDE, Pipeline, PipelineSettings
from inference.types import Reason

PICTURE = np.full((384, 640, 3), 90, dtype=np.uint8)
ONE = (100, 60, 180, 90, 3.0)
TWO = (300, 200, 380, 230, 1.0)


def pipeline(
    *boxes: tuple[float, float, float, float, float],
    plate: float = 6.0,
    rows: float = -6.0,
    settings: PipelineSettings | None = None,
    text: str = "ABC123",
) -> Pipeline:
    models = Models(
        detector=HandNet("detector", lambda _: detector_outputs(*boxes), scale=0.05),
        corners=HandNet("corners", lambda _: corner_outputs(plate, rows), scale=0.05),
        reader=HandNet("reader", lambda _: reader_outputs(text)),
        thresholds={"candidate_score": 0.4, "plate_score": 0.6, "accept_text": 0.3, "unknown": 1.0},
    )
    return Pipeline(models, settings)


def test_a_plate_is_found_and_read() -> None:
    result = pipeline(ONE).process(PICTURE)
    (read,) = result.reads
    assert read.text == "ABC123"
    assert read.confidence > 0.9
    assert (read.state, read.state_note) == (None, "not read")
    assert read.box == pytest.approx((100, 60, 80, 30), abs=10)
    assert read.width_px == pytest.approx(80, abs=10)
    assert {"grey", "detect", "corners", "read", "total"} <= result.timings.keys()


def test_settings_come_from_the_manifest_and_unknown_names_do_not_harm() -> None:
    expected = PipelineSettings(candidate_score=0.4, plate_score=0.6, acceptance=Acceptance(accept_text=0.3))
    assert pipeline(ONE).settings == expected


def test_the_flag_rejects_false_boxes_with_a_reason() -> None:
    result = pipeline(ONE, plate=-3.0).process(PICTURE)
    assert result.reads == []
    assert [r.reason for r in result.rejected] == [Reason.NOT_A_PLATE]


def test_a_plate_found_twice_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    same = Located(from_box((100.0, 60.0, 80.0, 30.0)), 0.99, 0.0)
    monkeypatch.setattr("inference.pipeline.corner_stage.locate", lambda *_: same)
    result = pipeline(ONE, TWO).process(PICTURE)
    assert len(result.reads) == 1
    assert [r.reason for r in result.rejected] == [Reason.SEEN_TWICE]


def test_surely_nothing_is_no_confidence() -> None:
    lenient = PipelineSettings(acceptance=Acceptance(accept_text=0.0))
    (read,) = pipeline(ONE, text="", settings=lenient).process(PICTURE).reads
    assert (read.text, read.confidence) == ("", 0.0)


def test_what_all_nets_doubt_is_no_plate() -> None:
    strict = PipelineSettings(acceptance=Acceptance(accept_text=2.0, accept_bias=-30.0))
    result = pipeline(ONE, settings=strict).process(PICTURE)
    assert result.reads == []
    assert [r.reason for r in result.rejected] == [Reason.NOT_A_PLATE]


def test_nothing_is_dropped_silently() -> None:
    settings = PipelineSettings(max_plates=1, min_width_px=50)
    small = (400, 300, 420, 308, 2.0)
    result = pipeline(ONE, TWO, small, settings=settings).process(PICTURE)
    assert len(result.reads) == 1
    assert [r.reason for r in result.rejected] == [Reason.TOO_MANY, Reason.TOO_MANY]
    result = pipeline(small, settings=settings).process(PICTURE)
    assert [r.reason for r in result.rejected] == [Reason.TOO_SMALL]


def test_two_rows_are_read_one_by_one() -> None:
    assert pipeline(ONE, rows=4.0, text="AB").process(PICTURE).reads[0].text == "ABAB"


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((100, 100), dtype=np.float32),
        np.zeros((100, 100, 4), dtype=np.uint8),
        np.zeros(100, dtype=np.uint8),
        np.zeros((MIN_SIDE - 1, 100), dtype=np.uint8),
        np.broadcast_to(np.uint8(0), (100, MAX_SIDE + 1)),
        np.broadcast_to(np.uint8(0), (MAX_SIDE, MAX_SIDE)),
    ],
)
def test_what_is_no_picture_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(BadPictureError) as caught:
        pipeline(ONE).process(picture)
    assert isinstance(caught.value, InferenceError)
    assert caught.value.permanent
