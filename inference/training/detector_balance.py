# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="untyped-decorator,no-any-return,unused-ignore"
"""Balances the strides' scores: large plates are rarer in training, so their logits come out too low.

One offset a stride, added to the class bias, chosen on training pictures for the most plates found at a fixed
rate of false boxes. The offsets become part of the weights: the device knows nothing of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from inference.preprocess import letterbox
from inference.training.detector_boxes import Found, suppress, to_picture
from inference.training.detector_data import Cache, Gray, Labels
from inference.training.detector_eval import LEAST_WIDTH, match
from inference.training.detector_loss import LOG_LIMIT, decode, flatten, make_grid
from inference.training.detector_net import Detector
from inference.training.detector_train import save

log = structlog.get_logger(__name__)

OFFSETS = (0.0, 0.3, 0.6, 0.9, 1.2)  # logits, for strides 16 and 32; stride 8 stays
PICTURES = 700
FALSE_RATE = 0.1  # a picture
LEAST_LOGIT, MOST_CELLS = -2.2, 60


@dataclass(frozen=True, slots=True)
class Raw:
    """The better cells of one picture before suppression: boxes in its px, logits, stride indices 0..2."""

    boxes: NDArray[np.float32]
    logits: NDArray[np.float32]
    level: NDArray[np.int64]


@torch.inference_mode()
def raw_cells(net: Detector, grey: Gray) -> Raw:
    """The cells that could count at any offset."""
    image, scale = letterbox(grey)
    x = torch.from_numpy(image)[None, None].float().div_(255).contiguous(memory_format=torch.channels_last)
    logits, raw = flatten(net(x))
    grid = make_grid(image.shape[1], image.shape[0])
    boxes = decode(raw.clamp(max=LOG_LIMIT), grid)[0].numpy()
    level = np.log2(grid.stride.numpy() / 8).astype(np.int64)
    values = logits[0].numpy()
    best = np.argsort(-values)[:MOST_CELLS]
    best = best[values[best] > LEAST_LOGIT]
    found = to_picture(Found(boxes[best], values[best]), scale, grey.shape)
    return Raw(found.boxes, found.scores, level[best])


def _scored(raw: Raw, offsets: NDArray[np.float32]) -> Found:
    logits = raw.logits + offsets[raw.level]
    return suppress(Found(raw.boxes, (1 / (1 + np.exp(-logits))).astype(np.float32)))


def recall_at(cells: list[Raw], labels: list[Labels], offsets: tuple[float, ...]) -> float:
    """Recall of plates of at least 24 px at FALSE_RATE false boxes a picture."""
    hits: list[float] = []
    false: list[float] = []
    shift = np.asarray(offsets, np.float32)
    for raw, truth in zip(cells, labels, strict=True):
        hit, wrong = match(_scored(raw, shift), truth)
        scale = min(640 / truth.width, 384 / truth.height, 1.0)
        wide = (truth.plates[:, 2] - truth.plates[:, 0]) * scale >= LEAST_WIDTH
        hits += [h for h, w in zip(hit, wide, strict=True) if w]
        false += wrong
    allowed = int(FALSE_RATE * len(cells))
    floor = sorted(false, reverse=True)[allowed] if len(false) > allowed else 0.0
    return float((np.asarray(hits) > floor).mean())


def best_offsets(net: Detector, work: Path, seed: int = 11) -> tuple[float, ...]:
    """The offsets of strides 8, 16 and 32 with the best recall on training pictures."""
    cache = Cache(work)
    chosen = np.random.default_rng(seed).choice(len(cache), min(PICTURES, len(cache)), replace=False)
    labels = [cache.labels[int(i)] for i in chosen]
    cells = [raw_cells(net.eval(), cache.image(int(i))) for i in chosen]
    table = {(0.0, a, b): recall_at(cells, labels, (0.0, a, b)) for a, b in product(OFFSETS, OFFSETS)}
    best = max(table, key=lambda key: (table[key], -sum(key)))
    log.info("detector_balanced", offsets=best, recall=table[best], before=table[0.0, 0.0, 0.0])
    return best


def balance(checkpoint: Path, work: Path, out: Path) -> tuple[float, ...]:
    """Write `out`, the checkpoint with its class biases moved; returns the offsets."""
    weights: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    net = Detector()
    net.load_state_dict(weights)
    offsets = best_offsets(net, work)
    for level, offset in enumerate(offsets):
        weights[f"heads.{level}.cls.bias"] = weights[f"heads.{level}.cls.bias"] + offset
    save(out, weights)
    return offsets
