# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from inference.models import MODELS_DIR, read_manifest
from inference.report import card

CARD = Path(__file__).parents[2] / "docs" / "models" / "card.md"


def test_the_figures_in_the_card_are_those_of_the_manifest() -> None:
    text = CARD.read_text(encoding="utf-8")
    assert text == card.filled(text, read_manifest(MODELS_DIR)), (
        "run `make docs`, or `python -m inference.report.card docs/models/card.md`"
    )


def test_the_card_names_every_net_and_what_it_is_not_for() -> None:
    text = card.filled(CARD.read_text(encoding="utf-8"), read_manifest(MODELS_DIR))
    for name, entry in read_manifest(MODELS_DIR)["models"].items():
        assert f"| {name} |" in text
        assert entry["sha256"][:16] in text
    for said in ("Intended use", "Limits", "Misuse", "probable cause", "licence", "rendered"):
        assert said in text


def test_the_command_writes_the_block_and_nothing_else(tmp_path: Path) -> None:
    copy = tmp_path / "card.md"
    shutil.copy(CARD, copy)
    text = copy.read_text(encoding="utf-8")
    stale = text.replace("| detector |", "| detective |")
    assert stale != text
    copy.write_text(stale, encoding="utf-8")
    assert card.main([str(copy)]) == 0
    assert "| detector |" in copy.read_text(encoding="utf-8")
    assert "| detective |" not in copy.read_text(encoding="utf-8")


def test_a_card_without_the_block_is_refused() -> None:
    with pytest.raises(ValueError, match="figures:begin"):
        card.filled("# Model card\n", read_manifest(MODELS_DIR))


def test_figures_that_were_not_measured_are_left_out() -> None:
    manifest = read_manifest(MODELS_DIR)
    without = {
        **manifest,
        "accuracy": {k: v for k, v in manifest["accuracy"].items() if k not in ("ece", "exact")},
    }
    assert "calibration error" not in card.figures(without)
    with_error = {**manifest, "accuracy": {**manifest["accuracy"], "ece": 0.0214}}
    assert "| 0.021 |" in card.figures(with_error)
