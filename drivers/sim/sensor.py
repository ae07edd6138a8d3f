# SPDX-License-Identifier: Apache-2.0
"""From light to the picture: adds the bands and the veils as light adds, then the sensor's own noise."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.optics import View
from drivers.types import Exposure

MARGIN: Final = 96  # pixels by which the noise tile can be shifted
TILE_SIGMA: Final = 24.0  # of the stored tile: scaled to each frame's noise
READ_SHOWN: Final = 50.0  # squared grey levels of read noise from which it is drawn: about gain 3

Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]
Squares = NDArray[np.uint16]


class Mixer:
    """Adds lights; keeps its working memory, because asking the system for it takes longer than the sums."""

    def __init__(self) -> None:
        self._floats: dict[tuple[int, ...], Plane] = {}
        self._squares: dict[tuple[int, ...], Squares] = {}

    def squares(self, picture: Picture) -> Squares:
        """Grey levels squared: proportional to light. Valid until the next picture of this shape."""
        kept = self._squares.setdefault(picture.shape, np.empty(picture.shape, np.uint16))
        return np.asarray(cv2.multiply(picture, picture, dst=kept, dtype=cv2.CV_16U), np.uint16)

    def root(self, light: Squares) -> Picture:
        """Back from light to grey levels."""
        kept = self._floats.setdefault(light.shape, np.empty(light.shape, np.float32))
        np.sqrt(light, out=kept, dtype=np.float32)
        return np.asarray(cv2.convertScaleAbs(kept), np.uint8)

    def add(self, colour: Picture | None, grey: Picture | None, veil: Squares | None) -> Picture:
        """The visible band (H, W, 3), the infrared band (H, W) and a veil of squared grey levels (H, W), as one."""
        extra = None if grey is None else self.squares(grey)
        if veil is not None:
            extra = veil if extra is None else np.asarray(cv2.add(extra, veil), np.uint16)
        if colour is None:
            return grey if veil is None and grey is not None else self.root(np.asarray(extra))
        if extra is None:
            return colour
        light = self.squares(colour)
        return self.root(np.asarray(cv2.add(light, cv2.merge([extra, extra, extra]), dst=light), np.uint16))


class Grain:
    """Sensor noise: a tile of it, shifted anew for each frame."""

    def __init__(self, view: View, seed: int, mixer: Mixer) -> None:
        self._view, self._seed, self._mixer = view, seed, mixer
        self._tiles: dict[int, tuple[Picture, Picture]] = {}

    def lay(self, frame: Picture, exposure: Exposure, index: int) -> Picture:
        """A frame (H, W) or (H, W, 3) with the noise of its gain."""
        mount = self._view.mount
        rng = np.random.default_rng([self._seed, 3, index])
        y, x, y2, x2 = (int(value) for value in rng.integers(0, MARGIN, 4))
        read = 255.0**2 * mount.read_noise_e * exposure.gain / mount.full_well_e
        if read >= READ_SHOWN:
            frame = self._read(frame, read, (y2, x2))
        # shot noise: the root of the electrons; after the square-root tone it is the same at every grey level
        shot = 127.5 * math.sqrt(exposure.gain / mount.full_well_e)
        plus, minus = self._part(1 if frame.ndim == 2 else 3, (y, x), shot / TILE_SIGMA)
        return np.asarray(cv2.subtract(cv2.add(frame, plus, dst=frame), minus, dst=frame), np.uint8)

    def _read(self, frame: Picture, read: float, at: tuple[int, int]) -> Picture:
        """The same electrons at every pixel: most of the noise where it is dark."""
        plus, minus = (
            np.asarray(cv2.addWeighted(part, read / TILE_SIGMA, part, 0.0, 0.0, dtype=cv2.CV_16U), np.uint16)
            for part in self._part(1, at, 1.0)
        )
        light = self._mixer.squares(frame)
        if frame.ndim == 3:
            plus, minus = cv2.merge([plus] * 3), cv2.merge([minus] * 3)  # type: ignore[assignment]
        cv2.subtract(cv2.add(light, plus, dst=light), minus, dst=light)
        return self._mixer.root(light)

    def _part(self, channels: int, at: tuple[int, int], scale: float) -> tuple[Picture, Picture]:
        rows, columns = slice(at[0], at[0] + self._view.height), slice(at[1], at[1] + self._view.width)
        plus, minus = (tile[rows, columns] for tile in self._tile(channels))
        if scale == 1.0:
            return plus, minus
        return (
            np.asarray(cv2.convertScaleAbs(plus, alpha=scale), np.uint8),
            np.asarray(cv2.convertScaleAbs(minus, alpha=scale), np.uint8),
        )

    def _tile(self, channels: int) -> tuple[Picture, Picture]:
        if channels not in self._tiles:
            shape = (self._view.height + MARGIN, self._view.width + MARGIN)
            rng = np.random.default_rng([self._seed, 4])
            tile = rng.standard_normal(shape if channels == 1 else (*shape, 3), dtype=np.float32) * TILE_SIGMA
            rounded = np.round(tile)
            self._tiles[channels] = (
                np.clip(rounded, 0, 255).astype(np.uint8),
                np.clip(-rounded, 0, 255).astype(np.uint8),
            )
        return self._tiles[channels]
