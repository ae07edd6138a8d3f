# SPDX-License-Identifier: Apache-2.0
"""The report as written; needs matplotlib, which only `make report` installs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.report import document, measure
from inference.report.records import Seen, Shot, TruePlate

pytest.importorskip("matplotlib")
SOURCES = ("one", "two")
DRAWN = {
    "precision_recall.png", "calibration.png", "risk_coverage.png", "width.png", "sharpness.png", "groups.png",
    "confusion.png", "rendered.png", "timing.png",
}  # fmt: skip
MAX_BYTES = 60_000


def shots(count: int) -> list[Shot]:
    """Pictures with a plate each, most of them read."""
    rng = np.random.default_rng(1)
    made = []
    for number in range(count):
        box = (10.0, 10.0, float(rng.integers(30, 300)), 40.0)
        truth = TruePlate(
            box, f"AB{number:03d}", "US" if number % 3 else "GB", "IL", "clear", box[2], number % 7 == 0
        )
        right = rng.random() < 0.8
        text = f"AB{number:03d}" if right else f"A8{number:03d}"
        confidence = float(rng.uniform(0.5, 1.0) if right else rng.uniform(0.1, 0.8))
        read = Seen(text, confidence, box, confidence, "IL", "IL", 0.9, float(rng.uniform(200, 5000)))
        false = Seen("TAXI", 0.2, (500.0, 10.0, 50.0, 20.0), 0.3)
        made.append(
            Shot(
                f"{number}.webp",
                SOURCES[number % 2],
                (truth,),
                (read,) if number % 9 else (false,),
                (read, false),
            )
        )
    return made


@pytest.fixture
def measured() -> measure.Measured:
    real, night = shots(60), shots(20)
    stages = {
        "grey": {"p50": 0.4, "p95": 0.6},
        "detect": {"p50": 7.0, "p95": 9.0},
        "total": {"p50": 13.0, "p95": 20.0},
    }
    time = {
        "frames": 9, "runs": 47, "ms_p50": 13.0, "ms_p95": 20.0, "cpu_ms_p50": 12.0, "cpu_ms_p95": 14.0,
        "stages_ms": stages, "peak_rss_mb": 99.0,
    }  # fmt: skip
    figures = {
        **measure.accuracy_figures(real),
        "models": {"reader": "f" * 64},
        "model_bytes": 1_400_000,
        "accept_score": 0.35,
        "time": time,
        "peer": {"ms": None, "note": "not measured: fast-alpr is not installed (fast_alpr)"},
        "ghosts": {
            "pictures": 30,
            "ghosts": 2,
            "believed": 1,
            "pictures_with_ghosts": 2,
            "per_100": 6.667,
            "rendered": {
                "pictures": 5,
                "ghosts": 1,
                "believed": 0,
                "pictures_with_ghosts": 1,
                "per_100": 20.0,
            },
        },
        "acceptance": {},
        "rendered": {"night": measure.rendered_figures(night)},
    }
    return measure.Measured(figures, real, {"night": night})


def test_the_report_is_whole_small_and_the_same_again(measured: measure.Measured, tmp_path: Path) -> None:
    places = [
        document.Places(tmp_path / n, tmp_path / "gallery", tmp_path, "make report", "2026-01-31")
        for n in "ab"
    ]
    written = [document.build(measured, place) for place in places]
    assert {path.name for path in written[0]} >= DRAWN | {"report.md", "figures.json"}
    for one, other in zip(*written, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert one.parent.name == "gallery" or one.suffix != ".png" or one.stat().st_size < MAX_BYTES
    text = (tmp_path / "a" / "report.md").read_text(encoding="utf-8")
    assert all(f"({name})" in text for name in DRAWN)
    for said in (
        "f" * 64,
        "make report",
        "2026-01-31",
        "rendered, not real",
        "2 reads of nothing in 2 pictures",
        "In 5 rendered ones: 1 (0).",
        "| 22.webp |",
        "TAXI",
        "not installed",
    ):
        assert said in text


def test_models_that_read_no_state_and_no_time_say_so(measured: measure.Measured, tmp_path: Path) -> None:
    state = {**measured.figures["state"], "any": False}
    bare = measure.Measured({**measured.figures, "state": state, "time": None}, measured.shots)
    places = document.Places(tmp_path / "a", tmp_path / "g", tmp_path, "make report", "2026-01-31")
    names = {path.name for path in document.build(bare, places)}
    assert "timing.png" not in names
    assert "rendered.png" not in names
    assert "Not read by these models" in (tmp_path / "a" / "report.md").read_text(encoding="utf-8")
