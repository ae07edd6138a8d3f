# SPDX-License-Identifier: Apache-2.0
"""The course's batches: what comes when, and that the second process delivers them."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from inference.labels import held_out
from inference.training.glyphs_dies import random_dies
from inference.training.reader_data import MAX_CHARACTERS, ReaderFeed, load_plates
from inference.training.reader_feed import Course, Prefetch, Sources, next_batch, real_share
from inference.training.render import Kit, draw_plate
from inference.training.render_pool import save_shard
from inference.training.render_scene import make_scene

TEXT = "REAL1"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """A pool of three shards and one real plate, whose corners and characters are known."""
    folder, rng = tmp_path_factory.mktemp("reader"), np.random.default_rng(3)
    kit, street = Kit([random_dies(rng)], []), rng.integers(0, 255, (300, 400)).astype(np.uint8)
    pool = folder / "pool"
    pool.mkdir()
    for number in range(3):
        scenes = [make_scene(rng, draw_plate(rng, kit), street) for _ in range(3)]
        save_shard(pool / f"shard_{number:04d}.npz", scenes)
    cv2.imwrite(str(folder / "plate.png"), rng.integers(0, 255, (60, 120)).astype(np.uint8))
    row = {
        "image": "plate.png",
        "box": [10, 10, 110, 50],
        "text": TEXT,
        "country": "US",
        "quality": "clear",
        "source": "x",
    }
    (folder / "crops_train.jsonl").write_text(json.dumps(row))
    times = np.full((1, MAX_CHARACTERS), np.nan)
    times[0, :5] = (0.2, 0.35, 0.5, 0.65, 0.8)
    corners = np.array([[[10, 10], [110, 10], [110, 50], [10, 50]]], np.float32)
    np.savez(folder / "extra.npz", corners=corners, two_rows=np.array([0]), times=times)
    return Sources(folder, pool, folder / "extra.npz")


def test_real_crops_join_after_the_easy_part() -> None:
    course = Course()
    shares = [real_share(course, p) for p in (0.0, course.real_from, course.late_from)]
    assert shares == [0.0, course.real_share, course.late_share]


def test_easy_batches_are_small_and_rendered(sources: Sources) -> None:
    assert not held_out(TEXT)
    plates = load_plates(sources.data, "crops_train.jsonl", sources.extra)
    assert plates[0].cells is not None
    feed, course = ReaderFeed(sources.pool, plates, 1), Course(easy_batch=4, batch=40)
    assert len(next_batch(feed, course, 0, 0.9).texts) == 4
    real = [t for t in next_batch(feed, course, course.easy_batches, 0.9).texts if set(t) <= set(TEXT)]
    assert len(real) > 8


def test_the_second_process_delivers_and_follows_the_progress(sources: Sources) -> None:
    course = Course(batch=8, real_share=1.0, late_share=1.0)
    with Prefetch(sources, course, 7, course.easy_batches) as feed:
        batches = [feed.next(0.9) for _ in range(30)]
    assert all(b.pictures.dtype == np.uint8 and b.pictures.shape[1:] == (1, 48, 144) for b in batches)
    assert set("".join(batches[-1].texts)) <= set(TEXT)


def test_a_dead_process_is_noticed(sources: Sources) -> None:
    nowhere = Sources(sources.data, sources.pool / "nowhere", sources.extra)
    with Prefetch(nowhere, Course(), 7, 0) as feed, pytest.raises(RuntimeError, match="has ended"):
        feed.next(0.0)
