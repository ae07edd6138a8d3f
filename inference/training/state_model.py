# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="misc,unused-ignore"
"""The state net: 72 x 144 colour in, 51 states and "other" out (about 0.39 M parameters)."""

from __future__ import annotations

from torch import Tensor, nn

from inference.state import CLASSES

from .corners_model import conv


class StateNet(nn.Module):
    """Input (n, 3, 72, 144) in 0..1, BGR; gives logits (n, 52).

    Dense convolutions only (they train fast in bfloat16), and a head that keeps places apart: a name stands on top.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 16, 5, 2),
            conv(16, 32, 3, 2),
            conv(32, 32, 3),
            conv(32, 64, 3, 2),
            conv(64, 64, 3),
            conv(64, 96, 3, 2),
            conv(96, 96, 3),
            conv(96, 128, 3, 2),
            conv(128, 64, 1),
        )
        self.drop = nn.Dropout(0.25)
        self.head = nn.Linear(64 * 3 * 5, CLASSES)

    def forward(self, picture: Tensor) -> Tensor:
        """Logits per class."""
        features = self.body((picture - 0.5) * 2).flatten(1)
        logits: Tensor = self.head(self.drop(features))
        return logits


class StateExport(nn.Module):
    """The net as it is converted: NHWC input (1, 72, 144, 3) in 0..1, batch norms folded."""

    def __init__(self, net: StateNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, picture: Tensor) -> Tensor:
        """Logits (1, 52)."""
        logits: Tensor = self.net(picture.permute(0, 3, 1, 2))
        return logits


def state_loss(logits: Tensor, classes: Tensor, smoothing: float = 0.03) -> Tensor:
    """Mean cross entropy of logits (n, 52) with a little label smoothing."""
    loss: Tensor = nn.functional.cross_entropy(logits.float(), classes, label_smoothing=smoothing)
    return loss
