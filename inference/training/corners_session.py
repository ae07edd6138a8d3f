# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="no-untyped-call,unused-ignore"
"""A training that runs for a given time, is kept on disk, and goes on where it was interrupted."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from .corners_model import Ema

SAVE_SECONDS = 60.0
LOG_STEPS = 100
_WARM_UP_STEPS = 200
_CLIP = 5.0  # norm of the gradient


def rate_at(progress: float, step: int, peak: float) -> float:
    """Cosine from `peak` to a hundredth of it over progress 0..1, after a short warm-up."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return peak * min(1.0, (step + 1) / _WARM_UP_STEPS) * (0.01 + 0.99 * cosine)


def save(path: Path, content: dict[str, object]) -> None:
    """Writes a checkpoint atomically."""
    part = path.with_suffix(".part")
    torch.save(content, part)
    part.replace(path)


def weights(checkpoint: Path) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint, or those of a bare state_dict."""
    saved: dict[str, dict[str, Tensor]] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    plain: dict[str, Tensor] = saved.get("ema", saved)  # type: ignore[arg-type]
    return plain


class Session:
    """Optimiser, average, clock and checkpoint of one training; resumes from `checkpoint` if that exists."""

    def __init__(
        self, net: nn.Module, checkpoint: Path, minutes: float, rate: float, decay: float, device: str
    ) -> None:
        self.net, self.checkpoint, self.step = net, checkpoint, 0
        self._seconds, self._peak, spent = minutes * 60, rate, 0.0
        self._ema = Ema(net, decay)
        self._optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.02)
        if checkpoint.exists():
            saved = torch.load(checkpoint, map_location=device, weights_only=True)
            net.load_state_dict(saved["net"])
            self._optimiser.load_state_dict(saved["optimiser"])
            self._ema.state, self.step, spent = saved["ema"], saved["step"], saved["seconds"]
        self._began, self._kept, self._sum = time.monotonic() - spent, time.monotonic(), 0.0

    @property
    def elapsed(self) -> float:
        """Seconds trained, earlier runs included."""
        return time.monotonic() - self._began

    @property
    def progress(self) -> float:
        """Share of the time that has passed, 0..1."""
        return min(1.0, self.elapsed / self._seconds)

    def learn(self, loss: Tensor) -> None:
        """One step down `loss`; logs and keeps the state when it is time."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate_at(self.progress, self.step, self._peak)
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), _CLIP)
        self._optimiser.step()
        self.step += 1
        self._ema.update(self.net, self.step)
        self._sum += loss.item()
        if self.step % LOG_STEPS == 0:
            self._log()
        if time.monotonic() - self._kept > SAVE_SECONDS:
            self.keep()

    def _log(self) -> None:
        line = {"step": self.step, "seconds": round(self.elapsed), "loss": round(self._sum / LOG_STEPS, 5)}
        print(json.dumps(line), flush=True)
        self._sum = 0.0

    def keep(self) -> None:
        """Writes the checkpoint."""
        self._kept = time.monotonic()
        state: dict[str, object] = {"net": self.net.state_dict(), "ema": self._ema.state}
        state |= {"optimiser": self._optimiser.state_dict(), "step": self.step, "seconds": self.elapsed}
        save(self.checkpoint, state)
