# SPDX-License-Identifier: Apache-2.0
"""The reader: corners on the full-resolution picture -> text with probabilities."""

from __future__ import annotations

from typing import Final

from inference.decode import ALPHABET, MAX_OTHERS, Probabilities, decode, softmax
from inference.preprocess import Grey, normalise, rectify
from inference.rectify import rows_of, sharpness
from inference.runtime import Net, by_shape
from inference.types import Corners, Decoded

STEPS: Final = 36  # time steps of the reader's output


def read(
    net: Net, grey: Grey, corners: Corners, temperature: float = 1.0, like: Decoded | None = None
) -> tuple[Decoded, float]:
    """(H, W) and corners (4, 2) px -> what the plate says (`like` as in `decode`), and the crop's sharpness."""
    crop = normalise(rectify(grey, corners))
    return decode(probabilities(net, crop, temperature), like), sharpness(crop)


def read_rows(net: Net, grey: Grey, corners: Corners, temperature: float = 1.0) -> Decoded:
    """The same for a plate with two rows: each is read by itself, the upper one first."""
    upper, lower = (
        decode(probabilities(net, normalise(rectify(grey, row)), temperature)) for row in rows_of(corners)
    )
    return joined(upper, lower)


def joined(upper: Decoded, lower: Decoded) -> Decoded:
    """Two rows as one text; the rows err each on their own, so their probabilities multiply."""
    best = (upper.text + lower.text, upper.confidence * lower.confidence)
    pairs = [
        (a + b, p * q)
        for a, p in ((upper.text, upper.confidence), *upper.others)
        for b, q in ((lower.text, lower.confidence), *lower.others)
    ]
    others = sorted((pair for pair in pairs[1:] if pair[0] != best[0]), key=lambda pair: -pair[1])
    return Decoded(*best, upper.chars + lower.chars, tuple(others[:MAX_OTHERS]))


def probabilities(net: Net, crop: Grey, temperature: float) -> Probabilities:
    """Normalised (48, 144) crop -> (36, 37) class probabilities per time step."""
    output = by_shape(net.run(crop), (1, STEPS, len(ALPHABET) + 1), net.name)
    return softmax(output.values[0], temperature)
