# SPDX-License-Identifier: Apache-2.0
"""Training and export of the reader.

The course: rendered plates only, easy ones first; then a share of real crops; one cosine over the whole time.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.preprocess import normalise, rectify

from . import corners_train
from .corners_model import fold
from .corners_session import Session, weights
from .reader_corners import survey_crops
from .reader_data import load_plates
from .reader_feed import Course, Prefetch, Sources, real_share
from .reader_model import ReaderExport, ReaderNet, ctc_loss
from .render_pool import fill_pool, filling, unit

SEED = 7


_POOL_AT_LEAST = 8000  # scenes to have before training starts
_POOL_AT_MOST = 128_000  # scenes that a second process draws meanwhile


def halves(device: str) -> bool:
    """Whether bfloat16 is the faster number format: on a GPU, and on processors that multiply tiles of it."""
    return device != "cpu" or bool(torch.cpu.get_capabilities().get("amx_bf16"))


def forward(net: ReaderNet, pictures: NDArray[np.uint8], device: str) -> Tensor:
    """Logits (m, 36, 37), float32 on the CPU, of crops (m, 1, 48, 144) uint8."""
    crops = torch.from_numpy(unit(pictures)).to(device, memory_format=torch.channels_last)
    with torch.autocast(device, torch.bfloat16, enabled=halves(device)):
        logits: Tensor = net(crops)
    return logits.float().cpu()


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
    net = ReaderNet().to(device, memory_format=torch.channels_last)
    session = Session(net, work / "reader.pt", minutes, course.rate, course.decay, device)
    corners = work.parent / "corners" / "corners.pt"
    sources = Sources(data, pool, extra)
    with filling(data, pool, _POOL_AT_MOST, SEED), Prefetch(sources, course, SEED, session.step) as feed:
        while session.progress < 1:
            if not extra.exists() and corners.exists() and real_share(course, session.progress) > 0:
                session.keep()
                survey_crops(data, corners_train.load_net(corners), load_net(session.checkpoint), extra)
            batch = feed.next(session.progress)
            session.learn(ctc_loss(forward(net, batch.pictures, device), batch.texts, batch.rows))
    session.keep()
    return session.checkpoint


def load_net(checkpoint: Path) -> ReaderNet:
    """The averaged net of a checkpoint (or of a bare state_dict), ready to evaluate; ValueError for another net's."""
    net = ReaderNet()
    try:
        net.load_state_dict(weights(checkpoint))
    except RuntimeError as error:
        raise ValueError(f"{checkpoint.name}: not the weights of this reader; train it anew") from error
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
