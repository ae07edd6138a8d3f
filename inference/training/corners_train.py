# SPDX-License-Identifier: Apache-2.0
"""Training and export of the corner net.

`train` runs for a given time and can be resumed; `export` writes the int8 TFLite model.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.preprocess import corner_crop, normalise

from .corners_data import Batch, CornerFeed, load_regions
from .corners_model import CornerExport, CornerNet, fold, restore
from .corners_session import Session, weights
from .detector_data import read_grey
from .render_pool import drawn_rows, fill_pool, unit

BATCH = 64
RATE = 2e-3
DECAY = 0.998  # of the running average
SEED = 5
REAL_WEIGHT = 0.3  # of the box loss of real plates against the corner loss of rendered ones
FLAG_WEIGHT = 0.03
_POOL_AT_LEAST = 4000  # scenes to have before training starts
_REFRESH_STEPS = 600  # after which other shards are loaded


def corner_loss(corners: Tensor, flags: Tensor, batch: Batch, flag_weight: float = FLAG_WEIGHT) -> Tensor:
    """Smooth L1 on corners where they are known, on their extent where only the box is, and BCE on the flags.

    `flag_weight` is that of "is a plate".
    """
    points = corners.view(-1, 4, 2)
    known = torch.from_numpy(batch.has_corners)
    boxed = torch.from_numpy(batch.is_plate & ~batch.has_corners)
    loss = nn.functional.smooth_l1_loss(points[known], torch.from_numpy(batch.corners)[known], beta=0.02)
    extent = torch.cat([points.amin(1), points.amax(1)], 1)[boxed]
    loss = loss + REAL_WEIGHT * nn.functional.smooth_l1_loss(
        extent, torch.from_numpy(batch.boxes)[boxed], beta=0.03
    )
    plate = torch.from_numpy(batch.is_plate.astype(np.float32))
    rows = torch.from_numpy(batch.two_rows)
    told = ~torch.isnan(rows)
    loss = loss + flag_weight * nn.functional.binary_cross_entropy_with_logits(flags[:, 0], plate)
    return loss + FLAG_WEIGHT * nn.functional.binary_cross_entropy_with_logits(flags[told, 1], rows[told])


def train(data: Path, work: Path, minutes: float, device: str = "cpu") -> Path:
    """Trains for `minutes` (those of an interrupted run count); returns the checkpoint `work/corners.pt`.

    `work/region_rows.json` (see reader_corners.survey_streets), where it is, tells which real plates have two rows.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(SEED)
    work.mkdir(parents=True, exist_ok=True)
    pool = work / "pool"
    fill_pool(data, pool, _POOL_AT_LEAST, SEED)
    feed = CornerFeed(pool, load_regions(data, SEED, work / "region_rows.json"), SEED)
    net = CornerNet().to(device)
    return run(Session(net, work / "corners.pt", minutes, RATE, DECAY, device), feed, device)


def run(session: Session, feed: CornerFeed, device: str, flag_weight: float = FLAG_WEIGHT) -> Path:
    """Trains until the session's time is over; returns its checkpoint."""
    while session.progress < 1:
        batch = feed.batch(BATCH)
        corners, flags = session.net(torch.from_numpy(batch.pictures).to(device))
        session.learn(corner_loss(corners.cpu(), flags.cpu(), batch, flag_weight))
        if session.step % _REFRESH_STEPS == 0:
            feed.refresh()
    session.keep()
    return session.checkpoint


def load_net(checkpoint: Path) -> CornerNet:
    """The averaged net of a checkpoint (or of a bare state_dict), ready to evaluate."""
    net = CornerNet()
    restore(net, weights(checkpoint))
    net.eval()
    return net


def predict(
    net: CornerNet, grey: NDArray[np.uint8], box: tuple[float, float, float, float]
) -> tuple[NDArray[np.float32], float, float]:
    """Corners (4, 2) px in `grey`, and the probabilities that it is a plate and that it has two rows."""
    crop, (x0, y0, w, h) = corner_crop(grey, box)
    with torch.no_grad():
        corners, flags = net(torch.from_numpy(unit(normalise(crop))[None, None]))
    points = corners[0].view(4, 2).numpy() * np.array([w, h], np.float32) + np.array([x0, y0], np.float32)
    plate, rows = torch.sigmoid(flags[0]).tolist()
    return points.astype(np.float32), plate, rows


def calibration_crops(data: Path, count: int, seed: int = SEED) -> list[NDArray[np.float32]]:
    """Normalised real training crops (1, 64, 128, 1), 0..1; the flags need no others."""
    crops = []
    for row in drawn_rows(data / "crops_train.jsonl", count, seed):
        x0, y0, x1, y1 = row["box"]
        crop, _ = corner_crop(read_grey(data / row["image"]), (x0, y0, x1 - x0, y1 - y0))
        crops.append(unit(normalise(crop))[None, :, :, None])
    return crops


def export(checkpoint: Path, out: Path, data: Path = Path("../shared/data")) -> None:
    """Converts a checkpoint to int8 TFLite, calibrated on real crops of `data`."""
    from .convert import export_int8

    module = CornerExport(load_net(checkpoint))
    fold(module)
    export_int8(module.eval(), (1, 64, 128, 1), calibration_crops(data, 300), out)
