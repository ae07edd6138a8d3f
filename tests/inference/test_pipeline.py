# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hand_nets import HandNet, corner_outputs, detector_outputs, reader_outputs

from inference.accept import Acceptance
from inference.confidence import Confidence
from inference.corners import Located, from_box
from inference.errors import BadPictureError, InferenceError
from inference.frame import MAX_SIDE, MIN_SIDE
from inference.models import Models
from inference.pipeline import Pipeline, PipelineSettings
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
    (doubted,) = result.rejected
    assert doubted.reason == Reason.DOUBTFUL
    assert doubted.score == pytest.approx(0.95, abs=0.01)
    assert doubted.plate_score == pytest.approx(0.997, abs=0.01)
    assert doubted.width_px == pytest.approx(80, abs=10)
    assert doubted.text_score is not None
    assert doubted.text_score > 0.9
    assert doubted.accept_score is not None
    assert doubted.threshold == strict.acceptance.accept_score
    assert doubted.accept_score < doubted.threshold


def test_lettering_is_refused_however_sure_the_nets_are() -> None:
    result = pipeline(ONE, text="SCHOOLBUS").process(PICTURE)
    assert result.reads == []
    (refused,) = result.rejected
    assert refused.reason == Reason.LETTERING
    assert refused.accept_score is not None
    assert refused.accept_score > 0.5


def test_a_flag_that_rejects_says_its_number() -> None:
    (rejected,) = pipeline(ONE, plate=-3.0).process(PICTURE).rejected
    assert rejected.plate_score == pytest.approx(0.047, abs=0.01)
    assert rejected.accept_score is None


def test_the_shape_of_no_plate_is_refused() -> None:
    long, narrow = (20, 60, 620, 110, 3.0), (100, 60, 120, 200, 3.0)
    assert [r.reason for r in pipeline(long, narrow).process(PICTURE).rejected] == [Reason.ODD_SHAPE] * 2
    lenient = PipelineSettings(max_aspect=20.0, min_aspect=0.05)
    assert len(pipeline(long, narrow, settings=lenient).process(PICTURE).reads) == 2


def test_a_read_says_what_it_rests_on() -> None:
    (read,) = pipeline(ONE).process(PICTURE).reads
    assert (read.looks, read.agreed, read.two_rows, read.zoomed) == (3, 3, False, False)
    assert read.text_score == pytest.approx(read.confidence)
    assert read.text_score > 0.9
    assert read.accept_score > 0.5
    for char in read.chars:
        assert char.probability + sum(p for _, p in char.alternatives) <= 1.0 + 1e-9


def test_looks_that_are_spared_are_those_at_sure_texts() -> None:
    sure, doubtful = PipelineSettings(doubt=0.5), PipelineSettings(doubt=1.0)
    assert pipeline(ONE, settings=sure).process(PICTURE).reads[0].looks == 1
    result = pipeline(ONE, settings=doubtful).process(PICTURE)
    (read,) = result.reads
    assert (read.text, read.looks, read.agreed) == ("ABC123", 3, 3)
    assert "second look" in result.timings


def test_the_confidence_is_the_calibrated_one() -> None:
    doubting = PipelineSettings(confidence=Confidence(read_text=0.0, read_bias=-1.0))
    (read,) = pipeline(ONE, settings=doubting).process(PICTURE).reads
    assert read.confidence == pytest.approx(0.269, abs=1e-3)
    assert read.text_score > 0.9


def test_the_detector_need_not_be_asked_where_a_plate_is_known() -> None:
    asked = pipeline()
    assert asked.read_at(PICTURE, (100.0, 60.0, 80.0, 30.0)).text == "ABC123"
    assert asked.models.detector.calls == 0


HALF = (300, 200, 380, 230, -1.2)  # a score of 0.23: less than a candidate's, enough for a closer look


def test_only_where_something_was_half_seen_and_nothing_accepted_is_looked_at_closer() -> None:
    settings = PipelineSettings(closer_looks=1)
    for boxes, looks in (((ONE, HALF), 1), ((HALF,), 2), ((), 1)):
        asked = pipeline(*boxes, settings=settings)
        timings = asked.process(PICTURE).timings
        assert asked.models.detector.calls == looks
        assert ("closer look" in timings) == (looks > 1)
    never = pipeline(HALF)
    never.process(PICTURE)
    assert never.models.detector.calls == 1


Found = tuple[float, float, float, float, float]
SMALL: Found = (100, 60, 150, 80, 2.0)  # half as large in the picture when a closer look gives it


def closer(*boxes: Found, accept: float = 0.5, gives: Found = SMALL) -> Pipeline:
    """The usual look sees `boxes`, the closer one what it `gives`, px of the net's input."""
    settings = PipelineSettings(closer_looks=2, acceptance=Acceptance(accept_zoomed=accept))
    asked = pipeline(ONE, settings=settings)
    net = asked.models.detector
    assert isinstance(net, HandNet)
    net.function = lambda _: detector_outputs(*(boxes if net.calls == 1 else [gives]))
    return asked


def test_the_closer_look_gives_boxes_of_the_frame() -> None:
    (read,) = closer((300, 200, 340, 220, -1.2)).process(PICTURE).reads
    assert read.zoomed
    assert read.box == pytest.approx(
        (160 + 50, 114 + 30, 25, 10), abs=6
    )  # the part's corner, and half the size


def test_the_closer_look_has_its_own_threshold_and_reads_a_plate_once() -> None:
    far_apart = (100, 60, 140, 80, -1.2), (540, 330, 580, 350, -1.2)
    result = closer(*far_apart).process(PICTURE)
    assert len(result.reads) == 2
    strict = closer(*far_apart, accept=1.0).process(PICTURE)
    assert strict.reads == []
    assert [(r.reason, r.threshold) for r in strict.rejected] == [(Reason.DOUBTFUL, 1.0)] * 2


def test_the_closer_look_alone_is_what_a_frame_without_plates_gets() -> None:
    (read,) = pipeline(SMALL, settings=PipelineSettings(closer_looks=1)).look_closer(PICTURE).reads
    assert read.zoomed


def test_what_the_usual_look_can_see_is_not_looked_for_closer() -> None:
    """A closer look at a sign that the usual look refused would ask the same question until the answer is yes."""
    wide = closer((300, 200, 340, 220, -1.2), gives=(100, 60, 170, 85, 2.0)).process(PICTURE)
    assert wide.reads == []
    assert [(r.reason, round(r.width_px)) for r in wide.rejected] == [(Reason.DOUBTFUL, 35)]


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
