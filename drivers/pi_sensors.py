# SPDX-License-Identifier: Apache-2.0
"""The Raspberry Pi's camera sensors: which mode shows the whole view fast enough, and what is of use of the rest.

Modes are those that `rpicam-hello --list-cameras` lists; the shutters are from Raspberry Pi's camera documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

USEFUL_GAIN: Final = 16.0  # more analogue gain adds noise, not plates


@dataclass(frozen=True, slots=True)
class SensorProfile:
    """`mode` (width, height) px that shows the sensor's whole width, at most `fps`; `bits` a pixel in it."""

    mode: tuple[int, int]
    bits: int
    fps: float
    shutter: Literal["global", "rolling"]
    focus: bool = False  # its lens is moved by a motor


PROFILES: Final = {
    "imx296": SensorProfile((1456, 1088), 10, 60.0, "global"),
    "imx477": SensorProfile((2028, 1080), 12, 50.0, "rolling"),
    "imx708": SensorProfile((2304, 1296), 10, 56.0, "rolling", focus=True),
}
FALLBACK_SIZE: Final = (1280, 720)  # px of a sensor that is not in the table


def profile(model: str) -> SensorProfile | None:
    """By libcamera's name of the sensor, of which "imx708_wide_noir" is a kind of "imx708"."""
    return PROFILES.get(model.partition("_")[0])
