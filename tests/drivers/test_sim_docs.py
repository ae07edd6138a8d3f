# SPDX-License-Identifier: Apache-2.0
"""docs/hardware/simulated-road.md names every scenario, key, fault and record of the simulated road."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from drivers.sim.camera import FAULTS
from drivers.sim.measure import frames_per_s
from drivers.sim.scenario import SECTIONS, names
from drivers.sim.tables import keys
from drivers.sim.truth import Sight

DOCS = (Path(__file__).parents[2] / "docs/hardware/simulated-road.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_documented(section: str) -> None:
    assert f"| `[{section}]` |" in DOCS
    assert not {key for key in keys(SECTIONS[section]) if f"`{key}`" not in DOCS}


def test_scenarios_faults_and_the_truths_fields_are_documented() -> None:
    assert not {name for name in names() if f"| `{name}` |" not in DOCS}
    assert not {letter for letter in FAULTS if f"`{letter}` " not in DOCS}
    assert not {field.name for field in fields(Sight) if field.name not in DOCS}


def test_the_speed_of_drawing_is_measured() -> None:
    figures = frames_per_s("empty-night", 2.0)
    assert figures["frames"] == 10
    assert figures["frames_per_s"] > 0
    assert figures["ms_per_frame_p50"] <= figures["ms_per_frame_p95"]
    assert json.loads(json.dumps(figures)) == figures
