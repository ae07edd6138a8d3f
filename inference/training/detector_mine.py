# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="misc,untyped-decorator,no-any-return,no-untyped-call,unused-ignore"
"""Runs the float detector over pictures; finds plates in the training set that nobody labelled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import structlog
import torch

from inference.preprocess import letterbox
from inference.training.detector_boxes import Found, decode_maps, overlaps, to_picture
from inference.training.detector_data import Boxes, Cache, Gray
from inference.training.detector_net import Detector

log = structlog.get_logger(__name__)

SURE = 0.5  # score from which an unmatched detection is taken for an unlabelled plate
TOUCH = 0.1  # IoU with a label below which a detection counts as unmatched
GROW = 0.1  # of its size at each side, by which such a region is widened


@torch.inference_mode()
def detect_float(net: Detector, grey: Gray, least: float, device: str = "cpu") -> Found:
    """Boxes in the picture's px with a score of at least `least`."""
    image, scale = letterbox(grey)
    x = torch.from_numpy(image)[None, None].to(device).float().div_(255)
    maps = net.eval()(x.contiguous(memory_format=torch.channels_last))
    arrays = [(c[0, 0].cpu().numpy(), b[0].permute(1, 2, 0).cpu().numpy()) for c, b in maps]
    return to_picture(decode_maps(arrays, least), scale, grey.shape)


def unmatched(found: Found, plates: Boxes) -> list[list[float]]:
    """Boxes that touch no label, widened a little."""
    free = found.boxes
    if len(plates) and len(free):
        iou, inside = overlaps(free, plates)
        free = free[(iou.max(1) < TOUCH) & (inside.max(1) < 0.5)]
    grow = (free[:, 2:] - free[:, :2]) * GROW
    rows: list[list[float]] = np.concatenate([free[:, :2] - grow, free[:, 2:] + grow], 1).round(1).tolist()
    return rows


def mine(net: Detector, work: Path, device: str = "cpu", sources: str = "") -> Path:
    """Write ``mined.json``: per training picture (of sources that begin so) the regions to ignore from now on."""
    path = work / "mined.json"
    regions = json.loads(path.read_text(encoding="utf-8")) if sources and path.exists() else {}
    cache = Cache(work)
    for i, labels in enumerate(cache.labels):
        if not labels.source.startswith(sources):
            continue
        rows = unmatched(detect_float(net, cache.image(i), SURE, device), labels.plates)
        if rows:
            regions[labels.image] = rows
    part = path.with_suffix(".part")
    part.write_text(json.dumps(regions), encoding="utf-8")
    part.replace(path)
    log.info("detector_mined", pictures=len(regions), regions=sum(map(len, regions.values())))
    return path
