# SPDX-License-Identifier: Apache-2.0
"""What a camera's picture says about the camera: how sharp it is, and whether it still shows the place it showed.

Sharpness is a ratio of the picture's energy at two scales, so it asks nothing of light or contrast; two neighbouring
rows are multiplied with each other, because they share the scene and not the sensor's noise. The place is known by the
directions of its edges (doubled angles, as in the structure tensor of Bigun and Granlund 1987), which stay the same
from day to night and in rain, and is compared by the height of the peak of their correlation over all shifts.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]  # (h, w)
Field = NDArray[np.float32]  # (h, w, 2): cosine and sine of the doubled angle, its length 0..1 the certainty

GRID_PX: Final = 160  # px: width of the small picture that is looked at
SHARP_ROWS: Final = 48  # pairs of rows by which sharpness is measured
FINE_PX, COARSE_PX = 2, 8  # px between which a grey level's change is measured
RAMP: Final = (FINE_PX / COARSE_PX) ** 2  # the ratio of a picture that holds nothing but slow ramps
MIN_COARSE: Final = 15.0  # grey levels squared; with less (an empty road by night) nothing can be measured
EDGE_FLOOR: Final = 8.0  # Sobel units at which an edge is as strong as what is taken for none
LANDMARK: Final = 0.35  # certainty of an edge that counts as a landmark
SPECTRUM_FLOOR: Final = 0.05  # of the mean, below which a spatial frequency counts less
SHIFT: Final = 2  # cells: sway of a pole that is no turn (1.25 % of the width)


def plane(pixels: Grey) -> Grey:
    """One channel (H, W) of a picture (H, W, 3) BGR or (H, W): green, which all sensors resolve best."""
    return pixels if pixels.ndim == 2 else pixels[:, :, 1]


def grid(pixels: Grey) -> Grey:
    """A picture's every n-th pixel, about GRID_PX across."""
    step = max(1, pixels.shape[1] // GRID_PX)
    return np.ascontiguousarray(plane(pixels)[::step, ::step])


def reduced(pixels: Grey) -> Grey:
    """The picture, smoothed, GRID_PX across."""
    step = max(1, pixels.shape[1] // (2 * GRID_PX))
    some = np.ascontiguousarray(plane(pixels)[::step, ::step])
    size = (GRID_PX, max(1, round(some.shape[0] * GRID_PX / some.shape[1])))
    return np.asarray(cv2.resize(some, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def sharpness(pixels: Grey) -> float | None:
    """Fine detail for the coarse detail that there is: 0.0 for ramps, 0.05 to 0.3 in focus; None: nothing to see."""
    step = max(2, pixels.shape[0] // SHARP_ROWS)
    rows = plane(pixels).shape[0] // step
    pairs = [
        np.ascontiguousarray(plane(pixels)[first : first + step * rows : step]).astype(np.int16)
        for first in (step // 2 - 1, step // 2)
    ]
    coarse, fine = (_energy(pairs[0], pairs[1], apart) for apart in (COARSE_PX, FINE_PX))
    return None if coarse < MIN_COARSE else fine / coarse - RAMP


def _energy(above: NDArray[np.int16], below: NDArray[np.int16], apart: int) -> float:
    change = [(rows[:, apart:] - rows[:, :-apart]).astype(np.float32).ravel() for rows in (above, below)]
    return float(np.dot(change[0], change[1])) / max(1, change[0].size)


class Background:
    """The scene without what passes: each pixel follows the median by one grey level a sample (sigma-delta)."""

    def __init__(self) -> None:
        self._grey: Grey = np.zeros((0, 0), np.uint8)

    def take(self, small: Grey) -> None:
        """Moves towards a sample; one of another size begins anew."""
        if self._grey.shape != small.shape:
            self._grey = small.copy()
            return
        up, down = cv2.compare(small, self._grey, cv2.CMP_GT), cv2.compare(small, self._grey, cv2.CMP_LT)
        ahead = cv2.add(self._grey, cv2.bitwise_and(up, 1))  # type: ignore[call-overload]
        self._grey = np.asarray(cv2.subtract(ahead, cv2.bitwise_and(down, 1)), dtype=np.uint8)  # type: ignore[call-overload]

    def edges(self) -> Field:
        """The directions of its edges."""
        return edges(self._grey)


def edges(grey: Grey) -> Field:
    """Directions of the edges of a small picture."""
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength = across * across + down * down + EDGE_FLOOR * EDGE_FLOOR
    doubled = np.stack([across * across - down * down, 2.0 * across * down], axis=-1)
    return np.asarray(doubled / strength[..., None], dtype=np.float32)


class Landmarks:
    """A place that was learnt: where its edges are and which way they run, from the mean of many `edges`.

    The match is phase-only (Horner and Gianino 1984): every spatial frequency of the place counts alike, so that a
    road's long lines do not match with themselves further along.
    """

    def __init__(self, field: Field) -> None:
        self.field = field
        self._certainty = float(_certainty(field).mean())
        kept = np.where((_certainty(field) > LANDMARK)[..., None], field, np.float32(0.0))
        spectrum = np.asarray(cv2.dft(kept), np.float32)
        size = _certainty(spectrum)
        self._filter = np.asarray(
            spectrum / (size + SPECTRUM_FLOOR * size.mean() + 1e-9)[..., None], np.float32
        )

    def peak(self, seen: Field) -> float:
        """By how many standard deviations over all shifts the match without a shift stands out."""
        product = cv2.mulSpectrums(cv2.dft(seen), self._filter, 0, conjB=True)
        match = cv2.dft(product, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE)[:, :, 0]
        near = range(-SHIFT, SHIFT + 1)
        best = max(float(match[down, across]) for down in near for across in near)
        spread = float(match.std())
        return (best - float(match.mean())) / spread if spread > 0.0 else 0.0

    def structure(self, seen: Field) -> float:
        """How sure a picture's edges are for those of the place; near 0.0 in fog or before a wall."""
        return float(_certainty(seen).mean()) / self._certainty if self._certainty > 0.0 else 0.0


def _certainty(field: Field) -> NDArray[np.float32]:
    return np.asarray(np.hypot(field[..., 0], field[..., 1]), dtype=np.float32)
