# SPDX-License-Identifier: Apache-2.0
"""Draws vehicles: the end that the camera sees (rear or front) and the side, by day and under infrared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.sim.designs import Colour

END_PX_PER_M: Final = 340
SIDE_PX_PER_M: Final = 150  # seen at a sharp angle
SHIFT: Final = 4
LAMP_RADIUS_M: Final = 0.09
Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Body:
    """A kind of vehicle, in metres: half width, height, length, height of the plate's centre at each end."""

    kind: str
    half_w: float
    height: float
    length: float
    rear_plate_y: float
    front_plate_y: float
    belt_y: float  # where the windows begin
    lamp_y: float
    tall_lamps: bool
    share: float

    @property
    def roof_half_w(self) -> float:
        """Half the roof's width: the cabin leans in."""
        return self.half_w - (0.34 if self.kind in ("sedan", "hatchback") else 0.2)

    def far_slope_m(self, *, rear: bool) -> float:
        """How far before the other end the roof stops: bonnet or boot."""
        boot = 0.95 if self.kind in ("sedan", "pickup") else 0.3
        return 1.7 if rear else boot + 0.4


BODIES: Final = (
    Body("sedan", 0.90, 1.45, 4.7, 0.82, 0.50, 0.94, 0.80, tall_lamps=False, share=4.0),
    Body("hatchback", 0.87, 1.50, 4.1, 0.78, 0.50, 0.98, 0.92, tall_lamps=False, share=2.0),
    Body("suv", 0.95, 1.74, 4.6, 0.90, 0.58, 1.12, 1.05, tall_lamps=True, share=4.0),
    Body("pickup", 1.00, 1.86, 5.7, 0.60, 0.62, 1.22, 0.95, tall_lamps=True, share=2.0),
    Body("van", 0.98, 1.95, 5.1, 0.80, 0.58, 1.20, 1.05, tall_lamps=True, share=1.0),
)
PAINTS: Final[tuple[Colour, ...]] = (
    (232, 234, 234), (196, 198, 200), (150, 152, 154), (96, 98, 100), (40, 40, 42), (28, 26, 26),
    (36, 30, 150), (44, 38, 96), (140, 84, 30), (98, 58, 24), (70, 92, 60), (120, 150, 172), (180, 206, 216),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one vehicle in one light."""

    paint: Colour
    glass: Colour
    glass_top: Colour
    lamp: Colour
    lamp_core: Colour
    trim: Colour
    tyre: Colour
    chrome: Colour


def day_palette(paint: Colour, *, rear: bool) -> Palette:
    """In sunlight; red lamps behind, clear ones in front."""
    lamp, core = ((34, 24, 150), (60, 50, 220)) if rear else ((190, 190, 186), (245, 245, 245))
    return Palette(
        paint, (46, 40, 36), (150, 132, 112), lamp, core, (38, 38, 38), (24, 24, 26), (176, 178, 180)
    )


def night_palette(grey: int) -> Palette:
    """Under infrared everything is grey; lamps and chrome send some light back."""

    def tone(value: int) -> Colour:
        return (value, value, value)

    return Palette(tone(grey), tone(16), tone(30), tone(110), tone(200), tone(26), tone(12), tone(120))


class _Canvas:
    """A drawing in metres: x right of the centre, y up from the road."""

    def __init__(self, half_w: float, height: float, fill: Colour, px_per_m: int) -> None:
        self._half_w, self._height, self._px_per_m = half_w, height, px_per_m
        shape = (round(height * px_per_m), round(2 * half_w * px_per_m))
        self.colour = np.empty((*shape, 3), np.uint8)
        self.colour[:] = fill
        self.alpha = np.zeros(shape, np.uint8)

    def _fixed(self, points: Sequence[tuple[float, float]]) -> NDArray[np.int32]:
        array = np.array([((x + self._half_w), (self._height - y)) for x, y in points]) * self._px_per_m
        return np.round(array * (1 << SHIFT)).astype(np.int32)

    def bgra(self) -> Picture:
        """The drawing with its silhouette as a fourth channel."""
        return np.asarray(cv2.merge([*cv2.split(self.colour), self.alpha]), dtype=np.uint8)

    def fill(self, points: Sequence[tuple[float, float]], colour: Colour, *, solid: bool = False) -> None:
        """A polygon; `solid` ones also are part of the silhouette."""
        fixed = [self._fixed(points)]
        cv2.fillPoly(self.colour, fixed, colour, cv2.LINE_AA, SHIFT)
        if solid:
            cv2.fillPoly(self.alpha, fixed, (255,), cv2.LINE_AA, SHIFT)

    def both(self, points: Sequence[tuple[float, float]], colour: Colour, *, solid: bool = False) -> None:
        """A polygon and its mirror image."""
        self.fill(points, colour, solid=solid)
        self.fill([(-x, y) for x, y in points], colour, solid=solid)

    def line(
        self, start: tuple[float, float], end: tuple[float, float], colour: Colour, width: int = 2
    ) -> None:
        """A thin seam."""
        a, b = self._fixed([start, end])
        cv2.line(
            self.colour, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), colour, width, cv2.LINE_AA, SHIFT
        )

    def disc(
        self, centre: tuple[float, float], radius_m: float, colour: Colour, *, solid: bool = False
    ) -> None:
        """A wheel."""
        at = self._fixed([centre])[0]
        radius = round(radius_m * self._px_per_m * (1 << SHIFT))
        cv2.circle(self.colour, (int(at[0]), int(at[1])), radius, colour, -1, cv2.LINE_AA, SHIFT)
        if solid:
            cv2.circle(self.alpha, (int(at[0]), int(at[1])), radius, (255,), -1, cv2.LINE_AA, SHIFT)


def _shade(colour: Colour, factor: float) -> Colour:
    blue, green, red = (min(255, max(0, int(channel * factor))) for channel in colour)
    return blue, green, red


def _box(x0: float, y0: float, x1: float, y1: float, cut: float = 0.0) -> list[tuple[float, float]]:
    """A rectangle with its corners cut by `cut`."""
    return [
        (x0 + cut, y0), (x1 - cut, y0), (x1, y0 + cut), (x1, y1 - cut),
        (x1 - cut, y1), (x0 + cut, y1), (x0, y1 - cut), (x0, y0 + cut),
    ]  # fmt: skip


def _gradient(canvas: _Canvas, belt_y: float, height: float) -> None:
    """The sky lights what faces up; the road leaves what is low in shade."""
    y = np.linspace(height, 0.0, canvas.colour.shape[0], dtype=np.float32)
    light = np.interp(y, [0.0, 0.25, 0.6, belt_y, height], [0.55, 0.72, 0.95, 1.06, 1.12]).astype(np.float32)
    weights = np.empty(canvas.colour.shape, np.float32)
    weights[:] = light[:, None, None]
    canvas.colour[:] = cv2.multiply(canvas.colour, weights, dtype=cv2.CV_8U)


def _window(canvas: _Canvas, body: Body, top_half: float, palette: Palette) -> None:
    low, high = body.belt_y + 0.05, body.height - 0.10
    base = body.half_w - 0.20
    canvas.fill([(-base, low), (base, low), (top_half - 0.06, high), (-top_half + 0.06, high)], palette.glass)
    middle = (low + high) / 2  # the sky mirrored in the upper half of the glass
    edge = (base + top_half - 0.06) / 2
    upper = [(-edge * 0.96, middle + 0.04), (edge * 0.5, middle + 0.10), (top_half - 0.12, high - 0.03)]
    canvas.fill([*upper, (-top_half + 0.12, high - 0.03)], _shade(palette.glass_top, 0.72))


def _silhouette(canvas: _Canvas, body: Body, palette: Palette) -> float:
    """Tyres, lower body and cabin; returns the roof's half width."""
    w, h = body.half_w, body.height
    canvas.both(_box(w - 0.27, 0.0, w - 0.05, 0.5, 0.03), palette.tyre, solid=True)
    low = [(-w + 0.06, 0.24), (w - 0.06, 0.24), (w, 0.36), (w, body.belt_y - 0.08)]
    right = [*low[1:], (w - 0.005, body.belt_y + 0.02)]
    canvas.fill([*right, *[(-x, y) for x, y in reversed(right)]], palette.paint, solid=True)
    top = body.roof_half_w
    cabin = [(w - 0.005, body.belt_y), (top + 0.01, h - 0.05), (top - 0.012, h)]
    canvas.fill([*cabin, *[(-x, y) for x, y in reversed(cabin)]], palette.paint, solid=True)
    return top


def _lamps(canvas: _Canvas, body: Body, palette: Palette, *, rear: bool) -> None:
    w, y = body.half_w, body.lamp_y if rear else body.lamp_y - 0.1
    if rear and body.tall_lamps:
        canvas.both(_box(w - 0.20, y - 0.22, w - 0.03, y + 0.22, 0.03), palette.lamp)
        canvas.both(_box(w - 0.16, y - 0.06, w - 0.06, y + 0.10, 0.02), palette.lamp_core)
    else:
        canvas.both(
            [(w - 0.42, y - 0.05), (w - 0.04, y - 0.10), (w - 0.04, y + 0.09), (w - 0.40, y + 0.06)],
            palette.lamp,
        )
        canvas.both(_box(w - 0.26, y - 0.05, w - 0.10, y + 0.05, 0.02), palette.lamp_core)


def _draw_rear(canvas: _Canvas, body: Body, palette: Palette) -> None:
    w, plate_y = body.half_w, body.rear_plate_y
    _window(canvas, body, _silhouette(canvas, body, palette), palette)
    dark = _shade(palette.paint, 0.62)
    canvas.line((-w + 0.1, body.belt_y - 0.02), (w - 0.1, body.belt_y - 0.02), dark, 3)
    canvas.both(
        [(w - 0.30, 0.30), (w - 0.29, body.belt_y - 0.03), (w - 0.28, body.belt_y - 0.03), (w - 0.28, 0.30)],
        dark,
    )
    bumper = palette.chrome if body.kind == "pickup" else _shade(palette.paint, 0.88)
    canvas.fill(_box(-w + 0.03, 0.36, w - 0.03, 0.58, 0.04), bumper)
    canvas.fill(_box(-w + 0.10, 0.24, w - 0.10, 0.37, 0.03), palette.trim)
    canvas.fill(_box(-0.30, plate_y - 0.115, 0.30, plate_y + 0.125, 0.03), _shade(palette.paint, 0.70))
    canvas.fill(_box(-0.20, plate_y + 0.10, 0.20, plate_y + 0.13, 0.01), palette.trim)
    _lamps(canvas, body, palette, rear=True)
    canvas.disc((w - 0.44, 0.29), 0.036, palette.chrome)
    canvas.disc((w - 0.44, 0.29), 0.029, palette.tyre)


def _draw_front(canvas: _Canvas, body: Body, palette: Palette) -> None:
    w = body.half_w
    _window(canvas, body, _silhouette(canvas, body, palette), palette)
    canvas.fill(
        [
            (-w + 0.05, 0.80),
            (w - 0.05, 0.80),
            (w - 0.16, body.belt_y + 0.03),
            (-w + 0.16, body.belt_y + 0.03),
        ],
        _shade(palette.paint, 1.1),
    )
    canvas.line((-w + 0.1, 0.80), (w - 0.1, 0.80), _shade(palette.paint, 0.6), 3)
    canvas.fill(_box(-0.42, 0.60, 0.42, 0.77, 0.03), palette.trim)
    for row in range(3):
        canvas.line((-0.40, 0.635 + 0.045 * row), (0.40, 0.635 + 0.045 * row), _shade(palette.chrome, 0.6), 3)
    canvas.fill(_box(-0.55, 0.25, 0.55, 0.38, 0.04), palette.trim)
    canvas.both([(w - 0.30, 0.30), (w - 0.10, 0.32), (w - 0.10, 0.40), (w - 0.30, 0.40)], palette.trim)
    _lamps(canvas, body, palette, rear=False)
    canvas.both(_box(w + 0.0, body.belt_y, w + 0.0, body.belt_y + 0.1), palette.paint)


def draw_end(body: Body, palette: Palette, *, rear: bool) -> Picture:
    """The rear or the front as BGRA (alpha not multiplied in), END_PX_PER_M pixels a metre."""
    canvas = _Canvas(body.half_w, body.height, palette.paint, END_PX_PER_M)
    (_draw_rear if rear else _draw_front)(canvas, body, palette)
    _gradient(canvas, body.belt_y, body.height)
    return canvas.bgra()


def draw_side(body: Body, palette: Palette, *, rear: bool) -> tuple[Picture, Picture]:
    """The side above and below the belt as BGRA, the left edge at the end that the camera sees."""
    half = body.length / 2
    canvas = _Canvas(half, body.height, palette.paint, SIDE_PX_PER_M)
    belt, h = body.belt_y, body.height
    slope = half - body.far_slope_m(rear=rear)  # where the roof stops
    canvas.fill(
        [(-half, 0.24), (half, 0.24), (half, belt - 0.15), (half - 0.2, belt), (-half, belt)],
        palette.paint,
        solid=True,
    )
    canvas.fill([(-half, belt), (-half, h), (slope, h), (slope + 0.8, belt)], palette.paint, solid=True)
    glass = [
        (-half + 0.12, belt + 0.05),
        (-half + 0.18, h - 0.1),
        (slope - 0.04, h - 0.1),
        (slope + 0.6, belt + 0.05),
    ]
    canvas.fill(glass, palette.glass)
    middle = (slope - half) / 2
    canvas.fill(_box(middle - 0.05, belt, middle + 0.05, h - 0.08), palette.paint)
    for x in (-half + 0.85, half - 0.9):
        canvas.disc((x, 0.33), 0.33, palette.tyre, solid=True)
        canvas.disc((x, 0.33), 0.2, _shade(palette.chrome, 0.8))
    canvas.line((middle, 0.3), (middle, belt), _shade(palette.paint, 0.6), 2)
    _gradient(canvas, belt, h)
    canvas.colour[:] = cv2.convertScaleAbs(canvas.colour, alpha=0.72)  # away from the sun
    whole, row = canvas.bgra(), round((h - belt) * SIDE_PX_PER_M)
    return whole[:row], whole[row:]
