# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="misc,untyped-decorator,no-any-return,no-untyped-call,unused-ignore"
"""The detector's training loop: timed by the wall clock, resumable, with mined ignore regions."""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from inference.training.detector_augment import FINAL, PHASE_A, PHASE_B, Augmenter, Recipe, Sample
from inference.training.detector_data import HELD_OUT, Boxes, Cache, prepare
from inference.training.detector_loss import Targets, detector_loss, make_grid
from inference.training.detector_mine import mine
from inference.training.detector_net import Detector, parameters
from inference.training.detector_paste import Textures

log = structlog.get_logger(__name__)

MOST_PLATES = 24  # per picture, the largest; the others are ignored
FAR = -1e5  # px, where padding boxes lie
AVERAGE = 0.998  # decay of the averaged weights
SAVE_EVERY = 120.0  # s


@dataclass(frozen=True, slots=True)
class Stage:
    """A share of the training time (0..1, its end) with its recipe and picture sizes (w, h, batch, share).

    `mined`: sources, by the beginning of their name, in which unlabelled plates are looked for beforehand.
    """

    end: float
    recipe: Recipe
    sizes: tuple[tuple[int, int, int, float], ...]
    mined: str | None = None


LARGE = ((768, 448, 9, 0.15), (640, 384, 12, 0.45), (512, 320, 16, 0.25), (416, 256, 20, 0.15))
STAGES = (
    Stage(0.25, PHASE_A, ((320, 192, 32, 0.6), (416, 256, 20, 0.4))),
    Stage(0.50, PHASE_B, LARGE),
    Stage(0.80, PHASE_B, LARGE, mined="openimages"),
    Stage(1.01, FINAL, ((768, 448, 9, 0.3), (640, 384, 12, 0.6), (512, 320, 16, 0.1))),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Length, rate and places of a run."""

    data: Path
    work: Path
    minutes: float
    pool: Path | None = None
    device: str = "cpu"
    rate: float = 2e-3
    decay: float = 0.02
    seed: int = 7
    workers: int = 1
    batch_scale: float = 1.0


@dataclass(slots=True)
class State:
    """What a checkpoint holds beside the weights."""

    seconds: float = 0.0
    step: int = 0
    stage: int = -1
    images: int = 0
    history: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures (B, 1, H, W) uint8 with their targets."""

    images: Tensor
    targets: Targets


def pad(rows: list[Boxes], least: int = 0) -> tuple[Tensor, Tensor]:
    """Boxes of each picture as (B, G, 4) with a mask (B, G); padding lies far outside."""
    most = max([least, *(len(r) for r in rows)])
    out = np.full((len(rows), most, 4), FAR, np.float32)
    mask = np.zeros((len(rows), most), bool)
    for i, boxes in enumerate(rows):
        out[i, : len(boxes)] = boxes
        mask[i, : len(boxes)] = True
    return torch.from_numpy(out), torch.from_numpy(mask)


def collate(samples: list[Sample]) -> Batch:
    """Stack samples of one size."""
    plates, ignore = [], []
    for s in samples:
        order = np.argsort(-np.prod(s.plates[:, 2:] - s.plates[:, :2], axis=1))
        plates.append(s.plates[order[:MOST_PLATES]])
        ignore.append(np.concatenate([s.ignore, s.plates[order[MOST_PLATES:]]]))
    boxes, mask = pad(plates, 1)
    images = torch.from_numpy(np.stack([s.image for s in samples])[:, None])
    return Batch(images, Targets(boxes, mask, pad(ignore)[0]))


class Batches(IterableDataset[Batch]):
    """Endless batches of one stage, made in a worker process."""

    def __init__(self, settings: Settings, stage: Stage, seed: int) -> None:
        self.settings, self.stage, self.seed = settings, stage, seed

    def __iter__(self) -> Iterator[Batch]:
        """Batches; each has one picture size."""
        info = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, info.id if info else 0])
        work = self.settings.work
        cache = Cache(work, work / "mined.json")
        cache.keep(frozenset(json.loads((work / HELD_OUT).read_text(encoding="utf-8"))), without=True)
        textures = Textures.load(self.settings.data, self.settings.pool, rng)
        augmenter = Augmenter(cache, self.stage.recipe, rng, textures)
        share = np.asarray([s[3] for s in self.stage.sizes])
        while True:
            width, height, count, _ = self.stage.sizes[int(rng.choice(len(share), p=share / share.sum()))]
            count = max(1, int(count * self.settings.batch_scale))
            yield collate([augmenter.sample((width, height)) for _ in range(count)])


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    os.nice(3)


def _loader(settings: Settings, stage: Stage, seed: int) -> Iterator[Batch]:
    loader: DataLoader[Batch] = DataLoader(
        Batches(settings, stage, seed),
        batch_size=None,
        num_workers=settings.workers,
        prefetch_factor=6 if settings.workers else None,
        worker_init_fn=_start_worker,
    )
    return iter(loader)


class Average:
    """Exponential moving average of the weights, with a warm-up."""

    def __init__(self, net: Detector) -> None:
        self.net = copy.deepcopy(net).eval()
        self.steps = 0

    @torch.no_grad()
    def update(self, net: Detector) -> None:
        """Move towards `net`."""
        self.steps += 1
        keep = min(AVERAGE, (1 + self.steps) / (10 + self.steps))
        for mine_, theirs in zip(self.net.state_dict().values(), net.state_dict().values(), strict=True):
            if mine_.dtype.is_floating_point:
                mine_.lerp_(theirs, 1 - keep)
            else:
                mine_.copy_(theirs)


def rate_at(progress: float, peak: float) -> float:
    """Warm-up over the first 2 %, then a cosine down to 1 %."""
    if progress < 0.02:
        return peak * max(progress / 0.02, 0.02)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - 0.02) / 0.98))))


def save(path: Path, value: object) -> None:
    """torch.save, replaced in one step."""
    part = path.with_suffix(".part")
    torch.save(value, part)
    part.replace(path)


class Run:
    """One training run; `advance` does a step."""

    def __init__(self, settings: Settings) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.net = Detector().to(settings.device, memory_format=torch.channels_last)  # type: ignore[call-overload,unused-ignore]
        self.average = Average(self.net)
        plain = [p for p in self.net.parameters() if p.ndim < 2]
        matrices = [p for p in self.net.parameters() if p.ndim >= 2]
        groups = [
            {"params": matrices, "weight_decay": settings.decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.rate)
        self.state = State()
        self.path = settings.work / "detector-state.pt"
        if self.path.exists():
            self._load()

    def _load(self) -> None:
        kept: dict[str, Any] = torch.load(self.path, map_location=self.settings.device, weights_only=True)
        self.net.load_state_dict(kept["net"])
        self.average.net.load_state_dict(kept["average"])
        self.average.steps = kept["state"]["step"]
        self.optimizer.load_state_dict(kept["optimizer"])
        self.state = State(**kept["state"])
        self.state.stage = -1

    def save(self) -> None:
        """Everything needed to go on, and the averaged weights alone beside it."""
        s = self.state
        state = {
            "seconds": s.seconds, "step": s.step, "stage": s.stage, "images": s.images, "history": s.history
        }  # fmt: skip
        kept = {"net": self.net.state_dict(), "average": self.average.net.state_dict()}
        save(self.path, {**kept, "optimizer": self.optimizer.state_dict(), "state": state})
        save(self.settings.work / "detector.pt", self.average.net.state_dict())
        (self.settings.work / "detector-run.json").write_text(json.dumps(self.describe()), encoding="utf-8")

    def describe(self) -> dict[str, Any]:
        """Figures for the manifest."""
        s = self.state
        return {
            "seconds": round(s.seconds),
            "steps": s.step,
            "images": s.images,
            "seed": self.settings.seed,
            "parameters": parameters(self.net),
        }

    def advance(self, batch: Batch) -> tuple[float, float]:
        """One optimiser step; returns class and box loss."""
        progress = self.state.seconds / (60 * self.settings.minutes)
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(progress, self.settings.rate)
        device = torch.device(self.settings.device)
        images = batch.images.to(device).float().div_(255).contiguous(memory_format=torch.channels_last)
        t = batch.targets
        targets = Targets(t.plates.to(device), t.valid.to(device), t.ignore.to(device))
        self.net.train()
        grid = make_grid(images.shape[3], images.shape[2], device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            maps = self.net(images)
        maps = [(cls.float(), box.float()) for cls, box in maps]
        class_loss, box_loss = detector_loss(maps, grid, targets)
        self.optimizer.zero_grad(set_to_none=True)
        (class_loss + box_loss).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 10.0)
        self.optimizer.step()
        self.average.update(self.net)
        self.state.step += 1
        self.state.images += len(images)
        return float(class_loss.detach()), float(box_loss.detach())


def _stage_at(progress: float) -> int:
    return next(i for i, s in enumerate(STAGES) if progress < s.end or i == len(STAGES) - 1)


def _enter(run: Run, stage: int) -> Iterator[Batch]:
    sources = STAGES[stage].mined
    if sources is not None:
        mine(run.average.net, run.settings.work, run.settings.device, sources)
    run.state.stage = stage
    log.info("detector_stage", stage=stage, seconds=round(run.state.seconds))
    return _loader(run.settings, STAGES[stage], run.settings.seed + 1000 * stage + run.state.step)


def fit(settings: Settings) -> Path:
    """Train until the minutes are over (mining included); returns the averaged weights."""
    run = Run(settings)
    log.info("detector_start", **run.describe())
    batches: Iterator[Batch] = iter(())
    clock, saved = time.monotonic(), time.monotonic()
    losses: NDArray[np.float64] = np.zeros(2)
    while run.state.seconds < 60 * settings.minutes:
        stage = _stage_at(run.state.seconds / (60 * settings.minutes))
        if stage != run.state.stage:
            batches = _enter(run, stage)
        step = np.asarray(run.advance(next(batches)))
        losses = losses * 0.98 + step * 0.02
        now = time.monotonic()
        run.state.seconds, clock = run.state.seconds + now - clock, now
        if run.state.step % 50 == 0:
            row = [run.state.step, round(run.state.seconds), *(round(float(x), 4) for x in losses)]
            run.state.history.append(row)
            log.info("detector_step", step=row[0], seconds=row[1], images=run.state.images, loss=row[2:])
        if now - saved > SAVE_EVERY:
            run.save()
            saved = now
    run.save()
    return settings.work / "detector.pt"


def train(
    data: Path, work: Path, minutes: float, device: str = "cpu", seed: int = 7, pool: Path | None = None
) -> Path:
    """Prepare the cache and train; returns the checkpoint (a state_dict)."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    prepare(data, work)
    cuda = device.startswith("cuda")
    workers = max(1, (os.cpu_count() or 2) - 2) if cuda else 1
    scale = 4.0 if cuda else 1.0
    return fit(Settings(data, work, minutes, pool, device, seed=seed, workers=workers, batch_scale=scale))
