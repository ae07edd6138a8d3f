# SPDX-License-Identifier: Apache-2.0
"""Character shapes as strokes: plates are struck from dies, so letters are drawn here, not typeset.

Every glyph is a list of polylines in a unit box (x to the right, y downwards, both 0..1) along the middle of
the stroke. A `DieStyle` picks among the forms that real dies show (serif I, a 1 with a foot, square M and W,
open or closed 4, slashed zero) and how square the bowls are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Stroke = NDArray[np.float64]
"""One polyline, shape (n, 2), unit box coordinates."""

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class DieStyle:
    """The choices that make one die set: exponents and form variants, all unitless."""

    bowl: float = 2.4  # superellipse exponent: 2 is an ellipse, 4 nearly a rectangle
    round_height: float = 0.35  # height of a bowl's curved end, as a part of the glyph's height
    zero: str = "plain"  # plain, slash, dot
    zero_width: float = 1.0  # width of 0 against O
    one: str = "flag"  # bar, flag, foot
    letter_i: str = "bar"  # bar, serif
    m_depth: float = 0.55  # how far down the middle of M reaches, 1 is the foot
    square_w: bool = False  # W as an M upside down
    four: str = "closed"  # closed, open
    six: str = "curl"  # curl, straight
    three: str = "round"  # round, flat
    seven: str = "plain"  # plain, serif, bent
    a_top: float = 0.0  # half width of the flat top of A
    j_serif: bool = False
    g_bar: float = 0.5  # where the bar of G starts
    q_tail: float = 0.3  # length of Q's tail
    leg: float = 0.45  # where R's leg starts


def arc(style: DieStyle, cx: float, cy: float, rx: float, ry: float, start: float, end: float) -> Stroke:
    """Points along a superellipse from `start` to `end` degrees (0 right, 90 down, 270 up)."""
    steps = max(6, int(abs(end - start) / 9))
    t = np.deg2rad(np.linspace(start, end, steps))
    power = 2.0 / style.bowl
    cos, sin = np.cos(t), np.sin(t)
    x = cx + rx * np.sign(cos) * np.abs(cos) ** power
    y = cy + ry * np.sign(sin) * np.abs(sin) ** power
    return np.stack([x, y], axis=1)


def line(*points: tuple[float, float]) -> Stroke:
    """A polyline through `points`."""
    return np.array(points, dtype=np.float64)


def joined(*parts: Stroke) -> Stroke:
    """One stroke from several, in order."""
    return np.concatenate(parts)


def _ring(s: DieStyle) -> Stroke:
    r = s.round_height
    top, bottom = arc(s, 0.5, r, 0.5, r, 180, 360), arc(s, 0.5, 1 - r, 0.5, r, 0, 180)
    return joined(top, bottom, top[:1])


def _zero(s: DieStyle) -> list[Stroke]:
    ring = _ring(s)
    ring[:, 0] = 0.5 + (ring[:, 0] - 0.5) * s.zero_width
    if s.zero == "slash":
        return [ring, line((0.22, 0.8), (0.78, 0.2))]
    if s.zero == "dot":
        return [ring, line((0.5, 0.45), (0.5, 0.55))]
    return [ring]


def _one(s: DieStyle) -> list[Stroke]:
    strokes = [line((0.5, 0), (0.5, 1))]
    if s.one != "bar":
        strokes.append(line((0.12, 0.24), (0.5, 0)))
    if s.one == "foot":
        strokes.append(line((0.08, 1), (0.92, 1)))
    return strokes


def _two(s: DieStyle) -> list[Stroke]:
    return [joined(arc(s, 0.5, 0.28, 0.5, 0.28, 188, 388), line((0.02, 0.96), (0, 1), (1, 1)))]


def _three(s: DieStyle) -> list[Stroke]:
    if s.three == "flat":
        return [joined(line((0, 0), (0.95, 0), (0.4, 0.4)), arc(s, 0.45, 0.7, 0.55, 0.3, 270, 525))]
    upper = arc(s, 0.47, 0.25, 0.46, 0.25, 195, 450)
    return [joined(upper, arc(s, 0.47, 0.75, 0.53, 0.25, 270, 525)), line((0.25, 0.5), (0.5, 0.5))]


def _four(s: DieStyle) -> list[Stroke]:
    if s.four == "open":
        return [line((0.3, 0), (0, 0.66), (1, 0.66)), line((0.75, 0.35), (0.75, 1))]
    return [line((0.74, 1), (0.74, 0), (0, 0.7), (1, 0.7))]


def _five(s: DieStyle) -> list[Stroke]:
    return [joined(line((0.92, 0), (0.1, 0), (0.06, 0.45)), arc(s, 0.49, 0.68, 0.5, 0.32, 225, 520))]


def _six(s: DieStyle) -> list[Stroke]:
    bowl = arc(s, 0.5, 0.69, 0.5, 0.31, 0, 360)
    if s.six == "straight":
        return [bowl, line((0.72, 0), (0.04, 0.58))]
    r = min(s.round_height, 0.32)
    return [bowl, joined(line((0, 0.69), (0, r)), arc(s, 0.5, r, 0.5, r, 180, 345))]


def _nine(s: DieStyle) -> list[Stroke]:
    return [1.0 - stroke for stroke in _six(s)]


def _seven(s: DieStyle) -> list[Stroke]:
    if s.seven == "serif":
        return [line((0, 0.16), (0, 0), (1, 0), (0.35, 1))]
    if s.seven == "bent":
        return [line((0, 0), (1, 0), (1, 0.15), (0.42, 0.6), (0.36, 1))]
    return [line((0, 0), (1, 0), (0.3, 1))]


def _eight(s: DieStyle) -> list[Stroke]:
    return [arc(s, 0.5, 0.245, 0.45, 0.245, 0, 360), arc(s, 0.5, 0.745, 0.5, 0.255, 0, 360)]


def _letter_a(s: DieStyle) -> list[Stroke]:
    top = s.a_top
    return [line((0, 1), (0.5 - top, 0), (0.5 + top, 0), (1, 1)), line((0.16, 0.67), (0.84, 0.67))]


def _letter_b(s: DieStyle) -> list[Stroke]:
    upper = joined(line((0, 0), (0.5, 0)), arc(s, 0.5, 0.24, 0.43, 0.24, 270, 450), line((0, 0.48)))
    lower = joined(line((0, 0.48), (0.5, 0.48)), arc(s, 0.5, 0.74, 0.5, 0.26, 270, 450), line((0, 1)))
    return [line((0, 0), (0, 1)), upper, lower]


def _letter_c(s: DieStyle) -> list[Stroke]:
    r = s.round_height
    return [joined(arc(s, 0.5, r, 0.5, r, 338, 180), arc(s, 0.5, 1 - r, 0.5, r, 180, 22))]


def _letter_d(s: DieStyle) -> list[Stroke]:
    r = s.round_height
    right = joined(arc(s, 0.4, r, 0.6, r, 270, 360), arc(s, 0.4, 1 - r, 0.6, r, 0, 90))
    return [joined(line((0, 0)), right, line((0, 1), (0, 0)))]


def _letter_g(s: DieStyle) -> list[Stroke]:
    r = s.round_height
    body = joined(arc(s, 0.5, r, 0.5, r, 338, 180), arc(s, 0.5, 1 - r, 0.5, r, 180, 0))
    return [joined(body, line((1, 0.55), (s.g_bar, 0.55)))]


def _letter_i(s: DieStyle) -> list[Stroke]:
    stem = [line((0.5, 0), (0.5, 1))]
    if s.letter_i == "serif":
        stem += [line((0.1, 0), (0.9, 0)), line((0.1, 1), (0.9, 1))]
    return stem


def _letter_j(s: DieStyle) -> list[Stroke]:
    r = s.round_height
    hook = joined(line((1, 0), (1, 1 - r)), arc(s, 0.5, 1 - r, 0.5, r, 0, 172))
    return [hook, line((0.45, 0), (1, 0))] if s.j_serif else [hook]


def _letter_p(s: DieStyle) -> list[Stroke]:
    bowl = arc(s, 0.5, 0.275, 0.5, 0.275, 270, 450)
    return [joined(line((0, 1), (0, 0)), bowl, line((0, 0.55)))]


def _letter_s(s: DieStyle) -> list[Stroke]:
    return [joined(arc(s, 0.5, 0.25, 0.48, 0.25, 345, 90), arc(s, 0.5, 0.75, 0.5, 0.25, 270, 525))]


def _letter_u(s: DieStyle) -> list[Stroke]:
    r = s.round_height
    return [joined(line((0, 0)), arc(s, 0.5, 1 - r, 0.5, r, 180, 0), line((1, 0)))]


def _letter_w(s: DieStyle) -> list[Stroke]:
    if s.square_w:
        return [line((0, 0), (0, 1), (0.5, 1 - s.m_depth), (1, 1), (1, 0))]
    return [line((0, 0), (0.25, 1), (0.5, 0.25), (0.75, 1), (1, 0))]


_STRAIGHT: dict[str, list[Stroke]] = {
    "E": [line((1, 0), (0, 0), (0, 1), (1, 1)), line((0, 0.49), (0.8, 0.49))],
    "F": [line((1, 0), (0, 0), (0, 1)), line((0, 0.49), (0.8, 0.49))],
    "H": [line((0, 0), (0, 1)), line((1, 0), (1, 1)), line((0, 0.5), (1, 0.5))],
    "K": [line((0, 0), (0, 1)), line((0.96, 0), (0, 0.62)), line((0.33, 0.42), (1, 1))],
    "L": [line((0, 0), (0, 1), (1, 1))],
    "N": [line((0, 1), (0, 0), (1, 1), (1, 0))],
    "T": [line((0, 0), (1, 0)), line((0.5, 0), (0.5, 1))],
    "V": [line((0, 0), (0.5, 1), (1, 0))],
    "X": [line((0, 0), (1, 1)), line((1, 0), (0, 1))],
    "Y": [line((0, 0), (0.5, 0.52), (1, 0)), line((0.5, 0.52), (0.5, 1))],
    "Z": [line((0, 0), (1, 0), (0, 1), (1, 1))],
}

_FORMED: dict[str, Callable[[DieStyle], list[Stroke]]] = {
    "0": _zero,
    "1": _one,
    "2": _two,
    "3": _three,
    "4": _four,
    "5": _five,
    "6": _six,
    "7": _seven,
    "8": _eight,
    "9": _nine,
    "A": _letter_a,
    "B": _letter_b,
    "C": _letter_c,
    "D": _letter_d,
    "G": _letter_g,
    "I": _letter_i,
    "J": _letter_j,
    "M": lambda s: [line((0, 1), (0, 0), (0.5, s.m_depth), (1, 0), (1, 1))],
    "O": lambda s: [_ring(s)],
    "P": _letter_p,
    "Q": lambda s: [_ring(s), line((0.95 - s.q_tail, 1 - s.q_tail), (1.0, 1.03))],
    "R": lambda s: [*_letter_p(s), line((s.leg, 0.55), (1, 1))],
    "S": _letter_s,
    "U": _letter_u,
    "W": _letter_w,
}


def strokes_of(character: str, style: DieStyle) -> list[Stroke]:
    """The polylines of one of `CHARACTERS`; raises KeyError for anything else."""
    if character in _STRAIGHT:
        return _STRAIGHT[character]
    return _FORMED[character](style)
