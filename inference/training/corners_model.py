# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="misc,unused-ignore"
"""The corner net: 64 x 128 grey in, four corners and two flags out (about 0.27 M parameters)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def conv(inputs: int, outputs: int, kernel: int, stride: int | tuple[int, int] = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU6, keeping the size but for the stride."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


def make_body() -> nn.Sequential:
    """(n, 1, 64, 128) to (n, 16, 4, 8) features."""
    return nn.Sequential(
        conv(1, 16, 5, 2),
        conv(16, 32, 3, 2),
        conv(32, 32, 3),
        conv(32, 48, 3, 2),
        conv(48, 48, 3),
        conv(48, 64, 3, 2),
        conv(64, 16, 1),
    )


class Judge(nn.Module):
    """Says what a box shows, with eyes of its own, so that training it leaves the corners as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.body = make_body()
        self.hidden = nn.Linear(4 * 8 * 16, 64)
        self.flag = nn.Linear(64, 2)
        self.judge = nn.Sequential(conv(64, 24, 1), nn.Flatten(1), nn.Linear(4 * 8 * 24, 64), nn.ReLU6())
        self.verdict = nn.Linear(64, 2)

    def forward(self, picture: Tensor) -> Tensor:
        """Flag logits (n, 2): is_plate, two_rows; of a picture in -1..1."""
        seen = self.body[:-1](picture)
        features = nn.functional.relu6(self.hidden(self.body[-1](seen).flatten(1)))
        flags: Tensor = self.flag(features) + self.verdict(self.judge(seen))
        return flags


class CornerNet(nn.Module):
    """Input (n, 1, 64, 128) in 0..1; gives corners (n, 8), x and y of TL TR BR BL in 0..1, and flags (n, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = make_body()
        self.hidden = nn.Linear(4 * 8 * 16, 64)
        self.corners = nn.Linear(64, 8)
        self.judge = Judge()

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Corners and flag logits (is_plate, two_rows)."""
        picture = (picture - 0.5) * 2
        return self.place(self.body(picture)), self.judge(picture)

    def place(self, seen: Tensor) -> Tensor:
        """The body's features (n, 16, 4, 8) to corners (n, 8)."""
        offsets: Tensor = self.corners(nn.functional.relu6(self.hidden(seen.flatten(1))))
        return offsets + offsets.new_tensor([0.17, 0.17, 0.83, 0.17, 0.83, 0.83, 0.17, 0.83])


class CornerExport(nn.Module):
    """The net as it is converted: NHWC input (1, 64, 128, 1) in 0..1, batch norms folded."""

    def __init__(self, net: CornerNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Corners (1, 8) and flags (1, 2)."""
        corners, flags = self.net(picture.permute(0, 3, 1, 2))
        return corners, flags


def restore(net: CornerNet, state: dict[str, Tensor]) -> None:
    """Loads weights; those of a net with one body for both give the same answers as there.

    Raises ValueError for other weights.
    """
    if "flag.weight" in state:
        state = _with_two_bodies(state)
    missing, unexpected = net.load_state_dict(state, strict=False)
    foreign = [name for name in missing if not name.startswith(("judge.judge.", "judge.verdict."))]
    if foreign or unexpected:
        raise ValueError(f"not a corner net: {(foreign + unexpected)[0]}; train it anew")
    if missing:
        nn.init.zeros_(net.judge.verdict.weight)
        nn.init.zeros_(net.judge.verdict.bias)


def _with_two_bodies(state: dict[str, Tensor]) -> dict[str, Tensor]:
    shared = {k: v for k, v in state.items() if k.startswith(("body.", "hidden.", "corners."))}
    judge = {f"judge.{k}": v for k, v in state.items() if not k.startswith("corners.")}
    return shared | judge


def freeze_corners(net: CornerNet) -> None:
    """Leaves only the judge to be trained; the corners stay as they are, running averages included."""
    for part in (net.body, net.hidden, net.corners):
        part.requires_grad_(requires_grad=False)
        part.eval()


def freeze_judge(net: CornerNet) -> None:
    """Leaves only the corners to be trained."""
    net.judge.requires_grad_(requires_grad=False)
    net.judge.eval()


def fold(module: nn.Module) -> nn.Module:
    """Folds every convolution's batch norm into it, in place (evaluation mode only)."""
    for child in module.modules():
        if isinstance(child, nn.Sequential):
            for i in range(len(child) - 1):
                first, second = child[i], child[i + 1]
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    child[i] = fuse_conv_bn_eval(first, second)
                    child[i + 1] = nn.Identity()
    return module


def parameter_count(module: nn.Module) -> int:
    """Trained numbers in `module`."""
    return sum(p.numel() for p in module.parameters())


class Ema:
    """Running average of a net's weights and buffers."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    def update(self, module: nn.Module, step: int) -> None:
        """Moves the average; early steps follow faster."""
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for key, value in module.state_dict().items():
                if value.dtype.is_floating_point:
                    self.state[key].lerp_(value, 1 - decay)
                else:
                    self.state[key].copy_(value)
