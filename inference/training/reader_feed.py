# SPDX-License-Identifier: Apache-2.0
"""Draws the reader's batches in a process of its own, a few ahead of the training."""

from __future__ import annotations

import multiprocessing
import queue as queue_module
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Self

import cv2

from .reader_data import ReaderBatch, ReaderFeed, load_plates

AHEAD = 12  # batches that wait to be trained on
_PATIENCE_S = 5.0  # between looks at whether the second process lives
REFRESH_BATCHES = 400  # after which other shards are loaded


@dataclass(frozen=True, slots=True)
class Course:
    """When what is trained; shares are of the whole time, batches count from the start."""

    rate: float = 2e-3
    easy_batches: int = 1500  # of 32, frontal and sharp, or CTC stays on its plateau
    easy_batch: int = 32
    batch: int = 64
    real_from: float = 0.2  # share of the time after which real crops join
    real_share: float = 0.4
    late_from: float = 0.75  # from here on more of them
    late_share: float = 0.5
    decay: float = 0.9995


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the crops come from: the data, the pool of rendered scenes, what is known about the real plates."""

    data: Path
    pool: Path
    extra: Path


def real_share(course: Course, progress: float) -> float:
    """The share of real crops at `progress` (0..1) of the time."""
    if progress < course.real_from:
        return 0.0
    return course.real_share if progress < course.late_from else course.late_share


def next_batch(feed: ReaderFeed, course: Course, step: int, progress: float) -> ReaderBatch:
    """The batch that the course wants at `step` and `progress`."""
    if step < course.easy_batches:
        return feed.batch(course.easy_batch, 0.0, step / course.easy_batches)
    return feed.batch(course.batch, real_share(course, progress))


def draw(
    sources: Sources, course: Course, seed: int, first_step: int, progress: Synchronized[float]
) -> Iterator[ReaderBatch]:
    """Batches without end from `first_step` on; real plates are looked up anew once `extra` exists."""
    surveyed = sources.extra.exists()
    plates = load_plates(sources.data, "crops_train.jsonl", sources.extra)
    feed = ReaderFeed(sources.pool, plates, seed + first_step)
    step = first_step
    if step >= course.easy_batches:
        feed.refresh()
    while True:
        if not surveyed and sources.extra.exists():
            surveyed = True
            feed.use(load_plates(sources.data, "crops_train.jsonl", sources.extra))
        yield next_batch(feed, course, step, progress.value)
        step += 1
        if step == course.easy_batches or (step > course.easy_batches and step % REFRESH_BATCHES == 0):
            feed.refresh()


def _fill(
    queue: Queue[ReaderBatch], sources: Sources, course: Course, seed: int, first_step: int,
    progress: Synchronized[float],
) -> None:  # fmt: skip
    cv2.setNumThreads(1)
    for batch in draw(sources, course, seed, first_step, progress):
        while not _put(queue, batch):
            parent = multiprocessing.parent_process()
            if parent is None or not parent.is_alive():  # killed: nobody will take it
                queue.cancel_join_thread()
                return


def _put(queue: Queue[ReaderBatch], batch: ReaderBatch) -> bool:
    try:
        queue.put(batch, timeout=_PATIENCE_S)
    except queue_module.Full:
        return False
    return True


class Prefetch:
    """Batches from the second process; tell it how far the training is by `progress`."""

    def __init__(self, sources: Sources, course: Course, seed: int, first_step: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._queue: Queue[ReaderBatch] = context.Queue(AHEAD)
        self._progress: Synchronized[float] = context.Value("d", 0.0)
        self._process = context.Process(
            target=_fill, args=(self._queue, sources, course, seed, first_step, self._progress), daemon=True
        )
        self._process.start()

    def next(self, progress: float) -> ReaderBatch:
        """The next batch; raises RuntimeError when the second process has died."""
        self._progress.value = progress
        while True:
            try:
                return self._queue.get(timeout=_PATIENCE_S)
            except queue_module.Empty:
                if not self._process.is_alive():
                    raise RuntimeError("the process that draws crops has ended") from None

    def __enter__(self) -> Self:
        """The same feed; leaving it ends the second process."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Ends the second process."""
        self._process.terminate()
        self._process.join()
        self._queue.cancel_join_thread()
        self._queue.close()
