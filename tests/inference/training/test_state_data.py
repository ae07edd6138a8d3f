# SPDX-License-Identifier: Apache-2.0
"""What the state net learns from: labels, canvases, made plates and the camera's part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")  # the reader's data, whose held-out plates these are, needs it

from inference.state import OTHER, STATE_SIZE, STATES
from inference.training import state_artwork, state_data
from inference.training.glyphs_dies import DieSet, random_dies
from inference.training.reader_data import box_quad
from inference.training.render import Kit
from inference.training.state_data import (
    SHARES,
    StateFeed,
    canvas_of,
    class_of,
    foreign_plate,
    load_artwork,
    load_real,
)
from inference.training.state_photo import CANVAS, canvas_quad, photograph, view

SHAPE = (STATE_SIZE[1], STATE_SIZE[0], 3)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


@pytest.fixture(scope="module")
def dies() -> DieSet:
    return random_dies(np.random.default_rng(2))


def flat(ground: tuple[int, int, int] = (230, 230, 230)) -> np.ndarray:
    """A white plate with a red head and a dark serial."""
    picture = np.full((96, 192, 3), ground, dtype=np.uint8)
    picture[:16] = (20, 20, 200)
    cv2.putText(picture, "ABC123", (20, 66), 0, 1.3, (60, 20, 20), 6)
    return picture


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"country": "US", "state": "IL", "quality": "clear"}, STATES.index("IL")),
        ({"country": "US", "state": "WA", "quality": "unreadable"}, STATES.index("WA")),
        ({"country": "AU", "state": "WA", "quality": "clear"}, OTHER),
        ({"country": "CA", "state": "ON", "quality": "clear"}, OTHER),
        ({"country": "GB", "state": None, "quality": "clear"}, OTHER),
        ({"country": "US", "state": None, "quality": "clear"}, None),
        ({"country": None, "state": None, "quality": "clear"}, None),
        ({"country": "US", "state": "IL", "quality": "notplate"}, None),
    ],
)
def test_only_what_is_known_is_learned(row: dict[str, object], kind: int | None) -> None:
    assert class_of(row) == kind


def test_slogans_belong_to_states() -> None:
    assert set(state_artwork.SLOGANS) <= set(STATES)


def test_a_canvas_holds_the_plate_in_its_place() -> None:
    picture = np.zeros((300, 500, 3), dtype=np.uint8)
    picture[100:200, 150:350] = (0, 200, 0)
    canvas = canvas_of(picture, box_quad([150, 100, 350, 200]))
    (x0, y0), (x1, y1) = np.rint(canvas_quad()[[0, 2]]).astype(int)
    assert canvas.shape == (CANVAS[1], CANVAS[0], 3)
    assert canvas[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2, 1].min() > 190
    assert canvas[: y0 - 2].max() == 0
    assert canvas[:, : x0 - 2].max() == 0


def test_another_serial_leaves_the_head_and_the_ground(rng: np.random.Generator, dies: DieSet) -> None:
    before = flat()
    after = state_artwork.strike(rng, before, dies)
    assert np.abs(after[:14].astype(int) - before[:14]).max() < 40
    assert after[30:75].min() < 120
    assert np.median(after[25:80].reshape(-1, 3), axis=0).min() > 180
    assert np.abs(after[25:80].astype(int) - before[25:80]).mean() > 5
    assert np.array_equal(before, flat())


def test_a_blank_gets_a_serial_that_can_be_seen(rng: np.random.Generator, dies: DieSet) -> None:
    for level in (10, 128, 245):
        struck = state_artwork.strike(rng, np.full((96, 192, 3), level, np.uint8), dies)
        assert np.ptp(struck[25:80]) > 60


def test_a_name_is_written_where_names_stand(rng: np.random.Generator, dies: DieSet) -> None:
    plates = [state_artwork.by_name(rng, "CA", flat(), dies) for _ in range(8)]
    spread = [float(plate[2:22, 50:142].std()) for plate in plates]
    assert min(spread) > 8


def test_the_camera_gives_what_the_device_would(rng: np.random.Generator) -> None:
    canvas = state_artwork.on_canvas(rng, flat())
    for width in (None, 60.0, 300.0):
        crop = photograph(rng, canvas, width)
        assert crop.shape == SHAPE
        assert crop.dtype == np.uint8
        assert abs(float(crop.mean()) - 128) < 30  # normalised; clipping moves it a little


def test_a_share_of_the_pictures_is_grey(rng: np.random.Generator) -> None:
    canvas = state_artwork.on_canvas(rng, flat((60, 200, 240)))
    grey = sum(float(np.ptp(photograph(rng, canvas), axis=2).mean()) < 4 for _ in range(200))
    assert 15 < grey < 75


def test_corners_are_off_by_a_few_percent_only(rng: np.random.Generator) -> None:
    canvas = np.zeros((CANVAS[1], CANVAS[0], 3), np.uint8)
    (x0, y0), (x1, y1) = np.rint(canvas_quad()[[0, 2]]).astype(int)
    canvas[y0:y1, x0:x1] = 255
    shares = [float((view(rng, canvas, 130, 1.0)[..., 0] > 127).mean()) for _ in range(60)]
    assert 0.78 < np.mean(shares) < 0.95
    assert 0.01 < np.std(shares) < 0.12


def test_plates_from_elsewhere_are_drawn_in_colour(rng: np.random.Generator, dies: DieSet) -> None:
    plates = [foreign_plate(rng, Kit([dies], [])) for _ in range(20)]
    assert {plate.shape for plate in plates} == {(96, 192, 3)}
    assert sum(np.ptp(plate, axis=2).mean() > 20 for plate in plates) > 3


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with two designs a state of two states, and four crops."""
    designs = []
    for i, (state, name) in enumerate(
        [("IL", "passenger"), ("IL", "ducks"), ("WI", "baseball"), ("WI", "standard")]
    ):
        cv2.imwrite(str(tmp_path / f"{i}.png"), flat())
        designs.append({"image": f"{i}.png", "state": state, "name": name})
    crops = []
    for i, (country, state) in enumerate(
        [("US", "IL"), ("US", None), ("GB", None), ("US", "WI"), ("PK", None)]
    ):
        cv2.imwrite(str(tmp_path / f"c{i}.png"), np.full((60, 120, 3), 40 * i, np.uint8))
        crops.append(
            {
                "image": f"c{i}.png",
                "country": country,
                "state": state,
                "text": f"T{i}",
                "quality": "clear",
                "box": [],
            }
        )
    for name, rows in (("designs", designs), ("crops_train", crops)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return tmp_path


QUADS = np.stack([box_quad([10, 10, 110, 50])] * 5)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(state_data, "_DIES", 2)
    monkeypatch.setattr(state_data, "_SHELF", 20)
    return


def test_artwork_weighs_by_its_name(data: Path) -> None:
    artwork = load_artwork(data)
    assert artwork.classes.tolist() == [STATES.index(s) for s in ("IL", "IL", "WI", "WI")]
    assert artwork.weights[0] == artwork.weights[3] > artwork.weights[1] == artwork.weights[2]
    assert load_artwork(data, limit=1).classes.tolist() == [STATES.index("IL"), STATES.index("WI")]


def test_real_crops_of_unknown_state_are_left_out(data: Path) -> None:
    real = load_real(data, "crops_train.jsonl", QUADS)
    assert real.classes.tolist() == [STATES.index("IL"), OTHER, STATES.index("WI"), OTHER]
    assert real.texts == ["T0", "T2", "T3", "T4"]
    assert real.canvases[1].mean() == pytest.approx(80)
    assert real.part(np.array([2])).texts == ["T3"]


@pytest.mark.usefixtures("small")
def test_batches_hold_every_kind_and_no_plate_held_out(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_data, "held_out", lambda text: text == "T3")
    real = load_real(data, "crops_train.jsonl", QUADS)
    assert real.held_out.tolist() == [False, False, True, False]
    feed = StateFeed(load_artwork(data), real, 1)
    drawn = {kind: {feed.sample(kind)[1] for _ in range(12)} for kind in SHARES}
    assert drawn["real"] == {STATES.index("IL")}
    assert drawn["foreign"] == drawn["rendered"] == {OTHER}
    assert drawn["artwork"] == {STATES.index("IL"), STATES.index("WI")}
    assert len(drawn["name"]) > 1
    assert not drawn["name"] <= drawn["artwork"]
    assert sum(SHARES.values()) == pytest.approx(1.0)
    batch = feed.batch(6)
    assert batch.pictures.shape == (6, *SHAPE)
    assert batch.classes.shape == (6,)
