# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="misc,unused-ignore"
"""The reader: 48 x 144 grey in, 36 time steps of 36 characters and the CTC blank out (about 0.72 M parameters)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .corners_model import conv

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BLANK = len(ALPHABET)
TIME_STEPS = 36


class Look(nn.Module):
    """Residual dense convolution of `kernel` (rows, columns), the columns `dilation` apart; same shape out."""

    def __init__(self, channels: int, kernel: tuple[int, int], dilation: int = 1) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2 * dilation)
        self.look = nn.Sequential(
            nn.Conv2d(channels, channels, kernel, 1, padding, (1, dilation), bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU6(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Adds what is seen."""
        seen: Tensor = features + self.look(features)
        return seen


class ReaderNet(nn.Module):
    """Input (n, 1, 48, 144) in 0..1; gives logits (n, 36, 37)."""

    def __init__(self) -> None:
        super().__init__()
        collapse = nn.Sequential(
            nn.Conv2d(96, 128, 3, 1, (0, 1), bias=False), nn.BatchNorm2d(128), nn.ReLU6()
        )
        self.body = nn.Sequential(
            conv(1, 32, 5, 2),
            conv(32, 64, 3, (2, 1)),
            Look(64, (3, 3)),
            conv(64, 96, 3, 2),
            Look(96, (3, 3)),
            Look(96, (3, 3)),
            conv(96, 96, 3, (2, 1)),
            collapse,
            Look(128, (1, 5)),
            Look(128, (1, 5), 2),
            Look(128, (1, 5), 3),
        )
        self.head = nn.Conv2d(128, BLANK + 1, 1)
        self.drop = nn.Dropout2d(0.1)

    def forward(self, picture: Tensor) -> Tensor:
        """Logits per time step, blank last."""
        features = self.drop(self.body((picture - 0.5) * 2))
        logits: Tensor = self.head(features).squeeze(2).transpose(1, 2)
        return logits


class ReaderExport(nn.Module):
    """The net as it is converted: NHWC input (1, 48, 144, 1) in 0..1, batch norms folded."""

    def __init__(self, net: ReaderNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, picture: Tensor) -> Tensor:
        """Logits (1, 36, 37)."""
        logits: Tensor = self.net(picture.permute(0, 3, 1, 2))
        return logits


def encode(text: str) -> list[int]:
    """Class numbers of a text; raises ValueError for a character outside the alphabet."""
    return [ALPHABET.index(c) for c in text]


def greedy(logits: NDArray[np.float32]) -> tuple[str, float]:
    """Best path of logits (36, 37): the text, and the product of its characters' peak probabilities."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    probability = shifted / shifted.sum(1, keepdims=True)
    best = probability.argmax(1)
    peaks: list[float] = []
    text, last = "", BLANK
    for step, number in enumerate(best):
        if number != BLANK:
            value = float(probability[step, number])
            if number == last:
                peaks[-1] = max(peaks[-1], value)
            else:
                text += ALPHABET[number]
                peaks.append(value)
        last = int(number)
    return text, float(np.prod(peaks)) if peaks else 0.0


def ctc_loss(logits: Tensor, texts: list[str], rows: list[int] | None = None) -> Tensor:
    """Mean CTC loss a character of logits (m, 36, 37); the rows of one plate follow each other and read as one.

    `rows` says how many crops each text has (1 where it is None).
    """
    targets = torch.tensor([c for text in texts for c in encode(text)], dtype=torch.long)
    lengths = torch.tensor([len(text) for text in texts], dtype=torch.long)
    scores = logits.log_softmax(2)
    rows = rows or [1] * len(texts)
    plates = [part.flatten(0, 1) for part in scores.split(rows)]
    steps = torch.tensor([len(plate) for plate in plates], dtype=torch.long)
    padded = nn.utils.rnn.pad_sequence(plates)
    return nn.functional.ctc_loss(padded, targets, steps, lengths, blank=BLANK, zero_infinity=True)
