# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hand_nets import HandNet, corner_outputs, detector_outputs, plate_read, reader_outputs

from inference import models as loading
from inference.models import MANIFEST, MODELS_DIR, NAMES, Models, load_models
from inference.pipeline import Pipeline, PipelineSettings
from inference.preprocess import to_grey
from inference.runtime import TfliteNet
from inference.state import (
    CLASSES,
    ELSEWHERE,
    GREY,
    NOT_US,
    OTHER,
    STATE_SIZE,
    STATES,
    TOO_SMALL,
    UNREAD,
    StateRead,
    StateSettings,
    combine,
    plate_quad,
    read_state,
    state_crop,
)
from inference.state_formats import FORMATS, format_scores
from inference.state_names import name_scores
from inference.tracker import Track
from inference.training.glyphs_dies import random_dies
from inference.training.render import Kit
from inference.training.render import draw_plate as draw_grey
from inference.types import Observation
from inference.vote import vote

QUAD = np.array([[40, 30], [160, 30], [160, 90], [40, 90]], dtype=np.float32)
PICTURE = np.zeros((120, 200, 3), dtype=np.uint8)
PICTURE[..., 2] = np.linspace(60, 220, 200, dtype=np.uint8)
PLAIN = StateSettings(format_weight=0.0)


def state_net(**logits: float) -> HandNet:
    """A state net that gives these logits to these classes (`other` too), -4 to the rest."""
    values = np.full((1, CLASSES), -4.0)
    for name, logit in logits.items():
        values[0, OTHER if name == ELSEWHERE else STATES.index(name)] = logit
    return HandNet("state", lambda _: {"logits": values})


def read_of(net: HandNet, picture: np.ndarray = PICTURE, settings: StateSettings = PLAIN) -> StateRead:
    return read_state(net, picture, QUAD, "ABC123", settings)


def test_there_are_fifty_states_and_the_district() -> None:
    assert len(set(STATES)) == 51
    assert list(STATES) == sorted(STATES)
    assert set(FORMATS) == set(STATES)


def test_the_crop_puts_the_corners_in_their_place_in_colour() -> None:
    picture = np.zeros((120, 200, 3), dtype=np.uint8)
    picture[30:90, 40:160] = (10, 120, 240)
    crop = state_crop(picture, QUAD)
    assert crop.shape == (STATE_SIZE[1], STATE_SIZE[0], 3)
    (x0, y0), (x1, y1) = np.rint(plate_quad()[[0, 2]]).astype(int)
    inside = crop[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].reshape(-1, 3)
    assert (inside == (10, 120, 240)).all()
    assert crop[0].max() == 0
    assert crop[:, 0].max() == 0


def test_a_tilted_plate_is_straightened() -> None:
    picture = np.zeros((120, 200, 3), dtype=np.uint8)
    picture[:60] = 200
    tilted = np.array([[160, 30], [160, 90], [40, 90], [40, 30]], dtype=np.float32)
    crop = state_crop(picture, tilted)
    assert crop[20:50, :60].min() == 200
    assert crop[20:50, -60:].max() == 0


def test_a_large_plate_is_shrunk_without_skipping_pixels() -> None:
    board = (np.indices((600, 1000)).sum(axis=0) % 2 * 255).astype(np.uint8)
    quad = np.array([[50, 50], [950, 50], [950, 550], [50, 550]], dtype=np.float32)
    assert abs(state_crop(board, quad).astype(float) - 127.5).max() < 40


@pytest.mark.parametrize("shift", [(-60, -40), (120, 70), (500, 500)])
def test_a_plate_over_the_rim_of_the_picture_is_no_error(shift: tuple[int, int]) -> None:
    assert state_crop(PICTURE, QUAD + np.array(shift, np.float32)).shape == (72, 144, 3)


def test_a_sure_state_is_named() -> None:
    read = read_of(state_net(IL=8.0, WI=2.0))
    assert (read.state, read.note) == ("IL", "")
    assert read.confidence > 0.95
    assert [name for name, _ in read.likely[:2]] == ["IL", "WI"]


def test_a_doubt_names_both_and_no_state() -> None:
    read = read_of(state_net(CA=3.0, NV=2.8))
    assert (read.state, read.confidence, read.note) == (None, 0.0, "uncertain: CA or NV")


def test_the_temperature_takes_certainty_away() -> None:
    net = state_net(IL=6.0, WI=2.0)
    assert read_of(net).state == "IL"
    assert read_of(net, settings=replace(PLAIN, temperature=4.0)).state is None


def test_a_plate_from_elsewhere_has_no_state() -> None:
    read = read_of(state_net(other=7.0, NY=3.0))
    assert (read.state, read.note) == (None, NOT_US)


@pytest.mark.parametrize(
    "shape", [lambda p: p[..., 2], lambda p: p[..., 2:], lambda p: np.repeat(p[..., 2:], 3, 2)]
)
def test_a_grey_picture_needs_more_certainty(shape: Callable[[np.ndarray], np.ndarray]) -> None:
    grey = shape(PICTURE)
    strict = replace(PLAIN, confidence=0.5, grey_confidence=0.98)
    assert read_of(state_net(IL=2.0), settings=strict).state == "IL"
    read = read_of(state_net(IL=2.0), grey, strict)
    assert (read.state, read.note) == (None, GREY)
    assert read_of(state_net(IL=14.0), grey, strict).state == "IL"


def test_a_plate_too_small_is_not_tried() -> None:
    net = state_net(IL=9.0)
    read = read_state(net, PICTURE, QUAD / 4, "ABC123", PLAIN)
    assert (read.state, read.note, read.likely, net.calls) == (None, TOO_SMALL, (), 0)


def test_the_net_sees_colours_in_the_order_of_the_picture() -> None:
    def sees(picture: np.ndarray) -> dict[str, np.ndarray]:
        assert picture.shape == (STATE_SIZE[1], STATE_SIZE[0], 3)
        assert picture[..., 2].mean() > picture[..., 0].mean() + 50
        return {"logits": np.zeros((1, CLASSES))}

    assert read_of(HandNet("state", sees)).state is None


def test_a_format_of_one_state_speaks_for_it() -> None:
    scores = dict(zip(sorted(FORMATS), format_scores("7ABC123"), strict=True))
    assert max(scores, key=lambda s: scores[s]) == "CA"
    assert scores["CA"] > 2
    assert scores["NY"] < 0


def test_zeros_and_letters_o_are_one_to_a_format() -> None:
    assert np.array_equal(format_scores("7ABC1O3"), format_scores("7ABC103"))
    assert format_scores("7OBC123")[sorted(FORMATS).index("CA")] > 1


@pytest.mark.parametrize("text", ["", "GOLFMOM", "X", "123456789"])
def test_a_text_of_no_format_says_nothing(text: str) -> None:
    assert np.allclose(format_scores(text), 0, atol=1e-6)


@pytest.mark.parametrize("text", ["ABC1234", "AB12345", "123ABC"])
def test_formats_leave_the_chance_of_a_us_plate_as_it_was(text: str) -> None:
    assert np.exp(format_scores(text)).mean() == pytest.approx(1.0, abs=1e-4)


def test_the_format_tips_the_balance_only_between_states() -> None:
    net = state_net(CA=3.0, NV=3.0)
    hinted = read_state(net, PICTURE, QUAD, "7ABC123", StateSettings(format_weight=1.0, confidence=0.8))
    assert hinted.state == "CA"
    foreign = state_net(other=9.0)
    assert read_state(foreign, PICTURE, QUAD, "7ABC123", StateSettings(format_weight=1.0)).note == NOT_US


def names_of(**scores: float) -> np.ndarray:
    found = np.zeros(OTHER, np.float32)
    for name, score in scores.items():
        found[STATES.index(name)] = score
    return found


def test_a_name_on_the_plate_counts_where_the_net_is_in_doubt() -> None:
    doubt = state_net(CA=2.0, NV=1.8, other=2.0)
    read = read_state(doubt, PICTURE, QUAD, "ABC123", PLAIN, lambda: names_of(NV=10.0))
    assert (read.state, read.note) == ("NV", "")
    assert read_state(doubt, PICTURE, QUAD, "ABC123", PLAIN, names_of).state is None


@pytest.mark.parametrize("sure", [{"IL": 8.0}, {"other": 9.0}])
def test_a_sure_net_is_not_asked_for_names(sure: dict[str, float]) -> None:
    def never() -> np.ndarray:
        raise AssertionError

    assert read_state(state_net(**sure), PICTURE, QUAD, "ABC123", PLAIN, never).likely[0][1] > 0.95


def test_settings_come_from_the_manifest() -> None:
    thresholds = {
        "state_confidence": 0.7,
        "state_min_width_px": 55.0,
        "state_unknown": 1.0,
        "confidence": 0.1,
    }
    settings = PipelineSettings().tuned(thresholds).state
    assert settings == StateSettings(confidence=0.7, min_width_px=55.0)


def told(state: str | None, *likely: tuple[str, float], note: str = "") -> StateRead:
    return StateRead(state, likely[0][1] if state else 0.0, note, likely)


SURE = told("IL", ("IL", 0.95), ("WI", 0.03))
UNSURE = told(None, ("IL", 0.5), ("WI", 0.4), note="uncertain: IL or WI")
WRONG = told("WI", ("WI", 0.9), ("IL", 0.05))
SMALL = StateRead(None, 0.0, TOO_SMALL)


@pytest.mark.parametrize(
    ("reads", "state", "note"),
    [
        ([(SURE, 1.0), (SURE, 1.0)], "IL", ""),
        ([(SURE, 1.0), (UNSURE, 0.5), (SMALL, 5.0)], "IL", ""),
        ([(SURE, 1.0), (WRONG, 0.4)], "IL", ""),
        ([(SURE, 1.0), (WRONG, 1.0)], None, "uncertain: IL or WI"),
        ([(UNSURE, 1.0)] * 20, None, "uncertain: IL or WI"),
        ([(SURE, 0.3), (UNSURE, 1.0)], None, "uncertain: IL or WI"),
        ([(told(None, (ELSEWHERE, 0.8), ("NY", 0.1), note=NOT_US), 1.0)] * 2, None, NOT_US),
        ([(told(None, ("NY", 0.5), ("OH", 0.2), note=GREY), 1.0)] * 2, None, GREY),
        ([(SMALL, 1.0)] * 3, None, TOO_SMALL),
        ([(UNREAD, 1.0)], None, "not read"),
        ([], None, "not read"),
    ],
)
def test_frames_are_combined(reads: list[tuple[StateRead, float]], state: str | None, note: str) -> None:
    together = combine(reads)
    assert (together.state, together.note) == (state, note)
    assert (together.confidence > 0) is (state is not None)


def test_many_frames_make_no_state_surer_than_the_best() -> None:
    assert combine([(SURE, 1.0)] * 30).confidence == pytest.approx(0.95)


def test_the_vote_names_the_state_of_the_frames_that_weigh_most() -> None:
    track = Track(1, "")
    named = {"state": "IL", "state_confidence": 0.95, "state_note": "", "states": SURE.likely}
    near = replace(plate_read("AB12345", w=140), **named)  # type: ignore[arg-type]
    far = replace(plate_read("AB12345", w=30), state_note=TOO_SMALL)
    for i, read in enumerate((far, far, near)):
        track.add(Observation(i, i * 100_000, read))
    voted = vote(track)
    assert (voted.state, voted.state_note) == ("IL", "")
    assert voted.state_confidence == pytest.approx(0.95)


def pipeline(state: HandNet | None) -> Pipeline:
    return Pipeline(
        Models(
            detector=HandNet("detector", lambda _: detector_outputs((100, 60, 180, 90, 3.0)), scale=0.05),
            corners=HandNet("corners", lambda _: corner_outputs(), scale=0.05),
            reader=HandNet("reader", lambda _: reader_outputs("AB12345")),
            state=state,
        )
    )


def test_only_accepted_reads_are_asked_for_their_state() -> None:
    net, picture = state_net(IL=9.0), np.full((384, 640, 3), (90, 80, 200), dtype=np.uint8)
    result = pipeline(net).process(picture)
    (read,) = result.reads
    assert (read.state, read.state_note, net.calls) == ("IL", "", 1)
    assert read.state_confidence > 0.9
    assert read.states[0][0] == "IL"
    assert "state" in result.timings
    assert pipeline(net).process(np.zeros((32, 32, 3), np.uint8)).reads == []
    assert net.calls == 1


def test_without_a_net_there_is_no_state() -> None:
    (read,) = pipeline(None).process(np.full((384, 640), 90, dtype=np.uint8)).reads
    assert (read.state, read.state_confidence, read.state_note, read.states) == (None, 0.0, "not read", ())


class FakeNet:
    def __init__(self, name: str, content: bytes, *, threads: int) -> None:
        self.name, self.content = name, content


@pytest.mark.parametrize("there", [True, False])
def test_manifests_without_a_state_net_still_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr(loading, "TfliteNet", FakeNet)
    entries = {}
    for name in (*NAMES, "state") if there else NAMES:
        (tmp_path / f"{name}.tflite").write_bytes(name.encode())
        entries[name] = {"file": f"{name}.tflite", "sha256": hashlib.sha256(name.encode()).hexdigest()}
    (tmp_path / MANIFEST).write_text(json.dumps({"version": 1, "models": entries}))
    models = load_models(tmp_path)
    assert (models.state is not None) is there
    assert ("state" in models.digests) is there


@pytest.fixture(scope="module")
def shipped() -> Models:
    return load_models()


def shown(plate: np.ndarray, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A plate (h, w, 3), `width` px wide, photographed from the front; the picture and the corners."""
    height = round(plate.shape[0] * width / plate.shape[1])
    picture = np.full((height + 60, width + 60, 3), 70, np.uint8)
    picture[30 : 30 + height, 30 : 30 + width] = cv2.resize(
        plate, (width, height), interpolation=cv2.INTER_AREA
    )
    noisy = np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
    low, high = 30, np.array([30 + width, 30 + height])
    corners = np.array([[low, low], [high[0], low], high, [low, high[1]]], np.float32)
    return np.asarray(cv2.GaussianBlur(noisy, (0, 0), 0.7), np.uint8), corners


def named_by(models: Models, picture: np.ndarray, corners: np.ndarray, text: str) -> StateRead:
    assert models.state is not None
    settings = PipelineSettings().tuned(models.thresholds).state
    grey = to_grey(picture)
    return read_state(
        models.state, picture, corners, text, settings, lambda: name_scores(models.reader, grey, corners)
    )


def test_the_shipped_net_fits_the_contract(shipped: Models) -> None:
    assert isinstance(shipped.state, TfliteNet)
    assert shipped.state.input_shape == (1, STATE_SIZE[1], STATE_SIZE[0], 3)
    assert list(shipped.state.output_shapes().values()) == [(1, CLASSES)]
    assert (MODELS_DIR / "state.tflite").stat().st_size <= 500 * 1024
    assert {"state_confidence", "state_grey_confidence", "state_temperature"} <= shipped.thresholds.keys()


def test_plates_that_no_state_issued_are_not_given_one(shipped: Models) -> None:
    rng = np.random.default_rng(8)
    kit = Kit([random_dies(rng) for _ in range(4)], [])
    reads = []
    for i in range(40):
        grey = draw_grey(rng, kit, ("eu", "uk", "india", "pakistan")[i % 4]).grey
        tinted = (grey[..., None] * ((60, 200, 250), (255, 255, 255))[i % 2]).astype(np.uint8)
        reads.append(named_by(shipped, *shown(tinted, 160, rng), "AB12CDE"))
    assert sum(read.state is not None for read in reads) <= 1
    assert all(read.note for read in reads if read.state is None)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_nothing_to_see_is_no_state(shipped: Models, level: int) -> None:
    picture = np.full((120, 200, 3), level, np.uint8)
    assert named_by(shipped, picture, QUAD, "7ABC123").state is None
