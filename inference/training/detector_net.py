# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="misc,untyped-decorator,no-any-return,no-untyped-call,unused-ignore"
"""The detector network: grey picture in, class and box maps at strides 8, 16 and 32 out."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (8, 16, 32)
INPUT_WIDTH, INPUT_HEIGHT = 640, 384  # px
PRIOR = -4.6  # first class logit: about one cell in a hundred


@dataclass(frozen=True, slots=True)
class Widths:
    """Channels per stage; the default has about 0.83 M parameters."""

    stem: int = 16
    quarter: int = 32
    eighth: int = 48
    sixteenth: int = 96
    thirtysecond: int = 128
    neck: int = 48


class Dense(nn.Module):
    """Convolution, batch norm, ReLU6; residual on request.

    Dense and not separable on purpose: in bfloat16 on a CPU with matrix units it trains four times faster than
    depthwise blocks of half the multiplications, and int8 runs it no slower.
    """

    def __init__(
        self, cin: int, cout: int, kernel: int = 3, stride: int = 1, *, residual: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(cout)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(B, cin, H, W) to (B, cout, H/stride, W/stride); a sum is clipped too, so int8 ranges stay 0..6."""
        y: Tensor = self.norm(self.conv(x))
        return F.relu6(x + y) if self.residual else F.relu6(y)


def _stage(cin: int, cout: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(Dense(cin, cout, 3, 2), *(Dense(cout, cout, residual=True) for _ in range(blocks)))


class Head(nn.Module):
    """Class logit and box maps of one stride."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.tower = Dense(channels, channels)
        self.cls = nn.Conv2d(channels, 1, 1)
        self.box = nn.Conv2d(channels, 4, 1)
        bias = torch.tensor([log(2.5), log(1.2), log(2.5), log(1.2)])
        with torch.no_grad():
            nn.init.constant_(self.cls.bias, PRIOR)  # type: ignore[arg-type,unused-ignore]
            nn.init.normal_(self.cls.weight, std=0.01)
            nn.init.normal_(self.box.weight, std=0.01)
            self.box.bias.copy_(bias)  # type: ignore[union-attr,unused-ignore]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) to (B, 1, h, w) logits and (B, 4, h, w) log distances in strides."""
        y = self.tower(x)
        return self.cls(y), self.box(y)


class Detector(nn.Module):
    """(B, 1, H, W) floats in 0..1, H and W multiples of 32, to a (cls, box) pair per stride."""

    def __init__(self, widths: Widths | None = None) -> None:
        super().__init__()
        w = widths or Widths()
        self.stem = nn.Sequential(Dense(1, w.stem, 3, 2), Dense(w.stem, w.quarter, 3, 2))
        self.stage8 = _stage(w.quarter, w.eighth, 2)
        self.stage16 = _stage(w.eighth, w.sixteenth, 3)
        self.stage32 = _stage(w.sixteenth, w.thirtysecond, 2)
        self.lateral = nn.ModuleList(Dense(c, w.neck, 1) for c in (w.eighth, w.sixteenth, w.thirtysecond))
        self.heads = nn.ModuleList(Head(w.neck) for _ in STRIDES)

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Class logits (B, 1, h, w) and boxes (B, 4, h, w) for strides 8, 16, 32."""
        c8 = self.stage8(self.stem(x))
        c16 = self.stage16(c8)
        p32 = self.lateral[2](self.stage32(c16))
        p16 = self.lateral[1](c16) + F.interpolate(p32, scale_factor=2.0, mode="nearest")
        p8 = self.lateral[0](c8) + F.interpolate(p16, scale_factor=2.0, mode="nearest")
        return [head(p) for head, p in zip(self.heads, (p8, p16, p32), strict=True)]


class DeviceDetector(nn.Module):
    """What runs on the device: NHWC in and out, six separate tensors (each keeps its own int8 scale)."""

    def __init__(self, net: Detector) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(1, H, W, 1) in 0..1 to cls8, box8, cls16, box16, cls32, box32, all NHWC."""
        maps = self.net(x.permute(0, 3, 1, 2))
        return tuple(t.permute(0, 2, 3, 1) for pair in maps for t in pair)


def parameters(net: nn.Module) -> int:
    """How many trained numbers the network has."""
    return sum(p.numel() for p in net.parameters())
