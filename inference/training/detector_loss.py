# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="misc,untyped-decorator,no-any-return,no-untyped-call,unused-ignore"
"""Task-aligned assignment, varifocal class loss and GIoU box loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.training.detector_net import STRIDES

TOP_CELLS = 8
SCORE_POWER, IOU_POWER = 0.5, 4.0
BOX_WEIGHT = 2.0
REACH = 0.6  # strides around a plate's centre that count as inside it, however small it is
LEVEL_PX = {8: (0.0, 136.0), 16: (44.0, 320.0), 32: (120.0, 1e9)}  # longest side of a plate, per stride
LOG_LIMIT = 5.0  # bound on a log distance, against overflow early in training


@dataclass(frozen=True, slots=True)
class Grid:
    """Cell centres (A, 2) in px, strides (A,), smallest and largest plate per cell (A,) in px."""

    centres: Tensor
    stride: Tensor
    low: Tensor
    high: Tensor


@dataclass(frozen=True, slots=True)
class Targets:
    """Padded plates (B, G, 4) with their mask (B, G), and ignored regions (B, I, 4), zero where padded."""

    plates: Tensor
    valid: Tensor
    ignore: Tensor


def make_grid(width: int, height: int, device: torch.device | None = None) -> Grid:
    """The cells of all strides, in the order that `flatten` gives."""
    centres, strides, low, high = [], [], [], []
    for s in STRIDES:
        ys, xs = torch.meshgrid(torch.arange(height // s), torch.arange(width // s), indexing="ij")
        cells = (torch.stack([xs, ys], -1).reshape(-1, 2).float() + 0.5) * s
        centres.append(cells)
        strides.append(torch.full((len(cells),), float(s)))
        low.append(torch.full((len(cells),), LEVEL_PX[s][0]))
        high.append(torch.full((len(cells),), LEVEL_PX[s][1]))
    parts = (torch.cat(part).to(device) for part in (centres, strides, low, high))
    return Grid(*parts)


def flatten(maps: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Per-stride maps to logits (B, A) and log distances (B, A, 4)."""
    logits = torch.cat([c.flatten(1) for c, _ in maps], 1)
    boxes = torch.cat([b.flatten(2).transpose(1, 2) for _, b in maps], 1)
    return logits, boxes


def decode(raw: Tensor, grid: Grid) -> Tensor:
    """Log distances (B, A, 4) to x1,y1,x2,y2 in px."""
    d = raw.clamp(-LOG_LIMIT, LOG_LIMIT).exp() * grid.stride[:, None]
    return torch.cat([grid.centres - d[..., :2], grid.centres + d[..., 2:]], -1)


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    size = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    inter = size[..., 0] * size[..., 1]
    area_a = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    return inter, (area_a + area_b - inter).clamp(min=1e-6)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of broadcastable boxes."""
    inter, union = _overlap(a, b)
    return inter / union


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU of matching boxes (N, 4), -1..1."""
    inter, union = _overlap(a, b)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    area = (hull[:, 0] * hull[:, 1]).clamp(min=1e-6)
    return inter / union - (area - union) / area


def _inside(boxes: Tensor, grid: Grid) -> Tensor:
    """(B, N, 4) boxes to (B, N, A): is the cell inside the box, or within reach of its centre."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = (boxes[..., 2:] - boxes[..., :2]) / 2
    reach = torch.maximum(half[:, :, None], grid.stride[None, None, :, None] * REACH)
    away = (grid.centres[None, None] - middle[:, :, None]).abs()
    return (away < reach).all(-1)


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, grid: Grid, targets: Targets) -> tuple[Tensor, Tensor]:
    """Quality target (B, A), 0 for background, and the index of the plate of each cell (B, A)."""
    gt = targets.plates
    side = (gt[..., 2:] - gt[..., :2]).amax(-1, keepdim=True)
    able = (side >= grid.low) & (side <= grid.high) & targets.valid[..., None] & _inside(gt, grid)
    overlap = iou(gt[:, :, None], boxes[:, None])
    align = (scores[:, None] ** SCORE_POWER * overlap**IOU_POWER + 1e-9) * able
    best, where = align.topk(min(TOP_CELLS, align.shape[-1]), -1)
    chosen = torch.zeros_like(align).scatter_(-1, where, (best > 0).float()) > 0
    rank = torch.where(chosen, overlap + 1e-6, overlap.new_tensor(0.0))
    top, owner = rank.max(1)
    chosen = chosen & (torch.arange(gt.shape[1], device=gt.device)[None, :, None] == owner[:, None])
    align = align * chosen
    peak = align.amax(-1, keepdim=True).clamp(min=1e-12)
    ceiling = (overlap * chosen).amax(-1, keepdim=True)
    quality = (align / peak * ceiling).amax(1)
    return torch.where(top > 0, quality.clamp(0.01, 1.0), quality * 0), owner


def _varifocal(logits: Tensor, quality: Tensor, weight: Tensor) -> Tensor:
    scores = logits.detach().sigmoid()
    focus = torch.where(quality > 0, quality, 0.75 * scores.square())
    raw = F.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    return (raw * focus * weight).sum()


def detector_loss(maps: list[tuple[Tensor, Tensor]], grid: Grid, targets: Targets) -> tuple[Tensor, Tensor]:
    """Class loss and weighted box loss, each per unit of assigned quality."""
    logits, raw = flatten(maps)
    boxes = decode(raw, grid)
    quality, owner = assign(logits.sigmoid(), boxes, grid, targets)
    positive = quality > 0
    weight = torch.ones_like(quality)
    if targets.ignore.shape[1]:
        weight[_inside(targets.ignore, grid).any(1) & ~positive] = 0
    total = quality.sum().clamp(min=1.0)
    class_loss = _varifocal(logits, quality, weight) / total
    wanted = targets.plates.gather(1, owner[..., None].expand(-1, -1, 4))[positive]
    box_loss = ((1 - giou(boxes[positive], wanted)) * quality[positive]).sum() / total
    return class_loss, BOX_WEIGHT * box_loss
