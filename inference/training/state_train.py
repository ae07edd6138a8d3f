# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="no-untyped-call,unused-ignore"
"""Training and export of the state net. Runs for a given time, resumes, and writes the int8 TFLite model."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inference.preprocess import normalise
from inference.state import STATE_SIZE, state_crop

from . import corners_train
from .corners_model import fold
from .corners_session import Session, weights
from .detector_data import read_colour, read_grey
from .render_pool import drawn_rows, read_manifest, unit
from .state_data import RealPlates, StateFeed, load_artwork, load_real
from .state_model import StateExport, StateNet, state_loss

SEED = 13
BATCH = 32
RATE = 2e-3
DECAY = 0.998
CALIBRATION_CROPS = 300
INPUT = (1, STATE_SIZE[1], STATE_SIZE[0], 3)


def corners_of(data: Path, manifest: str, corner_net: Path) -> NDArray[np.float32]:
    """The corner net's corners (n, 4, 2) px for every row of a manifest of crops."""
    net = corners_train.load_net(corner_net)
    quads = []
    for row in read_manifest(data / manifest):
        x0, y0, x1, y1 = row["box"]
        quads.append(
            corners_train.predict(net, read_grey(data / row["image"]), (x0, y0, x1 - x0, y1 - y0))[0]
        )
    return np.stack(quads)


def real_plates(data: Path, manifest: str, work: Path) -> RealPlates:
    """The crops of a manifest with a known class; their corners are kept in `work`.

    The corner net is `work/../corners/corners.pt`: train it first.
    """
    kept = work / f"{Path(manifest).stem}_corners.npy"
    if not kept.exists():
        np.save(kept, corners_of(data, manifest, work.parent / "corners" / "corners.pt"))
    return load_real(data, manifest, np.load(kept))


def tensor(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """(n, h, w, 3) uint8 -> (n, 3, h, w) float32 0..1, channels last in memory."""
    return torch.from_numpy(unit(pictures)).permute(0, 3, 1, 2)


def train(data: Path, work: Path, minutes: float, device: str = "cpu") -> Path:
    """Trains for `minutes` (those of an interrupted run count); returns the checkpoint `work/state.pt`."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(SEED)
    work.mkdir(parents=True, exist_ok=True)
    net = StateNet().to(device, memory_format=torch.channels_last)
    session = Session(net, work / "state.pt", minutes, RATE, DECAY, device)
    feed = StateFeed(load_artwork(data), real_plates(data, "crops_train.jsonl", work), SEED + session.step)
    while session.progress < 1:
        batch = feed.batch(BATCH)
        with torch.autocast(
            torch.device(device).type, torch.bfloat16
        ):  # 2 times faster here, see EXPERIMENTS.md
            logits = net(tensor(batch.pictures).to(device))
        session.learn(state_loss(logits, torch.from_numpy(batch.classes).to(device)))
    session.keep()
    return session.checkpoint


def load_net(checkpoint: Path) -> StateNet:
    """The averaged net of a checkpoint (or of a bare state_dict), ready to evaluate."""
    net = StateNet()
    net.load_state_dict(weights(checkpoint))
    net.eval()
    return net


def calibration_crops(data: Path, count: int, seed: int = SEED) -> list[NDArray[np.float32]]:
    """Normalised real training crops (1, 72, 144, 3), 0..1, of their boxes."""
    crops = []
    for row in drawn_rows(data / "crops_train.jsonl", count, seed):
        x0, y0, x1, y1 = row["box"]
        quad = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)
        crop = state_crop(read_colour(data / row["image"]), quad)
        crops.append(unit(normalise(crop))[None])
    return crops


def export(checkpoint: Path, out: Path, data: Path = Path("../shared/data")) -> None:
    """Converts a checkpoint to int8 TFLite, calibrated on real crops of `data`."""
    from .convert import export_int8

    module = StateExport(load_net(checkpoint))
    fold(module)
    export_int8(module.eval(), INPUT, calibration_crops(data, CALIBRATION_CROPS), out)
