# SPDX-License-Identifier: Apache-2.0
"""The trained detector as an int8 model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.preprocess import DETECTOR_SIZE, letterbox
from inference.training.convert import Exported, export_int8
from inference.training.detector_augment import FINAL, Augmenter
from inference.training.detector_data import Cache

WHOLE_PICTURES, CHANGED_PICTURES = 96, 48  # calibration samples


def calibration(work: Path, seed: int = 3) -> Iterator[NDArray[np.float32]]:
    """Training pictures as the device sees them, and some under changed light, as (1, 384, 640, 1) in 0..1."""
    cache, rng = Cache(work), np.random.default_rng(seed)
    for index in rng.choice(len(cache), min(WHOLE_PICTURES, len(cache)), replace=False):
        image, _ = letterbox(cache.image(int(index)))
        yield image[None, :, :, None].astype(np.float32) / np.float32(255)
    augmenter = Augmenter(cache, FINAL, rng)
    for _ in range(CHANGED_PICTURES):
        changed = augmenter.sample(DETECTOR_SIZE).image
        yield changed[None, :, :, None].astype(np.float32) / np.float32(255)


def export(checkpoint: Path, out: Path, work: Path | None = None) -> Exported:
    """Convert a checkpoint; the prepared cache is expected beside it unless `work` says where."""
    import torch

    from inference.training.detector_net import Detector, DeviceDetector

    net = Detector()
    net.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    module = DeviceDetector(net).eval()
    shape = (1, DETECTOR_SIZE[1], DETECTOR_SIZE[0], 1)
    return export_int8(module, shape, calibration(work or checkpoint.parent), out)
