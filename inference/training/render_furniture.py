# SPDX-License-Identifier: Apache-2.0
# mypy: disable-error-code="call-overload"
"""What stands on a plate beside its serial: small print, bolts, stickers, frames, side bands, relief, dirt."""
# OpenCV's stubs ask for a sequence where a grey level is a plain number, hence the mypy line above.

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .glyphs_dies import DieSet
from .render_serial import serial_mask
from .render_signs import stripes, wheelchair

Plane = NDArray[np.float32]
"""A grey picture, 0..1, or a coverage mask of the same shape."""

_HERSHEY = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
)
_PRINT = (
    "California", "VIRGINIA", "TEXAS", "NEW YORK", "New Jersey", "FLORIDA", "SUNSHINE STATE", "WASHINGTON",
    "EVERGREEN STATE", "OHIO", "Georgia", "NEVADA", "Oregon", "Minnesota", "MICHIGAN", "COLORADO",
    "ARIZONA", "GRAND CANYON STATE", "UTAH", "Illinois", "Land of Lincoln", "PENNSYLVANIA",
    "Massachusetts", "The Spirit of America", "CONNECTICUT", "MARYLAND", "KANSAS", "OKLAHOMA", "IDAHO",
    "MONTANA", "WYOMING", "HAWAII", "ALOHA STATE", "ALASKA", "Tennessee", "KENTUCKY", "MISSOURI",
    "SHOW-ME STATE", "IOWA", "WISCONSIN", "America's Dairyland", "INDIANA", "LOUISIANA", "Garden State",
    "EMPIRE STATE", "my dealer.com", "HONDA", "FORD", "IN GOD WE TRUST", "FIRST IN FLIGHT", "MANUFACTURER",
    "COMMERCIAL", "EXEMPT", "DEALER", "VETERAN", "ISLAMABAD", "PUNJAB", "SINDH", "DUBAI", "BRASIL",
    "SAO PAULO", "NSW", "10,000 lakes",
)  # fmt: skip
_STATES_OF_BRAZIL = (
    "SP",
    "RJ",
    "MG",
    "RS",
    "PR",
    "SC",
    "BA",
    "GO",
    "DF",
    "PE",
    "CE",
    "ES",
    "MT",
    "MS",
    "PA",
    "AM",
)


def _small_print(
    rng: np.random.Generator,
    canvas: NDArray[np.uint8],
    y: float,
    size: float,
    left: float,
    right: float,
    text: str | None = None,
) -> None:
    text = text or str(_PRINT[int(rng.integers(len(_PRINT)))])
    font = int(rng.choice(_HERSHEY))
    thick = int(rng.integers(1, 3))
    (width, height), _ = cv2.getTextSize(text, font, 1.0, thick)
    room = (right - left) * canvas.shape[1]
    scale = min(size * canvas.shape[0] / height, room / width)
    x = left * canvas.shape[1] + max(0.0, room - width * scale) * rng.uniform(0.3, 0.7)
    base = y * canvas.shape[0] + height * scale / 2
    cv2.putText(canvas, text, (int(x), int(base)), font, scale, 255, thick, cv2.LINE_AA)


def bolts(rng: np.random.Generator, plane: Plane, region: str) -> None:
    """Bolt heads where plates have them."""
    height, width = plane.shape
    xs = (0.2, 0.8) if region == "us" else (rng.uniform(0.1, 0.3), rng.uniform(0.6, 0.9))
    rows = (0.08, 0.92) if region == "us" else (0.5,) if rng.random() < 0.25 else (rng.uniform(0.08, 0.3),)
    for fy in rows:
        for fx in xs:
            if rng.random() < 0.6:
                centre = (int(width * (fx + rng.normal(0, 0.015))), int(height * (fy + rng.normal(0, 0.015))))
                tone = float(rng.uniform(0, 1))
                cv2.circle(plane, centre, int(height * rng.uniform(0.02, 0.05)), tone, -1, cv2.LINE_AA)


def stickers(
    rng: np.random.Generator, plane: Plane, dies: DieSet, corners: tuple[tuple[float, float], ...]
) -> None:
    """Month and year stickers around the given places (parts of width and height)."""
    height, width = plane.shape
    for fx, fy in corners:
        if rng.random() < 0.45:
            w, h = int(width * rng.uniform(0.07, 0.15)), int(height * rng.uniform(0.12, 0.22))
            x, y = (
                int(np.clip(width * fx - w / 2, 0, width - w)),
                int(np.clip(height * fy - h / 2, 0, height - h)),
            )
            tone = float(rng.uniform(0.1, 1.0))
            plane[y : y + h, x : x + w] = tone
            row = tuple(rng.choice(list("0123456789"), int(rng.integers(1, 3))))
            mask = serial_mask(rng, dies, row, max(6, int(h * rng.uniform(0.4, 0.8))), w - 2)[: h - 2]
            ink = tone - 0.5 if tone > 0.5 else tone + 0.5
            spot = plane[y + 1 : y + 1 + mask.shape[0], x + 1 : x + 1 + mask.shape[1]]
            spot += (ink - spot) * (mask / 255.0).astype(np.float32)


def frame(rng: np.random.Generator, plane: Plane, deepest: float) -> None:
    """A dealer's frame over the rim, at most `deepest` of the height above and below, often with print on it."""
    height, width = plane.shape
    sides = rng.uniform(0.015, 0.05)
    top, bottom = rng.uniform(0.03, deepest), rng.uniform(0.03, deepest)
    tone = float(rng.choice([rng.uniform(0, 0.2), rng.uniform(0.5, 0.95)]))
    frame = np.zeros((height, width), np.uint8)
    frame[: int(height * top)] = 255
    frame[int(height * (1 - bottom)) :] = 255
    frame[:, : int(width * sides)] = 255
    frame[:, int(width * (1 - sides)) :] = 255
    plane[frame > 0] = tone
    ink = np.zeros((height, width), np.uint8)
    if bottom > 0.08 and rng.random() < 0.8:
        _small_print(rng, ink, 1 - bottom / 2, bottom * 0.6, 0.1, 0.9)
    if top > 0.08 and rng.random() < 0.6:
        _small_print(rng, ink, top / 2, top * 0.6, 0.1, 0.9)
    contrast = 0.7 if tone < 0.5 else -0.6
    plane += (tone + contrast - plane) * (ink / 255.0).astype(np.float32)


def relief(rng: np.random.Generator, plane: Plane, mask: Plane) -> None:
    """Light and shade along the edges of what is embossed."""
    if rng.random() < 0.6:
        soft = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.8, 2.0))
        angle = rng.uniform(0, 2 * np.pi)
        shade = cv2.Sobel(soft, cv2.CV_32F, 1, 0) * np.cos(angle) + cv2.Sobel(
            soft, cv2.CV_32F, 0, 1
        ) * np.sin(angle)
        plane += shade.astype(np.float32) * np.float32(rng.uniform(0.02, 0.14))


def dirt(rng: np.random.Generator, plane: Plane) -> None:
    """Patchy dirt, seldom a scratch."""
    height, width = plane.shape
    if rng.random() < 0.5:
        coarse = rng.normal(0, 1, (int(rng.integers(4, 20)), int(rng.integers(6, 40)))).astype(np.float32)
        plane += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(
            rng.uniform(0.01, 0.07)
        )
    if rng.random() < 0.06:
        x, y = int(rng.integers(width)), int(rng.integers(height))
        cv2.line(
            plane,
            (x, y),
            (x + int(rng.normal(0, 60)), y + int(rng.normal(0, 30))),
            float(rng.uniform(0, 1)),
            2,
        )


def logo(rng: np.random.Generator, plane: Plane, left: float, right: float) -> None:
    """A club's or a cause's sign beside the serial: patches and rings, a letter or two that nobody reads."""
    height, width = plane.shape
    x0, x1 = int(left * width), int(right * width)
    if rng.random() < 0.15:
        size = (x1 - x0) * rng.uniform(0.7, 1.0)
        wheelchair(plane, x0, height * rng.uniform(0.3, 0.4), size, float(rng.uniform(0, 1)))
        return
    if rng.random() < 0.2:
        stripes(rng, plane, x0, x1)
        return
    for _ in range(int(rng.integers(1, 5))):
        tone = float(rng.uniform(0, 1))
        centre = (int(rng.uniform(x0 + 4, x1 - 4)), int(height * rng.uniform(0.35, 0.7)))
        size = int((x1 - x0) * rng.uniform(0.12, 0.48))
        kind = rng.random()
        if kind < 0.5:
            thick = -1 if rng.random() < 0.6 else int(rng.integers(1, 5))
            axes = (size, int(size * rng.uniform(0.7, 1.4)))
            cv2.ellipse(plane, centre, axes, 0, 0, 360, tone, thick, cv2.LINE_AA)
        elif kind < 0.75:
            angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 12))))
            points = (
                centre
                + np.stack([np.cos(angle), np.sin(angle)], 1) * rng.uniform(0.3, 1, (len(angle), 1)) * size
            )
            cv2.fillPoly(plane, [points.astype(np.int32)], tone, cv2.LINE_AA)
        else:
            text = "".join(rng.choice(list("ABCDEFGHNOSTUVWY019"), int(rng.integers(1, 4))))
            scale = size / 22 / len(text)
            place = (max(0, centre[0] - size // 2), centre[1] + size // 3)
            cv2.putText(
                plane,
                text,
                place,
                int(rng.choice(_HERSHEY)),
                scale,
                tone,
                int(rng.integers(1, 4)),
                cv2.LINE_AA,
            )


def _town(rng: np.random.Generator, ink: NDArray[np.uint8]) -> None:
    """State and town above a Brazilian serial, on a strip of its own now and then."""
    size, y = rng.uniform(0.08, 0.15), rng.uniform(0.11, 0.17)
    name = "".join(rng.choice(list("AEIOURSTNMCLPBDG"), int(rng.integers(4, 14))))
    text = f"{_STATES_OF_BRAZIL[int(rng.integers(len(_STATES_OF_BRAZIL)))]} - {name}"
    _small_print(rng, ink, y, size, 0.18, 0.82, text if rng.random() < 0.85 else "BRASIL")


def panel(rng: np.random.Generator, plane: Plane, right: float) -> None:
    """The emblem's panel at the left of a Punjab plate, up to `right` of the width."""
    height, width = plane.shape
    x = int(width * right)
    tone = float(rng.uniform(0.3, 1.0))
    plane[:, :x] = tone
    ink = float(np.clip(tone - rng.uniform(0.15, 0.6), 0, 1))
    for _ in range(int(rng.integers(4, 9))):
        centre = (int(x * rng.uniform(0.2, 0.8)), int(height * rng.uniform(0.2, 0.65)))
        axes = (max(2, int(x * rng.uniform(0.05, 0.16))), max(3, int(height * rng.uniform(0.06, 0.16))))
        cv2.ellipse(plane, centre, axes, rng.uniform(-40, 40), 0, 360, ink, -1, cv2.LINE_AA)
    name = ("PUNJAB", "SINDH", "NSW", "QATAR", "IND", "KPK")[int(rng.integers(6))]
    cv2.putText(plane, name, (2, int(height * 0.9)), 2, x / 20 / len(name), ink, 1, cv2.LINE_AA)


def watermark(rng: np.random.Generator, plane: Plane) -> None:
    """A sign behind the serial, paler than what stands beside one."""
    left = rng.uniform(0.1, 0.6)
    marked = plane.copy()
    logo(rng, marked, left, left + rng.uniform(0.15, 0.35))
    plane += (marked - plane) * np.float32(rng.uniform(0.15, 0.5))


def furnish(rng: np.random.Generator, ink: NDArray[np.uint8], region: str) -> None:
    """The print that belongs to the region: state names, slogans, cities."""
    if region == "us":
        if rng.random() < 0.9:
            _small_print(rng, ink, rng.uniform(0.09, 0.15), rng.uniform(0.07, 0.14), 0.22, 0.78)
        if rng.random() < 0.75:
            _small_print(rng, ink, rng.uniform(0.86, 0.92), rng.uniform(0.05, 0.09), 0.15, 0.85)
    elif region == "br":
        _town(rng, ink)
    elif region in ("pakistan", "mid") and rng.random() < 0.6:
        low = region == "pakistan" or (region == "mid" and rng.random() < 0.6)
        _small_print(rng, ink, 0.9 if low else 0.11, rng.uniform(0.07, 0.12), 0.1, 0.9)


def side_band(rng: np.random.Generator, plane: Plane, region: str) -> None:
    """The band of the European Union, or what resembles it."""
    height, width = plane.shape
    if region == "two_row" and rng.random() < 0.1:  # beside the lower row only
        plane[height // 2 :, : int(width * rng.uniform(0.08, 0.12))] = float(rng.uniform(0.08, 0.4))
        return
    if region == "eu" or (
        region in ("uk", "india", "two_row", "pakistan", "mid", "gulf") and rng.random() < 0.3
    ):
        if rng.random() < 0.9:
            band = int(width * rng.uniform(0.06, 0.1))
            tone = float(rng.uniform(0.08, 0.5))
            plane[:, :band] = tone
            cv2.circle(plane, (band // 2, int(height * 0.33)), band // 3, tone + 0.25, 1, cv2.LINE_AA)
            letter = "DFIEHNPSBAL"[int(rng.integers(11))]
            cv2.putText(
                plane, letter, (band // 4, int(height * 0.85)), 2, band / 42, tone + 0.5, 2, cv2.LINE_AA
            )
        if region == "eu" and rng.random() < 0.2:
            plane[:, -int(width * rng.uniform(0.05, 0.08)) :] = float(rng.uniform(0.1, 0.5))
