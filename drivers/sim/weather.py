# SPDX-License-Identifier: Apache-2.0
"""What makes a road hard to read: rain and spray, a lens out of focus, blooming light, dirt on plates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.tables import Bounds, Share

Picture = NDArray[np.uint8]

STREAKS: Final = 420  # in sight at once in the heaviest rain, on 1280 px of width
STREAK_PX: Final = (
    16.0  # length of a streak per millisecond of exposure, a drop falling at 8 m/s some 3 m away
)
VEIL: Final = 26.0  # grey levels that the heaviest rain adds everywhere
OVERDRIVEN: Final = 250  # grey levels from which light spreads
BLOOM_SIGMA: Final = 9.0  # px of a 1280 px picture
BLOOM_SHRINK: Final = 4  # light spreads smoothly: a quarter of the pixels will do


@dataclass(frozen=True, slots=True)
class Weather:
    """Nothing of it by default: the clear road with a well-kept camera."""

    rain: Share = 0.0  # streaks, a veil of light, spray behind vehicles that drive away
    defocus_px: Annotated[float, Bounds(0.0, 10.0)] = 0.0  # standard deviation of the blur
    bloom: Annotated[float, Bounds(0.0, 0.5)] = (
        0.0  # share of an overdriven pixel's light that spreads around it
    )
    dirt: Share = 0.0  # mean share of a plate's contrast that its dirt takes; each vehicle has its own
    visibility_m: Annotated[float, Bounds(20.0, 50_000.0)] = (
        50_000.0  # less is mist (below 5 km) and fog (1 km)
    )
    glare: Share = 0.0  # how much of the light that falls on its lens the camera spreads over the picture

    def lay(self, frame: Picture, exposure_us: int, rng: np.random.Generator, *, bright: float = 1.0) -> None:
        """Onto a frame (H, W) or (H, W, 3), in place, before the sensor's noise; `bright` scales the drops' light."""
        if self.rain > 0:
            self._rain(frame, exposure_us, rng, bright)
        if self.bloom > 0:
            self._bloom(frame)
        if self.defocus_px > 0:
            frame[:] = cv2.GaussianBlur(frame, (0, 0), self.defocus_px)

    def _rain(self, frame: Picture, exposure_us: int, rng: np.random.Generator, bright: float) -> None:
        height, width = frame.shape[:2]
        veiled = cv2.convertScaleAbs(frame, alpha=1.0 - 0.3 * self.rain, beta=VEIL * self.rain * bright)
        streaks = _streaks(height, width, self.rain, exposure_us, rng)
        streaks = np.asarray(cv2.convertScaleAbs(streaks, alpha=bright), np.uint8)
        layer = streaks if frame.ndim == 2 else cv2.merge([streaks, streaks, streaks])
        cv2.add(veiled, layer, dst=frame)

    def _bloom(self, frame: Picture) -> None:
        height, width = frame.shape[:2]
        hot = cv2.threshold(frame, OVERDRIVEN - 1, 255, cv2.THRESH_BINARY)[1]
        small = cv2.resize(hot, (width // BLOOM_SHRINK, height // BLOOM_SHRINK), interpolation=cv2.INTER_AREA)
        spread = cv2.GaussianBlur(small, (0, 0), BLOOM_SIGMA * width / 1280 / BLOOM_SHRINK)
        glow = cv2.resize(cv2.convertScaleAbs(spread, alpha=self.bloom), (width, height))
        cv2.add(frame, glow, dst=frame)


CLEAR: Final = Weather()
SEVERITIES: Final = (  # how hard a road is, for benches: nothing, an ordinary one, a bad one, nearly hopeless
    CLEAR,
    Weather(defocus_px=0.6, bloom=0.06, dirt=0.08),
    Weather(rain=0.35, defocus_px=0.9, bloom=0.10, dirt=0.15),
    Weather(rain=0.80, defocus_px=1.3, bloom=0.15, dirt=0.25),
)


def _streaks(height: int, width: int, rain: float, exposure_us: int, rng: np.random.Generator) -> Picture:
    """Light (H, W) of falling drops; nearer ones are longer, wider and brighter."""
    out = np.zeros((height, width), np.uint8)
    scale = width / 1280
    for _ in range(round(STREAKS * rain * scale)):
        near = float(rng.uniform(0.5, 2.5))
        length = max(2.0, STREAK_PX * exposure_us / 1000 * near * scale)
        x, y = float(rng.uniform(0, width)), float(rng.uniform(-20, height))
        end = (round(x + float(rng.normal(0.08, 0.03)) * length), round(y + length))
        cv2.line(out, (round(x), round(y)), end, (34 + 34 * near,), 2 if near > 1.6 else 1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(out, (0, 0), 0.8), dtype=np.uint8)


def mud(shape: tuple[int, int], amount: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Coverage 0..1 (H, W) of a plate's dirt: a film and, thicker towards the lower edge, clouds of mud."""
    coarse = rng.normal(0.0, 1.0, (7, 13)).astype(np.float32)
    fine = rng.normal(0.0, 1.0, (17, 33)).astype(np.float32)
    size = (shape[1], shape[0])
    cloud = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    cloud = cloud + 0.6 * cv2.resize(fine, size, interpolation=cv2.INTER_CUBIC)
    low = np.linspace(-0.6, 0.9, shape[0], dtype=np.float32)[:, None]
    thick = np.clip((cloud + low - 1.4 + 2.2 * amount) * 1.2, 0.0, 1.0)
    return np.asarray(np.clip(amount * 0.45 + amount * 1.1 * thick, 0.0, 0.95), dtype=np.float32)
