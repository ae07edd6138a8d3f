# SPDX-License-Identifier: Apache-2.0
"""Plates in the manner of some US states (our own drawings), and serials in their real formats."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from drivers.errors import BadOption

Colour = tuple[int, int, int]  # blue, green, red

LETTERS: Final = "ABCDEFGHJKLMNPRSTUVWXYZ"  # most states leave out I, O and Q
DIGITS: Final = "0123456789"
MAX_LISTED: Final = 1000  # plates handed to the world to pass by
SERIAL: Final = re.compile(r"[A-Z0-9]{2,8}")


@dataclass(frozen=True, slots=True)
class Design:
    """A plate: `pattern` has L for a letter, D for a digit, anything else stands for itself."""

    state: str
    name: str
    slogan: str
    pattern: str
    top: Colour
    bottom: Colour
    ink: Colour
    name_ink: Colour
    graphic: str = "fade"
    char_h_in: float = 2.6
    ir_ink: float = 0.08  # reflectance of the ink at 850 nm against the sheet
    share: float = 1.0


WHITE: Final[Colour] = (246, 246, 244)
BLACK: Final[Colour] = (34, 32, 32)
NAVY: Final[Colour] = (96, 44, 26)
BLUE: Final[Colour] = (150, 76, 24)
GREEN: Final[Colour] = (58, 84, 22)
RED: Final[Colour] = (40, 34, 170)

DESIGNS: Final[tuple[Design, ...]] = (
    Design(
        "IL",
        "ILLINOIS",
        "LAND OF LINCOLN",
        "LL DDDDD",
        (238, 214, 186),
        WHITE,
        (92, 40, 30),
        RED,
        "skyline",
        share=5.0,
    ),
    Design("IN", "INDIANA", "HOOSIER STATE", "DDDLLL", (236, 200, 150), WHITE, NAVY, NAVY, "fade"),
    Design(
        "WI", "WISCONSIN", "DAIRYLAND", "LLL-DDDD", WHITE, (226, 236, 240), BLACK, RED, "hills", ir_ink=0.06
    ),
    Design("IA", "IOWA", "HEARTLAND", "LLL DDD", (232, 206, 170), (214, 232, 214), BLACK, NAVY, "hills"),
    Design("MI", "MICHIGAN", "GREAT LAKES", "LLL DDDD", WHITE, WHITE, BLUE, WHITE, "band", ir_ink=0.12),
    Design("OH", "OHIO", "BIRTHPLACE OF FLIGHT", "LLL DDDD", (240, 226, 206), WHITE, NAVY, RED, "fade"),
    Design("KY", "KENTUCKY", "BLUEGRASS STATE", "LLL DDD", (240, 222, 196), WHITE, NAVY, BLUE, "hills"),
    Design(
        "MN",
        "MINNESOTA",
        "10000 LAKES",
        "LLL-DDD",
        (236, 212, 170),
        WHITE,
        (120, 60, 20),
        GREEN,
        "hills",
        ir_ink=0.15,
    ),
    Design("CA", "CALIFORNIA", "", "DLLLDDD", WHITE, WHITE, (140, 64, 20), RED, "plain", ir_ink=0.12),
    Design("TX", "TEXAS", "LONE STAR STATE", "LLL-DDDD", WHITE, WHITE, BLACK, BLACK, "plain", ir_ink=0.05),
    Design("NY", "NEW YORK", "EMPIRE STATE", "LLL-DDDD", (70, 178, 236), (70, 178, 236), NAVY, NAVY, "plain"),
    Design("PA", "PENNSYLVANIA", "", "LLL-DDDD", (206, 140, 70), (150, 222, 250), NAVY, WHITE, "tricolour"),
    Design("CO", "COLORADO", "", "LLL-DDD", GREEN, GREEN, WHITE, WHITE, "peaks", ir_ink=0.9, share=0.0),
)


def separated(design: Design, serial: str) -> str:
    """The serial with the design's spaces and dashes, when it fits the pattern; otherwise as it is."""
    if not fits(design, serial):
        return serial
    chars = iter(serial)
    return "".join(next(chars) if mark in "LD" or mark.isalnum() else mark for mark in design.pattern)


def fits(design: Design, serial: str) -> bool:
    """Whether the serial has the design's format."""
    marks = [mark for mark in design.pattern if mark.isalnum()]
    if len(marks) != len(serial):
        return False
    return all(
        char.isalpha() if mark == "L" else char.isdigit() if mark == "D" else char == mark
        for mark, char in zip(marks, serial, strict=True)
    )


def random_plate(rng: np.random.Generator) -> tuple[Design, str]:
    """A design by its share of the traffic, and a serial in its format without separators."""
    shares = np.array([design.share for design in DESIGNS])
    design = DESIGNS[int(rng.choice(len(DESIGNS), p=shares / shares.sum()))]
    pools = {"L": LETTERS, "D": DIGITS}
    serial = "".join(
        pools[mark][int(rng.integers(len(pools[mark])))] if mark in pools else mark
        for mark in design.pattern
        if mark.isalnum()
    )
    return design, serial


def listed_plate(text: str) -> tuple[Design, str]:
    """`SERIAL` or `SERIAL@STATE` as a plate: in that state's design, or in the first that has its format."""
    serial, _, state = text.upper().partition("@")
    if not SERIAL.fullmatch(serial):
        raise BadOption(
            "camera sim: each of 'listed' must be 2 to 8 letters or digits, with @STATE if wanted"
        )
    if state:
        named = [design for design in DESIGNS if design.state == state]
        if not named:
            known = ", ".join(design.state for design in DESIGNS)
            raise BadOption(f"camera sim: 'listed' names a state without a design; there are: {known}")
        return named[0], serial
    return next((design for design in DESIGNS if fits(design, serial)), DESIGNS[0]), serial
