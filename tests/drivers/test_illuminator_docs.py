# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/hardware/illuminator.md follow from their formulas and from the interlock's code."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from drivers.lamp_limits import BACK_C, BLIND_CAP, CUT_C, DERATE_C, PWM_LIMIT, SWITCH_LIMIT

HARDWARE = Path(__file__).parents[2] / "docs/hardware"
PAGE = (HARDWARE / "illuminator.md").read_text(encoding="utf-8")
BILL = (HARDWARE / "bill-of-materials.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def rows(head: str) -> list[list[str]]:
    """The cells of the rows below a table's head."""
    lines = PAGE.splitlines()
    begin = lines.index(head)
    table = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    assert table
    return table


def numbers(head: str) -> list[list[float]]:
    return [[float(cell) for cell in row if NUMBER.fullmatch(cell)] for row in rows(head)]


def near(value: float, shown: float, digits: int) -> bool:
    return abs(value - shown) <= 0.51 * 10.0**-digits


def test_the_interlocks_table_is_the_code() -> None:
    table = {
        row[0]: [float(found[0]) if (found := NUMBER.findall(cell)) else cell for cell in row[1:]]
        for row in rows("| | dimmed (`pwm`) | switched (`switch`) |")
    }
    assert table["for ever"] == [100 * PWM_LIMIT.sustained, 100 * SWITCH_LIMIT.sustained]
    assert table["full power from cold"] == [PWM_LIMIT.burst_s, SWITCH_LIMIT.burst_s]
    assert table["heat sink: full up to"] == [CUT_C - DERATE_C] * 2
    assert table["falls in a straight line to dark at"] == [CUT_C] * 2
    assert table["after that dark until"] == [CUT_C - BACK_C] * 2
    assert table["a thermometer that fails"] == [100 * BLIND_CAP, "dark"]


def test_resistors() -> None:
    head = "| LED | supply V | in series | Vf V | current A | R Ω | heat in R W |"
    for supply, series, vf, current, ohms, heat in numbers(head):
        value = (supply - series * vf) / current
        assert abs(value / ohms - 1.0) < 0.02
        assert abs(current**2 * value / heat - 1.0) < 0.02


def test_the_strobes_duty() -> None:
    head = "| road mph | exposure µs | duty at 15 frames/s % | 30 frames/s % | 60 frames/s % |"
    for mph, exposure_us, *duties in numbers(head):
        assert near(1e6 / (18.0 * mph), exposure_us, 0)
        for fps, duty in zip((15, 30, 60), duties, strict=True):
            assert near(100.0 * fps / (18.0 * mph), duty, 1)


def test_the_distance_for_the_cornea() -> None:
    for flux, half, duty, intensity, distance in numbers(
        "| lamp | light Φ W | half angle ° | duty | I W/sr | cornea: keep d m |"
    ):
        value = flux / (2.0 * math.pi * (1.0 - math.cos(math.radians(half))))
        assert near(value, intensity, 1)
        assert near(math.sqrt(value * duty / 100.0), distance, 2)


def test_the_retina_has_room_at_that_distance() -> None:
    head = "| lamp | I W/sr | emitters | lens mm | λ nm | duty | at m | L weighted kW/(m² sr) | limit kW/(m² sr) |"
    for intensity, emitters, lens, wavelength, duty, distance, weighted, limit in numbers(head):
        area = emitters * math.pi * (lens / 2000.0) ** 2
        value = intensity / area * duty * 10.0 ** ((700.0 - wavelength) / 500.0) / 1000.0
        alpha = min(max(lens / 1000.0 / distance, 0.011), 0.1)
        assert near(value, weighted, 1)
        assert near(6.0 / alpha, limit, 0)
        assert weighted < limit / 5.0


def test_heat() -> None:
    head = "| lamp | electrical W | light W | duty | sink K/W | rise K | full up to air °C | dark at air °C |"
    for electrical, light, duty, sink, rise, full, dark in numbers(head):
        value = (electrical - light) * duty * sink
        assert near(value, rise, 0)
        assert near(CUT_C - DERATE_C - value, full, 0)
        assert near(CUT_C - value, dark, 0)


@pytest.mark.parametrize("name", ["lamp-driver", "strobe", "ir-cut-filter", "appliance"])
def test_each_diagram_is_well_formed_shown_and_described(name: str) -> None:
    root = ET.fromstring((HARDWARE / f"{name}.svg").read_text(encoding="utf-8"))  # noqa: S314 - our own
    assert root.get("viewBox")
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    assert f"({name}.svg)" in PAGE + BILL
