# SPDX-License-Identifier: Apache-2.0
"""Training and export of the reader.

The course: rendered plates only, easy ones first; then a share of real crops; one cosine over the whole time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inference.preprocess import normalise, rectify

from . import corners_train
from .corners_model import fold
from .corners_session import Session, weights
from .reader_corners import survey_crops
from .reader_data import ReaderBatch, ReaderFeed, load_plates
from .reader_model import ReaderExport, ReaderNet, ctc_loss
from .render_pool import fill_pool, filling, unit

SEED = 7


@dataclass(frozen=True, slots=True)
class Course:
    """When what is trained; shares are of the whole time, batches count from the start."""

    rate: float = 1.5e-3
    easy_batches: int = 1500  # of 32, frontal and sharp, or CTC stays on its plateau
    easy_batch: int = 32
    batch: int = 64
    real_from: float = 0.22  # share of the time after which real crops join
    real_share: float = 0.4
    late_from: float = 0.75  # from here on more of them
    late_share: float = 0.5
    decay: float = 0.999


_POOL_AT_LEAST = 8000  # scenes to have before training starts
_POOL_AT_MOST = 128_000  # scenes that a second process draws meanwhile
_REFRESH_STEPS = 800  # after which other shards are loaded


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


def train(data: Path, work: Path, minutes: float, device: str = "cpu", course: Course | None = None) -> Path:
    """Trains for `minutes` (those of an interrupted run count); returns the checkpoint `work/reader.pt`.

    Train the corner net first (`work/../corners/corners.pt`): when real crops join, it rectifies most of them, and
    the reader of that moment finds out which have two rows (kept in `work/real_corners.npz`). A corner net that is
    missing costs accuracy, not the training.
    """
    course = course or Course()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(SEED)
    pool, extra = work / "pool", work / "real_corners.npz"
    fill_pool(data, pool, _POOL_AT_LEAST, SEED)
    feed = ReaderFeed(pool, load_plates(data, "crops_train.jsonl", extra), SEED)
    net = ReaderNet().to(device, memory_format=torch.channels_last)
    session = Session(net, work / "reader.pt", minutes, course.rate, course.decay, device)
    if session.step > course.easy_batches:
        feed.refresh()
    corners = work.parent / "corners" / "corners.pt"
    with filling(data, pool, _POOL_AT_MOST, SEED):
        while session.progress < 1:
            if not extra.exists() and corners.exists() and real_share(course, session.progress) > 0:
                session.keep()
                survey_crops(data, corners_train.load_net(corners), load_net(session.checkpoint), extra)
                feed.use(load_plates(data, "crops_train.jsonl", extra))
            batch = next_batch(feed, course, session.step, session.progress)
            logits = net(torch.from_numpy(batch.pictures).to(device, memory_format=torch.channels_last))
            session.learn(ctc_loss(logits.cpu(), batch.texts, batch.rows))
            late = session.step > course.easy_batches and session.step % _REFRESH_STEPS == 0
            if session.step == course.easy_batches or late:
                feed.refresh()
    session.keep()
    return session.checkpoint


def load_net(checkpoint: Path) -> ReaderNet:
    """The averaged net of a checkpoint (or of a bare state_dict), ready to evaluate."""
    net = ReaderNet()
    net.load_state_dict(weights(checkpoint))
    net.eval()
    return net


def calibration_crops(data: Path, count: int, seed: int = SEED) -> list[NDArray[np.float32]]:
    """Normalised real training crops (1, 48, 144, 1), 0..1."""
    rng = np.random.default_rng(seed)
    plates = load_plates(data, "crops_train.jsonl")
    crops = []
    for i in rng.choice(len(plates), min(count, len(plates)), replace=False):
        plate = plates[int(i)]
        crops.append(unit(normalise(rectify(plate.grey, plate.box)))[None, :, :, None])
    return crops


def export(checkpoint: Path, out: Path, data: Path = Path("../shared/data")) -> None:
    """Converts a checkpoint to int8 TFLite, calibrated on real crops of `data`."""
    from .convert import export_int8

    module = ReaderExport(load_net(checkpoint))
    fold(module)
    export_int8(module.eval(), (1, 48, 144, 1), calibration_crops(data, 300), out)
